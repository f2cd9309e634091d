"""Whether a run shows that its server could not keep up: waiting that grows, or a closed loop wider than its KV cache.

Contract: pure. Decided from what was observed, never assumed; waiting that grows by the same function for measured and
simulated runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from simulator.engine.records import RequestResult, RunCounters

# Time to the first token may grow by this factor from the first to the last quarter of a run, of five requests each.
QUEUE_GROWTH = 3.0
MIN_WAITS = 20
# From which share of the KV blocks on a cache was full, and from which share of its time on a request waits that is not
# admitted, dimensionless. Clients of a closed loop wait for a prefill where many begin at once, up to 0.04 of the time
# in simulated loops that kept up; where measured ones did not, because the cache was full, simulated ones wait 0.06 and
# more (Llama-3.3-70B on H100 and H200, Qwen3-32B on H100).
FULL_SHARE = 0.99
WAITING_SHARE = 0.05


def queue_growth(waits: Sequence[float]) -> tuple[float, float] | None:
    """Return the median wait of the first and of the last quarter of a run where waiting grows, else None.

    Parameters
    ----------
    waits
        Time to the first token in order of sending, in any unit; fewer than `MIN_WAITS` say nothing.
    """
    quarter = len(waits) // 4
    if len(waits) < MIN_WAITS:
        return None
    first, last = median(waits[:quarter]), median(waits[-quarter:])
    return None if last < QUEUE_GROWTH * first else (first, last)


def grows_queue(waits: Sequence[float]) -> bool:
    """Return whether waiting grows through a run; see `queue_growth`."""
    return queue_growth(waits) is not None


def lacks_room(done: Sequence[RequestResult], counters: RunCounters, kv_blocks: int) -> bool:
    """Return whether a closed loop is wider than its server: the KV cache fills up, and requests wait for it.

    Waiting cannot grow there, because no client sends more until it is answered.
    """
    if counters.peak_kv_blocks < FULL_SHARE * kv_blocks:
        return False
    times = [(each.arrival_us, each.scheduled_us, each.completed_us) for each in done]
    known = [(sent, start, end) for sent, start, end in times if start is not None and end is not None]
    waited_us, took_us = sum(start - sent for sent, start, _ in known), sum(end - sent for sent, _, end in known)
    return waited_us > WAITING_SHARE * took_us
