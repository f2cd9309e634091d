"""What requests saw of each other while they were served, from their times alone.

Contract: `occupancy` weights every figure by what a client sees: a batch by the tokens that were
generated in it, not by steps. One pass over sorted times; no step log is needed. Where nothing
decodes, figures of decoding are None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.engine.records import RequestResult
from simulator.request_times import decode_time_us, generated_tokens, queue_time_us, reached_us


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Means over completed requests, or over their tokens.

    Attributes
    ----------
    prompt_tokens, computed_tokens, output_tokens
        Per request: prompt, the part of it not found in the prefix cache, and tokens generated.
    queue_us
        Per request: arrival to admission.
    decode_requests, decode_kv_tokens
        Requests that decode, and their tokens in the KV cache, in the step of a token after the first.
    prefills_per_gap, prefill_tokens_per_gap
        Prompts, and computed tokens of prompts, that fall between two tokens of a request.
    decodes_beside_prefill
        Requests that decode when a prompt is completed.
    """

    prompt_tokens: float
    computed_tokens: float
    output_tokens: float
    queue_us: float
    decode_requests: float | None
    decode_kv_tokens: float | None
    prefills_per_gap: float | None
    prefill_tokens_per_gap: float | None
    decodes_beside_prefill: float


def occupancy(done: Sequence[RequestResult]) -> Occupancy | None:
    """Return what the completed requests `done` saw, or None if there are none."""
    if not done:
        return None
    # Loaded here because a bare run needs no arrays.
    import numpy as np

    prompts = np.array([one.prompt_tokens for one in done], dtype=float)
    computed = prompts - np.array([one.cached_tokens for one in done], dtype=float)
    outputs = np.array([generated_tokens(one) for one in done], dtype=float)
    begins = np.array([reached_us(one, "first_token_us") for one in done], dtype=float)
    spans = np.array([decode_time_us(one) for one in done], dtype=float)
    times = np.concatenate([begins, begins + spans])
    order = np.argsort(times, kind="stable")
    signs = np.concatenate([np.ones_like(spans), -np.ones_like(spans)])[order]
    times = times[order]
    lengths = np.diff(times, append=times[-1])
    requests = np.cumsum(signs)
    # KV tokens of a request grow linearly while it decodes: base + growth * time, so sums are two running sums.
    growth = np.where(spans > 0, (outputs - 1) / np.where(spans > 0, spans, 1.0), 0.0)
    base = prompts - growth * (begins - times[0])
    bases, growths = (np.cumsum(signs * np.concatenate([each, each])[order]) for each in (base, growth))
    tokens = bases + growths * (times - times[0] + lengths / 2)
    token_time = float(requests @ lengths)
    gaps = float(np.sum(outputs - 1))
    # Others that decode when a prompt is completed; those that begin at the same moment came with it.
    running = np.searchsorted(np.sort(begins), begins, side="left") - np.searchsorted(
        np.sort(begins + spans), begins, side="left"
    )
    count = len(done)
    return Occupancy(
        prompt_tokens=float(np.sum(prompts)) / count,
        computed_tokens=float(np.sum(computed)) / count,
        output_tokens=float(np.sum(outputs)) / count,
        queue_us=sum(map(queue_time_us, done)) / count,
        decode_requests=float(requests**2 @ lengths) / token_time if token_time else None,
        decode_kv_tokens=float((requests * tokens) @ lengths) / token_time if token_time else None,
        prefills_per_gap=float(np.sum(running)) / gaps if gaps else None,
        prefill_tokens_per_gap=float(running @ computed) / gaps if gaps else None,
        decodes_beside_prefill=float(np.sum(running)) / count,
    )
