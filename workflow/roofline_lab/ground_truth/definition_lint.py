"""Pitfalls of definitions and units, found from the numbers alone; a part of `measurement_lint`.

Contract: pure functions; each returns a `Finding`, or None where the pitfall is absent or cannot be
seen. Latencies are in milliseconds unless a name says otherwise; N is the number of tokens generated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Literal

from roofline_lab.ground_truth.quality import Flag, QualityFlag, Treatment
from simulator.conversions import itl_from_means_ms, output_tokens_from_guidellm, tpot_from_stream_lines_ms

# How far a figure may lie from what a definition predicts: end of request against last token, and
# figures printed with few digits. The definitions told apart differ by more than this, or not at all.
DEFINITION_TOLERANCE = 0.02

# Figures printed twice differ by their last digit, four or more of which are printed.
PRINTED_AGAIN = 1e-4

# Half of the gaps count as empty when their median is below this share of the 75th percentile.
# Recorded: 0.003 to 0.004 with blank lines counted; gaps of one token per message: about 0.9.
EMPTY_GAP_SHARE = 0.05

# Share of answers that must show the same number of stream times; the others lost or gained a line.
EVENTS_AGREE = 0.9

Convention = Literal["guidellm", "inter_token", "decode_per_token", "stream_lines"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One pitfall that was found.

    Attributes
    ----------
    flag
        Which.
    text
        What the numbers say.
    value
        The number a correction needs: a factor, a count, an offset, or NaN.
    """

    flag: Flag
    text: str
    value: float = math.nan

    def quality(self, treatment: Treatment, load_points: Sequence[str] = (), more: str = "") -> QualityFlag:
        """Return the flag of an experiment, saying whether the figures written down are free of it."""
        text = f"{self.text} {more}".strip()
        return QualityFlag(flag=self.flag, treatment=treatment, text=text, load_points=tuple(load_points))


def tpot_convention(*, ttft: float, e2e: float, tpot: float, tokens: float) -> Convention | None:
    """Say which definition a mean time per output token follows, from the means of one load point.

    `guidellm`: E2E / N. `inter_token`: (E2E - TTFT) / (N - 1). `decode_per_token`: (E2E - TTFT) / N.
    `stream_lines`: (E2E - TTFT) / (2 N + 1). None if no definition fits, or two fit equally well.
    """
    if tokens <= 1 or min(ttft, e2e, tpot) <= 0 or e2e <= ttft:
        return None
    predicted: dict[Convention, float] = {
        "guidellm": e2e / tokens,
        "inter_token": (e2e - ttft) / (tokens - 1),
        "decode_per_token": (e2e - ttft) / tokens,
        "stream_lines": (e2e - ttft) / (2 * tokens + 1),
    }
    distances = sorted((abs(tpot / value - 1), name) for name, value in predicted.items())
    (nearest, name), (second, _) = distances[:2]
    if nearest > DEFINITION_TOLERANCE or second < 2 * nearest + 1e-4:
        return None
    return name


def tpot_includes_ttft(*, ttft: float, e2e: float, tpot: float, tokens: float) -> Finding | None:
    """Find a TPOT that contains TTFT, as GuideLLM's does: E2E / TPOT is then the output length."""
    if tpot_convention(ttft=ttft, e2e=e2e, tpot=tpot, tokens=tokens) != "guidellm":
        return None
    between = itl_from_means_ms(e2e, ttft, tokens)
    ratio = output_tokens_from_guidellm(e2e, tpot)
    return Finding(
        Flag.TPOT_INCLUDES_TTFT,
        f"E2E / TPOT = {ratio:.2f} is the mean output length {tokens:.2f}: the reported {tpot:.2f} ms per output "
        f"token contain TTFT; between tokens it is {between:.2f} ms.",
        between,
    )


