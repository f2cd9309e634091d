"""From what a benchmark tool reported to the project's definitions.

Contract: each function converts aggregate figures of one tool; units are as in the names. Where a
conversion has no meaning (one token per request) it raises instead of inventing a number.
"""

from __future__ import annotations

from simulator.errors import UnsupportedError


def itl_from_means_ms(e2e_mean_ms: float, ttft_mean_ms: float, mean_output_tokens: float) -> float:
    """Return (mean E2E - mean TTFT) / (mean N - 1): equal to the token-weighted inter-token latency.

    Raises
    ------
    UnsupportedError
        If requests generate one token or less on average, or E2E is below TTFT.
    """
    if mean_output_tokens <= 1:
        raise UnsupportedError(f"inter-token latency: needs more than 1 token per request, got {mean_output_tokens}")
    if e2e_mean_ms < ttft_mean_ms:
        raise UnsupportedError(
            f"inter-token latency: E2E {e2e_mean_ms} ms is below TTFT {ttft_mean_ms} ms; are both in ms?"
        )
    return (e2e_mean_ms - ttft_mean_ms) / (mean_output_tokens - 1)


def output_tokens_from_guidellm(e2e_mean_ms: float, tpot_guidellm_ms: float) -> float:
    """Return mean N, which GuideLLM's TPOT implies: it is sum of latency over sum of N.

    Raises
    ------
    UnsupportedError
        If TPOT is not positive.
    """
    if tpot_guidellm_ms <= 0:
        raise UnsupportedError(f"mean output tokens: TPOT must be positive, got {tpot_guidellm_ms} ms")
    return e2e_mean_ms / tpot_guidellm_ms


def tpot_from_stream_lines_ms(reported_ms: float, output_tokens: float) -> float:
    """Return the true TPOT from one that counted every line of the stream, blank separators included.

    inference-perf e8e0aa99 sees 2 N + 2 events, hence 2 N + 1 gaps, where N - 1 lie between tokens.

    Raises
    ------
    UnsupportedError
        If requests generate one token or less.
    """
    if output_tokens <= 1:
        raise UnsupportedError(f"TPOT: needs more than 1 token per request, got {output_tokens}")
    return reported_ms * (2 * output_tokens + 1) / (output_tokens - 1)


def stream_line_percentile(rank_pct: float) -> float:
    """Return which reported percentile is the true one when every second reported gap is about zero.

    The zero gaps fill the lower half: the true 50th, 90th, 98th are the reported 75th, 95th, 99th.
    """
    return 50 + rank_pct / 2
