"""From a synthetic spec to what runs: methods, resolved arms, hardware, and the quantities needed.

Everything a run could trip over is refused here, before any run: `check_synthetic` resolves every
arm under every choice of kernels, generates every point and batch, and follows every name in every
formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from roofline_lab.files import digest_of
from roofline_lab.ground_truth.catalog import Catalog
from roofline_lab.hypotheses.arms import Arm, undeclared
from roofline_lab.hypotheses.expressions import formula
from roofline_lab.hypotheses.spec import ENGINE_KEY
from roofline_lab.hypotheses.synthetic.quantities import LOOKUP_QUANTITIES, QUANTITIES
from roofline_lab.hypotheses.synthetic.rows import Column
from roofline_lab.hypotheses.synthetic.spec import (
    MOST_PRICED_REQUESTS,
    KernelQuestion,
    Point,
    Sweep,
    SyntheticHypothesis,
    Term,
    batch_at,
    points,
    term,
)
from simulator.errors import ConfigError
from simulator.hardware import Hardware
from simulator.parallelism import require_runnable
from simulator.steptime.options import parse_options
from simulator.validation import config_error, suggest

MEASURED = "measured"


def methods_of(catalog: Catalog, spec: SyntheticHypothesis) -> tuple[str, ...]:
    """Return which kernels price a hypothesis: its own choice, or measured tables where a folder is given."""
    return (MEASURED,) if catalog.tables_folder is not None else tuple(spec.kernels)


def resolve_arms(spec: SyntheticHypothesis, method: str) -> tuple[Arm, ...]:
    """Return the arms under one choice of kernels, the reference first.

    Raises
    ------
    ConfigError
        If an option does not exist, or the author chose kernels by hand.
    """
    return tuple(_resolve(spec, name, method) for name in spec.arms)


def hardware_of(catalog: Catalog, spec: SyntheticHypothesis) -> Hardware:
    """Return the GPU, with the peaks the hypothesis overrides."""
    hardware, override = catalog.hardware(spec.setup.hardware), spec.setup.hardware_override
    if override is None:
        return hardware
    changed = {
        name: getattr(hardware, name).model_copy(update={"value": value, "source": override.source})
        for name in ("dense_bf16_tflops", "memory_bandwidth_tbs")
        if (value := getattr(override, name)) is not None
    }
    return hardware.model_copy(update=changed)


def arm_digests(catalog: Catalog, spec: SyntheticHypothesis, method: str) -> dict[str, str]:
    """Return a content hash of everything one arm's rows depend on beside code and kernels."""
    rest = spec.model_dump(mode="json", include={"setup", "sweeps", "columns"}, by_alias=True)
    return {
        arm.name: digest_of({"arm": arm.departures, "method": method, "tables": catalog.tables_hash, **rest})
        for arm in resolve_arms(spec, method)
    }


def needed_quantities(spec: SyntheticHypothesis, sweep: Sweep, arm: str) -> dict[str, tuple[str, ...]]:
    """Return batch -> quantities that some column asks of one arm (the batch of a look-up is '')."""
    found: dict[str, dict[str, None]] = {}
    for column in columns_of(spec, sweep):
        for name in formula(column.value).names:
            parts = split_name(name, sweep)
            if parts is not None and parts[0] == arm:
                found.setdefault(parts[1], {})[parts[2]] = None
    return {batch: tuple(names) for batch, names in found.items()}


def columns_of(spec: SyntheticHypothesis, sweep: Sweep) -> tuple[Column, ...]:
    """Return the columns of one sweep."""
    return tuple(column for column in spec.columns if not column.sweeps or sweep.id in column.sweeps)


def split_name(name: str, sweep: Sweep) -> tuple[str, str, str] | None:
    """Split `arm.batch.quantity` or `arm.quantity` into its three parts; None for a plain name."""
    match name.split("."):
        case [arm, quantity]:
            return arm, "" if sweep.lookup is not None else next(iter(sweep.batches)), quantity
        case [arm, batch, quantity]:
            return arm, batch, quantity
    return None


def known_number(spec: SyntheticHypothesis) -> Callable[[str], str]:
    """Return a check that a published number is about a column or a summary of this hypothesis."""
    known = [one.id for one in (*spec.columns, *spec.summaries)]

    def checked(name: str) -> str:
        if name not in known:
            raise ValueError(f"metric: unknown column or summary '{name}'; {suggest(name, known)}")
        return name

    return checked


def check_synthetic(spec: SyntheticHypothesis, catalog: Catalog) -> None:
    """Refuse what could not be run or would not be a fair comparison, with all problems at once.

    Raises
    ------
    ConfigError
        Naming the file, every problem and what is allowed.
    """
    source = f"hypotheses/{spec.id}/hypothesis.yaml"
    problems = [*_unknown_setup(spec, catalog)]
    for method in methods_of(catalog, spec):
        problems += undeclared(spec.varied, resolve_arms(spec, method), f"kernels {method}")
    for sweep in spec.sweeps:
        try:
            problems += _sweep_problems(spec, sweep, catalog)
        except ConfigError as error:
            problems.append(str(error))
    problems += _unknown_conditions(spec)
    if problems:
        raise config_error(source, list(dict.fromkeys(problems)))


