"""Which requests run in the coming step, and how many tokens of each.

Continuous batching as vLLM does it: requests that run come first, in order of admission; a decode
takes one token of the step's budget, a prefill a chunk. If KV blocks are missing, the request admitted
last is preempted: its blocks are freed, it returns to the queue, and what it has generated is computed
again later as part of its prompt. Then the queue's head is admitted while running cap, budget and KV
blocks allow it; a head that does not fit blocks those behind it. No admission in a step that preempts.

A victim always stands behind the request in need, so it has not been given tokens in this step yet and
its share of the budget was never spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.engine.decode_set import DecodeSet
from simulator.engine.kv_cache import Found, KvCache
from simulator.engine.queue import waiting_queue
from simulator.engine.running_request import RunningRequest

if TYPE_CHECKING:
    from simulator.engine.options import EngineOptions

# A request, its past tokens as the step-time model sees them, and the tokens computed in this step.
Chunk = tuple[RunningRequest, int, int]


class Scheduler:
    """Queue, running requests and KV cache of one server.

    Attributes
    ----------
    chunks
        Prefill chunks of the step formed last, in batch order.
    paused
        Decoding requests that this step leaves out because its token budget is used up.
    resumed
        Decoding requests of this step that were paused before it.
    prefill_tokens
        Tokens in those chunks.
    preempted
        Number of preemptions in this step.
    hit_blocks, preemptions
        Totals over the run.
    """

    def __init__(self, options: EngineOptions, kv_breakpoints: Sequence[int]) -> None:
        self.kv = KvCache(options.kv_blocks, options.block_tokens, prefix_caching=options.prefix_caching)
        self.decoding = DecodeSet(kv_breakpoints, options.block_tokens)
        self.decoding.sums.decode_pasts = self._decode_pasts
        self.waiting = waiting_queue(options.scheduler)
        # A dict is an ordered set here: a request leaves it anywhere, and the last one is preempted.
        self.running: dict[RunningRequest, None] = {}
        self.chunks: list[Chunk] = []
        self.paused: list[RunningRequest] = []
        self.resumed: list[RunningRequest] = []
        self._waiting_to_resume: list[RunningRequest] = []
        self._now_us = 0
        self.prefill_tokens = 0
        self.preempted = 0
        self.hit_blocks = 0
        self.preemptions = 0
        self._prefilling: list[RunningRequest] = []
        self._starved: list[RunningRequest] = []
        self._admissions = 0
        self._block_tokens = options.block_tokens
        self._token_budget = options.token_budget
        self._max_running = options.max_running
        # No chunk is ever longer than the step's budget, so that is what "no threshold" means.
        self._longest_chunk = options.long_prefill_threshold_tokens or options.token_budget
        self._last_token_needed = options.full_prefix_hit == "recompute_last_block"
        self._cached_context_counts = options.cached_prefix_context == "counted"

    @property
    def decodes_alone(self) -> bool:
        """Whether the coming steps are bound to equal the one just formed, until something happens.

        Not so after a preemption, when admissions are due again, and with paused requests, whose gaps are others.
        """
        return not (self.chunks or self.preempted or self.paused or self.resumed)

    def form(self, now_us: int) -> None:
        """Compose the step that starts now and take the KV blocks it writes to."""
        self.chunks = []
        self._starved = []
        self.preempted = 0
        self._now_us = now_us
        budget = self._continue_all()
        if budget is None:
            budget = self._continue_in_turn()
        if self._waiting_to_resume or self.resumed:
            self._find_resumed()
        if self.waiting and not self.preempted:
            budget = self._admit(now_us, budget)
        self.prefill_tokens = self._token_budget - budget - self.decoding.sums.decode_count

    def finish_prefill(self, end_us: int) -> list[RunningRequest]:
        """Take in the results of the step's chunks; return the requests that are complete, in batch order.

        Called after the decoding requests have advanced. A request whose prompt is computed by now
        has its first token and decodes from the next step on.
        """
        done = []
        unfinished = []
        for live, _, new_tokens in self.chunks:
            live.computed += new_tokens
            if live.computed < live.target_tokens:
                unfinished.append(live)
                continue
            if live.first_token_us is None:
                live.first_token_us = end_us
            if live.computed == live.final_tokens:
                done.append(live)
            else:
                self.decoding.join(live)
        # Requests the budget did not reach stand behind those it did, so this is batch order.
        self._prefilling = unfinished + self._starved
        for live in self.paused:
            self.decoding.join(live)
        self.paused = []
        return done

    def remove(self, live: RunningRequest) -> None:
        """Free everything a complete request holds."""
        del self.running[live]
        self.kv.release(live.table, live.computed)

    def decode_members(self) -> list[RunningRequest]:
        """Return the requests that decode in this step, in batch order."""
        return [live for live in self.running if live.membership]

    def _decode_pasts(self) -> list[int]:
        step = self.decoding.step
        return [live.base + step for live in self.running if live.membership]

    def _continue_all(self) -> int | None:
        """Give every running request what it wants, at once; return the budget left.

        None if there is not enough for all and so their order matters. An exception needs no order:
        the request admitted last may be cut short by the budget.
        """
        budget = self._token_budget - self.decoding.sums.decode_count
        blocks = self.decoding.new_blocks()
        for live in self._prefilling:
            wanted = min(live.target_tokens - live.computed, self._longest_chunk)
            if wanted > budget and live is not next(reversed(self.running)):
                return None
            new_tokens = max(min(wanted, budget), 0)
            blocks += self._new_blocks(live.computed, new_tokens)
            budget -= new_tokens
            if new_tokens:
                self.chunks.append((live, live.computed, new_tokens))
            else:
                self._starved.append(live)
        if budget < 0 or blocks > self.kv.free_blocks:
            return None
        self.kv.take(blocks)
        for live, past, new_tokens in self.chunks:
            self.kv.name_shared(live.table, past + new_tokens)
        return budget

    def _continue_in_turn(self) -> int:
        """Serve the running requests one by one, preempting from the end; return the budget left."""
        self.chunks = []
        budget = self._token_budget
        order = list(self.running)
        step, block_tokens = self.decoding.step, self._block_tokens
        served = 0
        while served < len(order) and budget > 0:
            live = order[served]
            if live.membership and (live.base + step) % block_tokens:
                # Most decodes: the last block has room for one more token.
                budget -= 1
                served += 1
                continue
            past, wanted = self._demand(live)
            new_tokens = min(wanted, budget)
            if not self._make_room(order, served, self._new_blocks(past, new_tokens)):
                break
            if not live.membership:
                self.kv.name_shared(live.table, past + new_tokens)
                self.chunks.append((live, past, new_tokens))
            budget -= new_tokens
            served += 1
        self._starved = [live for live in order[served:] if not live.membership]
        self.paused = [live for live in order[served:] if live.membership]
        for live in self.paused:
            self.decoding.leave(live)
            if live not in self._waiting_to_resume:
                live.last_token_us = self._now_us
                self._waiting_to_resume.append(live)
        return budget

    def _find_resumed(self) -> None:
        """Note which paused requests decode again in the step just formed; a preempted one waits for its prompt."""
        waiting = self._waiting_to_resume
        self.resumed = [live for live in waiting if live.membership]
        self._waiting_to_resume = [live for live in waiting if not live.membership and live in self.running]

    def _demand(self, live: RunningRequest) -> tuple[int, int]:
        """Return a running request's past tokens and how many it wants computed."""
        if live.membership:
            return live.base + self.decoding.step, 1
        return live.computed, min(live.target_tokens - live.computed, self._longest_chunk)

    def _make_room(self, order: list[RunningRequest], index: int, blocks: int) -> bool:
        """Take `blocks` for `order[index]`, preempting from the end of `order`; False if it fell itself."""
        while blocks > self.kv.free_blocks:
            victim = order.pop()
            self._preempt(victim)
            if len(order) == index:
                return False
        self.kv.take(blocks)
        return True

    def _preempt(self, live: RunningRequest) -> None:
        if live.membership:
            self.decoding.leave(live)
            live.target_tokens = live.computed + 1
            if live not in self._waiting_to_resume:
                live.last_token_us = self._now_us
        else:
            self._prefilling.remove(live)
        del self.running[live]
        self.kv.release_preempted(live.table, live.computed)
        live.computed = 0
        live.preemptions += 1
        self.preempted += 1
        self.preemptions += 1
        self.waiting.appendleft(live)

    def _admit(self, now_us: int, budget: int) -> int:
        """Admit from the head of the queue; return the budget left."""
        waiting, running, kv, block_tokens = self.waiting, self.running, self.kv, self._block_tokens
        while budget > 0 and waiting and len(running) < self._max_running:
            live = waiting[0]
            found = kv.find(live.table, (live.target_tokens - self._last_token_needed) // block_tokens)
            cached = found.blocks * block_tokens
            new_tokens = min(live.target_tokens - cached, self._longest_chunk, budget)
            blocks = -(-new_tokens // block_tokens)
            if blocks + found.free_blocks > kv.free_blocks:
                break
            waiting.popleft()
            self._start(live, now_us, found)
            kv.take(blocks)
            if live.table.shared_blocks:
                kv.name_shared(live.table, cached + new_tokens)
            self.chunks.append((live, cached if self._cached_context_counts else 0, new_tokens))
            budget -= new_tokens
        return budget

    def _start(self, live: RunningRequest, now_us: int, found: Found) -> None:
        if found.blocks:
            self.kv.claim(live.table, found)
        self._admissions += 1
        live.rank = self._admissions
        live.computed = live.cached_tokens = found.blocks * self._block_tokens
        live.scheduled_us = now_us
        self.running[live] = None
        self.hit_blocks += found.blocks

    def _new_blocks(self, past_tokens: int, new_tokens: int) -> int:
        block_tokens = self._block_tokens
        return (-past_tokens // block_tokens) - (-(past_tokens + new_tokens) // block_tokens)
