"""What happens to each request of a workload on one server.

Contract: `run` returns the same result for the same arguments, to the byte. Each step is timed by the
step-time model from the batch's sums; the loop itself is `simulator.engine.server`.

Not compiled: its arguments come from callers, and a wrong one is refused in words.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from simulator.engine.arrivals import arrivals_of
from simulator.engine.checks import check_concurrency, check_requests
from simulator.engine.grouped_server import GroupedServer
from simulator.engine.records import Request, RunResult
from simulator.engine.replicas import Replicas
from simulator.engine.run_statistics import RunStatistics
from simulator.engine.server import Server
from simulator.steptime.base import StepTimeModel

if TYPE_CHECKING:
    from simulator.engine.options import EngineOptions


def run(
    requests: Sequence[Request],
    step_time: StepTimeModel,
    options: EngineOptions | None = None,
    *,
    concurrency: int | None = None,
    ramp_us: int = 0,
    record_steps: bool = False,
    count_gaps: bool = False,
) -> RunResult:
    """Serve `requests` and report when each one was scheduled, answered and done.

    Parameters
    ----------
    requests
        In any order; requests that arrive together are queued in the order given.
    step_time
        Says how long every step takes; its answer must depend on nothing but the sums it is given.
    options
        Limits and policies of the server; None: those that `EngineOptions` has by default.
    concurrency
        None: requests arrive at their `arrival_us`, later turns of a session after the one before. Otherwise a closed
        loop of that many clients: the
        first ones arrive at 0, or one after the other within `ramp_us`, and each request that completes or is
        dropped lets the next one, in the order given, arrive at that time: the session's next turn, after its think
        time, or behind the last turn the next session; a request never let in keeps the `arrival_us` given.
    ramp_us
        Time over which the clients of a closed loop start, evenly; 0: all at once.
    record_steps
        Keep a `StepRecord` of every step.
    count_gaps
        Count the gaps between tokens, for their percentiles.

    Raises
    ------
    ConfigError
        If a request means nothing (see `check_requests`) or `concurrency` is less than 1.
    """
    from simulator.engine.options import EngineOptions  # here, so that importing `run` does not import validation

    check_requests(requests)
    check_concurrency(concurrency)
    arrivals = arrivals_of(requests, concurrency, ramp_us)
    limits = options or EngineOptions()
    statistics = [RunStatistics(record_steps, count_gaps) for _ in range(limits.replicas)]
    kind = Server if limits.attention_data_parallel == 1 else GroupedServer
    server = (
        kind(requests, arrivals, step_time, limits, statistics[0])
        if limits.replicas == 1
        else Replicas(requests, arrivals, step_time, limits, statistics)
    )
    with _cycle_collection_paused():
        server.serve()
        return server.outcome()


@contextmanager
def _cycle_collection_paused() -> Iterator[None]:
    """Keep the collector of reference cycles from looking through a run's requests again and again.

    What a run drops while it serves is freed by reference counts, paused or not; the search would cost a
    tenth of a run of 100,000 requests. A caller who has switched the collector off finds it off again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
