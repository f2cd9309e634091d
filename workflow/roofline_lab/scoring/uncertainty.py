"""How sure one can be of a criterion: interval, p-value, sample size and robust variants of one sample.

`Uncertainty` binds the laboratory's settings to `roofline_lab.scoring.statistics`, so that every criterion is
treated the same way: interval and test both ask whether what was observed can be told from the criterion's threshold.
The cluster of an experiment is its model family; where all are of one family, experiments are drawn, and the interval
speaks of that family alone. The load points of one experiment are permuted together and count as one experiment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from roofline_lab.config import Settings
from roofline_lab.formatting import counted
from roofline_lab.scoring.errors import PERCENT, mean
from roofline_lab.scoring.scores import ErrorRow, Gain
from roofline_lab.scoring.statistics import (
    MIN_SAMPLE,
    Interval,
    PValue,
    bootstrap_difference,
    bootstrap_lowest,
    bootstrap_mean,
    deviation,
    fewest_units,
    label_swap_p,
    median,
    pairs_needed,
    per_group_needed,
    sign_flip_p,
    trimmed_mean,
)

CLUSTER = "model family"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the sample behind a criterion can tell.

    Attributes
    ----------
    sizes
        Experiments in the sample, or in each of its two groups.
    clusters
        Model families among them.
    no_interval
        Why there is no interval; empty where there is one.
    p_value
        Of the test whether the mean, or the difference between two, is the threshold.
    threshold
        What the criterion compares with, in its unit.
    claimed
        The effect the criterion claims, in its unit; where it claims none but a direction, the one
        observed.
    needed
        Experiments (per group) that detect the claimed effect; None if there is no effect.
    robust
        (name, value) of the same quantity by median and by trimmed mean.
    either_way
        Whether the threshold's mirror image is one as well: the claim is about a size.
    """

    sizes: tuple[int, ...]
    clusters: int
    interval: Interval | None
    no_interval: str
    p_value: PValue | None
    threshold: float
    claimed: float
    needed: int | None
    robust: tuple[tuple[str, float], ...]
    either_way: bool = False

    @property
    def is_distinguishable(self) -> bool | None:
        """Whether interval and permutation test both tell the threshold from what was observed; None if unknown."""
        if self.interval is None or self.p_value is None:
            return None
        alpha = 1.0 - self.interval.level_pct / PERCENT
        thresholds = (self.threshold, -self.threshold) if self.either_way else (self.threshold,)
        inside = any(self.interval.low <= threshold <= self.interval.high for threshold in thresholds)
        return not inside and self.p_value.value <= alpha


@dataclass(frozen=True, slots=True)
class Located:
    """Where the lowest of several means lies when others are drawn.

    Attributes
    ----------
    drawn
        What is drawn, in words.
    no_interval
        Why there is no interval; empty where there is one.
    """

    interval: Interval | None
    drawn: str
    no_interval: str


@dataclass(frozen=True, slots=True)
class _Sample:
    """Values of one group, and the rows they are of."""

    values: tuple[float, ...]
    rows: tuple[ErrorRow, ...]

    @property
    def blocks(self) -> list[str]:
        """The experiment of each value."""
        return [row.experiment for row in self.rows]

    @property
    def families(self) -> set[str]:
        return {row.family for row in self.rows}

    @property
    def units(self) -> tuple[tuple[str, str], list[str]]:
        """What is drawn, in singular and plural, and which of them each value belongs to."""
        if len(self.families) < MIN_SAMPLE:
            return ("experiment", "experiments"), self.blocks
        return ("model family", "model families"), [row.family for row in self.rows]

    @property
    def spread(self) -> float | None:
        """Standard deviation over experiments, each the mean of its values."""
        found: dict[str, list[float]] = {}
        for block, value in zip(self.blocks, self.values, strict=True):
            found.setdefault(block, []).append(value)
        return deviation([mean(values) for values in found.values()])


