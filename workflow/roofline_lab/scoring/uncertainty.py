"""How sure one can be of a criterion: interval, p-value, sample size and robust variants of one sample.

`Uncertainty` binds the laboratory's settings to `roofline_lab.scoring.statistics`, so that every criterion is
treated the same way. The cluster of an experiment is its model family; the load points of one experiment
are permuted together and count as one experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from roofline_lab.config import Settings
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.scores import ErrorRow, Gain
from roofline_lab.scoring.statistics import (
    MIN_SAMPLE,
    Interval,
    PValue,
    bootstrap_difference,
    bootstrap_mean,
    deviation,
    label_swap_p,
    median,
    pairs_needed,
    per_group_needed,
    sign_flip_p,
    trimmed_mean,
)

CLUSTER = "model family"
# The same property of every member of two groups.
Groups = tuple[Sequence[str], Sequence[str]]
# Fewest clusters from which whole-family sign flips could ever reach p <= 5 %: 2 / 2**6 < 0.05.
FEWEST_CONCLUSIVE_CLUSTERS = 6


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the sample behind a criterion can tell.

    Attributes
    ----------
    sizes
        Experiments in the sample, or in each of its two groups.
    clusters
        Model families among them.
    claimed
        The effect the criterion claims, in its unit; where it claims none but a direction, the one
        observed.
    needed
        Experiments (per group) that detect the claimed effect; None if there is no effect.
    robust
        (name, value) of the same quantity by median and by trimmed mean.
    against_zero
        Whether zero is what the difference has to be told from.
    """

    sizes: tuple[int, ...]
    clusters: int
    interval: Interval | None
    p_value: PValue | None
    claimed: float
    needed: int | None
    robust: tuple[tuple[str, float], ...]
    against_zero: bool = True

    @property
    def is_distinguishable(self) -> bool | None:
        """Whether interval and permutation test both tell the difference from zero; None if unknown."""
        if self.interval is None or self.p_value is None:
            return None
        alpha = 1.0 - self.interval.level_pct / 100.0
        return not self.interval.low <= 0.0 <= self.interval.high and self.p_value.value <= alpha


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
        """Return the interval of a mean, by drawing whole clusters where they are named."""
        return bootstrap_mean(values, level_pct=self.level_pct, clusters=clusters, **self._bootstrap)

    def p_of_differences(self, differences: Sequence[float], blocks: Sequence[str] | None = None) -> PValue | None:
        """Test whether paired differences have mean zero; several of one block move together."""
        return sign_flip_p(differences, blocks=blocks, **self._permute)

    def of_gains(self, gains: Sequence[Gain], claimed: float) -> Evidence:
        """Describe a mean gain; `claimed` is the gain the criterion asks for, 0 for a mere direction."""
        values = [gain.value for gain in gains]
        families = [gain.row.family for gain in gains]
        spread = deviation(_per_experiment(gains))
        effect = claimed or mean(values)
        return Evidence(
            sizes=(len(_blocks(gains)),),
            clusters=len(set(families)),
            interval=self._interval(values, [gain.row for gain in gains]),
            p_value=self.p_of_differences(values, [gain.row.experiment for gain in gains]),
            claimed=effect,
            needed=None if spread is None else pairs_needed(effect, spread, level_pct=self.level_pct, power=self.power),
            robust=self._robust(lambda centre: centre(values)),
        )

    def of_groups(self, first: Sequence[Gain], second: Sequence[Gain], claimed: float) -> Evidence:
        """Describe the difference between the mean gains of two groups."""
        values = [[gain.value for gain in group] for group in (first, second)]
        families = ([gain.row.family for gain in first], [gain.row.family for gain in second])
        blocks = ([gain.row.experiment for gain in first], [gain.row.experiment for gain in second])
        spreads = [deviation(_per_experiment(group)) for group in (first, second)]
        effect = claimed or mean(values[0]) - mean(values[1])
        needed = None
        if spreads[0] is not None and spreads[1] is not None:
            needed = per_group_needed(effect, spreads[0], spreads[1], level_pct=self.level_pct, power=self.power)
        return Evidence(
            sizes=(len(_blocks(first)), len(_blocks(second))),
            clusters=len({*families[0], *families[1]}),
            interval=self._interval_of_difference(values, families, blocks),
            p_value=label_swap_p(values[0], values[1], blocks=blocks, **self._permute),
            claimed=effect,
            needed=needed,
            robust=self._robust(lambda centre: centre(values[0]) - centre(values[1])),
        )

    def of_errors(self, errors: Sequence[float], rows: Sequence[ErrorRow]) -> Evidence:
        """Describe the mean of one error per row, which is compared with a limit and never with zero."""
        families = [row.family for row in rows]
        experiments = len({row.experiment for row in rows})
        interval = self._interval(errors, rows)
        robust = self._robust(lambda centre: centre(errors))
        return Evidence((experiments,), len(set(families)), interval, None, 0.0, None, robust, against_zero=False)

    def _interval(self, values: Sequence[float], rows: Sequence[ErrorRow]) -> Interval | None:
        """Draw families, or experiments where there is one family; one experiment alone has no interval."""
        families, experiments = [row.family for row in rows], [row.experiment for row in rows]
        if len(set(experiments)) < MIN_SAMPLE:
            return None
        clusters = families if len(set(families)) >= MIN_SAMPLE else experiments
        return self.interval_of(values, clusters)

    def _interval_of_difference(
        self, values: Sequence[Sequence[float]], families: Groups, experiments: Groups
    ) -> Interval | None:
        if min(len(set(group)) for group in experiments) < MIN_SAMPLE:
            return None
        several = len({*families[0], *families[1]}) >= MIN_SAMPLE
        clusters = families if several else experiments
        return bootstrap_difference(*values, level_pct=self.level_pct, clusters=clusters, **self._bootstrap)

    def _robust(self, quantity: Callable[[Callable[[Sequence[float]], float]], float]) -> tuple[tuple[str, float], ...]:
        trimmed = f"{self.trim_pct:g} % trimmed mean"
        return (
            ("median", quantity(median)),
            (trimmed, quantity(lambda sample: trimmed_mean(sample, self.trim_pct))),
        )


def _blocks(gains: Sequence[Gain]) -> dict[str, list[float]]:
    """Return the gains of each experiment, one per load point."""
    found: dict[str, list[float]] = {}
    for gain in gains:
        found.setdefault(gain.row.experiment, []).append(gain.value)
    return found


def _per_experiment(gains: Sequence[Gain]) -> list[float]:
    return [mean(values) for values in _blocks(gains).values()]
