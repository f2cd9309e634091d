"""Simulated and measured requests are compared one by one, over the same requests, on the same side."""

from __future__ import annotations

import csv
import dataclasses
import io

import pytest

from roofline_lab.predict.choose import load_option_sets
from roofline_lab.predict.recording import load_recordings
from roofline_lab.predict.replay import Sample, score, serve_again
from roofline_lab.report.replay_tables import by_set, in_common, numbers_text, summary
from simulator.errors import UnsupportedError
from simulator.request_times import MetricOptions, e2e_us, ttft_us
from tests.roofline_lab.conftest import Toy
from tests.roofline_lab.report import replay_toy as toy
from tests.roofline_lab.report.replay_toy import requests

US_PER_MS = 1000.0


@pytest.fixture(scope="module")
def corrected(lab):
    return next(option_set for option_set in load_option_sets(lab) if option_set.id == "corrected")


def scored(toy_run, lab, options):
    return score(lab, load_recordings(toy_run.root, [toy_run.traces]), [options])


def as_simulated(toy_run, lab, options, rows, factor=1.0, offset_ms=0.0, **keys):
    """Write a trace whose latencies are `factor` times what these options simulate."""
    toy_run.measured(rows, **keys)
    (recording,) = load_recordings(toy_run.root, [toy_run.traces])
    seen = MetricOptions(client_offset_us=round(offset_ms * US_PER_MS))
    results = serve_again(lab, recording, options).draws[0].requests
    for row, request in zip(rows, results, strict=True):
        row |= {
            "ttft_ms": factor * ttft_us(request, seen) / US_PER_MS,
            "e2e_ms": factor * e2e_us(request, seen) / US_PER_MS,
        }
    toy_run.measured(rows, **keys)


def test_a_measurement_as_simulated_has_no_error_and_no_distance(toy_run, lab, corrected):
    as_simulated(toy_run, lab, corrected, requests())
    (found,) = scored(toy_run, lab, corrected)
    for latency in ("ttft", "tpot", "e2e"):
        sample = found.samples[latency]
        assert [sample.signed_error_pct(name) for name in ("mean", "p50", "p90", "p99")] == pytest.approx([0, 0, 0, 0])
        assert sample.wasserstein_ms == pytest.approx(0, abs=1e-9)
        assert sample.request_error_pct == pytest.approx(0, abs=1e-9)


def test_a_measurement_twice_as_slow_is_predicted_50_percent_too_fast(toy_run, lab, corrected):
    as_simulated(toy_run, lab, corrected, requests(), factor=2.0)
    (found,) = scored(toy_run, lab, corrected)
    for latency in ("ttft", "tpot", "e2e"):
        sample = found.samples[latency]
        assert [sample.signed_error_pct(name) for name in ("mean", "p50", "p90")] == pytest.approx([-50, -50, -50])
        assert sample.quantile_difference_pct == pytest.approx(50)
        assert sample.kolmogorov_smirnov == 1.0


def test_the_time_of_the_client_is_added_on_its_side_alone(toy_run, lab, corrected):
    as_simulated(toy_run, lab, corrected, requests(), offset_ms=10.0, side="client")
    (found,) = scored(toy_run, lab, corrected)
    assert found.stage.side == "client"
    assert found.samples["ttft"].signed_error_pct("mean") == pytest.approx(0)
    assert found.samples["e2e"].signed_error_pct("mean") == pytest.approx(0)


def test_one_token_answers_have_no_time_per_token(toy_run, lab, corrected):
    toy_run.measured(requests(output_tokens_true=1))
    (found,) = scored(toy_run, lab, corrected)
    assert found.samples.keys() == {"ttft", "e2e"}


def test_a_cold_start_is_replayed_but_not_in_the_figures(toy_run, lab, corrected):
    rows = requests()
    rows[0] |= {"ttft_ms": 150.0, "e2e_ms": 350.0}
    toy_run.measured(rows)
    (found,) = scored(toy_run, lab, corrected)
    assert len(found.samples["ttft"].measured) == 11
    assert len(found.everything["ttft"].measured) == 12
    assert 150.0 in found.everything["ttft"].measured
    assert 150.0 not in found.samples["ttft"].measured


def test_a_saturated_load_point_has_a_throughput_and_no_latency(toy_run, lab, corrected):
    toy_run.measured(requests(), point={"saturation": {"state": "saturated", "basis": "made up"}})
    (found,) = scored(toy_run, lab, corrected)
    assert not found.has_latencies
    measured, predicted = found.throughput_per_s
    assert measured == pytest.approx(12 / (5.5 + 0.241))
    assert predicted > measured


