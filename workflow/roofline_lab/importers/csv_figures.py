"""Figures of one row of a table of measured runs, and what they show when set against each other.

Contract: `corrected_figures` returns the figures whose unit or definition is not what their column
says; `of_whole_run` compares the stages of a run with its own summary. Both decide by the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roofline_lab.ground_truth import measurement_lint as lint
from roofline_lab.importers.imported import MS_PER_S, Notes

Row = Mapping[str, Any]

RANKS = ("mean", "p50", "p90", "p99")

# Figure -> column.
FIGURES: Mapping[str, str] = {
    **{
        f"{kind}_{rank}": f"{kind}_{rank}_ms"
        for kind in ("ttft", "tpot", "e2e")
        for rank in ("mean", "p50", "p90", "p99")
    },
    "itl_mean": "itl_mean_ms",
    "itl_p50": "itl_p50_ms",
    "itl_p90": "itl_p90_ms",
    "itl_p98": "itl_p98_ms",
    "queue_time_mean": "queue_mean_ms",
    "request_throughput": "requests_per_s",
    "output_token_throughput": "output_tok_per_s",
}

# Means that a whole run and its stages must share, and how far a summary may lie from their average:
# it may count requests that ended in the next stage.
SUMMARISED = ("ttft_mean_ms", "tpot_mean_ms", "e2e_mean_ms")
SUMMARY_TOLERANCE = 0.02


def corrected_figures(row: Row, point: str, notes: Notes) -> dict[str, float | None]:
    """Return the figures that replace those of a row: E2E in ms, TPOT without TTFT."""
    tokens, ttft, e2e, tpot = (
        row[name] for name in ("output_len_mean_tok", "ttft_mean_ms", "e2e_mean_ms", "tpot_mean_ms")
    )
    replaced: dict[str, float | None] = {}
    if not (tokens and ttft and e2e and tpot):
        return replaced
    seconds = lint.seconds_among_milliseconds(ttft=ttft, e2e=e2e, itl=tpot, tokens=tokens)
    if seconds is not None:
        notes.flag(seconds, "corrected", point)
        notes.converted("E2E was in seconds although its columns end in _ms; it is written in ms.")
        replaced |= {f"e2e_{rank}": row[f"e2e_{rank}_ms"] * MS_PER_S for rank in RANKS if row[f"e2e_{rank}_ms"]}
        e2e *= MS_PER_S
    contains = lint.tpot_includes_ttft(ttft=ttft, e2e=e2e, tpot=tpot, tokens=tokens)
    if contains is not None:
        notes.flag(contains, "corrected", point)
        notes.converted("TPOT contains TTFT and is replaced by the time between tokens, as the means give it.")
        replaced |= {f"tpot_{rank}": None for rank in RANKS} | {"tpot_mean": contains.value}
    return replaced


def of_whole_run(rows: Sequence[Row], summary: Row) -> lint.Finding | None:
    """Find a summary whose means are not those of its stages, weighted by their requests."""
    weights = [row["num_success"] or row["num_requests"] or 0 for row in rows]
    stages: dict[str, float] = {}
    for column in SUMMARISED:
        if sum(weights) and all(row[column] for row in rows):
            weighted = sum(weight * row[column] for weight, row in zip(weights, rows, strict=True))
            stages[column] = weighted / sum(weights)
    stated = {column: summary[column] for column in stages if summary[column]}
    return lint.figures_contradict(stages, stated, SUMMARY_TOLERANCE)
