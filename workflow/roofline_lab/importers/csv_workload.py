"""What was sent in the runs of a table: pools of prompts, and GuideLLM's draws checked against means.

Contract: `sent_workload` returns the workload of one experiment as the format writes it, and the
request counts of each of its rows. GuideLLM's lengths are drawn again and kept only if every row's
mean lengths come out; requests that are missing are then recognised as those whose draws leave the
means right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from roofline_lab.ground_truth import measurement_lint as lint
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.imported import Notes
from simulator.workload.lengths import GUIDELLM_DEFAULT_SEED, guidellm_draws

Row = Mapping[str, Any]

# How far a mean printed with three decimals may lie from that of the draws, in tokens.
MEAN_TOLERANCE_TOKENS = 0.001

# Prompts of a pool, where the source says that prompts repeat but not how many there are: the
# default of the client that measured the other runs of the same collection, 10 x 10.
DEFAULT_POOL = 100

_MAX_REQUESTS = re.compile(r"\bmax-requests (\d{1,6})\b")


def pool_prompts(row: Row) -> int | None:
    """Return how many prompts are sent in turn; None if prompts do not repeat."""
    if row["wl_question_len_tok"] is None:
        return None
    return row["wl_effective_unique_prompts"] or DEFAULT_POOL


def sent_workload(rows: Sequence[Row], notes: Notes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the workload, and `requests` of every row.

    Raises
    ------
    ConfigError
        If a row says neither how long answers are nor how many requests were answered.
    """
    first = rows[0]
    if pool_prompts(first):
        return _pooled(first, notes), [_counted(row) for row in rows]
    drawn = [_drawn(row) for row in rows] if first["wl_prompt_mean_tok"] else [None]
    found = [one for one in drawn if one is not None]
    if len(found) < len(rows):
        return _constant(rows, notes), [_counted(row) for row in rows]
    shift = (first["wl_prefix_tok"] or 0) and -2
    text = (
        f"Lengths are drawn again from seed {GUIDELLM_DEFAULT_SEED}; at every load point the measured mean lengths are "
        "those of the draws."
    )
    notes.flag(lint.Finding(Flag.LENGTHS_FROM_SEED, text), "noted")
    prefix = first["wl_prefix_tok"]
    return {
        "prompt": {**_lengths(first, "prompt"), "adjustment_tokens": shift},
        "output": _lengths(first, "out"),
        "prefix": {"kind": "shared", "tokens": prefix, "counted": "on_top"} if prefix else {"kind": "none"},
        "note": "Lengths of the client's profile, drawn again from its seed.",
    }, found


