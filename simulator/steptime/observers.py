"""Step-time models that answer as another one does and look at every step they are asked about.

Contract: an observer changes no duration. `PeakObserver` compares the rates a run implies with the
hardware's peaks, `BottleneckObserver` adds up where the time goes, `BranchObserver` counts the branches of
the weighted average, and `ExtremesObserver` says where kernels were asked outside the sizes they are known for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from simulator.steptime.base import GivesDecodeTimes, GivesLoneDecodeTimes, KnowsWork, StepTimeModel
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.combination import branch
from simulator.steptime.cost import FORMULA, MICROSECONDS, LookupUse, StepCost

# A step rounded to whole microseconds may really have lasted this much longer.
ROUNDING_US = 0.5
PREFIX = "weighted_average_"
STEP_KINDS = ("prefill", "decode", "mixed", "empty")
BRANCHES = ("prefill_dominates", "decode_dominates", "by_tokens")


def step_kind(chunks: int, decodes: int) -> str:
    """Return `prefill`, `decode`, `mixed`, or `empty` where nothing is scheduled."""
    if chunks:
        return "mixed" if decodes else "prefill"
    return "decode" if decodes else "empty"


class StepTimeObserver:
    """The base of all observers.

    Attributes
    ----------
    step_time
        The model that answers.
    """

    def __init__(self, step_time: StepTimeModel) -> None:
        self.step_time = step_time
        self.kv_breakpoints = step_time.kv_breakpoints

    def step_time_us(self, sums: BatchSums) -> int:
        """Return the observed model's duration."""
        duration_us = self.step_time.step_time_us(sums)
        self.observe(sums, duration_us)
        return duration_us

    def explain(self, batch: Batch) -> StepCost:
        """Return the observed model's explanation; nothing is noted."""
        return self.step_time.explain(batch)

    def observe(self, sums: BatchSums, duration_us: int) -> None:
        """Note what there is to note about one step."""
        raise NotImplementedError


class _DecodesUnobserved(StepTimeObserver):
    """The base of observers that need not see every step of decodes alone: such steps stay as fast as they were."""

    def lone_decode_times_us(self, pasts: Iterable[int]) -> list[int]:
        """Return the observed model's durations of lone decodes, many at once where it offers that."""
        if isinstance(self.step_time, GivesLoneDecodeTimes):
            return self.step_time.lone_decode_times_us(pasts)
        batches = (Batch(decode=(past,)) for past in pasts)
        return [self.step_time.step_time_us(BatchSums.of(batch, self.kv_breakpoints)) for batch in batches]

    def decode_times_us(self, sums: BatchSums, steps: int, limit_us: int) -> list[int] | None:
        """Return what the observed model offers for the coming steps of the same decodes."""
        if not isinstance(self.step_time, GivesDecodeTimes):
            return None
        return self.step_time.decode_times_us(sums, steps, limit_us)


class PeakObserver(StepTimeObserver):
    """Checks that no step implies a rate above the hardware's peak.

    Attributes
    ----------
    compute_share, bandwidth_share
        Largest FLOP rate and byte rate seen so far, as fractions of the peak.
    """

    def __init__(self, step_time: KnowsWork) -> None:
        super().__init__(step_time)
        self._work = step_time.work
        self._flops_per_us = step_time.peak_flops / MICROSECONDS
        self._bytes_per_us = step_time.peak_bandwidth / MICROSECONDS
        self.compute_share = 0.0
        self.bandwidth_share = 0.0

    def observe(self, sums: BatchSums, duration_us: int) -> None:
        """Note the rates the step implies."""
        flops, moved = self._work(sums)
        longest_us = duration_us + ROUNDING_US
        self.compute_share = max(self.compute_share, flops / longest_us / self._flops_per_us)
        self.bandwidth_share = max(self.bandwidth_share, moved / longest_us / self._bytes_per_us)


