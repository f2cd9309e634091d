"""What was sent in a run of a table: lengths of prompts and answers, what prompts share, how many were answered.

Contract: `sent_workload` returns the workload of a run and the request counts of every row. Lengths come from what the
table knows best: GuideLLM's draws if they give every measured mean, a stated distribution, measured means, stated
means, and last what throughputs or latencies imply. A run of which nothing says how long its prompts or answers are is
refused; no length is made up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.reading import standard_errors
from roofline_lab.importers.common import Notes, constant_workload, drawn_lengths
from roofline_lab.importers.table_rows import LENGTHS, Row
from simulator.errors import ConfigError
from simulator.validation import parse
from simulator.workload.lengths import GUIDELLM_DEFAULT_SEED, GaussianLengths, UniformLengths, expected_tokens

# How far a mean printed with three decimals may lie from that of the draws, in tokens.
MEAN_TOLERANCE_TOKENS = 0.001
# Answered requests of a row up to which it is tried how many were sent: the tries grow with the square, 1 s at so many.
MOST_DRAWN = 1_000
# How far a measured mean may lie from that of the stated distribution beside chance: special tokens and templates.
MEAN_TOLERANCE = 0.02

# Prompts of a pool, where the source says that prompts repeat but not how many there are: the
# default of the client that measured the other runs of the same collection, 10 x 10.
DEFAULT_POOL = 100

# Limits of a distribution of which only mean and deviation are stated, in deviations from the mean: GuideLLM's default
# (IntegerRangeSampler of GuideLLM 0.5); 1 of 2 million draws of a normal distribution lies outside.
UNSTATED_LIMITS = 5.0

_MAX_REQUESTS = re.compile(r"\bmax-requests (\d{1,6})\b")


@dataclass(frozen=True, slots=True)
class _Side:
    """Prompts or answers: what columns call them, and messages."""

    stated: str
    measured: str
    per_s: str
    words: str


PROMPT = _Side("prompt", "prompt_len_mean_tok", "input_tok_per_s", "prompts")
OUTPUT = _Side("out", "output_len_mean_tok", "output_tok_per_s", "answers")


def sent_workload(source: str, rows: Sequence[Row], notes: Notes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the workload, and `requests` of every row.

    Raises
    ------
    ConfigError
        If nothing says how long prompts or answers are, or what is stated cannot be.
    """
    first = rows[0]
    if pool_prompts(first):
        return _pooled(source, rows, notes), [_counted(row) for row in rows]
    drawn = [_drawn(row) for row in rows] if all(_clipped(first, side) for side in (PROMPT, OUTPUT)) else [None]
    found = [counts for counts in drawn if counts is not None]
    if len(found) < len(rows):
        return _described(source, rows, notes), [_counted(row) for row in rows]
    text = (
        f"Lengths are drawn again from seed {GUIDELLM_DEFAULT_SEED}; at every load point the measured mean lengths are "
        "those of the draws."
    )
    notes.say(Flag.LENGTHS_FROM_SEED, text)
    shift = (first["wl_prefix_tok"] or 0) and -2
    return {
        "prompt": {**_guidellm(first, PROMPT), "adjustment_tokens": shift},
        "output": _guidellm(first, OUTPUT),
        "prefix": _prefix(first),
        "note": "Lengths of the client's profile, drawn again from its seed.",
    }, found


def pool_prompts(row: Row) -> int | None:
    """Return how many prompts are sent in turn; None if prompts do not repeat."""
    if row["wl_question_len_tok"] is None:
        return None
    return row["wl_effective_unique_prompts"] or DEFAULT_POOL


def _prefix(row: Row) -> dict[str, Any]:
    tokens = row["wl_prefix_tok"]
    return {"kind": "shared", "tokens": tokens, "counted": "on_top"} if tokens else {"kind": "none"}