def _resolve(spec: SyntheticHypothesis, name: str, method: str) -> Arm:
    source = f"hypotheses/{spec.id}/hypothesis.yaml: arms.{name} (kernels {method})"
    options: dict[str, Any] = {**spec.base, **spec.arms[name]}
    if ENGINE_KEY in options:
        raise ConfigError(f"{source}: {ENGINE_KEY}: a synthetic hypothesis prices single steps; drop it")
    mfu = options.get("mfu")
    if isinstance(mfu, Mapping) and mfu.get("kind") == "kernels":
        if "source" in mfu:
            raise ConfigError(f"{source}: mfu.source: is chosen by `kernels: [...]`; drop it here")
        dropped = {"lookup"} if method == "embedded" else set()
        options["mfu"] = {key: value for key, value in mfu.items() if key not in dropped} | {"source": method}
    return Arm(name, parse_options(options, source=source), {})


def _unknown_setup(spec: SyntheticHypothesis, catalog: Catalog) -> Iterator[str]:
    if spec.setup.hardware not in catalog.hardware_ids:
        yield f"setup.hardware: unknown GPU '{spec.setup.hardware}'; " + suggest(
            spec.setup.hardware, catalog.hardware_ids
        )


def _sweep_problems(spec: SyntheticHypothesis, sweep: Sweep, catalog: Catalog) -> Iterator[str]:
    found = points(sweep)
    keys = [point.key for point in found]
    if len(set(keys)) != len(keys):
        yield f"sweeps.{sweep.id}: two points have the same axis values"
    for name in dict.fromkeys(point.model(spec.setup) for point in found):
        if name not in catalog.model_ids:
            yield f"sweeps.{sweep.id}: unknown model '{name}'; {suggest(name, catalog.model_ids)}"
            return
    for name, tp in dict.fromkeys((point.model(spec.setup), point.tensor_parallel(spec.setup)) for point in found):
        require_runnable(catalog.model(name), tp)
    priced = 0
    for point in found:
        priced += _try(sweep, point)
        if priced > MOST_PRICED_REQUESTS:
            yield (
                f"sweeps.{sweep.id}: its batches have more than {MOST_PRICED_REQUESTS} requests together; "
                "use fewer points or smaller batches"
            )
            return
    yield from _unknown_names(spec, sweep, found[0])


def _try(sweep: Sweep, point: Point) -> int:
    """Work out every batch or question of one point, so that a bad formula shows before any run; count its requests."""
    batches = [batch_at(plan, point) for plan in sweep.batches.values()]
    if sweep.lookup is not None:
        for value in _terms(sweep.lookup):
            term(value, point)
    return sum(len(batch.prefill) + len(batch.decode) for batch in batches)


def _terms(question: KernelQuestion) -> Iterator[Term]:
    for part in (question.gemm, question.prefill, question.decode):
        if part is not None:
            yield from (getattr(part, name) for name in type(part).model_fields)


def _unknown_names(spec: SyntheticHypothesis, sweep: Sweep, point: Point) -> Iterator[str]:
    """Follow every name in the columns of one sweep."""
    earlier: list[str] = []
    for column in columns_of(spec, sweep):
        for name in formula(column.value).names:
            parts = split_name(name, sweep)
            if parts is None:
                known = [*point.values, *earlier]
                if name not in known:
                    yield f"columns.{column.id}: unknown '{name}' in sweep {sweep.id}; {suggest(name, known)}"
            else:
                yield from (f"columns.{column.id}: {problem}" for problem in _unknown_parts(spec, sweep, parts))
        if column.id in point.values:
            yield f"columns.{column.id}: is also an axis of sweep {sweep.id}; rename one of them"
        earlier.append(column.id)


def _unknown_parts(spec: SyntheticHypothesis, sweep: Sweep, parts: tuple[str, str, str]) -> Iterator[str]:
    arm, batch, quantity = parts
    if arm not in spec.arms:
        yield f"unknown arm '{arm}'; {suggest(arm, spec.arms)}"
    if sweep.lookup is None and batch not in sweep.batches:
        yield f"unknown batch '{batch}' in sweep {sweep.id}; {suggest(batch, sweep.batches)}"
    known = LOOKUP_QUANTITIES if sweep.lookup is not None else QUANTITIES
    if quantity not in known:
        yield f"unknown quantity '{quantity}'; {suggest(quantity, known)}"


def _unknown_conditions(spec: SyntheticHypothesis) -> Iterator[str]:
    """Follow every name in the `where` and `when` of summaries and criteria, and every `along`."""
    users = [(f"summaries.{summary.id}", summary) for summary in spec.summaries]
    users += [(f"criteria.{criterion.id}", criterion) for criterion in spec.judged]
    for place, user in users:
        sweeps = [sweep for sweep in spec.sweeps if not getattr(user, "sweeps", ()) or sweep.id in user.sweeps]
        known = {name for sweep in sweeps for name in _axis_names(sweep)} | {column.id for column in spec.columns}
        for key in ("where", "when"):
            text = getattr(user, key, None)
            for name in formula(text).names if text else ():
                if name not in known:
                    yield f"{place}.{key}: unknown '{name}'; {suggest(name, known)}"
        along = getattr(user, "along", None)
        if along is not None and not any(along in _axis_names(sweep) for sweep in sweeps):
            axes = {name for sweep in sweeps for name in _axis_names(sweep)}
            yield f"{place}.along: '{along}' is no axis of its sweeps; {suggest(along, axes)}"
    for figure in spec.figures:
        for name in figure.sweeps:
            if figure.along is not None and figure.along not in _axis_names(spec.sweep(name)):
                axes = _axis_names(spec.sweep(name))
                yield f"figures.{figure.id}.along: no axis of sweep {name}; {suggest(figure.along, axes)}"


def _axis_names(sweep: Sweep) -> set[str]:
    return set(sweep.axes) | {name for case in sweep.cases for name in case.values}
