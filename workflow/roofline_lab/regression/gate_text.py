"""The judgement of a gate as markdown for a pull request, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from roofline_lab.formatting import MISSING, counted, pct
from roofline_lab.regression.comment import (
    Lines,
    change_text,
    cut_table,
    flip_lines,
    metric_label,
    row_lines,
    state_lines,
)
from roofline_lab.regression.difference import Row
from roofline_lab.regression.gate import SPREADS, Gate, GrownMean
from roofline_lab.regression.noise import Fate

# Lines of a table, and worst load points of a mean: a comment is read by people, the JSON has them all.
MOST_LINES = 50
WORST_SHOWN = 3


def gate_markdown(gate: Gate) -> str:
    """Return the judgement in words: what fails it first, and how it was judged."""
    before, after = gate.comparison.before.label, gate.comparison.after.label
    names = ", ".join(f"`{name}`" for name in gate.comparison.after.reports)
    parts = [
        f"## Gate: {'passed' if gate.passed else '**failed**'}",
        f"{names}, from {before} to {after}: {_summary(gate)}.",
        _section("### Verdicts and criteria that flipped", flip_lines(gate.flips)),
        _section("### Predictions that are lost or wrong now", state_lines(gate.lost)),
        _section("### Mean errors that grew beyond noise", _mean_lines(gate.means)),
        _section("### Rows that grew beyond noise", row_lines(gate.rows, Fate.WORSE)),
        "\n".join(("<details><summary>How this is judged</summary>", "", *_rules(gate), "", "</details>")),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def gate_record(gate: Gate) -> dict[str, Any]:
    """Return the judgement as JSON-like data; numbers are percent and percentage points."""
    return {
        "passed": gate.passed,
        "before": gate.comparison.before.label.replace("`", ""),
        "hypotheses": sorted(gate.comparison.after.reports),
        "threshold_pp": gate.threshold_pp,
        "flips": [
            {
                "report": flip.report,
                "method": flip.method,
                "subject": flip.subject,
                "before": flip.before,
                "after": flip.after,
            }
            for flip in gate.flips
        ],
        "lost": [{"report": state.report, **state.key._asdict(), "now": state.after} for state in gate.lost],
        "means": [_mean_record(grown) for grown in gate.means],
        "rows": [_row_record(row) for row in gate.rows],
    }


def _mean_record(grown: GrownMean) -> dict[str, Any]:
    return {
        "report": grown.group.report,
        **grown.group.key._asdict(),
        "before_pct": grown.group.before,
        "after_pct": grown.group.after,
        "change_pp": grown.change_pp,
        "interval_pp": [grown.interval.low, grown.interval.high] if grown.interval else None,
        "level_pct": grown.interval.level_pct if grown.interval else None,
        "load_points": len(grown.rows),
        "worst": [_row_record(row) for row in grown.rows[:WORST_SHOWN]],
    }


def _row_record(row: Row) -> dict[str, Any]:
    return {
        "report": row.report,
        **row.key._asdict(),
        "measured": row.change.after.measured,
        "unit": row.change.after.unit,
        "predicted_before": row.change.before.predicted,
        "predicted_after": row.change.after.predicted,
        "change_pp": row.change.pp,
    }


def _summary(gate: Gate) -> str:
    if gate.passed:
        return "no verdict flipped, no prediction is lost, no error grew beyond noise"
    parts = [
        (len(gate.flips), "verdict or criterion flipped", "verdicts and criteria flipped"),
        (len(gate.lost), "prediction is lost or wrong now", "predictions are lost or wrong now"),
        (len(gate.means), "mean error grew beyond noise", "mean errors grew beyond noise"),
        (len(gate.rows), "row grew beyond noise", "rows grew beyond noise"),
    ]
    return "; ".join(counted(*part) for part in parts if part[0])


def _section(title: str, lines: Lines) -> str:
    return f"{title}\n\n{cut_table(lines, MOST_LINES)}" if lines.cells else ""


def _mean_lines(means: Iterable[GrownMean]) -> Lines:
    cells = tuple(
        (
            f"`{grown.group.report}`",
            f"`{grown.group.key.method}`",
            grown.group.key.arm,
            metric_label(grown.group.key.metric),
            pct(grown.group.before),
            pct(grown.group.after),
            change_text(grown.change_pp),
            f"{grown.interval.low:+.1f} to {grown.interval.high:+.1f} pp" if grown.interval else MISSING,
            str(len(grown.rows)),
            "; ".join(map(_worst, grown.rows[:WORST_SHOWN])) or MISSING,
        )
        for grown in means
    )
    header = ("Report", "Method", "Arm", "Metric", "MAPE before", "after", "change", "interval", "load points")
    return Lines((*header, "grew most"), cells, left=4)


def _worst(row: Row) -> str:
    return f"{row.key.experiment}, {row.key.load_point} ({change_text(row.change.pp)})"


def _rules(gate: Gate) -> list[str]:
    return [
        f"- Growth of an error below {gate.threshold_pp:g} percentage points counts for nothing.",
        "- A mean error grew if the paired differences of its load points lie above zero with their whole bootstrap "
        "interval over model families (experiments, where there is one family), and a permutation test over "
        "experiments agrees; below six experiments all have to have grown.",
        "- A row grew if it did whatever the true value within rounding and sampling error of the measured figure, and "
        f"by more than {SPREADS:g} robust standard deviations of the other rows of its mean.",
        "- A flip counts in either direction: what is committed is not true any more. A lost prediction had a number.",
        "- If a change is meant, make the reports anew and commit them: the gate compares with what is committed.",
    ]
