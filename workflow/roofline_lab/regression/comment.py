"""A comparison as markdown fit for a comment on a pull request.

What matters stands first: a summary line, flips, mean errors that changed; rows and what is merely different are
folded. Where the text would exceed GitHub's limit every table is cut to fewer lines, and says how many are missing.
Changes are after minus before: negative is better. Lines come in a stable order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from roofline_lab.formatting import MISSING, counted, pct, quantity, signed_pct, signless_zero, table
from roofline_lab.regression.difference import STATUS, Comparison, Flip, Group, Row, State, Values
from roofline_lab.regression.noise import Fate
from roofline_lab.regression.reading import RIGHT, SCORED, SYNTHETIC, WRONG, Report, RowKey

# GitHub refuses a comment body of more than 65,536 characters; counted in bytes here, which is never less.
LIMIT_BYTES = 65_536
# Lines a table may have, tried in this order until the comment fits.
CAPS = (10_000, 400, 200, 100, 50, 25, 12, 6, 3, 1, 0)
# Marks a change that is not the difference of the two means beside it.
DAGGER = "†"
# Load points named where many rows share a fate.
PLACES_SHOWN = 3


def render(comparison: Comparison, *, rows: int, threshold_pp: float, limit_bytes: int = LIMIT_BYTES) -> str:
    """Return the comment, one line if nothing differs.

    Parameters
    ----------
    rows
        Most lines of each of the tables of worst and best rows.
    threshold_pp
        The floor the comparison was made with, for the reading instructions.
    """
    if comparison.is_empty:
        return _nothing(comparison)
    text = ""
    for cap in CAPS:
        text = _comment(comparison, rows, threshold_pp, cap)
        if len(text.encode()) <= limit_bytes:
            break
    return text


def summary(comparison: Comparison) -> str:
    """Return what happened in one sentence."""
    flips = comparison.verdicts_flipped
    worse, better, same, new, gone, lost = (
        comparison.count(fate) for fate in (Fate.WORSE, Fate.BETTER, Fate.SAME, Fate.NEW, Fate.GONE, Fate.LOST)
    )
    if not (flips or worse or better or new or gone or lost):
        verdicts = "no verdict flipped; nothing changed beyond noise"
    else:
        flipped = counted(flips, "verdict or criterion", "verdicts and criteria") if flips else "no verdict"
        verdicts = f"{flipped} flipped"
        verdicts += f"; rows: {worse:,} worse, {better:,} better beyond noise, {same:,} the same"
    others = [f"{new:,} new" * bool(new), f"{gone:,} gone" * bool(gone), f"{lost:,} lost their number" * bool(lost)]
    sides = [
        f"{counted(len(reports), 'report', 'reports')} {word}" * bool(reports)
        for reports, word in ((comparison.new, "added"), (comparison.gone, "removed"))
    ]
    return "; ".join(filter(None, (verdicts, ", ".join(filter(None, others)), *sides)))


def _nothing(comparison: Comparison) -> str:
    before, after = comparison.before, comparison.after
    rows = sum(len(report.rows) for report in after.reports.values())
    verdicts = sum(len(report.rulings) for report in after.reports.values())
    line = (
        f"Nothing changed in the reports from {before.label} to {after.label}: "
        f"{counted(len(after.reports), 'report', 'reports')}, {counted(rows, 'row', 'rows')}, "
        f"{counted(verdicts, 'verdict', 'verdicts')}."
    )
    skipped = _skipped(comparison)
    return f"{line} Not compared: {'; '.join(skipped)}.\n" if skipped else f"{line}\n"


def _comment(comparison: Comparison, rows: int, threshold_pp: float, cap: int) -> str:
    before, after = comparison.before.label, comparison.after.label
    changed = [group for group in comparison.groups if group.is_changed and not group.is_on_one_side]
    moved = [group for group in comparison.groups if group.is_changed and group.is_on_one_side]
    worse, better = (row_lines(comparison.rows, fate) for fate in (Fate.WORSE, Fate.BETTER))
    few = min(rows, cap)
    parts = [
        f"## Reports from {before} to {after}",
        f"**{summary(comparison)[0].upper()}{summary(comparison)[1:]}.**",
        _section("### Verdicts and criteria that flipped", flip_lines(_flips(comparison, flipped=True)), cap),
        _section("### Reports added", report_lines(comparison.new), cap),
        _section("### Reports removed", report_lines(comparison.gone), cap),
        _section("### Mean errors that changed", group_lines(changed), cap),
        _unlisted(comparison.groups, listed=bool(changed)),
        _folded(f"Worst rows ({len(worse.cells)})", worse, few),
        _folded(f"Best rows ({len(better.cells)})", better, few),
        _folded(f"Mean errors that came or went ({len(moved)})", arrival_lines(moved), cap),
        _folded("Rows that came, went, won or lost their number", state_lines(comparison.states), cap),
        _folded("Criteria and methods added or removed", flip_lines(_flips(comparison, flipped=False)), cap),
        _folded("Numbers without an error", value_lines(comparison.values), cap, _NO_ERROR),
        _folded_text("How to read this", _reading(comparison, threshold_pp)),
        _folded_text("Not compared", [f"- {name}" for name in _cut(_skipped(comparison), cap)]),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


_NO_ERROR = (
    "Generated points, shares of steps and what an analysis of residuals says have no measurement: a number that "
    "changes is neither better nor worse."
)


def _flips(comparison: Comparison, *, flipped: bool) -> list[Flip]:
    return [flip for flip in comparison.flips if flip.is_flip is flipped]


def _section(title: str, lines: Lines, cap: int) -> str:
    return f"{title}\n\n{cut_table(lines, cap)}" if lines.cells else ""


def _folded(title: str, lines: Lines, cap: int, note: str = "") -> str:
    return _folded_text(title, [*([note, ""] if note else []), cut_table(lines, cap)]) if lines.cells else ""


def _folded_text(title: str, lines: Sequence[str]) -> str:
    return "\n".join((f"<details><summary>{title}</summary>", "", *lines, "", "</details>")) if lines else ""


def cut_table(lines: Lines, cap: int) -> str:
    """Return a table of at most `cap` lines, the heaviest ones, and how many are missing."""
    numbered = range(len(lines.cells))
    kept = sorted(sorted(numbered, key=_importance(lines))[:cap])
    parts = [table(lines.header, [lines.cells[index] for index in kept], left=lines.left)] if kept else []
    if missing := len(lines.cells) - len(kept):
        which = " with smaller changes" if lines.weights else ""
        parts.append(f"*{counted(missing, 'line', 'lines')}{which} not shown.*")
    return "\n\n".join(parts)


def _importance(lines: Lines) -> Callable[[int], tuple[float, int]]:
    return lambda index: (-lines.weights[index] if lines.weights else 0.0, index)


def _cut(texts: Sequence[str], cap: int) -> list[str]:
    kept = list(texts[:cap])
    return kept if len(kept) == len(texts) else [*kept, f"{len(texts) - len(kept):,} more"]


def _unlisted(groups: Sequence[Group], *, listed: bool) -> str:
    """Return one line about the mean errors that stand in no table."""
    others = [group for group in groups if not group.is_changed and group.change_pp is not None]
    moved = [group for group in others if group.is_moved]
    if not others:
        return ""
    parts = []
    if moved:
        largest = max((group.change_pp or 0.0 for group in moved), key=abs)
        parts.append(f"{len(moved):,} moved within noise (by {change_text(largest)} at most)")
    if still := len(others) - len(moved):
        parts.append(f"{still:,} did not move")
    return f"{'Other mean' if listed else 'Mean'} errors (method x arm x metric): {', '.join(parts)}."


def _reading(comparison: Comparison, threshold_pp: float) -> list[str]:
    has_figures = all(side.figures for side in (comparison.before, comparison.after))
    known = "the rounding and, where known, the sampling error of the measured figure"
    if not has_figures:
        known = "the printed digits of the measured figure (one side has no ground truth beside its reports)"
    lines = [
        "- Change: after minus before, in percentage points of absolute error; **negative is better**.",
        f"- A row is better or worse if its error changed by more than {threshold_pp:g} pp whatever the true value "
        f"within {known}.",
        "- p: two-sided permutation test over experiments that the change is zero.",
    ]
    if any(not group.same_rows and group.change_pp is not None for group in comparison.groups):
        lines.append(f"- {DAGGER} over the rows that have a number on both sides; the means beside it are over all.")
    if unclear := sum(row.change.is_unclear(threshold_pp) for row in comparison.rows):
        lines.append(
            f"- {counted(unclear, 'row', 'rows')} moved by more than that, but not beyond noise: counted as the same."
        )
    if any(group.remeasured for group in comparison.groups):
        count = sum(group.remeasured for group in comparison.groups)
        lines.append(f"- {counted(count, 'row has', 'rows have')} another measured figure than before.")
    listed = {group.report for group in comparison.groups if group.is_moved}
    if names := ", ".join(f"`{name}`" for name in comparison.split if name in listed):
        lines.append(f"- Means of {names} are over its test experiments, as on its page; rows and p are over all.")
    return lines


def _skipped(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys((*comparison.before.skipped, *comparison.after.skipped)))


# --- tables ---------------------------------------------------------------------------------------


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


def row_lines(rows: Sequence[Row], fate: Fate) -> Lines:
    """Return the rows that changed in one direction, the largest change first.

    Arms of several hypotheses that are the same run give the same row: it is shown once, with how many are alike.
    """
    sign = -1.0 if fate is Fate.WORSE else 1.0
    chosen = sorted((row for row in rows if row.change.fate is fate), key=lambda row: sign * round(row.change.pp, 9))
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
    key, before, after = values.largest
    place = ", ".join((key.method, key.arm, *([key.load_point] if key.load_point != SYNTHETIC else [])))
    was, now = (quantity(value, key.unit) for value in (before, after))
    return f"{key.metric} {key.statistic} at {key.key} ({place}): {was} → {now}"
