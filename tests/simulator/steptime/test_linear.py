"""The linear step time and the delays beside it."""

from __future__ import annotations

import pytest

from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.linear import AlphaModel
from tests.simulator.steptime.support import step_time

OPTIONS = {"family": "linear", "step_us": 700.9, "prefill_us_per_token": 1.5, "decode_us_per_token": 2.25}


def test_a_step_is_its_three_terms_truncated_to_whole_microseconds():
    built = step_time(OPTIONS)
    batch = Batch(((0, 100), (16, 33)), (5, 6, 7))
    assert built.step_time_us(BatchSums.of(batch)) == int(700.9 + 1.5 * 133 + 2.25 * 3)
    assert "700.9 us + 1.5 us x 133 prefill tokens + 2.25 us x 3 decodes" in built.explain(batch).text()


@pytest.mark.parametrize("step_us", [0.0, 0.99, -50.0])
def test_no_step_is_shorter_than_a_microsecond(step_us):
    built = step_time({**OPTIONS, "step_us": step_us})
    assert built.step_time_us(BatchSums.of(Batch())) == 1


def test_queueing_and_output_delays_are_truncated():
    alpha = AlphaModel(queueing_us=10.9, queueing_us_per_prompt_token=0.35, output_processing_us=7.99)
    assert alpha.queueing_delay_us(100) == int(10.9 + 35)
    assert alpha.output_delay_us() == 7
    assert AlphaModel().queueing_delay_us(10_000) == 0
