"""The tables of a comparison, each as header and lines; `comment` decides how many of them fit.

Changes are after minus before: negative is better. Every function returns lines in a stable order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from roofline_lab.formatting import MISSING, pct, quantity, signed_pct, signless_zero
from roofline_lab.regression.difference import STATUS, Fate, Flip, Group, Row, State, Values
from roofline_lab.regression.noise import Direction
from roofline_lab.regression.numbers import SYNTHETIC
from roofline_lab.regression.records import RIGHT, SCORED, WRONG, Report, RowKey

# Marks a change that is not the difference of the two means beside it.
DAGGER = "†"
# Load points named where many rows share a fate.
PLACES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Lines:
    """One table before it is cut to size.

    Attributes
    ----------
    left
        Columns aligned to the left.
    weights
        Importance of each line: where not all fit, the lightest go. Empty: the last ones go.
    """

    header: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    left: int
    weights: tuple[float, ...] = ()


def flip_lines(flips: Iterable[Flip]) -> Lines:
    """Return statuses and criteria with different results on the two sides, statuses first in each method."""
    cells = tuple(
        (f"`{flip.report}`", f"`{flip.method}`", _subject(flip), flip.before or MISSING, f"**{flip.after or MISSING}**")
        for flip in flips
    )
    return Lines(("Report", "Method", "What", "Before", "After"), cells, left=5)


def group_lines(groups: Sequence[Group]) -> Lines:
    """Return mean errors of arms and metrics; columns of what happened nowhere are left out."""
    optional = [fate for fate in (Fate.NEW, Fate.GONE, Fate.LOST) if any(group.counts.get(fate) for group in groups)]
    fates = [Fate.WORSE, Fate.BETTER, Fate.SAME, *optional]
    names = {Fate.LOST: "lost its number"}
    columns = ("Report", "Method", "Arm", "Metric", "MAPE before", "after", "change", "p")
    return Lines(
        (*columns, *(names.get(fate, fate.value) for fate in fates)),
        tuple(_group_cells(group, fates) for group in groups),
        left=4,
        weights=tuple(_weight(group) for group in groups),
    )


def arrival_lines(groups: Iterable[Group]) -> Lines:
    """Return arms and metrics that came or went as a whole, the arms of a metric in one line."""
    found: dict[tuple[str, str, str, str], list[Group]] = {}
    for group in groups:
        what = "new" if group.counts.get(Fate.NEW) else "gone"
        found.setdefault((group.report, group.key.method, group.key.metric, what), []).append(group)
    cells = tuple(
        (
            f"`{report}`",
            f"`{method}`",
            metric_label(metric),
            what,
            ", ".join(
                f"{group.key.arm} {pct(group.after if group.after is not None else group.before)}" for group in members
            ),
            str(sum(group.counts.get(fate, 0) for group in members for fate in (Fate.NEW, Fate.GONE))),
        )
        for (report, method, metric, what), members in found.items()
    )
    return Lines(("Report", "Method", "Metric", "", "MAPE of each arm", "Rows"), cells, left=5)


def row_lines(rows: Sequence[Row], direction: Direction) -> Lines:
    """Return the rows that changed in one direction, the largest change first.

    Arms of several hypotheses that are the same run give the same row: it is shown once, with how many are alike.
    """
    sign = -1.0 if direction is Direction.WORSE else 1.0
    chosen = sorted(
        (row for row in rows if row.change.direction is direction), key=lambda row: sign * round(row.change.pp, 9)
    )
    alike: dict[tuple[object, ...], list[Row]] = {}
    for row in chosen:
        key = row.key
        place = (key.method, key.metric, key.experiment, key.load_point, row.change.before, row.change.after)
        alike.setdefault(place, []).append(row)
    header = ("Report, arm", "Method", "Metric", "Experiment, load point", "measured")
    return Lines(
        (*header, "predicted before", "after", "error before", "after", "change"),
        tuple(_row_cells(same[0], len(same) - 1) for same in alike.values()),
        left=4,
    )


def state_lines(states: Iterable[State]) -> Lines:
    """Return the rows that came, went, won or lost their number, with the first load points concerned."""
    found: dict[tuple[str, str, str | None, str | None], list[RowKey]] = {}
    for state in states:
        found.setdefault((state.report, state.key.method, state.before, state.after), []).append(state.key)
    cells = tuple(
        (f"`{report}`", f"`{method}`", _state(before), _state(after), _places(keys), str(len(keys)))
        for (report, method, before, after), keys in found.items()
    )
    return Lines(("Report", "Method", "Before", "After", "Experiment, load point", "Rows"), cells, left=5)


def value_lines(values: Iterable[Values]) -> Lines:
    """Return how many numbers without an error differ, and the one that differs most."""
    cells = tuple(
        (
            f"`{value.report}`",
            *(f"{count:,}" for count in (value.total, value.changed, value.new, value.gone)),
            _largest(value),
        )
        for value in values
    )
    return Lines(("Report", "Numbers", "changed", "new", "gone", "Largest relative change"), cells, left=1)


def report_lines(reports: Iterable[Report]) -> Lines:
    """Return reports that stand on one side alone, with what their last method concludes."""
    cells = tuple(
        (
            f"`{report.name}`",
            list(report.rulings.values())[-1].status if report.rulings else MISSING,
            f"{len(report.rows):,}",
            f"{sum(state not in (RIGHT, WRONG) for state in report.unscored.values()):,}",
            f"{len(report.values):,}",
        )
        for report in reports
    )
    return Lines(("Report", "Status", "Rows", "without a number", "Numbers without an error"), cells, left=2)


def metric_label(metric: str) -> str:
    """Return a metric's usual name: `ttft_mean` is TTFT, `e2e_p90` is E2E p90."""
    kind, _, statistic = metric.rpartition("_")
    if not kind or not re.fullmatch(r"mean|p\d+", statistic):
        return metric.replace("_", " ")
    name = kind.replace("_", " ") if "_" in kind else kind.upper()
    return name if statistic == "mean" else f"{name} {statistic}"


