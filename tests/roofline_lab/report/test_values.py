"""Prose may quote what was found; asking for anything else is an error that says what was asked."""

from __future__ import annotations

import pytest

from roofline_lab.author_texts import render_text
from roofline_lab.hypotheses.sweep import Search, Sweep
from roofline_lab.report.values import Values, values_of
from roofline_lab.scoring.scores import Moved, Scores
from roofline_lab.scoring.statistics import Interval
from roofline_lab.scoring.table import numbers_of
from roofline_lab.scoring.uncertainty import Located
from roofline_lab.vocabulary import Metric
from simulator.errors import ConfigError
from simulator.validation import parse
from tests.roofline_lab.builders import HYPOTHESIS, error_row, pair


@pytest.fixture(scope="module")
def v(h1_report):
    return values_of(h1_report)


def test_every_kind_of_number_can_be_quoted(v):
    tp1 = "jan30-llama2-7b-tp1-codesweep"
    before, after = (v.mape("corrected", arm, "tpot_mean") for arm in ("baseline", "treatment"))
    assert v.gain("corrected", "tpot_mean") == pytest.approx(before - after)
    assert v.signed("corrected", "baseline", "tpot_mean") == pytest.approx(-before)
    assert v.measured("corrected", tp1, "ttft_mean") == 67.1
    assert v.predicted("corrected", "baseline", tp1, "ttft_mean") < 67.1
    assert v.count("corrected", "tpot_mean") == 13
    assert v.improving("corrected", "tpot_mean") == 13
    assert v.option("treatment", "bandwidth_efficiency") == 0.82
    assert v.observed("corrected", "tpot_improves") == pytest.approx(before - after)
    assert v.result("corrected", "tpot_improves") == "PASS"
    assert v.max_rate("as_published", "flops") > 1 > v.max_rate("corrected", "flops")


@pytest.mark.parametrize(
    "expression",
    [
        "v.mape('corected', 'baseline', 'tpot_mean')",
        "v.mape('corrected', 'control', 'tpot_mean')",
        "v.mape('corrected', 'baseline', 'tpot')",
        "v.mape('corrected', 'baseline', 'tpot_mean', scope='workload', key='chat')",
        "v.gain('corrected', 'tpot_mean', arm='baseline')",
        "v.predicted('corrected', 'baseline', 'no-such-experiment', 'tpot_mean')",
        "v.option('treatment', 'bandwith')",
        "v.option('control', 'bandwidth_efficiency')",
        "v.observed('corrected', 'no_such_criterion')",
        "v.result('corected', 'tpot_improves')",
        "v.status('corected')",
        "v.improving('corected', 'tpot_mean')",
        "v.improving('corrected', 'tpot')",
        "v.count('corrected', 'tpot')",
        "v.max_rate('corrected', 'watts')",
        "v.max_rate('corected', 'flops')",
        "v.mape('corrected')",
        "v.no_such_question('corrected')",
        "undefined_name",
        "v.status('corrected') | no_such_filter",
        "v.mape(",
    ],
)
def test_asking_for_what_does_not_exist_is_an_error_that_says_where(v, expression):
    with pytest.raises(ConfigError, match=r"^discussion\.md: "):
        render_text("{{ " + expression + " }}", {"v": v}, "discussion.md")


def test_a_misspelt_method_suggests_the_right_one(v):
    with pytest.raises(ConfigError, match="did you mean 'corrected'"):
        v.status("corected")


def test_a_number_of_two_load_points_is_quoted_as_their_mean_or_not_at_all():
    rows = [*pair("a", -40, -30, load_point="low"), *pair("a", -20, -10, load_point="high")]
    numbers = numbers_of(Scores(rows), ("baseline", "treatment"), [Metric.TPOT_MEAN])
    values = Values(numbers, {}, {}, {}, ("baseline", "treatment"), {})
    with pytest.raises(ConfigError, match="2 load points"):
        values.predicted("m", "baseline", "a", "tpot_mean")
    assert values.mape("m", "baseline", "tpot_mean") == pytest.approx(30.0)


def test_every_expression_of_the_committed_texts_finds_its_number(v, lab):
    """Including the ones no page would show; rendering raises where a number is missing."""
    spec = lab.hypotheses[HYPOTHESIS]
    texts = [*lab.discussions[HYPOTHESIS].sections.values()]
    texts += [text for finding in spec.findings for text in (finding.finding, finding.action)]
    texts += [text for item in spec.evidence for text in (item.value, item.confidence)]
    quoting = [text for text in texts if "{{" in text]
    assert len(quoting) > 8
    for text in quoting:
        assert "{{" not in render_text(text, {"v": v}, "test")


def test_what_a_slower_arm_does_depends_on_the_sign_of_the_error_that_was_there():
    rows = [*pair("fast", -10, -4), *pair("slow", 5, 9), *pair("as_it_was", 3, 3), *pair("faster", 8, 2)]
    rows.append(error_row("treatment", "alone"))
    values = Values([], {"m": Scores(rows)}, {}, {}, ("baseline", "treatment"), {})
    assert values.moved("m", "tpot_mean", "treatment", "baseline") == Moved(
        slower=2, faster=1, too_fast=1, too_fast_better=1, too_slow=2, too_slow_worse=1
    )


def test_a_text_may_quote_a_search_and_how_far_its_value_moves():
    keys = {"arm": "a", "option": "b", "start": 0, "stop": 2, "step": 1}
    sweep = parse(Sweep, {**keys, "select": {"metric": "tpot_mean", "side": "train"}}, source="test")
    located = Located(Interval(0.0, 1.0, 95.0), "model families", "")
    values = Values(
        [], {}, {}, {}, ("a",), {}, searches={"m": [Search(sweep, {0.0: 4.0, 1.0: 3.0}, 1.0, located=located)]}
    )
    assert (values.chosen("m"), values.searched("m", 0)) == (1.0, 4.0)
    assert values.chosen_interval("m") == "95 % interval over model families: 0 to 1"
    with pytest.raises(ConfigError, match="the sweep has no such value"):
        values.searched("m", 0.5)


def test_a_text_may_go_through_the_experiments_by_the_names_of_the_pages(v):
    found = dict(v.experiments())
    assert found["jan30-llama2-7b-tp1-codesweep"] == "Llama2-7B TP1 codesweep"
    assert len(found) == v.count("corrected", "tpot_mean")
