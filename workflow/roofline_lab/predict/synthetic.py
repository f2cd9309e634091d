"""One job of a synthetic hypothesis: one arm under one choice of kernels, at every point.

`run_arm` evaluates exactly the quantities that the columns name and returns JSON lines, one per
point. A model or shape outside what the formulas describe becomes a line with a reason; anything
unexpected fails the job.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from roofline_lab.hypotheses.arms import Arm
from roofline_lab.hypotheses.synthetic.quantities import LOOKUP_QUANTITIES, QUANTITIES, Priced
from roofline_lab.hypotheses.synthetic.resolve import (
    arm_digests,
    hardware_of,
    methods_of,
    needed_quantities,
    resolve_arms,
)
from roofline_lab.hypotheses.synthetic.spec import (
    KernelQuestion,
    Point,
    Sweep,
    SyntheticHypothesis,
    at_least,
    batch_at,
    points,
    term,
)
from roofline_lab.project import Project
from simulator.errors import ConfigError, UnsupportedError
from simulator.hardware import Hardware
from simulator.kernels.base import Kernels, Lookup
from simulator.steptime.batch import BatchSums
from simulator.steptime.build import BuiltStepTime, build_step_time
from simulator.steptime.cost import MICROSECONDS
from simulator.steptime.observers import ROUNDING_US
from simulator.steptime.traffic import attention_shape


def price_arm(project: Project, hypothesis: str, method: str, arm: str) -> str:
    """Return the JSON lines of one arm of a synthetic hypothesis under one choice of kernels.

    Raises
    ------
    ConfigError
        If the hypothesis has no such arm or kernels, or a plan gives no valid batch at some point.
    """
    spec = project.synthetic[hypothesis]
    if method not in methods_of(project, spec):
        raise ConfigError(f"{hypothesis}: kernels '{method}' are not used by this hypothesis")
    resolved = {one.name: one for one in resolve_arms(spec, method)}.get(arm)
    if resolved is None:
        raise ConfigError(f"{hypothesis}: no arm '{arm}'")
    return run_arm(project, spec, method, resolved, arm_digests(project, spec, method)[arm])


def run_arm(project: Project, spec: SyntheticHypothesis, method: str, arm: Arm, digest: str) -> str:
    """Return one JSON line per point; where a quantity is not a finite number, with the reason.

    Raises
    ------
    ConfigError
        If a plan gives no valid batch at some point.
    """
    worker = _Worker(project, spec, arm)
    lines = []
    for sweep in spec.sweeps:
        wanted = needed_quantities(spec, sweep, arm.name)
        for point in points(sweep):
            line: dict[str, Any] = {"hypothesis": spec.id, "method": method, "arm": arm.name, "digest": digest}
            line |= {"sweep": sweep.id, "key": point.key, "kernels": worker.kernels_name, "reason": "", "values": {}}
            line["peak_shares"] = {}
            try:
                line["values"], line["peak_shares"] = _finite(*worker.values(sweep, point, wanted))
            except UnsupportedError as error:
                line["reason"] = str(error)
            except ArithmeticError as error:
                line["reason"] = f"a quantity is not a finite number ({error}); a size or rate is out of proportion"
            lines.append(line)
    return "".join(json.dumps(line, sort_keys=True, allow_nan=False) + "\n" for line in lines)


def _finite(*quantities: dict[str, float]) -> tuple[dict[str, float], ...]:
    for one in quantities:
        for name, value in one.items():
            if not math.isfinite(value):
                raise OverflowError(name)
    return quantities


class _Worker:
    """Prices points for one arm; step-time models and kernels are built once per model and TP."""

    def __init__(self, project: Project, spec: SyntheticHypothesis, arm: Arm) -> None:
        self._project = project
        self._spec = spec
        self._arm = arm
        self._hardware: Hardware = hardware_of(project, spec)
        self._kernels: Kernels | None = project.kernels(arm.steptime, self._hardware)
        # What answers, for the report; the name of a table folder holds a hash of all its rows.
        self.kernels_name = self._kernels.name if self._kernels is not None else "constant efficiencies"
        self._built: dict[tuple[str, int], BuiltStepTime] = {}

    def values(
        self, sweep: Sweep, point: Point, wanted: Mapping[str, tuple[str, ...]]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return the wanted quantities, and the largest rates any batch implies.

        Quantities go by `batch.quantity`, or by `quantity` for a look-up; rates are shares of the
        GPU's peaks.
        """
        if sweep.lookup is not None:
            lookup = self._look_up(sweep.lookup, point)
            return {name: float(LOOKUP_QUANTITIES[name](lookup)) for name in wanted.get("", ())}, {}
        found: dict[str, float] = {}
        shares = {"flops": 0.0, "bytes": 0.0}
        for batch_name, names in wanted.items():
            priced, built = self._priced(sweep, batch_name, point)
            found |= {f"{batch_name}.{name}": float(QUANTITIES[name](priced)) for name in names}
            for kind, share in _shares(priced, built).items():
                shares[kind] = max(shares[kind], share)
        return found, shares if wanted else {}

    def _priced(self, sweep: Sweep, batch_name: str, point: Point) -> tuple[Priced, BuiltStepTime]:
        model, tp = point.model(self._spec.setup), point.tensor_parallel(self._spec.setup)
        built = self._built.get((model, tp))
        if built is None:
            built = build_step_time(self._arm.steptime, self._project.model(model), self._hardware, tp, self._kernels)
            self._built[(model, tp)] = built
        batch = batch_at(sweep.batches[batch_name], point)
        priced = Priced(self._arm.steptime, self._project.model(model), tp, batch, built.explain(batch))
        return priced, built

    def _look_up(self, question: KernelQuestion, point: Point) -> Lookup:
        if self._kernels is None:
            raise UnsupportedError("a look-up needs kernels: give the arm mfu {kind: kernels}")
        if question.gemm is not None:
            m, k, n = (_positive(value, point) for value in (question.gemm.m, question.gemm.k, question.gemm.n))
            return self._kernels.gemm_lookup(m, k, n)
        model = self._project.model(point.model(self._spec.setup))
        attention = self._kernels.attention(attention_shape(model), point.tensor_parallel(self._spec.setup))
        if question.prefill is not None:
            return attention.prefill_lookup(_positive(question.prefill.tokens, point))
        assert question.decode is not None  # the record itself demands one of the three
        batch, kv = _positive(question.decode.batch, point), _positive(question.decode.kv, point)
        return attention.decode_lookup(batch, kv)


def _positive(value: int | str, point: Point) -> int:
    return at_least(term(value, point), 1, point, str(value))


def _shares(priced: Priced, built: BuiltStepTime) -> dict[str, float]:
    """Return the FLOP and byte rates of one step as shares of the peaks."""
    flops, moved = built.work(BatchSums.of(priced.batch, built.kv_breakpoints))
    seconds = (priced.cost.total_us + ROUNDING_US) / MICROSECONDS
    return {"flops": flops / seconds / built.peak_flops, "bytes": moved / seconds / built.peak_bandwidth}