def change_text(value: float | None, mark: str = "") -> str:
    """Format a change of error in percentage points, with two decimals where one would print as zero."""
    if value is None:
        return MISSING
    decimals = 1 if abs(value) >= 1.0 else 2
    return f"{signless_zero(value, decimals):+.{decimals}f} pp{mark}"


def _subject(flip: Flip) -> str:
    return "**status**" if flip.subject == STATUS else f"`{flip.subject}`"


def _group_cells(group: Group, fates: Sequence[Fate]) -> tuple[str, ...]:
    key = group.key
    return (
        f"`{group.report}`",
        f"`{key.method}`",
        key.arm,
        metric_label(key.metric),
        pct(group.before),
        pct(group.after),
        change_text(group.change_pp, "" if group.same_rows else f" {DAGGER}"),
        MISSING if group.p_value is None else f"{group.p_value:.4f}",
        *(_count(group.counts.get(fate, 0), bold=fate in (Fate.WORSE, Fate.LOST)) for fate in fates),
    )


def _count(count: int, *, bold: bool) -> str:
    return f"**{count}**" if bold and count else str(count)


def _weight(group: Group) -> float:
    """Return how much a mean moved; one that came or went weighs as much as its error."""
    if group.change_pp is not None:
        return abs(group.change_pp)
    return group.after or group.before or 0.0


def _row_cells(row: Row, alike: int) -> tuple[str, ...]:
    key, before, after = row.key, row.change.before, row.change.after
    measured = f"{_digits(after.measured)} {after.unit.replace('per_', '/')}"
    if row.change.remeasured:
        measured = f"{_digits(before.measured)} → {measured}"
    more = f" (and {alike} alike)" if alike else ""
    return (
        f"`{row.report}`, {key.arm}{more}",
        f"`{key.method}`",
        metric_label(key.metric),
        f"{key.experiment}, {key.load_point}",
        measured,
        _digits(before.predicted),
        _digits(after.predicted),
        signed_pct(before.signed_error_pct),
        signed_pct(after.signed_error_pct),
        change_text(row.change.pp),
    )


def _digits(value: float) -> str:
    """Format a latency or rate with what a change of half a percent of it needs."""
    return f"{value:,.1f}" if abs(value) >= 100.0 else f"{value:.2f}"


def _places(keys: Iterable[RowKey]) -> str:
    names = list(dict.fromkeys(f"{key.experiment}, {key.load_point}" for key in keys))
    more = len(names) - PLACES_SHOWN
    return "; ".join(names[:PLACES_SHOWN]) + (f"; {more} more" if more > 0 else "")


def _state(state: str | None) -> str:
    return "not there" if state is None else "scored" if state == SCORED else state.replace("_", " ")


def _largest(values: Values) -> str:
    if values.largest is None:
        return MISSING
    key, before, after, unit = values.largest
    place = ", ".join((key.method, key.arm, *([key.load_point] if key.load_point != SYNTHETIC else [])))
    return f"{key.metric} {key.statistic} at {key.key} ({place}): {quantity(before, unit)} → {quantity(after, unit)}"
