"""Stretches of one lone decode: the same whether a model times them together or step by step."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.lone_decode_times import STEPS_AT_ONCE, LoneDecodeTimes
from simulator.engine.loop import run
from simulator.steptime.batch import Batch, BatchSums
from tests.simulator.engine.strategies import Case, cases
from tests.simulator.engine.stub import StubStepTime

BREAKPOINTS = (5, 40)


class Together(StubStepTime):
    """The stub with an offer to time lone decodes together."""

    def lone_decode_times_us(self, pasts: Iterable[int]) -> list[int]:
        return [self.step_time_us(BatchSums.of(Batch(decode=(past,)), self.kv_breakpoints)) for past in pasts]


class Noted(StubStepTime):
    """The stub, with a note of every lone step it was asked for."""

    def __init__(self) -> None:
        super().__init__(BREAKPOINTS)
        self.asked: list[int] = []

    def step_time_us(self, sums: BatchSums) -> int:
        self.asked += sums.decode_pasts()
        return super().step_time_us(sums)


def taken(durations: list[int], limit_us: int | None) -> list[int]:
    """Return the steps that start before the limit, as plainly as it can be said."""
    return [
        duration for place, duration in enumerate(durations) if limit_us is None or sum(durations[:place]) < limit_us
    ]


stretches = st.lists(
    st.tuples(st.integers(0, 150), st.integers(1, 3 * STEPS_AT_ONCE), st.none() | st.integers(1, 5000)), max_size=5
)


@settings(max_examples=100, deadline=None)
@given(stretches=stretches)
def test_a_stretch_has_the_steps_that_start_before_its_limit_however_they_are_timed(stretches) -> None:
    together, apart = LoneDecodeTimes(Together(BREAKPOINTS)), LoneDecodeTimes(StubStepTime(BREAKPOINTS))
    timed = Together(BREAKPOINTS)
    for past, steps, limit_us in stretches:
        expected = taken(timed.lone_decode_times_us(range(past, past + steps)), limit_us)
        assert together.durations_us(past, steps, limit_us) == expected
        assert apart.durations_us(past, steps, limit_us) == expected


def test_a_model_without_the_offer_is_asked_once_for_each_step_taken_and_for_no_other() -> None:
    model = Noted()
    times = LoneDecodeTimes(model)
    first = times.durations_us(10, 100, limit_us=60)
    assert len(first) < 100
    assert model.asked == list(range(10, 10 + len(first)))
    times.durations_us(8, 4, limit_us=None)
    assert sorted(model.asked) == list(range(8, 10 + len(first)))


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_a_run_is_the_same_whether_or_not_its_model_times_lone_decodes_together(case: Case) -> None:
    results = [
        run(case.requests, model(case.kv_breakpoints), case.options, concurrency=case.concurrency, record_steps=True)
        for model in (StubStepTime, Together)
    ]
    assert results[0] == results[1]
