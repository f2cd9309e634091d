"""Has a simulator got worse? A judgement on verdicts, predictions and errors, for its own continuous integration.

Pure. A gate fails on a verdict or criterion that flipped, on a prediction that is lost or wrong now, and on an error
that grew beyond noise. Two things tell noise from growth, because one alone would miss half of what can go wrong:

* a mean error grew if the paired differences of its load points are above zero with their whole interval, drawn as
  everywhere by family (where there are too few families for one: in every family), and a permutation test agrees, or
  all of them are above zero where there are too few for one;
* a row grew if no value its measurement may have makes the change less than a floor (`noise`), and the change is far
  beyond how the other rows of the same mean moved: predictions of a simulator that draws at random all move a little.

Of 600 made-up pairs of runs whose predictions scattered alike, a mean of 12 rows of 4 families was called grown in
2.5 % and one of its rows in 0.3 %; of 80 rows of 7 families neither; of 4 rows of 4 families 8 % and 3 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from roofline_lab.regression.difference import Comparison, Flip, Group, Row, State
from roofline_lab.regression.noise import Fate
from roofline_lab.regression.reading import RIGHT, SCORED, WRONG, GroupKey
from roofline_lab.scoring.errors import PERCENT, mean
from roofline_lab.scoring.statistics import Interval, median
from roofline_lab.scoring.uncertainty import Uncertainty

# Changes of single rows that count as growth, in robust standard deviations of the other rows' changes around zero.
# Smallest whole number with less than 1 % of false alarms among 12 or more rows that scatter normally (see above).
SPREADS = 6.0
# Median of absolute values to standard deviation, for a normal distribution.
DEVIATION_OVER_MEDIAN = 1.4826
# Fewest clusters that tell anything, and pairs that let a permutation test reach 5 % (2 / 2**6).
FEWEST, FEWEST_CONCLUSIVE = 2, 6


@dataclass(frozen=True, slots=True)
class GrownMean:
    """A mean error that grew beyond noise.

    Attributes
    ----------
    change_pp, interval
        Mean of the paired differences, and its interval; None with too few clusters for one.
    rows
        Its load points, those that grew most first.
    """

    group: Group
    change_pp: float
    interval: Interval | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """What speaks against a new version of a simulator.

    Attributes
    ----------
    flips
        Verdicts and criteria with another result.
    lost
        Rows that had a number and have none, and such as were predicted rightly and are not.
    means, rows
        Errors that grew beyond noise.
    threshold_pp
        Growth below which nothing counts.
    """

    comparison: Comparison
    flips: tuple[Flip, ...]
    lost: tuple[State, ...]
    means: tuple[GrownMean, ...]
    rows: tuple[Row, ...]
    threshold_pp: float

    @property
    def passed(self) -> bool:
        """Whether nothing does."""
        return not (self.flips or self.lost or self.means or self.rows)


def judge(comparison: Comparison, families: Mapping[str, str], uncertainty: Uncertainty, threshold_pp: float) -> Gate:
    """Return what got worse from the committed reports to those a simulator gives now.

    Parameters
    ----------
    families
        Model family by experiment, by which intervals are drawn.
    threshold_pp
        Smallest growth of an error that counts, percentage points.
    """
    rows = _by_group(comparison.rows)
    groups = {(group.report, group.key): group for group in comparison.groups}
    means = (_grown(groups[place], own, families, uncertainty, threshold_pp) for place, own in rows.items())
    return Gate(
        comparison,
        flips=tuple(flip for flip in comparison.flips if flip.is_flip),
        lost=tuple(_lost(comparison)),
        means=tuple(found for found in means if found is not None),
        rows=tuple(row for own in rows.values() for row in _grown_rows(own)),
        threshold_pp=threshold_pp,
    )


def _by_group(rows: Sequence[Row]) -> dict[tuple[str, GroupKey], list[Row]]:
    """Return the rows of each mean; one that is compared with another measurement than before tells nothing."""
    found: dict[tuple[str, GroupKey], list[Row]] = {}
    for row in rows:
        if not row.change.remeasured:
            found.setdefault((row.report, row.key.group), []).append(row)
    return found


def _lost(comparison: Comparison) -> Iterator[State]:
    """Yield every row that had a number and has none, or is not there, and every yes or no that was right."""
    for name, old in comparison.before.reports.items():
        states = comparison.after.reports[name].states
        for key, before in old.states.items():
            after = states.get(key)
            if (before == SCORED and after != SCORED) or (before == RIGHT and after == WRONG):
                yield State(name, key, before, after)


def _grown(
    group: Group, rows: Sequence[Row], families: Mapping[str, str], uncertainty: Uncertainty, threshold_pp: float
) -> GrownMean | None:
    changes = [row.change.pp for row in rows]
    if mean(changes) <= threshold_pp:
        return None
    blocks, clusters = _witnesses(rows, {}), _witnesses(rows, families)
    if not blocks:
        return None
    interval = uncertainty.interval_of(changes, clusters)
    lowest = min(_means(changes, clusters)) if interval is None else interval.low
    if lowest <= 0 or not _is_significant(changes, blocks, uncertainty):
        return None
    worst = sorted(rows, key=lambda row: (-round(row.change.pp, 9), row.key))
    return GrownMean(group, mean(changes), interval, tuple(worst))


def _witnesses(rows: Sequence[Row], families: Mapping[str, str]) -> list[str]:
    """Return what the rows are independent by: families if there are several, else experiments, else load points.

    Empty where there is a single row.
    """
    experiments = [row.key.experiment for row in rows]
    of_families = [families.get(name, name) for name in experiments]
    for names in (of_families, experiments, [row.key.load_point for row in rows]):
        if len(set(names)) >= FEWEST:
            return names
    return []


def _means(changes: Sequence[float], clusters: Sequence[str]) -> list[float]:
    found: dict[str, list[float]] = {}
    for change, cluster in zip(changes, clusters, strict=True):
        found.setdefault(cluster, []).append(change)
    return [mean(members) for members in found.values()]


def _is_significant(changes: Sequence[float], blocks: Sequence[str], uncertainty: Uncertainty) -> bool:
    if len(set(blocks)) < FEWEST_CONCLUSIVE:
        return all(change > 0 for change in changes)
    p_value = uncertainty.p_of_differences(changes, blocks)
    return p_value is not None and p_value.value <= 1.0 - uncertainty.level_pct / PERCENT


def _grown_rows(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the rows of one mean that grew beyond their measurement and beyond the scatter of the others."""
    for place, row in enumerate(rows):
        others = [abs(other.change.pp) for at, other in enumerate(rows) if at != place]
        scatter = DEVIATION_OVER_MEDIAN * median(others) if others else 0.0
        if row.change.fate is Fate.WORSE and row.change.pp > SPREADS * scatter:
            yield row
