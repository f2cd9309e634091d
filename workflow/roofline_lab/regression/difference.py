"""What differs between two snapshots: verdicts, mean errors, rows, states of rows, and numbers that have no error.

Pure. Nothing is dropped: a row, criterion, method or report that stands on one side alone is listed as new or gone,
and enters no mean change.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from roofline_lab.regression.noise import SAME, Change, Direction, change_of, half_width_ms
from roofline_lab.regression.records import RIGHT, SCORED, WRONG, GroupKey, Report, RowKey, Snapshot, ValueKey
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.statistics import sign_flip_p

# Draws and seed of the permutation test beyond 16 experiments, as `testing` and `seeds` of configs/lab.yaml.
DRAWS = 10_000
SEED = 20260225
STATUS = "status"


class Fate(StrEnum):
    """What became of a row: a direction where both sides have a number, else how it came or went."""

    BETTER = Direction.BETTER.value
    WORSE = Direction.WORSE.value
    SAME = Direction.SAME.value
    NEW = "new"
    GONE = "gone"
    LOST = "lost"
    UNSCORED = "unscored"


@dataclass(frozen=True, slots=True)
class Flip:
    """A status or the result of a criterion that is not what it was; None: it was or is not there.

    Attributes
    ----------
    subject
        `status`, or the criterion's id.
    """

    report: str
    method: str
    subject: str
    before: str | None
    after: str | None

    @property
    def is_flip(self) -> bool:
        """Whether both sides say something, and not the same."""
        return self.before is not None and self.after is not None


@dataclass(frozen=True, slots=True)
class Row:
    """One row that has a number on both sides."""

    report: str
    key: RowKey
    change: Change


@dataclass(frozen=True, slots=True)
class State:
    """One row whose state is not what it was; None: there is no such row."""

    report: str
    key: RowKey
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """Mean error of one arm and metric.

    Attributes
    ----------
    before, after
        MAPE in percent as each side reports it, None where nothing was scored.
    change_pp
        After minus before; over the rows scored on both sides where these are not the same rows.
    p_value
        Two-sided, from flipping signs of the changes of experiments; None below two.
    counts
        Rows by fate.
    remeasured
        Rows that are compared with another measured figure than before.
    same_rows
        Whether both sides score the same rows.
    """

    report: str
    key: GroupKey
    before: float | None
    after: float | None
    change_pp: float | None
    p_value: float | None
    counts: Mapping[Fate, int]
    remeasured: int
    same_rows: bool

    @property
    def is_changed(self) -> bool:
        """Whether any row changed beyond noise, came or went."""
        return any(count for fate, count in self.counts.items() if fate not in (Fate.SAME, Fate.UNSCORED))

    @property
    def is_on_one_side(self) -> bool:
        """Whether the arm or metric came or went as a whole, without a run that failed."""
        return not any(self.counts.get(fate) for fate in Fate if fate not in (Fate.NEW, Fate.GONE, Fate.UNSCORED))

    @property
    def is_moved(self) -> bool:
        """Whether the mean error moved at all."""
        return self.change_pp is not None and abs(self.change_pp) > SAME


@dataclass(frozen=True, slots=True)
class Values:
    """Numbers of one report that have no error: how many differ, and which one most."""

    report: str
    total: int
    changed: int
    new: int
    gone: int
    largest: tuple[ValueKey, float, float, str] | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that differs between two snapshots, in stable order."""

    before: Snapshot
    after: Snapshot
    new: tuple[Report, ...]
    gone: tuple[Report, ...]
    flips: tuple[Flip, ...]
    groups: tuple[Group, ...]
    rows: tuple[Row, ...]
    states: tuple[State, ...]
    values: tuple[Values, ...]
    split: tuple[str, ...]

    @property
    def verdicts_flipped(self) -> int:
        """Statuses and criteria that both sides have, with different results."""
        return sum(flip.is_flip for flip in self.flips)

    def count(self, *fates: Fate) -> int:
        """Return how many rows of reports on both sides had one of these fates."""
        return sum(group.counts.get(fate, 0) for group in self.groups for fate in fates)

    @property
    def is_empty(self) -> bool:
        """Whether the two sides say the same."""
        moved = any(group.is_changed or group.is_moved or group.remeasured for group in self.groups)
        return not (self.new or self.gone or self.flips or self.states or self.values or moved)


def compare(before: Snapshot, after: Snapshot, threshold_pp: float) -> Comparison:
    """Return what differs between two snapshots.

    Parameters
    ----------
    threshold_pp
        Smallest change of a row's error that counts as one, in percentage points.
    """
    names = sorted({*before.reports, *after.reports}, key=natural)
    both = [(before.reports[name], after.reports[name]) for name in names if _on_both(name, before, after)]
    pairs = [(old, new, _changes(old, new, before, after, threshold_pp)) for old, new in both]
    return Comparison(
        before,
        after,
        new=tuple(after.reports[name] for name in names if name not in before.reports),
        gone=tuple(before.reports[name] for name in names if name not in after.reports),
        flips=tuple(flip for old, new in both for flip in _flips(old, new)),
        groups=tuple(group for old, new, changes in pairs for group in _groups(old, new, changes)),
        rows=tuple(Row(old.name, key, change) for old, _, changes in pairs for key, change in changes.items()),
        states=tuple(state for old, new in both for state in _states(old, new)),
        values=tuple(
            values
            for old, new in both
            for values in (_values(old, new),)
            if values.changed or values.new or values.gone
        ),
        split=tuple(new.name for _, new in both if new.is_split),
    )


@lru_cache(maxsize=4096)
def natural(name: str) -> tuple[tuple[str, int], ...]:
    """Return a sort key that puts h2 before h10."""
    return tuple((text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name))


