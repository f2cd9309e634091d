"""The residual analysis of a report: which arm and method, from result lines to numbers and the page."""

from __future__ import annotations

import copy

import pytest

from roofline_lab.regression.check import compare_numbers
from roofline_lab.report.findings import render_report, report_files
from roofline_lab.report.residuals import analysis_figures, analysis_section
from roofline_lab.report.results import build_report
from roofline_lab.residuals.analysis import analyses_of
from roofline_lab.residuals.build import priced_by
from roofline_lab.residuals.rows import residuals_of
from roofline_lab.residuals.terms import BY_NAME
from roofline_lab.run_files import OVERLOADED, SATURATED
from roofline_lab.scoring.numbers import numbers_text
from roofline_lab.vocabulary import MEANS, Metric, Scope, Statistic
from simulator.steptime.options import parse_options
from tests.roofline_lab.builders import HYPOTHESIS


@pytest.fixture(scope="module")
def analysis(h1_report):
    """Return the analysis of the experiments that decide H1."""
    return h1_report.analyses[0]


@pytest.fixture(scope="module")
def arm(lab):
    """Return the adopted arm of H1 under the corrected method."""
    return {one.name: one for one in lab.arms(HYPOTHESIS, "corrected")}["treatment"]


def corrected(rows, **changes):
    """Return copies of the result lines of the corrected treatment, changed."""
    own = [copy.deepcopy(row) for row in rows if (row["method"], row["arm"]) == ("corrected", "treatment")]
    for row in own:
        row.update(changes)
    return own


# --- which arm --------------------------------------------------------------------------------------


def test_the_arm_that_is_adopted_is_analysed_under_the_method_without_quirks(analysis):
    assert (analysis.method.id, analysis.arm, analysis.extra) == ("corrected", "treatment", False)
    assert len(analysis.residuals) == 13


def test_runs_beyond_are_analysed_on_their_own(h1_report):
    beyond = h1_report.analyses[1]
    assert (beyond.method.id, beyond.arm, beyond.extra) == ("multi_rate", "treatment", True)
    assert {one.batch is not None for one in beyond.residuals} == {True}


@pytest.mark.parametrize(
    ("hypothesis", "method", "arm"),
    [
        ("h2b_scaled_overhead", "corrected", "scaled"),
        ("h2_fixed_overhead", "corrected", "fixed"),
        ("h5b_mixed_batch_under_load", "multi_rate", "additive"),
    ],
)
def test_without_an_adopted_arm_the_last_one_shown_is_analysed(lab, hypothesis, method, arm):
    spec = lab.hypotheses[hypothesis]
    arms = {name: lab.arms(hypothesis, name) for name in spec.methods}
    first = analyses_of(lab, spec, arms, [])[0]
    assert (first.method.id, first.arm) == (method, arm)


def test_every_hypothesis_on_measurements_has_an_analysis(lab):
    for name, spec in lab.hypotheses.items():
        figures = analysis_figures(lab, spec)
        assert figures[0] == "figures/residuals.svg", name
        assert ("figures/residuals_beyond.svg" in figures) == (spec.extra_experiments is not None)
        assert set(figures) <= set(report_files(lab, name))


# --- from result lines ------------------------------------------------------------------------------


def test_a_residual_agrees_with_the_errors_of_the_page(h1_report, analysis):
    scores = h1_report.headline.scores
    for one in analysis.residuals:
        row = scores.row("treatment", one.experiment, Metric.TPOT_MEAN, one.load_point)
        assert one.itl.relative * 100 == row.signed_error_pct
        assert one.batch == 1.0


def test_the_error_before_a_term_is_the_error_of_the_page(h1_report, analysis):
    for metric, name in ((Metric.TTFT_MEAN, "ttft"), (Metric.TPOT_MEAN, "itl"), (Metric.E2E_MEAN, "e2e")):
        shown = h1_report.headline.judging.mape("treatment", metric)
        assert analysis.ranked[name][0].mape_before == pytest.approx(shown)


def test_a_saturated_server_keeps_its_reason(lab, h1_rows, arm):
    measured = corrected(h1_rows, load={"saturated": {"measured": True, "predicted": True}})[:1]
    simulated = corrected(h1_rows, load={"saturated": {"measured": False, "predicted": True}})[:1]
    assert residuals_of(lab, measured, arm, MEANS)[0].itl.reason == SATURATED
    assert residuals_of(lab, simulated, arm, MEANS)[0].itl.reason == OVERLOADED.format(arms="treatment")


def test_a_run_that_could_not_be_done_has_a_residual_with_its_reason(lab, h1_rows, arm):
    (row,) = corrected(h1_rows, status="unsupported", reason="the tables do not cover this shape", metrics={})[:1]
    for key in ("occupancy", "counters", "requests"):
        row.pop(key)
    (one,) = residuals_of(lab, [row], arm, MEANS)
    assert one.itl.reason == "the tables do not cover this shape"
    assert one.batch is None
    assert not one.itl.is_scored


def test_lines_without_occupancy_leave_drivers_unknown_and_say_so(lab, h1_rows, arm):
    rows = corrected(h1_rows)
    for row in rows:
        del row["occupancy"]
    residuals = residuals_of(lab, rows, arm, MEANS)
    assert {one.kv_tokens for one in residuals} == {None}
    found = BY_NAME["kv_token"].column_ms(residuals[0], "itl")
    assert found is None
    assert BY_NAME["layer"].column_ms(residuals[0], "itl") is not None


