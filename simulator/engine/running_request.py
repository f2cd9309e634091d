"""What the engine remembers about a request between its arrival and its end."""

from __future__ import annotations

from simulator.engine.kv_cache import BlockTable
from simulator.engine.records import Request, RequestResult, RequestState


class RunningRequest:
    """One request inside the engine.

    Attributes
    ----------
    index
        Place in the caller's list of requests.
    final_tokens
        Tokens computed when the request is complete: prompt + output - 1, since the step that
        computes the prompt yields the first output token.
    target_tokens
        Tokens known so far that must be computed before the next one can be sampled: the prompt,
        and after a preemption also the tokens generated before it.
    computed
        Tokens whose KV entries exist; not kept up to date while the request decodes (see `base`).
    base
        While decoding: computed tokens minus the number of steps taken (see `DecodeSet`).
    membership
        While decoding: number of the membership in the `DecodeSet`; 0 otherwise.
    rank
        Order of admission, hence of the running list.
    last_token_us
        End of the step that gave the last token before a pause or a preemption; not kept up to date otherwise.
    """

    __slots__ = (
        "arrival_us",
        "base",
        "cached_tokens",
        "computed",
        "final_tokens",
        "first_token_us",
        "index",
        "last_token_us",
        "membership",
        "preemptions",
        "rank",
        "request",
        "scheduled_us",
        "table",
        "target_tokens",
    )

    def __init__(self, request: Request, index: int, arrival_us: int, block_tokens: int) -> None:
        self.request = request
        self.index = index
        self.arrival_us = arrival_us
        self.target_tokens = request.prompt_tokens
        self.final_tokens = final_tokens(request)
        self.table = block_table(request, block_tokens)
        self.computed = 0
        self.base = 0
        self.membership = 0
        self.rank = 0
        self.last_token_us = 0
        self.scheduled_us: int | None = None
        self.first_token_us: int | None = None
        self.preemptions = 0
        self.cached_tokens = 0

    def result(
        self, state: RequestState, completed_us: int | None = None, last_step_us: int | None = None
    ) -> RequestResult:
        """Return the record of this request as it stands."""
        return RequestResult(
            self.request.id,
            self.arrival_us,
            self.request.prompt_tokens,
            self.request.output_tokens,
            state,
            self.scheduled_us,
            self.first_token_us,
            completed_us,
            last_step_us,
            self.preemptions,
            self.cached_tokens,
        )


def block_table(request: Request, block_tokens: int) -> BlockTable:
    """Return the empty table of a request, which says whose content its blocks have."""
    prefix_blocks = request.prefix_tokens // block_tokens
    if request.session is not None:
        table = BlockTable(request.session, final_tokens(request) // block_tokens)
        table.keeps_answer = True
        if request.prefix_group is not None:
            table.begin_with(request.prefix_group, prefix_blocks)
        return table
    table = BlockTable(request.prefix_group, prefix_blocks)
    if request.outer_group is not None:
        table.begin_with(request.outer_group, request.outer_tokens // block_tokens)
    return table


def final_tokens(request: Request) -> int:
    """Return how many tokens of a request are ever computed: all but the last one generated."""
    return request.prompt_tokens + max(request.output_tokens, 1) - 1
