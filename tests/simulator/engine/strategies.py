"""Random small workloads for property tests: little memory, tiny budgets, much sharing, many ties."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hypothesis import strategies as st

from simulator.engine.options import EngineOptions
from simulator.engine.records import Request

BLOCK_TOKENS = (1, 2, 4, 8)
GAPS_US = (0, 0, 1, 7, 40, 250)


@dataclass(frozen=True)
class Case:
    """One run: what `simulator.engine.loop.run` is given, and the step time's breakpoints."""

    requests: tuple[Request, ...]
    options: EngineOptions
    concurrency: int | None
    kv_breakpoints: tuple[int, ...]


# Everything about a request but its lengths, drawn at once because draws are what these tests spend time on.
TRAITS = tuple(
    itertools.product(
        (True, False),  # the prompt ends with a block
        ("none", "most", "all", "all", "nine"),  # the part of the prompt that is shared
        # prefix group, and the group that it begins alike with: one and the same for all requests of a prefix group
        (("a", None), ("a", None), ("b", "x"), ("b", "x"), ("c", "x"), (None, None)),
        (0, 1, 2),  # priority
        (0, 0, 0, 13),  # queueing delay
    )
)

# Gap to the request before, prompt tokens, output tokens, traits.
SHAPES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 24), st.integers(0, 24), st.integers(0, len(TRAITS) - 1)),
    min_size=1,
    max_size=9,
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    block_tokens = draw(st.sampled_from(BLOCK_TOKENS))
    options = draw(engine_options(block_tokens))
    requests, arrival_us = [], 0
    for index, shape in enumerate(draw(SHAPES)):
        arrival_us += GAPS_US[shape[0]]
        requests.append(shaped(f"r{index}", arrival_us, shape, block_tokens))
    if draw(st.booleans()):
        requests.reverse()
    return Case(
        tuple(requests),
        options,
        draw(st.sampled_from((None, None, 1, 2, 4))),
        draw(st.sampled_from(((), (5,), (3, 9, 10, 20)))),
    )


def shaped(request_id: str, arrival_us: int, shape: tuple[int, int, int, int], block_tokens: int) -> Request:
    """Turn drawn numbers into a request."""
    _, prompt_tokens, output_tokens, trait = shape
    whole_blocks, shared, (group, outer), priority, delay_us = TRAITS[trait]
    if whole_blocks:
        prompt_tokens = block_tokens * (1 + prompt_tokens % 4)
    prefix_tokens = {"none": 0, "most": prompt_tokens * 2 // 3, "all": prompt_tokens, "nine": min(prompt_tokens, 9)}
    return Request(
        id=request_id,
        arrival_us=arrival_us,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        prefix_group=group,
        prefix_tokens=prefix_tokens[shared],
        priority=priority,
        queueing_delay_us=delay_us,
        outer_group=outer,
        outer_tokens=min(prefix_tokens[shared], 6) if outer else 0,
    )


# Gap to the session before, turns (new prompt tokens, output tokens, think time), system prompt's tokens.
SESSIONS = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.lists(
            st.tuples(st.integers(0, 13), st.integers(0, 17), st.sampled_from((0, 0, 1, 40, 300))),
            min_size=1,
            max_size=4,
        ),
        st.sampled_from((0, 0, 5, 8)),
    ),
    min_size=1,
    max_size=4,
)


@st.composite
def session_cases(draw: st.DrawFn) -> Case:
    """Sessions among single requests, some of which begin like them."""
    block_tokens = draw(st.sampled_from(BLOCK_TOKENS))
    options = draw(engine_options(block_tokens))
    requests, arrival_us = [], 0
    for number, (gap, turns, system_tokens) in enumerate(draw(SESSIONS)):
        arrival_us += GAPS_US[gap]
        requests += turns_of(f"s{number}", arrival_us, turns, system_tokens)
    for number, shape in enumerate(draw(SHAPES)[:4]):
        requests.append(shaped(f"r{number}", GAPS_US[shape[0]] * number, shape, block_tokens))
    # Turns of different sessions side by side, those of one in their order.
    requests.sort(key=lambda request: request.id[2:])
    return Case(
        tuple(requests),
        options,
        draw(st.sampled_from((None, None, 1, 2, 4))),
        draw(st.sampled_from(((), (5,), (3, 9, 10, 20)))),
    )


def turns_of(session: str, arrival_us: int, turns: list[tuple[int, int, int]], system_tokens: int) -> list[Request]:
    """Return the turns of one session, each of which begins with all before it."""
    found, history = [], system_tokens
    for number, (new_tokens, output_tokens, think_us) in enumerate(turns):
        prompt_tokens = max(history + new_tokens, 1)
        found.append(
            Request(
                id=f"{session}.{number}",
                arrival_us=arrival_us,
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens,
                prefix_group="a" if system_tokens else None,
                prefix_tokens=system_tokens,
                session=session,
                think_us=think_us,
            )
        )
        history = prompt_tokens + max(output_tokens, 1)
    return found


@st.composite
def engine_options(draw: st.DrawFn, block_tokens: int) -> EngineOptions:
    return EngineOptions(
        # Memory for one to three long requests, or for everything.
        kv_blocks=-(-draw(st.sampled_from((20, 30, 48, 60, 90, 150, 5000))) // block_tokens),
        block_tokens=block_tokens,
        token_budget=draw(st.sampled_from((1, 2, 3, 5, 16, 100))),
        max_running=draw(st.sampled_from((1, 2, 4, 100))),
        prefix_caching=draw(st.sampled_from((True, True, True, False))),
        long_prefill_threshold_tokens=draw(st.sampled_from((0, 0, 1, 3, 8))),
        scheduler=draw(st.sampled_from(("fcfs", "fcfs", "shortest_job", "priority"))),
        horizon_us=draw(st.sampled_from((None, None, None, 0, 150, 700))),
        idle_until=draw(st.sampled_from(("step_end", "step_start"))),
        cached_prefix_context=draw(st.sampled_from(("counted", "ignored"))),
        full_prefix_hit=draw(st.sampled_from(("recompute_last_block", "admit_empty"))),
    )
