"""numbers.csv holds percentiles, throughput, saturation and mixed steps of every load point."""

from __future__ import annotations

import pytest

from roofline_lab.report.results import load_numbers
from roofline_lab.vocabulary import LoadFigure, Statistic

PLACE = {"method": "m", "arm": "a", "experiment": "one", "load_point": "stage_0", "workload": "chat", "family": "Small"}
PLACE |= {"model": "small", "tensor_parallel": 1, "status": "ok", "reason": ""}


def row(*, saturated=False, **figures):
    return {
        **PLACE,
        "counters": {"steps": 200, "mixed_steps": 50},
        "load": {
            "branches": {"by_tokens": 40, "prefill_dominates": 10},
            "saturated": {"measured": saturated, "predicted": False},
            "figures": figures,
        },
    }


def figure(measured, predicted, unit="ms"):
    return {"measured": measured, "predicted": predicted, "unit": unit, "reason": "" if predicted else "none"}


def values(*rows):
    return {(n.metric, n.statistic): (n.value, n.unit) for n in load_numbers(rows)}


def test_a_percentile_has_its_measurement_its_prediction_and_their_error():
    found = values(row(ttft_p90=figure(50.0, 40.0)))
    assert found[LoadFigure.TTFT_P90, Statistic.MEASURED] == (50.0, "ms")
    assert found[LoadFigure.TTFT_P90, Statistic.PREDICTED] == (40.0, "ms")
    assert found[LoadFigure.TTFT_P90, Statistic.SIGNED_ERROR] == (pytest.approx(-20.0), "pct")
    assert found[LoadFigure.TTFT_P90, Statistic.MAPE] == (pytest.approx(20.0), "pct")


def test_a_percentile_without_a_prediction_has_no_error_and_no_zero():
    found = values(row(tpot_p50=figure(9.0, None)))
    assert {statistic for name, statistic in found if name is LoadFigure.TPOT_P50} == {Statistic.MEASURED}


def test_a_saturated_load_point_is_given_by_throughput_and_never_by_latency():
    found = values(row(saturated=True, ttft_p90=figure(9000.0, 40.0), request_throughput=figure(4.0, 5.0, "1/s")))
    assert found[LoadFigure.REQUEST_THROUGHPUT, Statistic.MAPE] == (pytest.approx(25.0), "pct")
    assert found[LoadFigure.REQUEST_THROUGHPUT, Statistic.MEASURED] == (4.0, "per_s")
    assert found[LoadFigure.SATURATED, Statistic.MEASURED] == (1.0, "flag")
    assert not any(name is LoadFigure.TTFT_P90 for name, _ in found)


def test_saturation_that_is_not_known_is_no_number():
    assert (LoadFigure.SATURATED, Statistic.MEASURED) not in values(row(saturated=None))


BRANCHES = (
    LoadFigure.MIXED_STEPS,
    LoadFigure.PREFILL_DOMINATES,
    LoadFigure.DECODE_DOMINATES,
    LoadFigure.BY_TOKENS,
)


def test_every_branch_has_its_share_of_all_steps():
    found = values(row())
    shares = {name: found[name, Statistic.SHARE][0] for name in BRANCHES}
    assert shares == {
        LoadFigure.MIXED_STEPS: 25.0,
        LoadFigure.PREFILL_DOMINATES: 5.0,
        LoadFigure.DECODE_DOMINATES: 0.0,
        LoadFigure.BY_TOKENS: 20.0,
    }


def test_a_row_without_load_and_a_run_without_steps_have_no_numbers():
    idle = row()
    idle["counters"] = {"steps": 0, "mixed_steps": 0}
    assert load_numbers([PLACE]) == ()
    assert {n.metric for n in load_numbers([idle])} == {LoadFigure.SATURATED}
