"""What the rules of `snakemake calibrate` call: one function per job.

Three kinds of jobs: a response surface per experiment, one fit with all its folds and resamples, and the
judgement of every experiment by the engine; then the record and the report.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from roofline_lab.calibration.constants import CONSTANTS, EXTRA_KERNELS, data_sheet, starts, with_extra_kernels
from roofline_lab.calibration.fit import NAMES, Fit, Problem, fit, problem_of
from roofline_lab.calibration.judge import judge
from roofline_lab.calibration.plan import Plan, experiments_of, judged_families, load_plan
from roofline_lab.calibration.points import Point, load_points, load_targets
from roofline_lab.calibration.surface import Surface, surface_of
from roofline_lab.calibration.validation import (
    ablations,
    correlations,
    families_of,
    intervals,
    learning_curve,
    resamples,
    start_dependence,
)
from roofline_lab.config import load_settings
from roofline_lab.files import json_text
from roofline_lab.load_point import Target

# Digits a constant is kept with: far below its uncertainty, far above the noise of linear algebra.
DIGITS = 6


def surface_job(root: Path, name: str, experiment: str) -> str:
    """Return the response surfaces of one experiment's load points, as JSON."""
    plan = load_plan(root, name)
    points = _points(root, plan)
    found = [surface_of(point, plan.samples, plan.seed) for point in points if point.experiment.id == experiment]
    return json_text([surface.as_dict() for surface in found])


def fit_job(root: Path, name: str, surface_files: Iterable[str]) -> str:
    """Return the fit to everything, all its folds, intervals and the learning curve, as JSON."""
    plan = load_plan(root, name)
    surfaces = {surface.name: surface for path in surface_files for surface in _surfaces(root / path)}
    points = _points(root, plan)
    problem = problem_of(points, surfaces, plan.weights.model_dump(), plan.scatter)
    alone = problem.take([i for i, point in enumerate(points) if point.experiment.id in _synchronous(root, plan)])
    whole = fit(problem)
    families = sorted({*families_of(problem), *judged_families(root, name)})
    drawn = resamples(problem, plan.bootstrap_resamples, plan.seed)
    return json_text(
        {
            "in_sample": _fitted(whole),
            "synchronous_alone": _fitted(fit(alone)),
            "held_out": _folds(problem, {family: frozenset([family]) for family in families}),
            "lineage_held_out": _folds(problem, {family: plan.lineage_of(family) for family in families}),
            "synchronous_held_out": _folds(alone, {text: frozenset([text]) for text in families_of(alone)}),
            "synchronous_lineage_held_out": _folds(alone, {text: plan.lineage_of(text) for text in families_of(alone)}),
            "intervals": dict(zip(NAMES, intervals(drawn), strict=True)),
            "correlations": [[round(float(value), 4) for value in row] for row in correlations(whole)],
            "learning_curve": [
                {"families": size, "errors": rows}
                for size, rows in learning_curve(problem, plan.learning_curve_subsets, plan.seed)
            ],
            "ablations": ablations(problem),
            "start_dependence": start_dependence(problem),
            "synchronous_start_dependence": start_dependence(alone),
            "surface_errors": {
                name: {"ttft": surface.ttft_error, "decode": surface.decode_error}
                for name, surface in sorted(surfaces.items())
            },
            "loss": whole.solution.loss,
        }
    )


def judge_job(root: Path, name: str, experiment: str, fit_file: str) -> str:
    """Return what every variant of the constants predicts for one experiment, as JSON."""
    plan = load_plan(root, name)
    fitted = json.loads((root / fit_file).read_text(encoding="utf-8"))
    targets = [target for target in _judged(root, plan) if target.experiment.id == experiment]
    variants = dict(_variants(fitted, targets[0].experiment.family, experiment in _synchronous(root, plan)))
    if targets[0].model.num_local_experts:
        held_out, model = variants["held_out"], targets[0].model
        variants |= {name: with_extra_kernels(held_out, model, share) for name, share in EXTRA_KERNELS.items()}
    return json_text([_judgement(target, variants) for target in targets])


# --- parts ------------------------------------------------------------------------------------


def _variants(fitted: dict[str, Any], family: str, synchronous: bool) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the sets of constants one family is predicted with."""
    yield "held_out", fitted["held_out"][family]["values"]
    yield "lineage_held_out", fitted["lineage_held_out"][family]["values"]
    if synchronous:
        yield "synchronous_held_out", fitted["synchronous_held_out"][family]["values"]
        yield "synchronous_lineage_held_out", fitted["synchronous_lineage_held_out"][family]["values"]
    yield "in_sample", fitted["in_sample"]["values"]
    yield "starts", starts()
    yield "data_sheet", data_sheet()


def _judgement(target: Target, variants: dict[str, dict[str, float]]) -> dict[str, Any]:
    experiment, load_point = target.experiment, target.load_point
    return {
        "name": target.name,
        "experiment": experiment.id,
        "load_point": load_point.id,
        "family": experiment.family,
        "workload": experiment.workload.name,
        "hardware": experiment.hardware,
        "tensor_parallel": experiment.tensor_parallel,
        "side": experiment.side_of(load_point.id),
        "strategy": load_point.strategy,
        "rate_per_s": load_point.rate_per_s,
        "mixture": bool(target.model.num_local_experts),
        "variants": {variant: judge(target, values) for variant, values in variants.items()},
    }


def _folds(problem: Problem, groups: dict[str, frozenset[str]]) -> dict[str, Any]:
    return {name: _fitted(fit(problem.without(group))) for name, group in groups.items()}


def _fitted(fitted: Fit) -> dict[str, Any]:
    values = {constant.name: float(f"{fitted.values[constant.name]:.{DIGITS}g}") for constant in CONSTANTS}
    return {"values": values, "at_bound": fitted.at_bound(), "converged": fitted.solution.converged}


def _surfaces(path: Path) -> list[Surface]:
    return [Surface.from_dict(one) for one in json.loads(path.read_text(encoding="utf-8"))]


def _judged(root: Path, plan: Plan) -> tuple[Target, ...]:
    return load_targets(root, (*plan.train_sets, *plan.judged_sets), load_settings(root).arrivals)


def _points(root: Path, plan: Plan) -> tuple[Point, ...]:
    return load_points(root, plan.train_sets, plan.requests_per_point, plan.seed)


def _synchronous(root: Path, plan: Plan) -> frozenset[str]:
    return frozenset(experiments_of(root, (plan.synchronous_set,)))
