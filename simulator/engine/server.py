"""The serving loop: one server that takes step after step until nothing is left to do.

A stretch of steps with the same requests decoding is one event that touches no request. Rules of a step:
`simulator.engine.scheduler`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from simulator.engine.arrivals import NEVER_US, Arrivals
from simulator.engine.lone_decode_times import LoneDecodeTimes
from simulator.engine.records import Request, RequestResult, RequestState, RunResult
from simulator.engine.run_statistics import RunStatistics, ordered_gaps
from simulator.engine.running_request import RunningRequest, final_tokens
from simulator.engine.scheduler import Scheduler
from simulator.steptime.base import GivesDecodeTimes, StepTimeModel
from simulator.steptime.batch import BatchSums

if TYPE_CHECKING:
    from simulator.engine.options import EngineOptions


class Server:
    """One run in progress."""

    def __init__(
        self,
        requests: Sequence[Request],
        arrivals: Arrivals,
        step_time: StepTimeModel,
        options: EngineOptions,
        statistics: RunStatistics,
        results: list[RequestResult | None] | None = None,
    ) -> None:
        self._requests = requests
        self._arrivals = arrivals
        self._step_time_us = step_time.step_time_us
        self._decode_times_us: Callable[[BatchSums, int, int], list[int] | None] = _unknown_decode_times
        if isinstance(step_time, GivesDecodeTimes) and not statistics.recording:
            self._decode_times_us = step_time.decode_times_us
        self._options = options
        self._statistics = statistics
        self._scheduler = Scheduler(options, step_time.kv_breakpoints)
        self.schedulers = [self._scheduler]
        self._lone_decode_times = LoneDecodeTimes(step_time)
        # Servers behind a router write into one list.
        self._results: list[RequestResult | None] = [None] * len(requests) if results is None else results
        self._now_us = 0
        # A request that needs more than this could not complete even if it had the server to itself.
        self._capacity_tokens = options.kv_blocks * options.block_tokens
        self._busy_until_step_end = options.idle_until == "step_end"
        self._ahead = options.schedule_ahead
        # Arrivals after this time are not known to the step formed next.
        self._seen_us = 0

    def serve(self) -> None:
        """Run step after step until nothing is left to do, the horizon is passed or nobody knows what comes."""
        arrivals, horizon_us = self._arrivals, self._options.horizon_us
        while self._now_us < arrivals.known_until_us and (horizon_us is None or self._now_us <= horizon_us):
            next_us = arrivals.next_us
            if next_us is not None and next_us <= self._seen_us:
                self._queue_arrivals(self._seen_us)
            if not self._is_idle():
                self._next_steps()
            elif arrivals.next_us is not None:
                self._now_us = self._seen_us = max(self._now_us, arrivals.next_us)
            else:
                return
        if horizon_us is not None and self._now_us > horizon_us:
            self._queue_arrivals(horizon_us)

    def next_step_us(self) -> int:
        """Return when the next step starts, as far as requests are here or sent; `NEVER_US` without any."""
        start_us, horizon_us = self._now_us, self._options.horizon_us
        if self._is_idle():
            next_us = self._arrivals.next_us
            start_us = NEVER_US if next_us is None else max(start_us, next_us)
        return NEVER_US if horizon_us is not None and start_us > horizon_us else start_us

    def fits(self, index: int) -> bool:
        """Return whether a request could complete if it had the server to itself."""
        return final_tokens(self._requests[index]) <= self._capacity_tokens

    def drop(self, index: int, arrival_us: int) -> None:
        """Note that a request can never be served."""
        self._results[index] = self._live(index, arrival_us).result(RequestState.DROPPED)

    def outcome(self) -> RunResult:
        """Return what became of every request."""
        self.settle()
        statistics = self._statistics
        counters, records = statistics.counters(self.schedulers), tuple(statistics.records)
        return RunResult(self.results(), counters, records, ordered_gaps(statistics.gaps))

    def settle(self) -> None:
        """Note how far the requests came that are still here, or were sent."""
        for scheduler in self.schedulers:
            for live in scheduler.running:
                self._results[live.index] = live.result(RequestState.RUNNING)
            for live in scheduler.waiting:
                self._results[live.index] = live.result(RequestState.QUEUED)
            # The sums refer back to the scheduler; without that cycle the run's memory is free at once.
            scheduler.decoding.sums.decode_pasts = tuple
        for _, arrival_us, index in self._arrivals.remaining():
            arrived = self._options.horizon_us is None or arrival_us <= self._options.horizon_us
            state = RequestState.QUEUED if arrived else RequestState.NOT_ARRIVED
            self._results[index] = self._live(index, arrival_us).result(state)

    def results(self) -> tuple[RequestResult, ...]:
        """Return every request's result, in the order given; one that nobody noted never came."""
        results = [
            result or self._live(index, self._requests[index].arrival_us).result(RequestState.NOT_ARRIVED)
            for index, result in enumerate(self._results)
        ]
        return tuple(results)

    def _is_idle(self) -> bool:
        """Whether no request is in the server."""
        return not self._scheduler.running and not self._scheduler.waiting

    def _enqueue(self, live: RunningRequest) -> None:
        """Let a request wait for its turn."""
        self._scheduler.waiting.append(live)

    def _live(self, index: int, arrival_us: int) -> RunningRequest:
        return RunningRequest(self._requests[index], index, arrival_us, self._options.block_tokens)

    def _queue_arrivals(self, now_us: int) -> None:
        """Move every request that is due by now into the waiting queue, or drop it."""
        arrivals = self._arrivals
        while (next_us := arrivals.next_us) is not None and next_us <= now_us:
            _, arrival_us, index = arrivals.take()
            if self.fits(index):
                self._enqueue(self._live(index, arrival_us))
            else:
                self.drop(index, arrival_us)
                arrivals.release(index, next_us)

    def _next_steps(self) -> None:
        """Form a step and take it; if only decodes are in it, take all steps that are bound to equal it."""
        scheduler = self._scheduler
        scheduler.form(self._now_us)
        scheduler.decoding.sums.prefill = [(past, new_tokens) for _, past, new_tokens in scheduler.chunks]
        if not scheduler.decodes_alone:
            self._take_step()
        elif len(scheduler.running) == 1:
            self._decode_alone()
        else:
            self._decode_together()

    def _take_step(self) -> None:
        scheduler = self._scheduler
        start_us = self._now_us
        duration_us = self._step_time_us(scheduler.decoding.sums)
        self._statistics.step(scheduler, start_us, duration_us)
        self._finish_step(scheduler, start_us, duration_us)
        self._look_again(start_us, start_us + duration_us)

    def _finish_step(self, scheduler: Scheduler, start_us: int, duration_us: int) -> None:
        """Take in what a step has computed; see `_let_go`."""
        end_us = start_us + duration_us
        scheduler.decoding.advance()
        done = scheduler.decoding.take_finished()
        done += scheduler.finish_prefill(end_us)
        self._let_go(scheduler, end_us, duration_us, done)

    def _decode_together(self) -> None:
        """Decode until a request finishes, another arrives, KV blocks run out or the horizon is passed."""
        scheduler = self._scheduler
        steps = self._coming_steps(scheduler)
        times_us = self._decode_times_us(scheduler.decoding.sums, steps, self._limit_us())
        if times_us is None:
            self._decode_by_sums()
            return
        end_us = self._now_us + sum(times_us)
        self._take_at_once(scheduler, times_us, end_us)
        self._look_again(end_us - times_us[-1], end_us)

    def _coming_steps(self, scheduler: Scheduler) -> int:
        """Return for how many steps nothing but decodes of the same requests can follow the step just formed."""
        decoding = scheduler.decoding
        steps, crossing = decoding.steps_to_finish(), decoding.steps_to_breakpoint()
        if crossing is not None and crossing < steps:
            steps = crossing
        return decoding.steps_within(scheduler.kv.free_blocks, steps)

    def _limit_us(self) -> int:
        """Return after how long no step may start without a look at queue and horizon."""
        until_us = self._next_interruption_us()
        # An arrival already due that this step does not know of yet lets one step pass.
        return NEVER_US if until_us is None else max(1, until_us - self._now_us)

    def _take_at_once(self, scheduler: Scheduler, times_us: list[int], end_us: int) -> None:
        """Take steps of the same decodes whose durations are known, at least one; see `_let_go`."""
        decoding, kv, statistics = scheduler.decoding, scheduler.kv, self._statistics
        steps, count = len(times_us), decoding.sums.decode_count
        if statistics.counting_gaps:
            for gap_us in times_us:
                statistics.count_gap(gap_us, count)
        kv.take(decoding.blocks_of(steps))
        decoding.advance_by(steps)
        statistics.decode_stretch(steps, steps * count, end_us - self._now_us, end_us, kv.used_blocks)
        self._let_go(scheduler, end_us, times_us[-1], decoding.take_finished())

    def _decode_by_sums(self) -> None:
        """Decode one step after the other, each timed by the running sums."""
        scheduler, decoding, statistics = self._scheduler, self._scheduler.decoding, self._statistics
        sums, kv = decoding.sums, scheduler.kv
        until_us = self._next_interruption_us()
        steps = decoding.steps_to_finish()
        start_us = now_us = self._now_us
        taken = 0
        while True:
            duration_us = self._step_time_us(sums)
            if statistics.recording:
                statistics.record(scheduler, now_us, duration_us)
            if statistics.counting_gaps:
                statistics.count_gap(duration_us, sums.decode_count)
            decoding.advance()
            now_us += duration_us
            taken += 1
            if taken == steps or (until_us is not None and now_us >= until_us):
                break
            blocks = decoding.new_blocks()
            if blocks > kv.free_blocks:
                break
            if blocks:
                kv.take(blocks)
        statistics.decode_stretch(taken, taken * sums.decode_count, now_us - start_us, now_us, kv.used_blocks)
        done = decoding.take_finished() if taken == steps else []
        self._end_step(now_us - duration_us, duration_us, done)

    def _decode_alone(self) -> None:
        """Do as `_decode_together` for a single request: KV blocks never run out."""
        scheduler, decoding, statistics = self._scheduler, self._scheduler.decoding, self._statistics
        live = scheduler.decode_members()[0]
        until_us = self._next_interruption_us()
        start_us = self._now_us
        past = live.base + decoding.step
        # An arrival already due that this step does not know of yet lets one step pass.
        limit_us = None if until_us is None else max(1, until_us - start_us)
        durations_us = self._lone_decode_times.durations_us(past, decoding.steps_to_finish(), limit_us)
        if statistics.recording:
            self._record_alone(live, durations_us)
        if statistics.counting_gaps:
            for duration_us in durations_us:
                statistics.count_gap(duration_us, 1)
        steps = len(durations_us)
        end_us = start_us + sum(durations_us)
        # The first step's block was taken when it was formed.
        scheduler.kv.take(scheduler.kv.blocks_for(past + steps) - scheduler.kv.blocks_for(past + 1))
        decoding.jump(live, steps)
        statistics.decode_stretch(steps, steps, end_us - start_us, end_us, scheduler.kv.used_blocks)
        self._end_step(end_us - durations_us[-1], durations_us[-1], decoding.take_finished())

    def _record_alone(self, live: RunningRequest, durations_us: list[int]) -> None:
        scheduler, kv = self._scheduler, self._scheduler.kv
        past = live.base + scheduler.decoding.step
        # Blocks are taken for the whole stretch at once, after these records.
        before = kv.used_blocks - kv.blocks_for(past + 1)
        now_us = self._now_us
        for index, duration_us in enumerate(durations_us):
            used = before + kv.blocks_for(past + index + 1)
            decode = ((live.request.id, past + index),)
            self._statistics.add_record(now_us, duration_us, (), decode, len(scheduler.waiting), used)
            now_us += duration_us

    def _next_interruption_us(self) -> int | None:
        """Return the time from which on no step may start without a look at queue and horizon."""
        arrivals, horizon_us = self._arrivals, self._options.horizon_us
        next_us, until_us = arrivals.next_us, arrivals.known_until_us
        if horizon_us is not None and horizon_us < until_us:
            until_us = horizon_us + 1
        if next_us is not None and next_us < until_us:
            return next_us
        return None if until_us == NEVER_US else until_us

    def _end_step(self, start_us: int, duration_us: int, done: list[RunningRequest]) -> None:
        end_us = start_us + duration_us
        self._let_go(self._scheduler, end_us, duration_us, done)
        self._look_again(start_us, end_us)

    def _let_go(self, scheduler: Scheduler, end_us: int, duration_us: int, done: list[RunningRequest]) -> None:
        """Let the requests in `done` go, in batch order."""
        if len(done) > 1:
            done.sort(key=_rank)
        for live in done:
            scheduler.remove(live)
            self._results[live.index] = live.result(RequestState.COMPLETED, end_us, duration_us)
            self._arrivals.release(live.index, end_us)

    def _look_again(self, start_us: int, end_us: int) -> None:
        """Set the clock to when the server looks at its queue again, behind a step."""
        idle = self._is_idle()
        self._now_us = start_us if idle and not self._busy_until_step_end else end_us
        self._seen_us = start_us if self._ahead and not idle else self._now_us


def _unknown_decode_times(sums: BatchSums, steps: int, limit_us: int) -> None:
    """Answer for a model whose decodes must be timed one step after the other."""


def _rank(live: RunningRequest) -> int:
    return live.rank