def stream_lines_counted(*, ttft: float, e2e: float, tpot: float, tokens: float) -> Finding | None:
    """Find a client that saw 2 N + 2 stream lines per request; the value is the correcting factor."""
    if tpot_convention(ttft=ttft, e2e=e2e, tpot=tpot, tokens=tokens) != "stream_lines":
        return None
    factor = tpot_from_stream_lines_ms(1.0, tokens)
    return Finding(
        Flag.STREAM_LINES_COUNTED,
        f"(E2E - TTFT) / TPOT = {(e2e - ttft) / tpot:.1f} is 2 N + 1 for N = {tokens:g}: every blank line of the "
        f"stream was counted, so reported TPOT and ITL are to be multiplied by {factor:.4f}.",
        factor,
    )


def every_second_gap_is_empty(*, p50: float, p75: float) -> Finding | None:
    """Find the same from inter-token percentiles: half of the gaps are next to nothing."""
    if not 0 < p50 < EMPTY_GAP_SHARE * p75:
        return None
    return Finding(
        Flag.STREAM_LINES_COUNTED,
        f"The median gap between tokens, {p50:.3g} ms, is {p50 / p75:.1%} of the 75th percentile: every second gap "
        "separates two lines of one message.",
        p50 / p75,
    )


def stream_events_counted(events: Sequence[int], tokens: int) -> Finding | None:
    """Find the same from the number of recorded stream times of each answer: 2 N + 2 of them."""
    counted = sum(number == 2 * tokens + 2 for number in events)
    if tokens < 1 or not events or counted < EVENTS_AGREE * len(events):
        return None
    return Finding(
        Flag.STREAM_LINES_COUNTED,
        f"{counted} of {len(events)} answers have 2 N + 2 = {2 * tokens + 2} recorded times for N = {tokens} tokens: "
        "one per line of the stream, blank lines included.",
        (2 * tokens + 1) / max(1, tokens - 1),
    )


def seconds_among_milliseconds(*, ttft: float, e2e: float, itl: float, tokens: float) -> Finding | None:
    """Find an E2E in seconds beside a TTFT in ms: E2E * 1000 is then TTFT + ITL * (N - 1)."""
    expected = ttft + itl * (tokens - 1)
    if min(ttft, e2e, itl) <= 0 or tokens < 1 or abs(e2e * 1000 / expected - 1) > 5 * DEFINITION_TOLERANCE:
        return None
    return Finding(
        Flag.SECONDS_CONVERTED,
        f"E2E {e2e:.4g} is in seconds: TTFT and {tokens - 1:.1f} gaps add up to {expected:.1f} ms.",
        1000.0,
    )


def figures_contradict(mapping: Mapping[str, float], other: Mapping[str, float], tolerance: float) -> Finding | None:
    """Find figures of one configuration that two publications give differently."""
    differing = [
        name for name in mapping if name in other and abs(other[name] - mapping[name]) > tolerance * abs(mapping[name])
    ]
    if not differing:
        return None
    pairs = ", ".join(f"{name} {mapping[name]:g} and {other[name]:g}" for name in sorted(differing))
    return Finding(Flag.FIGURES_CONTRADICT, f"Two figures for the same thing: {pairs}.", float(len(differing)))


def copy_of_another_run(runs: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str]]:
    """Return pairs of runs whose shared figures all agree as printed; those of two measurements never do."""
    pairs = []
    for text, other in combinations(runs, 2):
        shared = [(runs[text][name], runs[other][name]) for name in runs[text] if name in runs[other]]
        if len(shared) > 1 and all(abs(a - b) <= PRINTED_AGAIN * abs(a) for a, b in shared):
            pairs.append((text, other))
    return pairs


def kind_of_average(errors: Sequence[float], reported: float) -> Literal["mean", "root_mean_square"] | None:
    """Say how a reported overall error was formed from the errors of its experiments."""
    if not errors or reported <= 0:
        return None
    averages: dict[Literal["mean", "root_mean_square"], float] = {
        "mean": fmean(errors),
        "root_mean_square": math.sqrt(fmean(error**2 for error in errors)),
    }
    fitting = [name for name, value in averages.items() if abs(value / reported - 1) < DEFINITION_TOLERANCE / 4]
    return fitting[0] if len(fitting) == 1 else None
