"""Jobs behind the page on terms: surfaces without scheduling ahead, errors of every set of terms, the chain."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from roofline_lab.calibration.fit import Problem, problem_of
from roofline_lab.calibration.plan import Plan, load_plan
from roofline_lab.calibration.points import Point, load_points
from roofline_lab.calibration.surface import Surface, surface_of
from roofline_lab.calibration.terms import ALL_TERMS, TERMS, Switches, chain_errors, subset_errors, switches_of
from roofline_lab.calibration.without_lm_head import without_head
from roofline_lab.files import json_text

# Digits an error is kept with: far below what any page shows, far above the noise of linear algebra.
DIGITS = 8


def waiting_surface_job(root: Path, name: str, experiment: str) -> str:
    """Return the surfaces of one experiment as if its server never scheduled ahead, as JSON."""
    plan = load_plan(root, name)
    points = [point.switched(lm_head=True, schedule_ahead=False) for point in _points(root, plan)]
    found = [surface_of(point, plan.samples, plan.seed) for point in points if point.experiment.id == experiment]
    return json_text([surface.as_dict() for surface in found])


def subsets_job(root: Path, name: str, ahead: str, surfaces: Iterable[str], waiting: Iterable[str]) -> str:
    """Return the held-out errors of every set of terms with (`ahead`) or without scheduling ahead, as JSON."""
    problems = _problems(root, load_plan(root, name), surfaces, waiting)
    wanted = [one for one in range(ALL_TERMS + 1) if switches_of(one).schedule_ahead == (ahead == "ahead")]
    return json_text({str(error): _rounded(errors) for error, errors in subset_errors(problems, wanted)})


def chain_job(root: Path, name: str, surfaces: Iterable[str], waiting: Iterable[str]) -> str:
    """Return the held-out errors along the chain, by the engine, as JSON."""
    plan = load_plan(root, name)
    found = chain_errors(_points(root, plan), _problems(root, plan, surfaces, waiting))
    return json_text({"terms": [term.name for term in TERMS], "errors": [_rounded(errors) for errors in found]})


def _problems(root: Path, plan: Plan, surfaces: Iterable[str], waiting: Iterable[str]) -> dict[Switches, Problem]:
    """Return the fitting problem under every choice of switches.

    A server that never schedules ahead has the same surface with and without that switch.
    """
    points = _points(root, plan)
    normal = _read(root, surfaces)
    by_ahead = {True: normal, False: {**normal, **_read(root, waiting)}}
    return {
        Switches(lm_head, ahead): problem_of(
            points, _with_or_without_head(points, found, lm_head=lm_head), plan.weights.model_dump(), plan.scatter
        )
        for ahead, found in by_ahead.items()
        for lm_head in (True, False)
    }


def _with_or_without_head(
    points: Iterable[Point], surfaces: Mapping[str, Surface], *, lm_head: bool
) -> dict[str, Surface]:
    return {
        point.name: surfaces[point.name] if lm_head else without_head(surfaces[point.name], point) for point in points
    }


def _points(root: Path, plan: Plan) -> tuple[Point, ...]:
    return load_points(root, plan.train_sets, plan.requests_per_point, plan.seed)


def _read(root: Path, files: Iterable[str]) -> dict[str, Surface]:
    entries: list[dict[str, Any]] = [
        one for path in files for one in json.loads((root / path).read_text(encoding="utf-8"))
    ]
    return {entry["name"]: Surface.from_dict(entry) for entry in entries}


def _rounded(errors: Iterable[float]) -> list[float]:
    return [round(error, DIGITS) for error in errors]