class Uncertainty:
    """The laboratory's statistics; callable as the bootstrap of one sample or of a difference."""

    def __init__(
        self,
        resamples: int,
        level_pct: float,
        seed: int,
        *,
        permutations: int = 10_000,
        permutation_seed: int = 0,
        power: float = 0.8,
        trim_pct: float = 20.0,
    ) -> None:
        self.level_pct = level_pct
        self.power = power
        self.trim_pct = trim_pct
        self._bootstrap = {"resamples": resamples, "seed": seed}
        self._permute = {"draws": permutations, "seed": permutation_seed}

    @classmethod
    def of_settings(cls, settings: Settings) -> Uncertainty:
        """Return the statistics as `configs/lab.yaml` sets them."""
        return cls(
            settings.bootstrap.resamples,
            settings.bootstrap.level_pct,
            settings.seeds.bootstrap,
            permutations=settings.testing.permutations,
            permutation_seed=settings.seeds.permutation,
            power=settings.testing.power,
            trim_pct=settings.testing.trim_pct,
        )

    def interval_of(self, values: Sequence[float], clusters: Sequence[str] | None = None) -> Interval | None:
        """Return the interval of a mean, by drawing whole clusters where several are named."""
        named = clusters if clusters is not None and len(set(clusters)) >= MIN_SAMPLE else None
        return bootstrap_mean(values, level_pct=self.level_pct, clusters=named, **self._bootstrap)

    def p_of_differences(self, differences: Sequence[float], blocks: Sequence[str] | None = None) -> PValue | None:
        """Test whether paired differences have mean zero; several of one block move together."""
        return sign_flip_p(differences, blocks=blocks, **self._permute)

    def of_gains(self, gains: Sequence[Gain], claimed: float, *, either_way: bool = False) -> Evidence:
        """Describe a mean gain.

        Parameters
        ----------
        claimed
            The gain the criterion asks for, 0 for a mere direction.
        either_way
            The claim is about the size of the gain: the nearer of the two ends is what it has to be told from.
        """
        sample = _of(gains)
        effect, spread = claimed or mean(sample.values), sample.spread
        needed = None if spread is None else pairs_needed(effect, spread, level_pct=self.level_pct, power=self.power)
        return self._of_mean(sample, claimed, effect, needed, either_way=either_way)

    def of_errors(self, errors: Sequence[float], rows: Sequence[ErrorRow], threshold: float = 0.0) -> Evidence:
        """Describe the mean of one error per row, which is compared with a limit."""
        return self._of_mean(_Sample(tuple(errors), tuple(rows)), threshold, 0.0, None)

    def _of_mean(
        self, sample: _Sample, threshold: float, claimed: float, needed: int | None, *, either_way: bool = False
    ) -> Evidence:
        told_from = math.copysign(threshold, mean(sample.values)) if either_way else threshold
        _, units = sample.units
        return Evidence(
            sizes=(len(set(sample.blocks)),),
            clusters=len(sample.families),
            interval=bootstrap_mean(sample.values, level_pct=self.level_pct, clusters=units, **self._bootstrap),
            no_interval=self._too_few(sample),
            p_value=self.p_of_differences([value - told_from for value in sample.values], sample.blocks),
            threshold=told_from,
            claimed=claimed,
            needed=needed,
            robust=self._robust(lambda centre: centre(sample.values)),
            either_way=either_way,
        )

    def of_lowest(self, errors: Mapping[float, Sequence[float]], rows: Sequence[ErrorRow]) -> Located:
        """Say how far the key of the lowest mean error moves with what it was taken over: one error per key and row."""
        sample = _Sample((), tuple(rows))
        (_, drawn), units = sample.units
        interval = bootstrap_lowest(errors, units, level_pct=self.level_pct, **self._bootstrap)
        return Located(interval, drawn, self._too_few(sample))

    def of_groups(
        self, first: Sequence[Gain], second: Sequence[Gain], claimed: float, *, either_way: bool = False
    ) -> Evidence:
        """Describe the difference between the means of two groups, each resampled for itself; keys as of `of_gains`."""
        one, other = _of(first), _of(second)
        difference = mean(one.values) - mean(other.values)
        told_from = math.copysign(claimed, difference) if either_way else claimed
        blocks, units = (one.blocks, other.blocks), (one.units[1], other.units[1])
        shifted = [value - told_from for value in one.values]
        return Evidence(
            sizes=(len(set(one.blocks)), len(set(other.blocks))),
            clusters=len(one.families | other.families),
            interval=bootstrap_difference(
                one.values, other.values, level_pct=self.level_pct, clusters=units, **self._bootstrap
            ),
            no_interval="; ".join(dict.fromkeys(filter(None, map(self._too_few, (one, other))))),
            p_value=label_swap_p(shifted, other.values, blocks=blocks, **self._permute),
            threshold=told_from,
            claimed=told_from or difference,
            needed=self._needed_per_group(told_from or difference, one.spread, other.spread),
            robust=self._robust(lambda centre: centre(one.values) - centre(other.values)),
            either_way=either_way,
        )

    def _needed_per_group(self, effect: float, first: float | None, second: float | None) -> int | None:
        if first is None or second is None:
            return None
        return per_group_needed(effect, first, second, level_pct=self.level_pct, power=self.power)

    def _too_few(self, sample: _Sample) -> str:
        """Say that a sample is too small for an interval, and what it would need; empty where it is not."""
        (noun, units), fewest = sample.units, fewest_units(self.level_pct)
        if (count := len(set(units))) >= fewest:
            return ""
        return f"{counted(count, *noun)}, and an interval needs {fewest}"

    def _robust(self, quantity: Callable[[Callable[[Sequence[float]], float]], float]) -> tuple[tuple[str, float], ...]:
        trimmed = f"{self.trim_pct:g} % trimmed mean"
        return (
            ("median", quantity(median)),
            (trimmed, quantity(lambda sample: trimmed_mean(sample, self.trim_pct))),
        )


def _of(gains: Sequence[Gain]) -> _Sample:
    return _Sample(tuple(gain.value for gain in gains), tuple(gain.row for gain in gains))
