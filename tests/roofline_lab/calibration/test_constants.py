"""Constants, their ranges, and what lies outside the engine."""

from __future__ import annotations

import numpy as np
import pytest

from roofline_lab.calibration.constants import (
    BY_NAME,
    CONSTANTS,
    FIXED,
    SITES,
    STEP_CONSTANTS,
    at,
    calibrated_client,
    data_sheet,
    options_of,
    positions,
    spreads,
    starts,
)
from roofline_lab.client_overhead import ClientTime
from simulator.engine.records import RequestResult, RequestState
from simulator.request_times import MetricOptions, e2e_us, ttft_us
from simulator.steptime.calibration import FLEET_TERMS
from simulator.steptime.options import CalibratedPhysicsOptions


@pytest.mark.parametrize("one", CONSTANTS, ids=lambda one: one.name)
def test_every_range_is_physical_and_holds_its_start(one):
    assert 0 <= one.low < one.start < one.high
    assert one.unit == "us" or one.high <= 1.0


def test_positions_and_values_are_inverse_to_each_other():
    for place in (-1.0, -0.3, 0.8, 1.0):
        values = at(np.full(len(CONSTANTS), place))
        assert positions(values) == pytest.approx(place)
        assert all(constant.low - 1e-9 <= values[constant.name] <= constant.high + 1e-9 for constant in CONSTANTS)


def test_every_option_of_the_model_is_searched_or_fixed():
    options = set(CalibratedPhysicsOptions.model_fields) - FLEET_TERMS - {"family", "corner_sharpness", "lm_head"}
    assert options == {constant.name.removeprefix("host_") for constant in STEP_CONSTANTS} | set(FIXED)
    assert options_of(starts(), schedule_ahead=False).layer_us == 50.0


def test_a_server_that_schedules_ahead_hides_its_host_time():
    waiting, ahead = (options_of(starts(), schedule_ahead=flag) for flag in (False, True))
    assert (waiting.step_us, ahead.step_us) == (starts()["host_step_us"], 0.0)


def test_trust_in_a_start_is_finite_and_positive():
    assert np.all(spreads() > 0)
    assert np.all(np.isfinite(spreads()))


def test_the_data_sheet_alone_has_peaks_and_no_costs():
    values = data_sheet()
    assert all(values[constant.name] == (1.0 if constant.unit == "1" else 0.0) for constant in CONSTANTS)


def test_engine_side_figures_contain_no_client():
    assert calibrated_client(starts(), "guidellm").in_figures_on("server") == ClientTime()


def test_each_tool_has_its_own_time_and_an_unknown_one_their_mean():
    values = {**starts(), "guidellm_request_us": 4000.0, "inference_perf_request_us": 8000.0}
    taken = [calibrated_client(values, tool).request_us for tool in ("guidellm", "inference-perf", "vllm-bench")]
    assert taken == [4000.0, 8000.0, 6000.0]


def test_a_site_that_was_fitted_to_has_its_own_time_and_another_one_that_of_its_tool():
    values = {**starts(), "guidellm_request_us": 4000.0, "inference_perf_request_us": 8000.0}
    known = next(site for site in SITES if site.constant == "inference_perf_request_us")
    assert calibrated_client(values, "vllm-bench", known.name).request_us == 8000.0
    assert calibrated_client(values, "guidellm", "a cluster of somebody").request_us == 4000.0


def test_no_two_sites_have_one_name_and_each_constant_is_one_of_the_fit():
    assert len({site.name for site in SITES}) == len(SITES)
    assert {site.constant for site in SITES} <= BY_NAME.keys()


def test_the_clients_time_per_prompt_token_is_in_ttft_and_e2e():
    result = RequestResult(
        id="a",
        state=RequestState.COMPLETED,
        arrival_us=100,
        prompt_tokens=1000,
        output_tokens=3,
        scheduled_us=150,
        first_token_us=600,
        completed_us=900,
    )
    options = ClientTime(2000.4, 5.5).metric_options()
    assert options == MetricOptions(client_offset_us=2000, client_us_per_prompt_token=5.5)
    assert ttft_us(result, options) == 500 + 2000 + 5500
    assert e2e_us(result, options) - ttft_us(result, options) == 300
