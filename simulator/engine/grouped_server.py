"""A server whose GPUs form groups with requests of their own, and compute every step together.

Every group has a scheduler, a KV cache and a batch, with the limits of `EngineOptions` each. All groups compute the
layers with experts at once, so that none starts a step before the slowest has ended the last; one without requests
waits along. A request goes to the group with the least to do when it arrives, and stays there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from simulator.engine.arrivals import Arrivals
from simulator.engine.records import Request, RequestResult
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
        results: list[RequestResult | None] | None = None,
    ) -> None:
        super().__init__(requests, arrivals, step_time, options, statistics, results)
        for _ in range(options.attention_data_parallel - 1):
            self.schedulers.append(Scheduler(options, step_time.kv_breakpoints))

    def _is_idle(self) -> bool:
        return not any([scheduler.running or scheduler.waiting for scheduler in self.schedulers])

    def _enqueue(self, live: RunningRequest) -> None:
        chosen = min(self.schedulers, key=_load)
        chosen.waiting.append(live)

    def _next_steps(self) -> None:
        """Form a step of every group that has requests, and take them together."""
        working = [scheduler for scheduler in self.schedulers if scheduler.running or scheduler.waiting]
        tokens = []
        for scheduler in working:
            scheduler.form(self._now_us)
            sums = scheduler.decoding.sums
            sums.prefill = [(past, new_tokens) for _, past, new_tokens in scheduler.chunks]
            tokens.append(sums.decode_count + scheduler.prefill_tokens)
        everywhere = sum(tokens)
        for scheduler, own in zip(working, tokens, strict=True):
            scheduler.decoding.sums.elsewhere = everywhere - own
        times_us = self._times_of_all(working)
        end_us = self._now_us + sum(times_us)
        if len(times_us) > 1:
            for scheduler in working:
                self._take_at_once(scheduler, times_us, end_us)
        else:
            for scheduler in working:
                self._statistics.step(scheduler, self._now_us, times_us[0])
                self._finish_step(scheduler, self._now_us, times_us[0])
        self._look_again(end_us - times_us[-1], end_us)

    def _times_of_all(self, working: Sequence[Scheduler]) -> list[int]:
        """Return how long the coming steps take, those of the slowest group; more than one where all only decode."""
        if all([scheduler.decodes_alone for scheduler in working]):
            steps, limit_us = min([self._coming_steps(scheduler) for scheduler in working]), self._limit_us()
            known = [self._decode_times_us(scheduler.decoding.sums, steps, limit_us) for scheduler in working]
            # Groups that wait for the slowest one come to the limit with it, or before they would alone.
            slowest = [max(times) for times in zip(*[times for times in known if times is not None], strict=False)]
            if None not in known:
                return slowest[: 1 + bisect_left(list(accumulate(slowest)), limit_us)]
        return [max([self._step_time_us(scheduler.decoding.sums) for scheduler in working])]


def _load(scheduler: Scheduler) -> int:
    return WAITING_WEIGHT * len(scheduler.waiting) + len(scheduler.running)
