"""How the modelled server schedules, as one validated record.

Defaults are those of a vLLM server; the enumerated options list the correct behaviour first and a
recorded upstream behaviour second, so that a replay can switch it on by name.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from simulator.validation import Count, NonNegativeInt, StrictModel

# More than any router has behind it; stops a slip from filling the memory.
MOST_REPLICAS = 4096


class EngineOptions(StrictModel):
    """Limits and policies of one engine instance.

    Attributes
    ----------
    token_budget
        Most tokens scheduled in one step (`max_num_batched_tokens`).
    max_running
        Most requests in one batch (`max_num_seqs`).
    block_tokens
        Tokens per KV block.
    kv_blocks
        KV blocks of the instance.
    prefix_caching
        Reuse full blocks whose whole prefix was computed before.
    long_prefill_threshold_tokens
        Longest prefill chunk of one request per step; 0 means no limit.
    scheduler
        Order of the waiting queue: arrival, prompt length, or priority (higher first).
    horizon_us
        No step starts after this time; None means run until every request is done.
    idle_until
        `step_end`: the engine is busy until its last step has ended. `step_start`: a request that
        arrives during the step that empties the batch starts its own step at once (quirk G).
    cached_prefix_context
        `counted`: cached tokens are attended to by the step that admits the request. `ignored`:
        that step sees only the new tokens (quirk H).
    full_prefix_hit
        A prompt found wholly in the prefix cache: `recompute_last_block` computes its last block
        again, as a server must to obtain logits; `admit_empty` schedules no token.
    schedule_ahead
        The server composes the next step when a step starts, not when it ends (vLLM's asynchronous
        scheduling, the default from 0.14 on): what arrives during a step waits for the one after the
        next, and no time passes between steps.
    attention_data_parallel
        Groups of GPUs with requests of their own, which take every step together; token budget, running requests and
        KV blocks are those of each.
    replicas
        Servers with all these limits each, behind a router.
    router
        Where it sends a request: `round_robin`, to each server in turn. `least_requests`, where the fewest are in
        flight when it arrives. `prefix_aware`, where its session or prefix group was sent last, as far as
        `router_load_factor` allows, else as `least_requests`.
    router_load_factor
        Of `prefix_aware`: how many times as many requests a server may have in flight as the one with the fewest, the
        request to be sent counted on both sides.
    """

    token_budget: Count = 2048
    max_running: Count = 256
    block_tokens: Count = 16
    kv_blocks: Count = 1_000_000
    prefix_caching: bool = True
    long_prefill_threshold_tokens: NonNegativeInt = 0
    scheduler: Literal["fcfs", "shortest_job", "priority"] = "fcfs"
    horizon_us: NonNegativeInt | None = None
    idle_until: Literal["step_end", "step_start"] = "step_end"
    cached_prefix_context: Literal["counted", "ignored"] = "counted"
    full_prefix_hit: Literal["recompute_last_block", "admit_empty"] = "recompute_last_block"
    schedule_ahead: bool = False
    attention_data_parallel: Count = 1
    replicas: Annotated[int, Strict(), Field(ge=1, le=MOST_REPLICAS)] = 1
    router: Literal["round_robin", "least_requests", "prefix_aware"] = "round_robin"
    router_load_factor: Annotated[float, Strict(), Field(ge=1, le=1e6)] = 1.5
