"""What requests saw of each other while they were served, from their times alone.

Contract: `occupancy` weights every figure by what a client sees: a batch by the tokens that were
generated in it, not by steps. One pass over sorted times; no step log is needed. Where nothing
decodes, figures of decoding are None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from simulator.engine.records import RequestResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


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

    def each(field: str) -> NDArray[np.float64]:
        return np.fromiter(map(attrgetter(field), done), dtype=np.float64, count=len(done))

    prompts = each("prompt_tokens")
    computed = prompts - each("cached_tokens")
    outputs = np.maximum(each("output_tokens"), 1.0)
    begins, ends = each("first_token_us"), each("completed_us")
    queues = each("scheduled_us") - each("arrival_us")
    requests, tokens, lengths = _profile(prompts, outputs, begins, ends)
    token_time, gaps = _sum(requests * lengths), _sum(outputs - 1)
    # Others that decode when a prompt is completed; those that begin at the same moment came with it.
    beside = np.searchsorted(np.sort(begins), begins) - np.searchsorted(np.sort(ends), begins)
    return Occupancy(
        prompt_tokens=_sum(prompts) / len(done),
        computed_tokens=_sum(computed) / len(done),
        output_tokens=_sum(outputs) / len(done),
        queue_us=_sum(queues) / len(done),
        decode_requests=_sum(requests**2 * lengths) / token_time if token_time else None,
        decode_kv_tokens=_sum(requests * tokens * lengths) / token_time if token_time else None,
        prefills_per_gap=_sum(beside) / gaps if gaps else None,
        prefill_tokens_per_gap=_sum(beside * computed) / gaps if gaps else None,
        decodes_beside_prefill=_sum(beside) / len(done),
    )


def _sum(values: NDArray[Any]) -> float:
    """Return the exact sum; the last digit of a dot product depends on how many threads the BLAS library has."""
    return math.fsum(values.tolist())


def _profile(prompts: Floats, outputs: Floats, begins: Floats, ends: Floats) -> tuple[Floats, Floats, Floats]:
    """Return requests that decode, their mean KV tokens, and the length of every stretch between two events.

    KV tokens of a request grow linearly while it decodes, as base + growth * time, so that those of all are two
    running sums.
    """
    import numpy as np

    times = np.concatenate([begins, ends])
    order = np.argsort(times, kind="stable")
    signs = np.concatenate([np.ones_like(begins), -np.ones_like(ends)])[order]
    start = times[order[0]]
    spans = ends - begins
    growth = np.where(spans > 0, (outputs - 1) / np.where(spans > 0, spans, 1.0), 0.0)
    base = prompts - growth * (begins - start)
    elapsed = times[order] - start
    lengths = np.diff(elapsed, append=elapsed[-1])
    bases, growths = (np.cumsum(signs * np.concatenate([one, one])[order]) for one in (base, growth))
    return np.cumsum(signs), bases + growths * (elapsed + lengths / 2), lengths
