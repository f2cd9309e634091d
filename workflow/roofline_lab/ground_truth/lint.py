"""Pitfalls of measured latencies, found from the numbers alone.

Contract: every check is a pure function of the figures it is given and returns a `Finding`, or None where the pitfall
is absent or cannot be seen. A check never guesses: with too few numbers it finds nothing. The names are those of
`quality.Flag`; docs/importing.md explains each pitfall.

Latencies are in milliseconds unless a name says otherwise; N is the number of tokens generated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING, Literal

from roofline_lab.ground_truth.quality import Finding, Flag
from simulator.conversions import itl_from_means_ms, output_tokens_from_guidellm, tpot_from_stream_lines_ms
from simulator.saturation import queue_growth

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

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

# The first chunk of a stream is no token when the gap behind it is so many times the later ones, in so many requests at
# least. Where two tokens come at once, or a chunk is dropped, single requests differ; all of them do not.
FIRST_GAP_FACTOR = 2.0
MIN_STREAMS = 3

# A list repeats when so many of its entries equal the one a period before; the rest are requests
# that overtook each other. Recorded cyclic runs have 0.98 to 0.99, unrelated prompts at most 0.2.
PERIOD_MATCH = 0.9
PERIOD_ABOVE_CHANCE = 0.5
MIN_REPEATING = 20
MAX_PERIOD = 5000

# Exponential gaps have a coefficient of variation of 1; evenly spaced ones of 0. Standard error of
# the estimate for n gaps is about 1 / sqrt(n), hence at least a hundred gaps.
POISSON_CV = (0.85, 1.15)
MIN_GAPS = 100

# The first requests are cold when they are slower than the others by this factor (median against
# median). Recorded runs: 1.27 to 1.5 for the first hundred, 1.0 to 1.1 for a hundred in the middle.
COLD_FACTOR = 1.2
COLD_REQUESTS = 100
# One first request alone is cold when it exceeds the slowest of all others by this factor.
COLD_FIRST_FACTOR = 1.2
# In a summary: largest value over the 99.9th percentile of at least a thousand requests.
COLD_TAIL_FACTOR = 1.5
COLD_TAIL_REQUESTS = 1000

# In summaries of two stages: p99 of the first over that of a later, busier one, and how far p90 may
# exceed it. Recorded runs whose first stage is cold: 1.1 to 1.7, with p90 0.85 to 1.0 of the later one.
COLD_STAGE_FACTOR = 1.1
COLD_STAGE_BULK = 1.05

# Client and server keep up when they send, and complete, at least this share of what was asked for.
KEPT_UP = 0.95

# Correlation of true output length with E2E is near 1 where lengths vary and decoding dominates.
UNRELATED = 0.1
MIN_CORRELATED = 100

# Tokens a prompt may gain or lose when a server counts it again: recorded are 0 and -2.
MAX_SHIFT_TOKENS = 4

Convention = Literal["guidellm", "inter_token", "decode_per_token", "stream_lines"]


# --- definitions and units ---------------------------------------------------------------------


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


def tokens_in_chunks(
    *, ttft: float, e2e: float, tpot: float, tokens: float, text_tokens: float, lines: bool
) -> Finding | None:
    """Find answers that came in fewer pieces than they have tokens; the value is the number of pieces.

    Parameters
    ----------
    tpot
        Mean time between the pieces the client saw.
    text_tokens
        Tokens that the client counted in the text: a witness that `tokens` is right and pieces are no tokens.
    lines
        Whether blank lines of the stream were taken for pieces as well, so that every second gap is empty.
    """
    if tokens <= 1 or min(ttft, e2e, tpot) <= 0 or e2e <= ttft:
        return None
    intervals = (e2e - ttft) / tpot
    chunks = (intervals - 1) / 2 if lines else intervals + 1
    if not 1 < chunks < tokens * (1 - DEFINITION_TOLERANCE) or abs(text_tokens - chunks) <= abs(text_tokens - tokens):
        return None
    return Finding(
        Flag.STREAM_LINES_COUNTED,
        f"(E2E - TTFT) / TPOT = {intervals:.1f}: {tokens:g} tokens came in {chunks:.0f} chunks per answer, several "
        "tokens in one, as with speculative decoding (which is not simulated). TPOT is (E2E - TTFT) / (N - 1); its "
        "percentiles and those of the gaps are of chunks and left out.",
        chunks,
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


def first_chunk_is_no_token(
    *, ttft: Sequence[float], first_gap: Sequence[float], typical_gap: Sequence[float]
) -> Finding | None:
    """Find streams whose first chunk is no token, as that with the role of a chat answer, from each request's times.

    Such a chunk comes before the prompt is computed: the gap behind it is a multiple of all others and longer than the
    time to the chunk itself. A server that computes other prompts between two tokens shows this in some requests only.

    Parameters
    ----------
    ttft, first_gap, typical_gap
        Of each request, in the same order: time to the first chunk, from it to the second, and between later ones.
    """
    shown = [
        gap >= FIRST_GAP_FACTOR * typical > 0 and gap > first
        for first, gap, typical in zip(ttft, first_gap, typical_gap, strict=True)
    ]
    if len(shown) < MIN_STREAMS or sum(shown) < EVENTS_AGREE * len(shown):
        return None
    first, other = median(first_gap), median(typical_gap)
    return Finding(
        Flag.STREAM_LINES_COUNTED,
        f"In {sum(shown)} of {len(shown)} requests the first gap, {first:.1f} ms, is {first / other:.1f} times "
        f"the others, {other:.1f} ms, and longer than the {median(ttft):.1f} ms to the first chunk: that chunk was no "
        "token, but for instance the role of a chat answer.",
        first / other,
    )


def first_gap_stands_out(*, first_gap: Sequence[float], typical_gap: Sequence[float]) -> Finding | None:
    """Find streams whose first gap is a multiple of the others, where the time to the first chunk decides nothing."""
    shown = [gap >= FIRST_GAP_FACTOR * typical > 0 for gap, typical in zip(first_gap, typical_gap, strict=True)]
    if len(shown) < MIN_STREAMS or sum(shown) < EVENTS_AGREE * len(shown):
        return None
    first, other = median(first_gap), median(typical_gap)
    return Finding(
        Flag.STREAM_LINES_COUNTED,
        f"In {sum(shown)} of {len(shown)} requests the first gap, {first:.1f} ms, is {first / other:.1f} times the "
        f"others, {other:.1f} ms: the first chunk may have been no token, or other prompts were computed "
        "before the second.",
        first / other,
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


# --- lengths ----------------------------------------------------------------------------------


def output_retokenised(*, reported: float, generated: float) -> Finding | None:
    """Find a reported mean output length that is not what every request had to generate."""
    if generated <= 0 or abs(reported / generated - 1) <= 0.001:
        return None
    return Finding(
        Flag.OUTPUT_RETOKENISED,
        f"The client counted {reported:.1f} tokens in the text of an answer, but every request generated "
        f"{generated:g}.",
        reported / generated,
    )


def lengths_unrelated_to_time(output_tokens: Sequence[float], e2e: Sequence[float]) -> Finding | None:
    """Find reported output lengths that vary without any effect on how long requests took."""
    if len(output_tokens) < MIN_CORRELATED or len(set(output_tokens)) < 2 or len(set(e2e)) < 2:
        return None
    correlation = _correlation(output_tokens, e2e)
    spread = _spread(output_tokens)
    if abs(correlation) > UNRELATED or spread < 0.05 or _spread(e2e) > spread:
        return None
    return Finding(
        Flag.OUTPUT_RETOKENISED,
        f"Reported output lengths vary by {spread:.0%} of their mean, but their correlation with E2E is "
        f"{correlation:.2f}: they are not what was generated.",
        correlation,
    )


def prompts_repeat(prompt_tokens: Sequence[int]) -> Finding | None:
    """Find a pool of prompts sent in turn, from prompt lengths in order of sending; the value is its size."""
    count = len(prompt_tokens)
    chance = sum((times / count) ** 2 for times in Counter(prompt_tokens).values()) if count else 1.0
    if count < MIN_REPEATING or chance > PERIOD_ABOVE_CHANCE:
        return None
    import numpy as np

    lengths = np.asarray(prompt_tokens)
    for period in range(2, min(count // 2, MAX_PERIOD) + 1):
        match = float(np.mean(lengths[period:] == lengths[:-period]))
        if match >= PERIOD_MATCH:
            return Finding(
                Flag.PROMPTS_REPEAT,
                f"Prompt lengths repeat after {period} requests ({match:.1%} of them are equal, by chance "
                f"{chance:.0%} would be): {period} prompts are sent in turn, and a prefix cache that is on "
                "holds all but the first round.",
                float(period),
            )
    return None


def lengths_from_seed(recorded: Sequence[int], drawn: Sequence[int]) -> Finding | None:
    """Find recorded lengths that are a client's own draws, shifted by a constant; the value is the shift.

    The order may differ, as several workers send side by side, and some requests may be missing.
    """
    if not recorded or len(recorded) > len(drawn):
        return None
    for shift in _shifts(recorded, drawn):
        if not Counter(tokens - shift for tokens in recorded) - Counter(drawn):
            return Finding(
                Flag.LENGTHS_FROM_SEED,
                f"All {len(recorded)} recorded lengths are among the {len(drawn)} the client's sampler draws from its "
                f"seed{f', {shift:+d} tokens' if shift else ''}.",
                float(shift),
            )
    return None


def _shifts(recorded: Sequence[int], drawn: Sequence[int]) -> list[int]:
    """Return the small shifts that the longest recorded length allows, those nearest to zero first."""
    longest = max(recorded)
    allowed = {longest - tokens for tokens in drawn}
    return sorted((one for one in allowed if abs(one) <= MAX_SHIFT_TOKENS), key=lambda shift: (abs(shift), shift))


# --- time -------------------------------------------------------------------------------------


def constant_is_poisson(arrival_us: Sequence[int]) -> Finding | None:
    """Find exponential gaps, from sorted arrivals; the value is the coefficient of variation."""
    gaps = [later - earlier for earlier, later in pairwise(arrival_us)]
    if len(gaps) < MIN_GAPS or fmean(gaps) <= 0:
        return None
    variation = _spread(gaps)
    if not POISSON_CV[0] <= variation <= POISSON_CV[1]:
        return None
    return Finding(
        Flag.CONSTANT_IS_POISSON,
        f"The gaps between {len(arrival_us)} arrivals have a coefficient of variation of {variation:.2f}: they are "
        "exponential, not constant.",
        variation,
    )


def cold_start(ttft: Sequence[float]) -> Finding | None:
    """Find slow first requests, from TTFT in order of sending; the value is how many are meant."""
    if len(ttft) < 10:
        return None
    if ttft[0] > COLD_FIRST_FACTOR * max(ttft[1:]) and ttft[0] > 2 * median(ttft[1:]):
        return Finding(
            Flag.COLD_START_INCLUDED,
            f"The first request waited {ttft[0]:.1f} ms for its first token, the slowest of the {len(ttft) - 1} others "
            f"{max(ttft[1:]):.1f} ms.",
            1.0,
        )
    if len(ttft) < 4 * COLD_REQUESTS:
        return None
    first, rest = median(ttft[:COLD_REQUESTS]), median(ttft[COLD_REQUESTS : 4 * COLD_REQUESTS])
    if first < COLD_FACTOR * rest:
        return None
    return Finding(
        Flag.COLD_START_INCLUDED,
        f"Median TTFT of the first {COLD_REQUESTS} requests is {first:.1f} ms, of the next {3 * COLD_REQUESTS} "
        f"{rest:.1f} ms.",
        float(COLD_REQUESTS),
    )


def cold_tail(*, largest: float, p99_9: float, requests: int) -> Finding | None:
    """Find the same from a summary: the largest TTFT stands alone above the 99.9th percentile."""
    if requests < COLD_TAIL_REQUESTS or p99_9 <= 0 or largest < COLD_TAIL_FACTOR * p99_9:
        return None
    return Finding(
        Flag.COLD_START_INCLUDED,
        f"The largest TTFT, {largest:.1f} ms, is {largest / p99_9:.1f} times the 99.9th percentile, as that of a first "
        "request is.",
        largest / p99_9,
    )


def cold_first_stage(*, p90: tuple[float, float], p99: tuple[float, float], later: str) -> Finding | None:
    """Find the same from two stages, TTFT (of the first, of a later and busier one): only its tail is longer."""
    if p99[0] < COLD_STAGE_FACTOR * p99[1] or p90[0] > COLD_STAGE_BULK * p90[1]:
        return None
    return Finding(
        Flag.COLD_START_INCLUDED,
        f"99 % of TTFT are below {p99[0]:.1f} ms, in the busier {later} below {p99[1]:.1f} ms; 90 % are below "
        f"{p90[0]:.1f} and {p90[1]:.1f} ms. Only the slow first requests of a run make the lighter load's tail longer.",
        p99[0] / p99[1],
    )


def first_is_slowest(*, first: float, largest: float, p90: float) -> Finding | None:
    """Find the same where only the first request is recorded: it has the largest TTFT of the summary."""
    if first < largest * (1 - 1e-9) or first < COLD_FIRST_FACTOR * p90:
        return None
    return Finding(
        Flag.COLD_START_INCLUDED,
        f"The first request waited longest of all for its first token, {first:.1f} ms; the 90th percentile is "
        f"{p90:.1f} ms.",
        1.0,
    )


def stages_overlap(stages: Sequence[tuple[float, float]]) -> Finding | None:
    """Find a stage that begins before the one before it has ended, from (begin, end) in any one unit."""
    for position, (earlier, later) in enumerate(pairwise(stages)):
        if later[0] < earlier[1]:
            return Finding(
                Flag.STAGES_OVERLAP,
                f"Stage {position + 1} begins {earlier[1] - later[0]:.4g} before stage {position} has ended.",
                earlier[1] - later[0],
            )
    return None


def client_time_included(
    client: Mapping[str, tuple[float, float]], server: Mapping[str, tuple[float, float]]
) -> Finding | None:
    """Measure the time between client and engine; the value is the median difference in ms.

    Parameters
    ----------
    client, server
        (TTFT, E2E) in ms by request id, those of the client in order of sending and with the first of its run,
        which is left out, because its connection and kernels are cold: alone it measures nothing.
    """
    shared = [name for name in client if name in server]
    warm = warm_requests(client, server)
    if not warm:
        return None
    ttft = median(client[name][0] - server[name][0] for name in warm)
    e2e = median(client[name][1] - server[name][1] for name in warm)
    if min(ttft, e2e) <= 0:
        return None
    return Finding(
        Flag.CLIENT_TIME_INCLUDED,
        f"Of {len(warm)} request{'s' if len(warm) > 1 else ''} that client and server both recorded, the client saw "
        f"{ttft:.1f} ms more TTFT and {e2e:.1f} ms more E2E."
        + (" The first one is cold and left out." if len(warm) < len(shared) else ""),
        (ttft + e2e) / 2,
    )


def warm_requests(client: Mapping[str, object], server: Mapping[str, object]) -> list[str]:
    """Return the ids both sides have, without the first one the client sent."""
    first = next(iter(client), None)
    return [name for name in client if name in server and name != first]


# --- load -------------------------------------------------------------------------------------


def too_many_failed(*, sent: int, failed: int) -> Finding | None:
    """Find a server that did not answer a part of its requests; whether it kept up is decided in `kept_up`."""
    if not sent or failed <= (1 - KEPT_UP) * sent:
        return None
    return Finding(Flag.OVERLOADED, f"{failed} of {sent} requests failed.", failed / sent)


def arrivals_irregular(*, requested_per_s: float | None, completed_per_s: float | None) -> Finding | None:
    """Find requests that did not arrive as planned: more were completed per second than requested."""
    if not requested_per_s or not completed_per_s or completed_per_s * KEPT_UP <= requested_per_s:
        return None
    ratio = completed_per_s / requested_per_s
    return Finding(
        Flag.ARRIVALS_IRREGULAR,
        f"{completed_per_s:.3g} requests per second were completed although {requested_per_s:.3g} were requested: some "
        "arrived together.",
        ratio,
    )


def queue_grows(ttft: Sequence[float]) -> Finding | None:
    """Find waiting that grows through a stage, from TTFT in order of sending."""
    growth = queue_growth(ttft)
    if growth is None:
        return None
    first, last = growth
    return Finding(
        Flag.OVERLOADED,
        f"Median TTFT grows from {first:.0f} ms in the first quarter of the requests to {last:.0f} ms in the last.",
        last / first,
    )


def part_of_the_run(*, counted: int, sent: int, failed: int = 0) -> Finding | None:
    """Find figures that stand for fewer requests than were sent and did not fail."""
    answered = sent - failed
    if counted >= KEPT_UP * answered:
        return None
    return Finding(
        Flag.PART_OF_THE_RUN,
        f"The figures stand for {counted} of {answered} requests that did not fail.",
        counted / answered,
    )


def _spread(values: Sequence[float]) -> float:
    """Return the coefficient of variation."""
    numbers = _array(values)
    return float(numbers.std() / numbers.mean()) if numbers.mean() else math.inf


def _correlation(sequence: Sequence[float], other: Sequence[float]) -> float:
    import numpy as np

    return float(np.corrcoef(_array(sequence), _array(other))[0, 1])


def _array(values: Sequence[float]) -> NDArray[float64]:
    import numpy as np

    return np.asarray(values, dtype=float)