def _pooled(row: Row, notes: Notes) -> dict[str, Any]:
    pool = pool_prompts(row)
    measured = row["prompt_len_mean_tok"]
    asked = (row["wl_system_prompt_len_tok"] or 0) + (row["wl_question_len_tok"] or 0)
    notes.flag(
        lint.Finding(
            Flag.PROMPTS_REPEAT,
            f"{pool} prompts are sent in turn"
            + ("" if row["wl_effective_unique_prompts"] else " (their number is assumed)")
            + "; after the first round the prefix cache holds them, so that TTFT is that of cached prompts.",
        ),
        "corrected",
    )
    unknown = "Single prompt lengths are not published; every prompt has the "
    unknown += "measured mean length." if measured else "length the profile asks for."
    notes.flag(lint.Finding(Flag.LENGTHS_UNKNOWN, unknown), "noted")
    notes.flag(lint.Finding(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client."), "noted")
    if "exponential" in row["arrival_process"]:
        text = "The timer called constant draws exponential gaps and stretches them to the length of the stage."
        notes.flag(lint.Finding(Flag.CONSTANT_IS_POISSON, text), "corrected")
    return {
        "prompt": {"kind": "constant", "tokens": round(measured or asked)},
        "output": {"kind": "constant", "tokens": row["wl_output_len_tok"] or round(row["output_len_mean_tok"] or 1)},
        "prefix": {"kind": "prompt_pool", "prompts": pool},
        "note": f"{pool} prompts sent in turn; every answer has the length the profile fixes.",
    }


def _constant(rows: Sequence[Row], notes: Notes) -> dict[str, Any]:
    unknown = "Lengths of single requests are not published and not drawn again; every request has the mean length."
    notes.flag(lint.Finding(Flag.LENGTHS_UNKNOWN, unknown), "noted")
    lengths = {}
    for side in ("prompt", "output"):
        means = [row[f"{side}_len_mean_tok"] for row in rows if row[f"{side}_len_mean_tok"]]
        lengths[side] = max(1, round(fmean(means))) if means else 1
    return {
        "prompt": {"kind": "constant", "tokens": lengths["prompt"]},
        "output": {"kind": "constant", "tokens": lengths["output"]},
        "prefix": {"kind": "none"},
        "note": "Mean lengths of the table.",
    }


def _counted(row: Row) -> dict[str, Any]:
    answered = row["num_success"] if row["num_success"] is not None else row["num_requests"]
    sent = row["num_requests"] or answered or 1
    failed = row["num_failed"]
    unpublished = row["num_success"] is None
    basis = "Number sent; how many failed was not published." if unpublished else "Counts of the source."
    return {
        "sent": sent,
        "completed": answered or sent,
        **({} if failed is None else {"failed": failed}),
        **({"lost_positions": "unknown"} if (answered or sent) < sent else {}),
        "basis": basis,
    }


def _drawn(row: Row) -> dict[str, Any] | None:
    """Return the request counts of a row whose mean lengths are those of the client's draws."""
    completed = row["num_success"]
    if not completed or row["prompt_len_mean_tok"] is None or row["output_len_mean_tok"] is None:
        return None
    for sent in _possibly_sent(row, completed):
        prompts, outputs = (_draws(row, side, sent) for side in ("prompt", "out"))
        shortest = [position for position, tokens in enumerate(prompts) if tokens == row["wl_prompt_min_tok"]]
        lost = shortest if len(shortest) == sent - completed else []
        kept = [position for position in range(sent) if position not in lost]
        if len(kept) != completed:
            continue
        means = [fmean(lengths[position] for position in kept) for lengths in (prompts, outputs)]
        shift = ((row["wl_prefix_tok"] or 0) - 2) if row["wl_prefix_tok"] else 0
        measured = (row["prompt_len_mean_tok"] - shift, row["output_len_mean_tok"])
        if all(abs(a - b) <= MEAN_TOLERANCE_TOKENS for a, b in zip(means, measured, strict=True)):
            return _explained(sent, completed, lost)
    return None


def _possibly_sent(row: Row, completed: int) -> list[int]:
    """Return how many requests may have been sent: the number the notes state, else a few more than answered."""
    stated = _MAX_REQUESTS.search(row["notes"])
    return [int(stated.group(1))] if stated else list(range(completed, completed + completed // 4 + 1))


def _explained(sent: int, completed: int, lost: Sequence[int]) -> dict[str, Any]:
    basis = f"Not published; {sent} draws from the client's seed give the measured mean lengths"
    if lost:
        basis += f" without those {len(lost)} whose prompt is the shortest possible"
    return {"sent": sent, "completed": completed, "lost_positions": list(lost), "basis": basis + "."}


def _lengths(row: Row, side: str) -> dict[str, Any]:
    return {
        "kind": "guidellm",
        "mean_tokens": row[f"wl_{side}_mean_tok"],
        "stdev_tokens": row[f"wl_{side}_sd_tok"] or 0.0,
        "min_tokens": int(row[f"wl_{side}_min_tok"] or 1),
        "max_tokens": int(row[f"wl_{side}_max_tok"] or 1),
        "random_seed": GUIDELLM_DEFAULT_SEED,
    }


def _draws(row: Row, side: str, count: int) -> list[int]:
    lengths = _lengths(row, side)
    seed = GUIDELLM_DEFAULT_SEED + row["stage"] + (1 if side == "out" else 0)
    return guidellm_draws(
        seed,
        count,
        mean=lengths["mean_tokens"],
        stdev=lengths["stdev_tokens"],
        minimum=lengths["min_tokens"],
        maximum=lengths["max_tokens"],
    )