def test_stages_of_one_clock_are_scored_apart(toy_run, lab, corrected):
    rows = requests() + requests(stage=1, first=12, begin_us=20_000_000, ttft_ms=60.0, input_tokens=2000)
    toy_run.measured(rows, stages=(0, 1))
    first, second = scored(toy_run, lab, corrected)
    predicted = [one.samples["ttft"].figure("mean")[1] for one in (first, second)]
    assert predicted[1] > 2 * predicted[0]
    assert first.samples["ttft"].figure("mean")[0] == pytest.approx(30.55)
    assert second.samples["ttft"].figure("mean")[0] == 60.0
    assert second.throughput_per_s[0] == pytest.approx(12 / (5.5 + 0.241))


def test_what_a_set_cannot_price_is_a_failure_with_its_reason(toy_run, lab, corrected, monkeypatch):
    def refuse(*arguments):
        raise UnsupportedError("too exotic")

    toy_run.measured(requests())
    monkeypatch.setattr("roofline_lab.predict.predictors.build_step_time", refuse)
    (found,) = scored(toy_run, lab, corrected)
    assert found.failure == "too exotic"
    assert not found.has_latencies


def test_a_request_too_long_for_the_server_is_unfinished(toy_run, lab, corrected):
    server = toy.experiment([])["server"]
    rows = requests()
    rows[5]["input_tokens"] = 4000
    toy_run.measured(rows, server={"known": server["known"] | {"kv_blocks": 100, "block_tokens": 16}})
    (found,) = scored(toy_run, lab, corrected)
    assert found.unfinished == 1
    assert len(found.samples["e2e"].measured) == 11


def test_errors_of_single_requests_are_paired():
    sample = Sample(measured=(10.0, 20.0, 40.0), predicted_us=(20_000, 20_000, 20_000))
    assert sample.request_error_pct == 50.0
    assert sample.wasserstein_ms == pytest.approx(10.0)


# --- means over load points -------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory, lab, corrected):
    """Return the scores of two load points, the second of which only the simulation saturates."""
    toy_run = Toy(tmp_path_factory.mktemp("toy"))
    burst = requests(24, stage=1, first=12, begin_us=20_000_000, gap_us=1, input_tokens=2000)
    rows = requests() + burst
    toy_run.measured(rows, stages=(0, 1))
    return scored(toy_run, lab, corrected)


def test_a_prediction_that_saturates_is_in_no_mean(two_stages):
    assert [stage.queue_grows for stage in two_stages] == [False, True]
    found = summary(two_stages)
    assert (found.compared, found.scored) == (1, 2)
    error = abs(two_stages[0].samples["e2e"].signed_error_pct("mean"))
    assert found.errors_pct["experiments", "e2e", "mean"] == pytest.approx(error)


def test_sets_are_compared_over_the_load_points_that_all_of_them_keep_up_with(two_stages):
    """What one set of options overloads is taken from every other set too."""
    kept_up = dataclasses.replace(two_stages[1], options=dataclasses.replace(two_stages[1].options, id="other"))
    kept_up = dataclasses.replace(kept_up, queue_grows=False)
    assert [score.stage.name for score in in_common([*two_stages, kept_up])] == [two_stages[0].stage.name]
    assert in_common([kept_up]) == [kept_up]


def test_numbers_have_the_columns_and_units_of_all_numbers(two_stages, lab):
    rows = list(csv.DictReader(io.StringIO(numbers_text(two_stages))))
    units = {row["unit"] for row in rows}
    assert units <= set(type(lab.settings.check.tolerance).model_fields)
    keys = [tuple(value for name, value in row.items() if name != "value") for row in rows]
    assert len(set(keys)) == len(keys)
    shown = {(row["load_point"], row["metric"], row["statistic"]): row["value"] for row in rows}
    assert shown["stage_0", "requests", "measured"] == "12.000000"
    assert shown["stage_1", "saturated", "predicted"] == "1.000000"
    assert float(shown["stage_0", "ttft_p90", "measured"]) == pytest.approx(30.99)
    assert ("all", "e2e_mean", "mape") in shown


def test_scores_are_grouped_in_their_order(two_stages):
    assert list(by_set(two_stages)) == ["corrected"]
