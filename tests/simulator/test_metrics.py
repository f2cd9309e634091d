"""Metric definitions against values computed by hand, against recorded runs, and against each other."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.conversions import (
    itl_from_means_ms,
    output_tokens_from_guidellm,
    stream_line_percentile,
    tpot_from_stream_lines_ms,
)
from simulator.engine.records import RequestResult, RequestState
from simulator.errors import ConfigError, InvariantError, UnsupportedError
from simulator.metrics import DEFINITIONS, GAP_METRICS, MetricName, mean, measure, measure_all, measure_gaps, percentile
from simulator.request_times import MetricOptions, RequestTimes, e2e_us, tpot_us, ttft_us


def request(name, arrival, scheduled, first, done, tokens, last_step, prompt=100):
    return RequestResult(
        id=name,
        arrival_us=arrival,
        prompt_tokens=prompt,
        output_tokens=tokens,
        state=RequestState.COMPLETED,
        scheduled_us=scheduled,
        first_token_us=first,
        completed_us=done,
        last_step_us=last_step,
    )


# Three requests whose times are easy to follow: N = 5, 2 and 1.
FIVE = request("five", 0, 1_000, 10_000, 50_000, 5, 11_000)
TWO = request("two", 2_000, 10_000, 22_000, 30_000, 2, 8_000, prompt=300)
ONE = request("one", 40_000, 40_000, 60_000, 60_000, 1, 20_000, prompt=50)
RUN = (FIVE, TWO, ONE)
A2 = MetricOptions(output_processing_us=100)

BY_HAND = {
    "ttft_mean": (10 + 20 + 20) / 3,
    "ttft_p50": 20.0,
    "ttft_p90": 20.0,
    "e2e_mean": (50 + 28 + 20) / 3,
    "e2e_p50": 28.0,
    "e2e_p90": 28 + 0.8 * 22,
    "e2e_processing_per_token": (50 + 28 + 20) / 3,
    "e2e_last_step_twice": (61 + 36 + 40) / 3,
    "tpot_request": (40 / 4 + 8 / 1) / 2,
    "tpot_request_p50": 9.0,
    "tpot_last_step_twice": (51 / 4 + 16 / 1) / 2,
    "tpot_guidellm": (50 + 28 + 20) / 8,
    "itl_token_weighted": (40 + 8) / 5,
    "itl_ratio_of_means": (40 + 8) / 5,
    "itl_entries_last_step_twice": (51 + 16 + 20) / 8,
    "queue_time_mean": (1 + 8 + 0) / 3,
    "prefill_time_mean": (9 + 12 + 20) / 3,
    "decode_time_mean": (40 + 8 + 0) / 3,
    "inference_time_mean": (49 + 20 + 20) / 3,
    "output_tokens_mean": 8 / 3,
    "request_throughput": 3 / 0.06,
    "output_token_throughput": 8 / 0.06,
    "total_token_throughput": 458 / 0.06,
}


@pytest.mark.parametrize(("name", "value"), BY_HAND.items())
def test_each_definition_gives_the_value_computed_by_hand(name, value):
    assert measure(name, RUN) == pytest.approx(value, rel=1e-14)


def test_output_processing_delays_each_delivery_once():
    assert ttft_us(FIVE, A2) == 10_100
    assert e2e_us(FIVE, A2) == 50_100
    assert measure("tpot_request", [FIVE], A2) == 10.0


def test_upstream_adds_output_processing_to_every_token():
    assert RequestTimes([FIVE], A2).e2e_processing_per_token_us[0] == 50_000 + 5 * 100
    assert RequestTimes([FIVE], A2).e2e_last_step_twice_us[0] == 50_000 + 11_000 + 6 * 100
    assert measure("tpot_last_step_twice", [FIVE], A2) == (40 + 11 + 5 * 0.1) / 4


def test_a_client_offset_moves_ttft_and_e2e_but_not_the_time_between_tokens():
    at_client = MetricOptions(client_offset_us=10_000)

    for name, shift in [("ttft_mean", 10), ("e2e_mean", 10), ("e2e_last_step_twice", 10), ("tpot_request", 0)]:
        assert measure(name, RUN, at_client) == pytest.approx(measure(name, RUN) + shift, rel=1e-14)
    assert measure("itl_ratio_of_means", RUN, at_client) == measure("itl_ratio_of_means", RUN)
    assert measure("tpot_guidellm", RUN, at_client) == (60 + 38 + 30) / 8


def test_an_output_of_zero_counts_as_the_one_token_a_server_samples():
    none = request("none", 0, 0, 5_000, 5_000, 0, 5_000)

    assert measure("tpot_guidellm", [none]) == 5.0
    assert measure("output_tokens_mean", [none]) == 1


def test_a_single_token_has_no_time_per_further_token():
    assert tpot_us(ONE) is None
    for name in (
        "tpot_request",
        "tpot_request_p99",
        "tpot_last_step_twice",
        "itl_token_weighted",
        "itl_ratio_of_means",
    ):
        assert measure(name, [ONE]) is None


def test_without_a_completed_request_nothing_is_measured():
    running = RequestResult("r", 0, 10, 5, RequestState.RUNNING, scheduled_us=0, first_token_us=7)
    dropped = RequestResult("d", 0, 10**6, 5, RequestState.DROPPED)
    limited = MetricOptions(ttft_limit_ms=1)

    for results in ([], [running, dropped]):
        assert set(measure_all(results, limited).values()) == {None}


def test_incomplete_requests_do_not_count():
    running = RequestResult("r", 0, 10, 5, RequestState.RUNNING, scheduled_us=0, first_token_us=7)

    assert measure_all([running, *RUN]) == measure_all(RUN)


def test_a_completed_request_without_times_is_a_bug():
    broken = RequestResult("b", 0, 10, 5, RequestState.COMPLETED)
    with pytest.raises(InvariantError, match="request b is completed but has no first_token_us"):
        measure("ttft_mean", [broken])


def test_the_first_requests_can_be_left_out():
    assert measure("ttft_mean", RUN, MetricOptions(skip_first=1)) == 20.0
    assert measure("ttft_mean", RUN, MetricOptions(skip_first=3)) is None


@pytest.mark.parametrize(
    ("ttft", "tpot", "within"),
    [(20, None, 3), (19.999, None, 1), (None, 10, 3), (None, 9.99, 2), (15, 9, 0), (0.1, None, 0)],
)
def test_goodput_counts_requests_within_both_limits(ttft, tpot, within):
    limits = MetricOptions(ttft_limit_ms=ttft, tpot_limit_ms=tpot)

    assert measure("goodput", RUN, limits) == pytest.approx(within / 0.06)
    assert measure("slo_attainment", RUN, limits) == pytest.approx(within / 3)


@pytest.mark.parametrize(("e2e", "within"), [(50, 3), (49.999, 2), (27, 1), (19, 0)])
def test_goodput_counts_requests_within_a_limit_on_e2e(e2e, within):
    assert measure("goodput", RUN, MetricOptions(e2e_limit_ms=e2e)) == pytest.approx(within / 0.06)
    assert measure("slo_attainment", RUN, MetricOptions(ttft_limit_ms=10, e2e_limit_ms=e2e)) == (within == 3) / 3


def test_goodput_without_a_limit_is_refused():
    with pytest.raises(ConfigError, match="set ttft_limit_ms, tpot_limit_ms or e2e_limit_ms"):
        measure("goodput", RUN)
    assert "goodput" not in measure_all(RUN)


def test_an_unknown_metric_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean 'tpot_request'"):
        measure("tpot_requests", RUN)


def test_every_name_has_a_definition_and_is_documented(project_root):
    text = (project_root / "docs" / "metrics.md").read_text(encoding="utf-8")

    assert set(DEFINITIONS) == set(MetricName)
    for name, definition in DEFINITIONS.items():
        assert definition.name == name
        assert definition.unit in {"ms", "1/s", "tokens/s", "tokens", "1"}
        assert definition.description
        assert definition.source
        assert f"`{name}`" in text, f"{name} is missing in docs/metrics.md"


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=60), st.integers(0, 100))
def test_percentiles_are_those_of_linear_interpolation(values, rank):
    assert percentile(values, rank) == pytest.approx(float(np.percentile(values, rank)), rel=1e-12, abs=1e-3)


def test_percentiles_by_hand():
    assert percentile([40, 10, 30, 20], 50) == 25
    assert percentile([40, 10, 30, 20], 90) == pytest.approx(37)
    assert percentile([7], 99) == 7
    assert percentile([], 50) is None
    with pytest.raises(ConfigError, match="between 0 and 100"):
        percentile([1], 101)


def test_the_mean_of_nothing_is_not_zero():
    assert mean([]) is None


TIMES = st.tuples(
    st.integers(0, 10**9), st.integers(0, 10**7), st.integers(1, 10**7), st.integers(0, 10**6), st.integers(1, 3_000)
)


def made(position, drawn):
    arrival, queued, prefill, per_token, tokens = drawn
    first = arrival + queued + prefill
    return request(
        f"r{position}", arrival, arrival + queued, first, first + per_token * (tokens - 1), tokens, per_token or 1
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_definitions_agree_where_they_must_and_ignore_order(drawn, shuffler):
    results = [made(position, times) for position, times in enumerate(drawn)]
    numbers = measure_all(results)
    shuffled = list(results)
    shuffler.shuffle(shuffled)

    assert measure_all(shuffled) == numbers
    assert numbers["itl_token_weighted"] == numbers["itl_ratio_of_means"]
    assert numbers["e2e_processing_per_token"] == numbers["e2e_mean"]
    assert numbers["tpot_guidellm"] * numbers["output_tokens_mean"] == pytest.approx(numbers["e2e_mean"], rel=1e-12)
    assert numbers["e2e_last_step_twice"] > numbers["e2e_mean"]
    assert numbers["ttft_p50"] <= numbers["ttft_p99"]
    if numbers["itl_ratio_of_means"] is not None:
        converted = itl_from_means_ms(numbers["e2e_mean"], numbers["ttft_mean"], numbers["output_tokens_mean"])
        assert converted == pytest.approx(numbers["itl_ratio_of_means"], rel=1e-6, abs=1e-6)
        assert numbers["tpot_last_step_twice"] > numbers["tpot_request"]


@pytest.mark.parametrize("gaps_us", [[7], [3, 9], [10, 10, 15, 25], [5] * 98 + [50, 500]])
def test_percentiles_of_counted_gaps_are_those_of_the_gaps_one_by_one(gaps_us):
    values = measure_gaps(sorted(Counter(gaps_us).items()))

    for name, rank in GAP_METRICS.items():
        assert values[name] == pytest.approx(np.percentile(gaps_us, rank) / 1000)


def test_without_a_gap_there_is_no_percentile_of_gaps():
    assert set(measure_gaps(()).values()) == {None}


def test_reported_figures_convert_to_true_ones():
    assert itl_from_means_ms(334.0, 67.1, 41.0) == pytest.approx(6.6725)
    assert output_tokens_from_guidellm(820.0, 4.0) == 205.0
    assert tpot_from_stream_lines_ms(3.6, 247) == pytest.approx(3.6 * 495 / 246)
    assert [stream_line_percentile(rank) for rank in (50, 90, 98)] == [75, 95, 99]


@pytest.mark.parametrize(
    "convert",
    [
        lambda: itl_from_means_ms(334, 67, 1),
        lambda: itl_from_means_ms(0.334, 67, 41),
        lambda: output_tokens_from_guidellm(334, 0),
        lambda: tpot_from_stream_lines_ms(3.6, 1),
    ],
)
def test_a_conversion_without_meaning_is_refused(convert):
    with pytest.raises(UnsupportedError):
        convert()


# --- recorded runs of upstream ----------------------------------------------------------------


def rows_of(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def recorded_case(shared_dir, name):
    """Return (results, per-request rows, upstream's aggregates, options); times of completion come from the steps."""
    folder = shared_dir / "oracle" / "engine" / name
    if not folder.is_dir():
        pytest.skip(f"recorded case {name} is not among the reference data")
    case = json.loads((folder / "case.json").read_text())
    alpha = case.get("alpha_coeffs", [0, 0, 0])
    processing_us = int(float((alpha.split(",") if isinstance(alpha, str) else alpha)[2]))
    steps = {row["step"]: (int(row["now_us"]), int(row["advance_us"])) for row in rows_of(folder / "steps.csv.gz")}
    rows = rows_of(folder / "per_request.csv.gz")
    results = [recorded_result(row, steps, processing_us) for row in rows]
    summary = case.get("upstream_summary", case.get("metrics"))
    return results, rows, summary, MetricOptions(output_processing_us=processing_us)


def recorded_result(row, steps, processing_us):
    arrival, (start, duration) = int(row["arrival_us"]), steps[row["finished_step"]]
    return RequestResult(
        id=row["id"],
        arrival_us=arrival,
        prompt_tokens=int(row["input_tokens"]),
        output_tokens=int(row["output_tokens"]),
        state=RequestState.COMPLETED,
        scheduled_us=arrival + int(row["sched_delay_us"]),
        first_token_us=arrival + int(row["ttft_us"]) - processing_us,
        completed_us=start + duration,
        last_step_us=duration,
    )


@pytest.mark.parametrize("name", ["01_chat_7b_tp1_idle_bl", "05_code_7b_tp1_idle", "16_alpha_chat_7b_tp1", "golden_1"])
def test_upstreams_definitions_reproduce_its_recorded_figures(shared_dir, name):
    results, rows, summary, options = recorded_case(shared_dir, name)

    for result, row in zip(results, rows, strict=True):
        assert RequestTimes([result], options).e2e_last_step_twice_us[0] == int(row["e2e_us"])
        assert RequestTimes([result], options).e2e_processing_per_token_us[0] == int(row["e2e_without_phantom_us"])
    for metric, recorded in [
        ("ttft_mean", "ttft_mean_ms"),
        ("ttft_p90", "ttft_p90_ms"),
        ("ttft_p99", "ttft_p99_ms"),
        ("e2e_last_step_twice", "e2e_mean_ms"),
        ("itl_entries_last_step_twice", "itl_mean_ms"),
    ]:
        assert measure(metric, results, options) == pytest.approx(summary[recorded], rel=1e-9), metric
    e2e = RequestTimes(results, options).e2e_last_step_twice_us
    for rank in (90, 95, 99):
        assert percentile(e2e, rank) / 1000 == pytest.approx(summary[f"e2e_p{rank}_ms"], rel=1e-12)


def test_guidellm_definitions_reproduce_a_recorded_client_file(shared_dir):
    folder = shared_dir / "ground_truth" / "formats" / "guidellm_jan20-codellama-prefill-1"
    if not folder.is_dir():
        pytest.skip("the recorded GuideLLM sample is not among the reference data")
    for benchmark in json.loads((folder / "guidellm-results.trimmed.json").read_text())["benchmarks"]:
        names = ("output_token_count", "request_latency", "time_per_output_token_ms")
        names += ("time_to_first_token_ms", "inter_token_latency_ms")
        metrics = {name: benchmark["metrics"][name]["successful"]["mean"] for name in names}
        tokens = metrics["output_token_count"]
        latency_ms = metrics["request_latency"] * 1000
        # The client's TPOT ends at the last token, its latency at the end of the stream.
        assert output_tokens_from_guidellm(latency_ms, metrics["time_per_output_token_ms"]) == pytest.approx(
            tokens, rel=1e-3
        )
        assert itl_from_means_ms(latency_ms, metrics["time_to_first_token_ms"], tokens) == pytest.approx(
            metrics["inter_token_latency_ms"], rel=1e-3
        )


def test_guidellm_definitions_reproduce_recorded_requests(shared_dir):
    folder = shared_dir / "ground_truth" / "formats" / "guidellm_jan20-codellama-prefill-1"
    if not folder.is_dir():
        pytest.skip("the recorded GuideLLM sample is not among the reference data")
    for benchmark in json.loads((folder / "guidellm-results.trimmed.json").read_text())["benchmarks"]:
        for row in benchmark["requests"]["successful"]:
            times = row["info"]["timings"]
            sent, first, last = (
                times[key] for key in ("request_start", "first_token_iteration", "last_token_iteration")
            )
            first_us, last_us = (math.floor((time - sent) * 1e6) for time in (first, last))
            one = request("r", 0, 0, first_us, last_us, row["output_tokens"], 1)
            assert measure("ttft_mean", [one]) == pytest.approx(row["time_to_first_token_ms"], rel=1e-5)
            assert measure("tpot_guidellm", [one]) == pytest.approx(row["time_per_output_token_ms"], rel=1e-5)
            assert measure("itl_token_weighted", [one]) == pytest.approx(row["inter_token_latency_ms"], rel=1e-5)
