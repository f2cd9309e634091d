"""A comparison as markdown fit for a comment on a pull request.

What matters stands first: a summary line, flips, mean errors that changed; rows and what is merely different are
folded. Where the text would exceed GitHub's limit every table is cut to fewer lines, and says how many are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from roofline_lab.formatting import table
from roofline_lab.regression.difference import Comparison, Fate, Flip, Group
from roofline_lab.regression.lines import (
    DAGGER,
    Lines,
    arrival_lines,
    change_text,
    flip_lines,
    group_lines,
    report_lines,
    row_lines,
    state_lines,
    value_lines,
)
from roofline_lab.regression.noise import Direction
from roofline_lab.regression.records import Snapshot

# GitHub refuses a comment body of more than 65,536 characters; counted in bytes here, which is never less.
LIMIT_BYTES = 65_536
# Lines a table may have, tried in this order until the comment fits.
CAPS = (10_000, 400, 200, 100, 50, 25, 12, 6, 3, 1, 0)


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
        flipped = _counted(flips, "verdict or criterion", "verdicts and criteria") if flips else "no verdict"
        verdicts = f"{flipped} flipped"
        verdicts += f"; rows: {worse:,} worse, {better:,} better beyond noise, {same:,} the same"
    others = [f"{new:,} new" * bool(new), f"{gone:,} gone" * bool(gone), f"{lost:,} lost their number" * bool(lost)]
    sides = [
        f"{_counted(len(reports), 'report', 'reports')} {word}" * bool(reports)
        for reports, word in ((comparison.new, "added"), (comparison.gone, "removed"))
    ]
    return "; ".join(filter(None, (verdicts, ", ".join(filter(None, others)), *sides)))


def _nothing(comparison: Comparison) -> str:
    before, after = comparison.before, comparison.after
    rows = sum(len(report.rows) for report in after.reports.values())
    verdicts = sum(len(report.rulings) for report in after.reports.values())
    line = (
        f"Nothing changed in the reports from {before.label} to {after.label}: "
        f"{_counted(len(after.reports), 'report', 'reports')}, {_counted(rows, 'row', 'rows')}, "
        f"{_counted(verdicts, 'verdict', 'verdicts')}."
    )
    skipped = _skipped(comparison)
    return f"{line} Not compared: {'; '.join(skipped)}.\n" if skipped else f"{line}\n"


def _comment(comparison: Comparison, rows: int, threshold_pp: float, cap: int) -> str:
    before, after = comparison.before.label, comparison.after.label
    changed = [group for group in comparison.groups if group.is_changed and not group.is_on_one_side]
    moved = [group for group in comparison.groups if group.is_changed and group.is_on_one_side]
    worse, better = (row_lines(comparison.rows, direction) for direction in (Direction.WORSE, Direction.BETTER))
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
    return f"{title}\n\n{_table(lines, cap)}" if lines.cells else ""


def _folded(title: str, lines: Lines, cap: int, note: str = "") -> str:
    return _folded_text(title, [*([note, ""] if note else []), _table(lines, cap)]) if lines.cells else ""


def _folded_text(title: str, lines: Sequence[str]) -> str:
    return "\n".join((f"<details><summary>{title}</summary>", "", *lines, "", "</details>")) if lines else ""


def _table(lines: Lines, cap: int) -> str:
    """Return a table of at most `cap` lines, the heaviest ones, and how many are missing."""
    numbered = range(len(lines.cells))
    kept = sorted(sorted(numbered, key=_importance(lines))[:cap])
    parts = [table(lines.header, [lines.cells[index] for index in kept], left=lines.left)] if kept else []
    if missing := len(lines.cells) - len(kept):
        which = " with smaller changes" if lines.weights else ""
        parts.append(f"*{_counted(missing, 'line', 'lines')}{which} not shown.*")
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
    has_figures = all(_figures(side) for side in (comparison.before, comparison.after))
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
            f"- {_counted(unclear, 'row', 'rows')} moved by more than that, but not beyond noise: counted as the same."
        )
    if any(group.remeasured for group in comparison.groups):
        count = sum(group.remeasured for group in comparison.groups)
        lines.append(f"- {_counted(count, 'row has', 'rows have')} another measured figure than before.")
    listed = {group.report for group in comparison.groups if group.is_moved}
    if names := ", ".join(f"`{name}`" for name in comparison.split if name in listed):
        lines.append(f"- Means of {names} are over its test experiments, as on its page; rows and p are over all.")
    return lines


def _figures(side: Snapshot) -> bool:
    return bool(side.figures)


def _skipped(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys((*comparison.before.skipped, *comparison.after.skipped)))


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