def _pooled(source: str, rows: Sequence[Row], notes: Notes) -> dict[str, Any]:
    row = rows[0]
    pool = pool_prompts(row)
    measured = row["prompt_len_mean_tok"]
    asked = (row["wl_system_prompt_len_tok"] or 0) + (row["wl_question_len_tok"] or 0)
    assumed = "" if row["wl_effective_unique_prompts"] else " (their number is assumed)"
    repeat = f"{pool} prompts are sent in turn{assumed}; with prefix caching on, the server holds them after the "
    notes.say(Flag.PROMPTS_REPEAT, f"{repeat}first round: TTFT is that of cached prompts.", "corrected")
    unknown = "Single prompt lengths are not published; every prompt has the "
    unknown += "measured mean length." if measured else "length the profile asks for."
    notes.say(Flag.LENGTHS_UNKNOWN, unknown)
    if row["metrics_side"] == "client":
        notes.say(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client.")
    if "exponential" in row["arrival_process"]:
        text = "The timer called constant draws exponential gaps and stretches them to the length of the stage."
        notes.say(Flag.CONSTANT_IS_POISSON, text, "corrected")
    note = f"{pool} prompts sent in turn; every answer has the length the profile fixes."
    output = row["wl_output_len_tok"]
    answers = {"kind": "constant", "tokens": output} if output else _lengths(source, rows, OUTPUT, notes)
    # A profile that asks for prompts of no token is refused, as the format refuses it.
    prompt = {"kind": "constant", "tokens": round(measured or asked)}
    workload = constant_workload(1, 1, note, kind="prompt_pool", prompts=pool)
    return {**workload, "prompt": prompt, "output": answers}


def _described(source: str, rows: Sequence[Row], notes: Notes) -> dict[str, Any]:
    return {
        "prompt": _lengths(source, rows, PROMPT, notes),
        "output": _lengths(source, rows, OUTPUT, notes),
        "prefix": _prefix(rows[0]),
        "note": "Lengths as far as the table has them.",
    }


def _lengths(source: str, rows: Sequence[Row], side: _Side, notes: Notes) -> dict[str, Any]:
    """Return the lengths of prompts or answers, with a flag that says where they come from."""
    row = rows[0]
    stated = _distribution(source, row, side)
    prefix = (row["wl_prefix_tok"] or 0) if side is PROMPT else 0
    means = [given[side.measured] - prefix for given in rows if given[side.measured]]
    measured = fmean(means) if means else None
    if stated is not None and (measured is None or _fits(stated, measured, rows)):
        text = (
            f"Lengths of single {side.words} are not published; they are drawn from the distribution the table states."
        )
        notes.say(Flag.LENGTHS_UNKNOWN, text)
        return stated.model_dump()
    if measured is not None:
        return _constant(measured, side, "measured", notes)
    fixed = row["wl_output_len_tok"] if side is OUTPUT else None
    if row[f"wl_{side.stated}_mean_tok"] or fixed:
        return _constant(row[f"wl_{side.stated}_mean_tok"] or fixed, side, "stated", notes)
    implied = [tokens for given in rows if (tokens := _implied(given, side)) is not None]
    if not implied:
        raise ConfigError(
            f"{source}: columns '{side.measured}', 'wl_{side.stated}_mean_tok': empty, and nothing else says how long "
            f"{side.words} are; fill one of them"
        )
    return _constant(fmean(implied) - prefix, side, "implied by throughputs or latencies", notes)


def _constant(tokens: float, side: _Side, how: str, notes: Notes) -> dict[str, Any]:
    text = f"Lengths of single {side.words} are not published and not drawn again; all have the mean length ({how})."
    notes.say(Flag.LENGTHS_UNKNOWN, text)
    return {"kind": "constant", "tokens": max(1, round(tokens))}


def _implied(row: Row, side: _Side) -> float | None:
    """Return the mean length that a row's throughputs imply, or for answers its latencies; None without either."""
    if row[side.per_s] and row["requests_per_s"]:
        return float(row[side.per_s] / row["requests_per_s"])
    ttft, tpot, e2e = (row[f"{name}_mean_ms"] for name in ("ttft", "tpot", "e2e"))
    if side is OUTPUT and ttft and tpot and e2e and e2e > ttft:
        return float((e2e - ttft) / tpot + 1)
    return None


def _distribution(source: str, row: Row, side: _Side) -> GaussianLengths | UniformLengths | None:
    """Return the distribution a row states, None where it states none that has a spread."""
    mean, deviation, low, high = (row[f"wl_{side.stated}_{part}_tok"] for part in LENGTHS)
    if mean and deviation:
        limits = (
            max(1.0, mean - UNSTATED_LIMITS * deviation) if low is None else low,
            mean + UNSTATED_LIMITS * deviation if high is None else high,
        )
        content = {"kind": "gaussian", "mean_tokens": mean, "stdev_tokens": deviation} | _limits(*limits)
        return parse(GaussianLengths, content, source=f"{source}: wl_{side.stated}_*_tok")
    # A range around its middle is what clients draw evenly; any other mean says nothing about how lengths scatter.
    if low is not None and high is not None and low != high and (not mean or _is_middle(mean, low, high)):
        content = {"kind": "uniform"} | _limits(low, high)
        return parse(UniformLengths, content, source=f"{source}: wl_{side.stated}_*_tok")
    return None


def _limits(low: float, high: float) -> dict[str, int]:
    return {"min_tokens": max(1, round(low)), "max_tokens": max(1, round(high))}


def _is_middle(mean: float, low: float, high: float) -> bool:
    return abs(mean - (low + high) / 2) <= max(1.0, MEAN_TOLERANCE * mean)


def _fits(stated: GaussianLengths | UniformLengths, measured: float, rows: Sequence[Row]) -> bool:
    """Whether a measured mean can be that of draws from a stated distribution."""
    answered = sum(row["num_success"] or row["num_requests"] or 1 for row in rows)
    tolerance = standard_errors(stated, answered) + MEAN_TOLERANCE * measured
    return abs(expected_tokens(stated)[0] - measured) <= tolerance


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


# --- GuideLLM's draws -------------------------------------------------------------------------


def _clipped(row: Row, side: _Side) -> bool:
    """Whether a row states mean and limits, as a profile of GuideLLM does."""
    return all(row[f"wl_{side.stated}_{part}_tok"] for part in ("mean", "min", "max"))


def _drawn(row: Row) -> dict[str, Any] | None:
    """Return the request counts of a row whose mean lengths are those of the client's draws."""
    completed = row["num_success"]
    if not completed or row["prompt_len_mean_tok"] is None or row["output_len_mean_tok"] is None:
        return None
    if completed > MOST_DRAWN and not _MAX_REQUESTS.search(row["notes"]):
        return None
    for sent in _possibly_sent(row, completed):
        seed = GUIDELLM_DEFAULT_SEED + row["stage"]
        prompts = drawn_lengths(_guidellm(row, PROMPT), seed, sent)
        outputs = drawn_lengths(_guidellm(row, OUTPUT), seed + 1, sent)
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


def _guidellm(row: Row, side: _Side) -> dict[str, Any]:
    mean, deviation, low, high = (row[f"wl_{side.stated}_{part}_tok"] for part in LENGTHS)
    return {
        "kind": "guidellm",
        "mean_tokens": mean,
        "stdev_tokens": deviation or 0.0,
        "min_tokens": int(low),
        "max_tokens": int(high),
        "random_seed": GUIDELLM_DEFAULT_SEED,
    }
