"""The requests that decode, with every sum a step-time model may ask for kept up to date.

All of them advance by one token per step, so a request's past tokens are `step + base` with a constant
`base`: a step changes a few sums and no request. Finishing a request and passing one of the step-time
model's KV-length breakpoints are events, known in advance and kept in heaps by step number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush

from simulator.engine.running_request import RunningRequest
from simulator.steptime.batch import BatchSums

# Longest block (tokens) with a counter per position: a list is quicker, a dict is as small as what is in use.
LONGEST_LISTED_BLOCK = 4096

# Step number by which an event takes place, admission rank, number of the membership it belongs to.
Event = tuple[int, int, int, RunningRequest]


class DecodeSet:
    """Running sums over the decoding requests.

    Attributes
    ----------
    sums
        What `step_time_us` is given; the decode part is maintained here, the prefill part by the caller.
    step
        Number of steps taken so far; past tokens of a member are `member.base + step`.
    """

    def __init__(self, kv_breakpoints: Sequence[int], block_tokens: int) -> None:
        self.sums = BatchSums(len(kv_breakpoints) + 1)
        self.step = 0
        self._breakpoints = kv_breakpoints
        self._block_tokens = block_tokens
        self._by_residue = _zero_counts(block_tokens)
        self._finishes: list[Event] = []
        self._crossings: list[Event] = []
        self._memberships = 0
        self._occupied: list[int] = []

    def join(self, live: RunningRequest) -> None:
        """Add a request whose prompt is computed; it takes part from the coming step on."""
        past = live.computed
        live.base = past - self.step
        self._memberships += 1
        live.membership = self._memberships
        self._by_residue[live.base % self._block_tokens] += 1
        self.sums.decode_count += 1
        self.sums.decode_past_tokens += past
        interval = bisect_right(self._breakpoints, past)
        self._enter_interval(interval, past)
        if interval < len(self._breakpoints):
            self._expect_crossing(live, interval)
        heappush(self._finishes, (live.final_tokens - live.base, live.rank, live.membership, live))

    def leave(self, live: RunningRequest) -> None:
        """Remove a request and write down how far it got; its pending events become void."""
        past = live.base + self.step
        live.computed = past
        live.membership = 0
        self._by_residue[live.base % self._block_tokens] -= 1
        self.sums.decode_count -= 1
        self.sums.decode_past_tokens -= past
        self._leave_interval(bisect_right(self._breakpoints, past), past)

    def advance(self) -> None:
        """Let every member compute one token."""
        sums = self.sums
        sums.decode_past_tokens += sums.decode_count
        for interval in self._occupied:
            count = sums.counts[interval]
            # (p + 1)^2 = p^2 + 2 p + 1, summed over the interval's requests.
            sums.squares[interval] += 2 * sums.pasts[interval] + count
            sums.pasts[interval] += count
        self.step += 1
        self._pass_breakpoints()

    def _pass_breakpoints(self) -> None:
        crossings = self._crossings
        while crossings and crossings[0][0] <= self.step:
            _, _, membership, live = heappop(crossings)
            if live.membership == membership:
                self._cross(live)

    def advance_by(self, steps: int) -> None:
        """Let every member compute `steps` tokens, at most `steps_to_breakpoint()`."""
        sums = self.sums
        sums.decode_past_tokens += steps * sums.decode_count
        for interval in self._occupied:
            count = sums.counts[interval]
            # (p + n)^2 = p^2 + 2 n p + n^2, summed over the interval's requests.
            sums.squares[interval] += steps * (2 * sums.pasts[interval] + steps * count)
            sums.pasts[interval] += steps * count
        self.step += steps
        self._pass_breakpoints()

    def new_blocks(self) -> int:
        """Return how many members need a new KV block in the coming step: those whose blocks are full."""
        return self.full_blocks(0)

    def full_blocks(self, steps: int) -> int:
        """Return how many members will need a new KV block after `steps` more steps."""
        return self._by_residue[-(self.step + steps) % self._block_tokens]

    def steps_to_finish(self) -> int:
        """Return after how many steps the next member finishes.

        The set must not be empty.
        """
        finishes = self._finishes
        while finishes[0][3].membership != finishes[0][2]:
            heappop(finishes)
        return finishes[0][0] - self.step

    def steps_to_breakpoint(self) -> int | None:
        """Return after how many steps the next member passes a breakpoint; None if none does before it finishes."""
        crossings = self._crossings
        while crossings and crossings[0][3].membership != crossings[0][2]:
            heappop(crossings)
        return crossings[0][0] - self.step if crossings else None

    def steps_within(self, blocks: int, steps: int) -> int:
        """Return how many of the coming `steps` steps can be taken: all that need at most `blocks` new KV blocks.

        Those of the first step are not counted: they are taken when it is formed.
        """
        if blocks >= (steps // self._block_tokens + 1) * self.sums.decode_count:
            return steps
        for taken in range(1, steps):
            blocks -= self.full_blocks(taken)
            if blocks < 0:
                return taken
        return steps

    def blocks_of(self, steps: int) -> int:
        """Return how many new KV blocks the coming `steps` steps need, those of the first left out."""
        rounds, rest = divmod(steps - 1, self._block_tokens)
        return rounds * self.sums.decode_count + sum([self.full_blocks(step) for step in range(1, rest + 1)])

    def take_finished(self) -> list[RunningRequest]:
        """Remove and return the members that have computed all their tokens, in order of admission."""
        finishes = self._finishes
        done = []
        while finishes and finishes[0][0] <= self.step:
            _, _, membership, live = heappop(finishes)
            if live.membership == membership:
                self.leave(live)
                done.append(live)
        return done

    def jump(self, live: RunningRequest, steps: int) -> None:
        """Advance the only member by `steps` steps at once."""
        self.leave(live)
        self.step += steps
        live.computed += steps
        self.join(live)

    def _enter_interval(self, interval: int, past: int) -> None:
        sums = self.sums
        if not sums.counts[interval]:
            self._occupied.append(interval)
        sums.counts[interval] += 1
        sums.pasts[interval] += past
        sums.squares[interval] += past * past

    def _leave_interval(self, interval: int, past: int) -> None:
        sums = self.sums
        sums.counts[interval] -= 1
        sums.pasts[interval] -= past
        sums.squares[interval] -= past * past
        if not sums.counts[interval]:
            self._occupied.remove(interval)

    def _cross(self, live: RunningRequest) -> None:
        past = live.base + self.step
        interval = bisect_right(self._breakpoints, past)
        self._leave_interval(interval - 1, past)
        self._enter_interval(interval, past)
        if interval < len(self._breakpoints):
            self._expect_crossing(live, interval)

    def _expect_crossing(self, live: RunningRequest, interval: int) -> None:
        next_tokens = self._breakpoints[interval]
        if next_tokens <= live.final_tokens:
            heappush(self._crossings, (next_tokens - live.base, live.rank, live.membership, live))


class _SparseCounts(dict[int, int]):
    """Counters that are zero until used; reading one does not create it."""

    def __missing__(self, place: int) -> int:
        return 0


def _zero_counts(size: int) -> list[int] | _SparseCounts:
    return [0] * size if size <= LONGEST_LISTED_BLOCK else _SparseCounts()
