"""What differs between two sides: `side_by_side` for any two tables, `compare` for two snapshots of reports.

Pure. Nothing is dropped: a number, row, criterion, method or report that stands on one side alone is listed as new or
gone, and enters no mean change.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from roofline_lab.regression.noise import SAME, Change, Fate, change_of, half_width_ms
from roofline_lab.regression.reading import (
    RIGHT,
    SCORED,
    WRONG,
    GroupKey,
    NumberKey,
    Report,
    RowKey,
    Ruling,
    Snapshot,
)
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.statistics import sign_flip_p

# Draws and seed of the permutation test beyond 16 experiments, as `testing` and `seeds` of configs/lab.yaml.
DRAWS = 10_000
SEED = 20260225
STATUS = "status"
Key = TypeVar("Key")
Cell = TypeVar("Cell")


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
    largest: tuple[NumberKey, float, float] | None


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


def side_by_side(
    before: Mapping[Key, Cell], after: Mapping[Key, Cell]
) -> Iterator[tuple[Key, Cell | None, Cell | None]]:
    """Yield everything either table knows, with what each says of it; None: that table does not know it."""
    for key in dict.fromkeys((*before, *after)):
        yield key, before.get(key), after.get(key)


def compare(before: Snapshot, after: Snapshot, threshold_pp: float) -> Comparison:
    """Return what differs between two snapshots.

    Parameters
    ----------
    threshold_pp
        Smallest change of a row's error that counts as one, in percentage points.
    """
    reports = sorted(side_by_side(before.reports, after.reports), key=lambda found: natural(found[0]))
    both = [(old, new) for _, old, new in reports if old is not None and new is not None]
    pairs = [(old, new, _changes(old, new, before, after, threshold_pp)) for old, new in both]
    return Comparison(
        before,
        after,
        new=tuple(new for _, old, new in reports if old is None and new is not None),
        gone=tuple(old for _, old, new in reports if old is not None and new is None),
        flips=tuple(flip for old, new in both for flip in _flips(old, new)),
        groups=tuple(group for old, new, changes in pairs for group in _groups(old, new, changes)),
        rows=tuple(Row(old.name, key, change) for old, _, changes in pairs for key, change in changes.items()),
        states=tuple(state for old, new in both for state in _states(old, new)),
        values=tuple(found for old, new in both for found in _values(old, new)),
        split=tuple(new.name for _, new in both if new.is_split),
    )


@lru_cache(maxsize=4096)
def natural(name: str) -> tuple[tuple[str, int], ...]:
    """Return a sort key that puts h2 before h10."""
    return tuple((text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name))


def _flips(old: Report, new: Report) -> Iterator[Flip]:
    """Yield every status and criterion that differs; nothing where one side has no verdict."""
    if not old.rulings or not new.rulings:
        return
    for method, was, now in side_by_side(old.rulings, new.rulings):
        for subject, result, other in side_by_side(_results(was, now), _results(now, was)):
            if result != other:
                yield Flip(old.name, method, subject, result, other)


def _results(ruling: Ruling | None, other: Ruling | None) -> dict[str, str]:
    """Return status and results of one method; the status alone where only one side has the method."""
    if ruling is None:
        return {}
    return {STATUS: ruling.status, **(ruling.criteria if other is not None else {})}


# --- rows -------------------------------------------------------------------------------------


def _changes(old: Report, new: Report, before: Snapshot, after: Snapshot, threshold_pp: float) -> dict[RowKey, Change]:
    """Return the change of every row scored on both sides, in the order of the new report."""
    found = {}
    for key, row, earlier in side_by_side(new.rows, old.rows):
        if row is not None and earlier is not None:
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
    known = {key.group for key in old.states} & {key.group for key in new.states}
    for key, before, after in _rows(old, new):
        if before != after and (key.group in known or SCORED not in (before, after)):
            yield State(old.name, key, before, after)


def _rows(old: Report, new: Report) -> list[tuple[RowKey, str | None, str | None]]:
    """Return all rows, scored or not, with their states: methods and arms in natural order."""
    return sorted(side_by_side(old.states, new.states), key=lambda found: tuple(map(natural, found[0])))


def _fate(before: str | None, after: str | None, change: Change | None) -> Fate:
    if change is not None:
        return change.fate
    if {before, after} <= {RIGHT, WRONG}:
        return Fate.SAME if before == after else Fate.BETTER if after == RIGHT else Fate.WORSE
    if after == SCORED:
        return Fate.NEW
    if before == SCORED:
        return Fate.GONE if after is None else Fate.LOST
    return Fate.UNSCORED


# --- means ------------------------------------------------------------------------------------


def _groups(old: Report, new: Report, changes: Mapping[RowKey, Change]) -> Iterator[Group]:
    members: dict[GroupKey, dict[RowKey, Fate]] = {}
    for key, before, after in _rows(old, new):
        members.setdefault(key.group, {})[key] = _fate(before, after, changes.get(key))
    for group, fates in members.items():
        paired = {key: changes[key] for key in fates if key in changes}
        before_pct, after_pct = _mape(old, group, fates), _mape(new, group, fates)
        same_rows = all((key in old.rows) == (key in new.rows) for key in fates)
        change = None
        if same_rows and before_pct is not None and after_pct is not None:
            change = after_pct - before_pct
        elif paired:
            change = mean([row.pp for row in paired.values()])
        yield Group(
            old.name,
            group,
            before_pct,
            after_pct,
            change,
            _p_value({key: row.pp for key, row in paired.items()}),
            Counter(fates.values()),
            sum(row.remeasured for row in paired.values()),
            same_rows,
        )


def _mape(report: Report, group: GroupKey, keys: Iterable[RowKey]) -> float | None:
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


def _values(old: Report, new: Report) -> Iterator[Values]:
    """Yield how many numbers of a report differ, if any do."""
    found = list(side_by_side(old.values, new.values))
    both = [(key, was, now) for key, was, now in found if was is not None and now is not None]
    differing = [(key, was, now) for key, was, now in both if abs(was - now) > SAME]
    came, went = (sum(side[index] is None for side in found) for index in (1, 2))
    if differing or came or went:
        largest = max(differing, key=lambda pair: (_share(pair[1], pair[2]), pair[0]), default=None)
        yield Values(new.name, len(found), len(differing), came, went, largest)


def _share(before: float, after: float) -> float:
    """Return the difference relative to the larger of two numbers."""
    largest = max(abs(before), abs(after))
    return abs(before - after) / largest if largest else 0.0