class BottleneckObserver(StepTimeObserver):
    """Says where the time of a whole run goes: bottlenecks per phase, branches, table substitutions.

    Explaining a step takes some ten times as long as timing it, so this is for runs someone wants explained.

    Attributes
    ----------
    steps, total_us
        Steps seen and their durations added up.
    """

    def __init__(self, step_time: KnowsWork) -> None:
        super().__init__(step_time)
        self._work = step_time.work
        self._peak_flops, self._peak_bandwidth = step_time.peak_flops, step_time.peak_bandwidth
        self.steps = 0
        self.total_us = 0
        self._by_bottleneck: Counter[str] = Counter()
        self._bound_us: dict[str, Counter[str]] = {kind: Counter() for kind in STEP_KINDS}
        self._asked: set[tuple[str, str]] = set()
        self._phase_us = {"prefill": defaultdict[str, float](float), "decode": defaultdict[str, float](float)}
        self._branches: Counter[str] = Counter()
        self._lookups: Counter[str] = Counter()

    def observe(self, sums: BatchSums, duration_us: int) -> None:
        """Note why the step takes as long as it does."""
        batch = Batch(tuple(sums.prefill), tuple(sums.decode_pasts()), sums.elsewhere)
        self.note(sums, duration_us, self.step_time.explain(batch))

    def note(self, sums: BatchSums, duration_us: int, cost: StepCost) -> None:
        """Do so with the step's explanation at hand."""
        self.steps += 1
        self.total_us += duration_us
        self._bound_us[step_kind(len(sums.prefill), sums.decode_count)][self.bound_by(sums, cost)] += duration_us
        self._by_bottleneck[cost.bottleneck] += duration_us
        self._branches[cost.branch] += 1
        for name, phase in cost.phases():
            self._phase_us[name][phase.bottleneck] += phase.seconds * MICROSECONDS
        for use in cost.lookups:
            self._lookups["total"] += 1
            self._lookups["extrapolated"] += use.extrapolated
            self._lookups["fallback"] += use.fallback
            self._lookups["off_grid"] += use.distance > 0
            self._asked.add((use.kernel, use.asked))

    def bound_by(self, sums: BatchSums, cost: StepCost) -> str:
        """Return what bounds one step; see `StepCost.bound_by`."""
        flops, moved = self._work(sums)
        return cost.bound_by(flops / self._peak_flops, moved / self._peak_bandwidth)

    def summary(self) -> dict[str, Any]:
        """Return plain data: shares of the total time, shares per phase, branch and look-up counts.

        `bound` splits the run's time by what bounds each step, `by_kind` the time of each kind of step; `time_share`
        splits it by the component that dominated each step; `phases` splits each phase's own seconds so.
        Every group of shares adds up to 1. Of the look-ups, `distinct` had to be found in a table; the others
        repeat one (`repeated_share`), and `off_grid` ones rest on a row or a blend of rows for other sizes.
        """
        by_kind = {kind: sum(bounds.values()) for kind, bounds in self._bound_us.items() if bounds}
        total, distinct = self._lookups["total"], len(self._asked)
        return {
            "steps": self.steps,
            "total_us": self.total_us,
            "bound": _shares(sum(self._bound_us.values(), Counter[str]())),
            "by_kind": {
                kind: {"time_share": us / self.total_us, "bound": _shares(self._bound_us[kind])}
                for kind, us in by_kind.items()
            },
            "time_share": _shares(self._by_bottleneck),
            "phases": {phase: _shares(us) for phase, us in self._phase_us.items() if us},
            "branches": dict(sorted(self._branches.items())),
            "lookups": {
                **{name: self._lookups[name] for name in ("total", "extrapolated", "fallback", "off_grid")},
                "distinct": distinct,
                "repeated_share": 1 - distinct / total if total else None,
            },
        }


class BranchObserver(_DecodesUnobserved):
    """Counts which branch of the weighted average each mixed step falls into, whatever rule times it.

    Attributes
    ----------
    mixed
        Mixed steps seen so far, by a name of `BRANCHES`.
    """

    def __init__(self, step_time: StepTimeModel) -> None:
        super().__init__(step_time)
        self.mixed: Counter[str] = Counter()

    def observe(self, sums: BatchSums, duration_us: int) -> None:
        """Count the step if it is mixed."""
        if sums.prefill and sums.decode_count:
            new_tokens = sum([new for _, new in sums.prefill])
            name = branch("weighted_average", len(sums.prefill), new_tokens, sums.decode_count)
            self.mixed[name.removeprefix(PREFIX)] += 1


