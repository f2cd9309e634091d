"""Limits on latencies: what is read, and what is refused because it could mean several things."""

from __future__ import annotations

import pytest

from simulator.errors import ConfigError
from simulator.metrics import DEFINITIONS, GAP_METRICS
from simulator.slo import METRICS, Limit, read_limits


def test_limits_are_read_in_their_order_in_milliseconds():
    assert read_limits("ttft_p99<=500ms, tpot_p90 <= 0.03 s,e2e_mean<2e3ms, itl_p50≤900us", "--slo") == (
        Limit("ttft_p99", 500.0),
        Limit("tpot_p90", 30.0),
        Limit("e2e_mean", 2000.0),
        Limit("itl_p50", 0.9),
    )


def test_every_limit_is_on_a_metric_of_a_run():
    assert set(METRICS.values()) <= {*map(str, DEFINITIONS), *GAP_METRICS}


def test_a_limit_is_read_again_from_its_own_text():
    for name in METRICS:
        limit = Limit(name, 12.5)
        assert read_limits(limit.text, "--slo") == (limit,)


def test_percentiles_of_gaps_are_counted_by_the_engine_and_others_are_not():
    assert [limit.needs_gaps for limit in read_limits("itl_p99<=9ms, itl_mean<=9ms, tpot_p99<=9ms", "x")] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ttft_p99<=500", "500 of what? give the unit: 500ms"),
        ("ttft<=500ms", "of which statistic? write ttft_mean"),
        ("ttfr_p99<=500ms", "did you mean 'ttft_p99'"),
        ("ttft_p99<=5min", "unknown unit 'min'; allowed: us, ms, s"),
        ("ttft_p99>=5ms", "has an upper limit; write ttft_p99<="),
        ("ttft_p99<=-5ms", "must be above 0"),
        ("ttft_p99<=0ms", "must be above 0"),
        ("ttft_p99<=1..5ms", "'1..5' is no number"),
        ("ttft_p99<=1e999ms", "must be above 0 and finite"),
        ("ttft_p99<=nanms", "is no limit; write one such as"),
        ("fast", "is no limit; write one such as"),
        ("", "no limit; write one such as"),
        ("ttft_p99<=1ms, ttft_p99<=2ms", "ttft_p99: has two limits; keep one"),
    ],
)
def test_what_could_mean_several_things_is_refused_with_what_to_write(text, told):
    with pytest.raises(ConfigError, match="--slo") as refused:
        read_limits(text, "--slo")
    assert told in str(refused.value)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(ConfigError) as refused:
        read_limits("ttft_p99<=500, itl<=3ms, e2e_mean<=3h", "question.yaml: slo")
    assert str(refused.value).startswith("question.yaml: slo: 3 problems\n")
