"""A server whose GPUs form groups with requests of their own, and compute every step together.

Every group has a scheduler, a KV cache and a batch, with the limits of `EngineOptions` each. All groups compute the
layers with experts at once, so that none starts a step before the slowest has ended the last; one without requests
waits along. A request goes to the group with the least to do when it arrives, and stays there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.engine.arrivals import Arrivals
from simulator.engine.records import Request
from simulator.engine.run_statistics import RunStatistics
from simulator.engine.running_request import RunningRequest
from simulator.engine.scheduler import Scheduler
from simulator.engine.server import Server
from simulator.steptime.base import StepTimeModel

if TYPE_CHECKING:
    from simulator.engine.options import EngineOptions

# What a waiting request counts beside a running one when the least busy group is looked for: vLLM's own weight
# (`DPLBAsyncMPClient`), dimensionless.
WAITING_WEIGHT = 4


class GroupedServer(Server):
    """One run in progress of a server with attention data parallelism."""

    def __init__(
        self,
        requests: Sequence[Request],
        arrivals: Arrivals,
        step_time: StepTimeModel,
        options: EngineOptions,
        statistics: RunStatistics,
    ) -> None:
        super().__init__(requests, arrivals, step_time, options, statistics)
        for _ in range(options.attention_data_parallel - 1):
            self._schedulers.append(Scheduler(options, step_time.kv_breakpoints))

    def _is_idle(self) -> bool:
        return not any([scheduler.running or scheduler.waiting for scheduler in self._schedulers])

    def _enqueue(self, live: RunningRequest) -> None:
        chosen = min(self._schedulers, key=_load)
        chosen.waiting.append(live)

    def _next_steps(self) -> None:
        """Form a step of every group that has requests, and take them together."""
        working = [scheduler for scheduler in self._schedulers if scheduler.running or scheduler.waiting]
        tokens = []
        for scheduler in working:
            scheduler.form(self._now_us)
            sums = scheduler.decoding.sums
            sums.prefill = [(past, new_tokens) for _, past, new_tokens in scheduler.chunks]
            tokens.append(sums.decode_count + scheduler.prefill_tokens)
        everywhere = sum(tokens)
        duration_us = 0
        for scheduler, own in zip(working, tokens, strict=True):
            scheduler.decoding.sums.elsewhere = everywhere - own
            duration_us = max(duration_us, self._step_time_us(scheduler.decoding.sums))
        start_us = self._now_us
        for scheduler in working:
            self._statistics.step(scheduler, start_us, duration_us)
            self._finish_step(scheduler, start_us, duration_us)
        self._look_again(start_us, start_us + duration_us)


def _load(scheduler: Scheduler) -> int:
    return WAITING_WEIGHT * len(scheduler.waiting) + len(scheduler.running)