class ExtremesObserver(_DecodesUnobserved):
    """Remembers the step with the most decodes and the one with the most prefill tokens.

    After the run both, and the longest context served, are explained, and what lies outside the sizes the
    kernels were measured or fitted on becomes one warning.
    """

    def __init__(self, step_time: StepTimeModel) -> None:
        super().__init__(step_time)
        self._most_decodes = 0
        self._most_prefill_tokens = 0
        self._largest_decode = Batch()
        self._largest_prefill = Batch()

    @property
    def most_decodes(self) -> int:
        """Requests of the step with the most decodes."""
        return self._most_decodes

    def observe(self, sums: BatchSums, duration_us: int) -> None:
        """Remember the step if it is larger than all before it."""
        if sums.decode_count > self._most_decodes:
            self._most_decodes = sums.decode_count
            self._largest_decode = Batch(decode=tuple(sums.decode_pasts()), elsewhere=sums.elsewhere)
        if sums.prefill:
            tokens = sum([new for _, new in sums.prefill])
            if tokens > self._most_prefill_tokens:
                self._most_prefill_tokens = tokens
                self._largest_prefill = Batch(prefill=tuple(sums.prefill), elsewhere=sums.elsewhere)

    def lone_decode_times_us(self, pasts: Iterable[int]) -> list[int]:
        """Return the observed model's durations of lone decodes; the first of a run is remembered."""
        pasts = tuple(pasts)
        if not self._most_decodes:
            self.observe(BatchSums.of(Batch(decode=pasts[:1]), self.kv_breakpoints), 0)
        return super().lone_decode_times_us(pasts)

    def decode_times_us(self, sums: BatchSums, steps: int, limit_us: int) -> list[int] | None:
        """Return what the observed model offers; None for more decodes than ever, so that they are seen."""
        return None if sums.decode_count > self._most_decodes else super().decode_times_us(sums, steps, limit_us)

    def warnings(self, longest_context: int) -> list[str]:
        """Return one warning for all tables asked outside their range, and one for each answered from another row.

        A fitted formula grows as the work does, and nearly every served model has some size it was not fitted on: that
        is told by an explanation, and is no warning.
        `longest_context` is the most KV tokens that a decode of the run attended to; 0 where none decoded.
        """
        longest = Batch(decode=(longest_context,)) if longest_context else Batch()
        batches = [self._largest_prefill, self._largest_decode, longest]
        asked = [batch for batch in batches if batch.prefill or batch.decode]
        answers = [use for batch in asked for use in self.step_time.explain(batch).lookups]
        uses = [use for use in answers if use.used != FORMULA]
        outside, near_zero = list(_flagged(uses, "extrapolated")), _flagged(uses, "fallback")
        return [
            *([f"outside the sizes the kernels are known for: {'; '.join(outside)}"] if outside else []),
            *(f"{found} is near zero there; the nearest usable row answers" for found in near_zero),
        ]


def _shares(parts: Mapping[str, float]) -> dict[str, float]:
    total = sum([parts[name] for name in sorted(parts)])
    return {name: parts[name] / total for name in sorted(parts)} if total else {}


def _flagged(uses: Iterable[LookupUse], flag: str) -> Iterator[str]:
    """Name the farthest question of each table among those flagged."""
    flagged: dict[tuple[str, str], list[LookupUse]] = {}
    for use in uses:
        if getattr(use, flag):
            flagged.setdefault((use.kernel, use.table), []).append(use)
    for (kernel, table), found in flagged.items():
        farthest = max(found, key=lambda use: (use.distance, use.asked))
        others = len({use.asked for use in found}) - 1
        more = f" and {others} more" if others else ""
        yield f"{kernel} at {farthest.asked}{more} ({table})"
