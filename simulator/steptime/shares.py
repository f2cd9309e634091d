"""Where the time of a whole run goes: bottlenecks per phase, branches, table substitutions.

Contract: `BottleneckMeter` is itself a step-time model; it explains every step it prices and adds up
the result. Explaining costs some ten times a price, so it is for runs someone wants explained.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from simulator.steptime.base import StepTimeModel
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.cost import MICROSECONDS, StepCost


class BottleneckMeter:
    """A step-time model that explains what another one prices.

    Attributes
    ----------
    step_time
        The model that answers.
    steps, total_us
        Steps priced and their durations added up.
    """

    def __init__(self, step_time: StepTimeModel) -> None:
        self.step_time = step_time
        self.steps = 0
        self.total_us = 0
        self._by_bottleneck: Counter[str] = Counter()
        self._phase_us: dict[str, Counter[str]] = {"prefill": Counter(), "decode": Counter()}
        self._branches: Counter[str] = Counter()
        self._lookups: Counter[str] = Counter()

    @property
    def kv_breakpoints(self) -> tuple[int, ...]:
        """Breakpoints of the watched model."""
        return self.step_time.kv_breakpoints

    def price(self, sums: BatchSums) -> int:
        """Return the watched model's duration and record why it is what it is."""
        duration_us = self.step_time.price(sums)
        self._record(self.step_time.explain(Batch(tuple(sums.prefill), tuple(sums.decode_pasts()))), duration_us)
        return duration_us

    def explain(self, batch: Batch) -> StepCost:
        """Return the watched model's explanation; nothing is recorded."""
        return self.step_time.explain(batch)

    def summary(self) -> dict[str, Any]:
        """Return plain data: shares of the total time, shares per phase, branch and look-up counts.

        `time_share` splits the run's time by what dominated each step; `phases` splits each phase's
        own seconds by what bound it; every group of shares adds up to 1.
        """
        return {
            "steps": self.steps,
            "total_us": self.total_us,
            "time_share": _shares(self._by_bottleneck),
            "phases": {phase: _shares(us) for phase, us in self._phase_us.items() if us},
            "branches": dict(sorted(self._branches.items())),
            "lookups": {name: self._lookups[name] for name in ("total", "extrapolated", "fallback", "off_grid")},
        }

    def _record(self, cost: StepCost, duration_us: int) -> None:
        self.steps += 1
        self.total_us += duration_us
        self._by_bottleneck[cost.bottleneck] += duration_us
        self._branches[cost.branch] += 1
        for name, phase in cost.phases():
            self._phase_us[name][phase.bottleneck] += phase.seconds * MICROSECONDS
        for use in cost.lookups:
            self._lookups["total"] += 1
            self._lookups["extrapolated"] += use.extrapolated
            self._lookups["fallback"] += use.fallback
            self._lookups["off_grid"] += use.distance > 0


def _shares(parts: Counter[str]) -> dict[str, float]:
    total = sum(parts[name] for name in sorted(parts))
    return {name: parts[name] / total for name in sorted(parts)} if total else {}
