"""What requests saw of each other: from their times alone, and as the log of steps has it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request, RequestResult, RequestState
from simulator.occupancy import occupancy
from simulator.request_times import completed
from tests.paths import ROOT


class NearlyConstant:
    """A step-time model whose steps all take about as long."""

    kv_breakpoints = ()

    def step_time_us(self, sums):
        return 5000 + sums.decode_count


def result(first, last, prompt=100, tokens=11, name="a", **changes):
    """Return a completed request with its first and last token at these times."""
    return RequestResult(
        **{
            "id": name,
            "arrival_us": 0,
            "prompt_tokens": prompt,
            "output_tokens": tokens,
            "state": RequestState.COMPLETED,
            "scheduled_us": 0,
            "first_token_us": first,
            "completed_us": last,
            "last_step_us": 1,
            **changes,
        }
    )


def test_nothing_completed_has_no_occupancy():
    assert occupancy([]) is None


def test_a_lone_request_sees_itself():
    seen = occupancy([result(10, 20, cached_tokens=32, arrival_us=2, scheduled_us=5)])
    assert (seen.prompt_tokens, seen.computed_tokens, seen.output_tokens) == (100, 68, 11)
    assert seen.queue_us == 3
    assert seen.decode_requests == 1
    assert seen.decode_kv_tokens == pytest.approx(105)
    assert (seen.prefills_per_gap, seen.prefill_tokens_per_gap, seen.decodes_beside_prefill) == (0, 0, 0)


def test_one_request_after_the_other_sees_none_of_the_others():
    seen = occupancy([result(10, 20), result(30, 40, name="b"), result(20, 30, name="c")])
    assert seen.decode_requests == pytest.approx(1)


def test_requests_side_by_side_see_both():
    """A decodes 0 to 100 and B 50 to 100: half of A's tokens and all of B's are made in a batch of two."""
    seen = occupancy([result(0, 100, tokens=101), result(50, 100, tokens=51, name="b")])
    assert seen.decode_requests == pytest.approx((50 * 1 + 100 * 2) / 150)
    alone, together = 100 + 25, (100 + 75) + (100 + 25)
    assert seen.decode_kv_tokens == pytest.approx((50 * alone + 100 * together) / 150)


def test_a_prompt_that_is_completed_while_others_decode_falls_into_their_gaps():
    seen = occupancy([result(0, 100), result(50, 150, prompt=300, name="b")])
    assert seen.decodes_beside_prefill == pytest.approx(0.5)
    assert seen.prefills_per_gap == pytest.approx(1 / 20)
    assert seen.prefill_tokens_per_gap == pytest.approx(300 / 20)


def test_requests_that_begin_together_do_not_decode_beside_each_other():
    seen = occupancy([result(50, 100), result(50, 100, name="b")])
    assert seen.decodes_beside_prefill == 0


def test_requests_of_one_token_decode_nothing():
    seen = occupancy([result(10, 10, tokens=1), result(20, 20, tokens=0, name="b")])
    assert seen.output_tokens == 1
    assert seen.decode_requests is None
    assert seen.prefills_per_gap is None


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(16, 150), st.integers(2, 60)), min_size=1, max_size=12),
    gap_us=st.integers(0, 60_000),
)
def test_times_alone_give_what_the_log_of_steps_has(lengths, gap_us):
    """Steps take nearly the same time in this model, so tokens and time weigh alike; no prompt is cut into chunks."""
    requests = [Request(str(index), index * gap_us, prompt, tokens) for index, (prompt, tokens) in enumerate(lengths)]
    done = run(requests, NearlyConstant(), EngineOptions(), record_steps=True)
    seen = occupancy(completed(done.requests))
    batches = [len(step.decode) for step in done.steps if step.decode]
    tokens = [sum(past for _, past in step.decode) for step in done.steps if step.decode]
    gaps = sum(batches)
    assert seen.decode_requests == pytest.approx(sum(batch**2 for batch in batches) / gaps, rel=0.05, abs=0.02)
    weighted = sum(count * past for count, past in zip(batches, tokens, strict=True)) / gaps
    assert seen.decode_kv_tokens == pytest.approx(weighted, rel=0.05, abs=5)
    mixed = sum(len(step.prefill) * len(step.decode) for step in done.steps)
    assert seen.prefills_per_gap == pytest.approx(mixed / gaps)


def test_the_number_of_threads_of_the_blas_library_changes_no_digit():
    """Regression: a dot product over many moments is shared out among threads, and added in another order."""
    code = (
        "import random; from simulator.occupancy import occupancy; from tests.simulator.test_occupancy import result;"
        "draw = random.Random(1).randint; times = [(draw(1, 10**9), draw(1, 10**6)) for _ in range(8000)];"
        "print(occupancy([result(first, first + length, tokens=length % 300 + 2) for first, length in times]))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "8")
    }
    assert len(told) == 1