def test_a_report_is_complete_when_nothing_could_be_run(lab, h1_rows):
    rows = copy.deepcopy(h1_rows)
    for row in rows:
        if row["method"] == "corrected":
            row.update(status="unsupported", reason="too exotic", metrics={})
            for key in ("occupancy", "counters", "requests", "peak_shares"):
                row.pop(key)
    analysis = build_report(lab, HYPOTHESIS, rows, lab.published[HYPOTHESIS]).analyses[0]
    assert "No load point has a residual." in analysis_section(analysis)
    assert "too exotic" in analysis_section(analysis)
    assert list(analysis.numbers) == []


# --- what the prediction spends already -------------------------------------------------------------


def test_what_a_roofline_spends_is_known_term_by_term(lab, arm):
    model = lab.model("Llama-2-7b-hf") if "Llama-2-7b-hf" in lab.model_ids else lab.model(lab.model_ids[0])
    spends = priced_by(arm.steptime, model)
    assert spends["weights"] == pytest.approx(1 / 0.82)
    assert spends["lm_head"] == 0.0
    assert spends["kv_bytes"] == pytest.approx(0.8 / 0.82)
    assert spends["prefill_flops"] == pytest.approx(1 / 0.65)
    assert "step" not in spends


@pytest.mark.parametrize(
    ("kind", "term"), [("fixed", "step"), ("per_layer", "layer"), ("per_layer_over_tp", "layer_over_tp")]
)
def test_an_overhead_is_known_as_the_term_it_is(lab, kind, term):
    options = parse_options({"family": "mfu_roofline", "overhead": {"kind": kind, "us": 70.0}}, source="test")
    assert priced_by(options, lab.model(lab.model_ids[0]))[term] == 70.0


@pytest.mark.parametrize(("times", "term"), [("one", "step"), ("layers", "layer"), ("layers_over_tp", "layer_over_tp")])
def test_an_overhead_that_grows_with_the_batch_spends_at_least_its_smallest(lab, times, term):
    overhead = {"kind": "per_phase", "step_us": 90.0, "times": times, "log_batch_scale": True}
    options = parse_options({"family": "mfu_roofline", "overhead": overhead}, source="test")
    assert priced_by(options, lab.model(lab.model_ids[0]))[term] == 90.0


def test_kernels_that_know_their_own_time_do_not_say_what_rate_they_read_at(lab):
    options = parse_options({"family": "mfu_roofline", "mfu": {"kind": "kernels"}, "lm_head": True}, source="test")
    spends = priced_by(options, lab.model(lab.model_ids[0]))
    assert not {"weights", "kv_bytes", "lm_head", "prefill_flops"} & set(spends)


def test_calibrated_physics_spends_what_its_constants_say(lab):
    options = parse_options(
        {"family": "calibrated_physics", "weight_bandwidth_efficiency": 0.9, "layer_us": 44.0, "step_us": 100.0},
        source="test",
    )
    dense = next(lab.model(name) for name in lab.model_ids if not lab.model(name).num_local_experts)
    spends = priced_by(options, dense)
    assert spends["weights"] == spends["lm_head"] == pytest.approx(1 / 0.9)
    assert spends["layer"] == pytest.approx(44.0)
    assert spends["step"] == 100.0


def test_of_a_model_that_does_not_say_what_it_spends_nothing_is_taken_away(lab):
    options = parse_options(
        {"family": "linear", "step_us": 1.0, "prefill_us_per_token": 1.0, "decode_us_per_token": 1.0}, source="test"
    )
    assert priced_by(options, lab.model(lab.model_ids[0])) == {}


# --- numbers and page -------------------------------------------------------------------------------


def test_numbers_have_the_constants_and_held_out_errors_of_the_page(h1_report, analysis):
    found = {
        n.statistic: n.value
        for n in h1_report.numbers
        if (n.method, n.scope, n.key, n.metric) == ("corrected", Scope.TERM, "layer", Metric.TPOT_MEAN)
    }
    best = analysis.ranked["itl"][0]
    assert found == {
        Statistic.VALUE: best.constant,
        Statistic.MAPE: best.mape_after,
        Statistic.HELD_OUT: best.held_out,
    }
    correlations = [n for n in h1_report.numbers if n.scope is Scope.DRIVER]
    assert {n.key for n in correlations if n.method == "corrected"} == {"layers", "tensor_parallel", "prompt", "kv"}


def test_numbers_are_unique_and_readable_by_the_check(lab, h1_report):
    text = numbers_text(h1_report.numbers).encode()
    assert compare_numbers(text, text, lab.settings.check.tolerance) == []


def test_the_page_has_the_section_and_its_figures(lab, h1_report):
    files = render_report(lab, h1_report)
    page = files["DETAILS.md"]
    assert "## Residuals" in page
    assert "### Corrected, arm treatment" in page
    assert "Next hypothesis: time per layer" in page
    for name in ("figures/residuals.svg", "figures/residuals_beyond.svg"):
        assert f"]({name})" in page
        assert files[name].startswith("<svg")