def _on_both(name: str, before: Snapshot, after: Snapshot) -> bool:
    return name in before.reports and name in after.reports


# --- verdicts ---------------------------------------------------------------------------------


def _flips(old: Report, new: Report) -> Iterator[Flip]:
    """Yield every status and criterion that differs; nothing where one side has no readable verdict."""
    if not old.rulings or not new.rulings:
        return
    for method in _union(old.rulings, new.rulings):
        one, other = old.rulings.get(method), new.rulings.get(method)
        sides = ((one.status if one else None), (other.status if other else None))
        if sides[0] != sides[1]:
            yield Flip(old.name, method, STATUS, *sides)
        if one is None or other is None:
            continue
        for criterion in _union(one.criteria, other.criteria):
            results = one.criteria.get(criterion), other.criteria.get(criterion)
            if results[0] != results[1]:
                yield Flip(old.name, method, criterion, *results)


# --- rows -------------------------------------------------------------------------------------


def _changes(old: Report, new: Report, before: Snapshot, after: Snapshot, threshold_pp: float) -> dict[RowKey, Change]:
    """Return the change of every row scored on both sides, in the order of the new report."""
    found = {}
    for key, row in new.rows.items():
        if (earlier := old.rows.get(key)) is not None:
            widths = (
                half_width_ms(earlier, key.measurement, before.figures),
                half_width_ms(row, key.measurement, after.figures),
            )
            found[key] = change_of(earlier, row, widths, threshold_pp)
    return found


def _states(old: Report, new: Report) -> Iterator[State]:
    """Yield the rows that came, went, won or lost their number.

    Rows with a number of an arm or metric that came or went as a whole are left to its mean.
    """
    keys = _row_keys(old, new)
    known = {key.group for key in _row_keys(old)} & {key.group for key in _row_keys(new)}
    for key in keys:
        before, after = old.state(key), new.state(key)
        if before != after and (key.group in known or SCORED not in (before, after)):
            yield State(old.name, key, before, after)


def _fate(old: Report, new: Report, key: RowKey, changes: Mapping[RowKey, Change]) -> Fate:
    if key in changes:
        return Fate(changes[key].direction.value)
    before, after = old.state(key), new.state(key)
    if {before, after} <= {RIGHT, WRONG}:
        return Fate.SAME if before == after else Fate.BETTER if after == RIGHT else Fate.WORSE
    if after == SCORED:
        return Fate.NEW
    if before == SCORED:
        return Fate.GONE if after is None else Fate.LOST
    return Fate.UNSCORED


# --- means ------------------------------------------------------------------------------------


def _groups(old: Report, new: Report, changes: Mapping[RowKey, Change]) -> Iterator[Group]:
    members: dict[GroupKey, list[RowKey]] = {}
    for key in _row_keys(old, new):
        members.setdefault(key.group, []).append(key)
    for group, keys in members.items():
        yield _group(old, new, group, keys, changes)


def _group(
    old: Report, new: Report, group: GroupKey, keys: Sequence[RowKey], changes: Mapping[RowKey, Change]
) -> Group:
    paired = [key for key in keys if key in changes]
    before, after = _mape(old, group, keys), _mape(new, group, keys)
    same_rows = all((key in old.rows) == (key in new.rows) for key in keys)
    change = None
    if same_rows and before is not None and after is not None:
        change = after - before
    elif paired:
        change = mean([changes[key].pp for key in paired])
    return Group(
        old.name,
        group,
        before,
        after,
        change,
        _p_value({key: changes[key].pp for key in paired}),
        Counter(_fate(old, new, key, changes) for key in keys),
        sum(changes[key].remeasured for key in paired),
        same_rows,
    )


def _mape(report: Report, group: GroupKey, keys: Sequence[RowKey]) -> float | None:
    """Return the error the report gives where it gives one, else the plain mean over rows."""
    errors = [report.rows[key].ape_pct for key in keys if key in report.rows]
    return report.means.get(group, mean(errors)) if errors else None


def _p_value(changes: Mapping[RowKey, float]) -> float | None:
    """Test the changes; load points of one experiment move together. None where nothing moved."""
    if all(abs(pp) <= SAME for pp in changes.values()):
        return None
    blocks = [key.experiment for key in changes]
    found = sign_flip_p(list(changes.values()), draws=DRAWS, seed=SEED, blocks=blocks)
    return None if found is None else found.value


# --- numbers without an error -------------------------------------------------------------------------


def _values(old: Report, new: Report) -> Values:
    common = [key for key in new.values if key in old.values]
    differing = [key for key in common if not _alike(old.values[key], new.values[key])]
    largest = max(differing, key=lambda key: (_share(old.values[key][0], new.values[key][0]), key), default=None)
    worst = None
    if largest is not None:
        worst = (largest, old.values[largest][0], *new.values[largest])
    total = len({*old.values, *new.values})
    return Values(new.name, total, len(differing), len(new.values) - len(common), len(old.values) - len(common), worst)


def _alike(one: tuple[float, str], other: tuple[float, str]) -> bool:
    return one[1] == other[1] and abs(one[0] - other[0]) <= SAME


def _share(one: float, other: float) -> float:
    """Return the difference relative to the larger of two numbers."""
    largest = max(abs(one), abs(other))
    return abs(one - other) / largest if largest else 0.0


# --- order ------------------------------------------------------------------------------------


def _row_keys(*reports: Report) -> list[RowKey]:
    """Return the rows of all reports, scored or not: methods and arms in natural order."""
    keys = {key for report in reports for key in (*report.rows, *report.unscored)}
    return sorted(keys, key=lambda key: (*map(natural, key),))


def _union(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys((*first, *second)))
