"""The suggestion of the next term: a planted one is found, and what cannot be known is not claimed."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline_lab.residuals.ranking import Resampling, error_with, mean_error_pct, ranked_terms
from roofline_lab.residuals.record import Figure
from roofline_lab.residuals.terms import BY_NAME, TERMS, Term
from roofline_lab.residuals.words import constant_text, sentence
from tests.roofline_lab.residuals.samples import exact, residual, unscored, with_missing

QUICK = Resampling(resamples=200)
# A constant of each term that moves predictions by some tens of percent.
CONSTANTS = {
    "step": 900.0,
    "layer": 60.0,
    "layer_over_tp": 80.0,
    "request_in_step": 200.0,
    "vocabulary": 25.0,
    "vocabulary_request": 4.0,
    "lm_head": 1.6,
    "weights": 0.3,
    "kv_bytes": 2.0,
    "kv_token": 120.0,
    "all_reduce": 20.0,
    "all_reduce_bytes": 2.5,
    "mixed_prompt": 20_000.0,
    "computed_token": 10.0,
    "computed_token_layer": 0.4,
    "prefill_flops": 1.4,
}
ON_FIRST_TOKEN = {
    "request": 9000.0,
    "prompt_token": 12.0,
    "queue": 0.9,
    "step": 6000.0,
    "computed_token": 14.0,
    "prefill_flops": 2.0,
}


@pytest.mark.parametrize("term", CONSTANTS)
def test_a_planted_term_is_found_in_the_itl_with_its_constant(term):
    best = ranked_terms(with_missing(term, CONSTANTS[term]), "itl", resampling=QUICK)[0]
    assert best.term.name == term
    assert best.constant == pytest.approx(CONSTANTS[term])
    assert best.mape_after == pytest.approx(0.0, abs=1e-9)
    assert best.held_out == pytest.approx(0.0, abs=1e-9)
    assert best.low == pytest.approx(best.high)
    assert best.beyond_noise


@pytest.mark.parametrize("term", ON_FIRST_TOKEN)
def test_a_planted_term_is_found_in_the_ttft_with_its_constant(term):
    best = ranked_terms(with_missing(term, ON_FIRST_TOKEN[term]), "ttft", resampling=QUICK)[0]
    assert best.term.name == term
    assert best.constant == pytest.approx(ON_FIRST_TOKEN[term])


@pytest.mark.parametrize("term", ["layer", "lm_head", "request"])
def test_a_planted_term_is_found_in_the_e2e_with_its_constant(term):
    constant = {**ON_FIRST_TOKEN, **CONSTANTS}[term]
    best = ranked_terms(with_missing(term, constant), "e2e", resampling=QUICK)[0]
    assert (best.term.name, best.constant) == (term, pytest.approx(constant))


@settings(max_examples=25, deadline=None)
@given(
    term=st.sampled_from(["layer", "step", "kv_token", "weights"]),
    scale=st.floats(0.3, 3.0),
    noise=st.lists(st.floats(-1.0, 1.0), min_size=11, max_size=11),
)
def test_a_planted_term_is_found_through_one_percent_of_noise(term, scale, noise):
    constant = CONSTANTS[term] * scale
    best = ranked_terms(with_missing(term, constant, noise_pct=noise), "itl", resampling=QUICK)[0]
    assert best.term.name == term
    assert best.constant == pytest.approx(constant, rel=0.35)
    assert best.held_out < best.mape_before


@settings(max_examples=25, deadline=None)
@given(noise=st.lists(st.floats(-20.0, 20.0), min_size=11, max_size=11), metric=st.sampled_from(["ttft", "itl", "e2e"]))
def test_no_constant_breaks_physics_and_no_fit_makes_squares_larger(noise, metric):
    residuals = with_missing("step", 0.0, noise_pct=noise)
    for one in ranked_terms(residuals, metric, resampling=QUICK):
        if one.constant is None:
            continue
        assert one.constant == 0.0 or one.constant >= one.least
        relative = [each.figure(metric).relative for each in residuals]
        after = [
            value + one.constant * one.term.column_ms(each, metric) / each.figure(metric).measured_ms
            for value, each in zip(relative, residuals, strict=True)
        ]
        assert sum(value**2 for value in after) <= sum(value**2 for value in relative) * (1 + 1e-9)


def test_a_cost_is_never_negative_where_predictions_are_too_slow():
    slow = [dataclasses.replace(one, itl=Figure(one.itl.measured_ms, one.itl.measured_ms * 1.3)) for one in exact()]
    found = {one.term.name: one for one in ranked_terms(slow, "itl", resampling=QUICK)}
    assert found["layer"].constant == 0.0
    assert found["layer"].at_bound
    assert not found["layer"].beyond_noise


def test_what_the_prediction_already_spends_can_be_taken_away_again_but_no_more():
    spends = [dataclasses.replace(one, priced={**one.priced, "layer": 40.0}) for one in exact()]
    found = {one.term.name: one for one in ranked_terms(with_missing("layer", -25.0, spends), "itl", resampling=QUICK)}
    assert found["layer"].constant == pytest.approx(-25.0)
    found = {one.term.name: one for one in ranked_terms(with_missing("layer", -55.0, spends), "itl", resampling=QUICK)}
    assert found["layer"].constant == pytest.approx(-40.0)
    assert found["layer"].at_bound


def test_bytes_that_are_not_read_yet_are_read_no_faster_than_the_peak_allows():
    barely = with_missing("lm_head", 0.7)
    found = {one.term.name: one for one in ranked_terms(barely, "itl", resampling=QUICK)}
    assert (found["lm_head"].constant, found["lm_head"].at_bound) == (1.0, True)
    hardly = with_missing("lm_head", 0.3)
    found = {one.term.name: one for one in ranked_terms(hardly, "itl", resampling=QUICK)}
    assert (found["lm_head"].constant, found["lm_head"].at_bound) == (0.0, True)


def test_a_rate_at_its_peak_can_only_get_slower():
    at_peak = [dataclasses.replace(one, priced={**one.priced, "weights": 1.0}) for one in exact()]
    found = {
        one.term.name: one for one in ranked_terms(with_missing("weights", -0.2, at_peak), "itl", resampling=QUICK)
    }
    assert (found["weights"].constant, found["weights"].least) == (0.0, 0.0)


def test_a_rate_ends_at_a_quarter_of_its_peak():
    for spent in (0.0, 1.5):
        spends = [dataclasses.replace(one, priced={**one.priced, "weights": spent}) for one in exact()]
        ranked = ranked_terms(with_missing("weights", 9.0, spends), "itl", resampling=QUICK)
        weights = next(one for one in ranked if one.term.name == "weights")
        assert (weights.constant, weights.high, weights.at_bound) == (4.0 - spent, 4.0 - spent, True)
        assert constant_text(weights).endswith(", the most that is plausible")


def test_a_term_that_fits_one_family_alone_loses():
    wrong = [one if one.family != "Wide" else with_missing("vocabulary", 60.0, [one])[0] for one in exact()]
    best = ranked_terms(wrong, "itl", resampling=QUICK)[0]
    assert not best.beyond_noise


def test_a_term_only_one_family_has_says_nothing_about_others():
    residuals = [dataclasses.replace(one, routed=one.family == "Wide") for one in exact()]
    found = {
        one.term.name: one
        for one in ranked_terms(with_missing("routed_layer", 50.0, residuals), "itl", resampling=QUICK)
    }
    assert found["routed_layer"].constant == pytest.approx(50.0)
    assert found["routed_layer"].mape_after == pytest.approx(0.0, abs=1e-9)
    assert found["routed_layer"].held_out == pytest.approx(found["routed_layer"].mape_before)


def test_terms_that_the_data_cannot_tell_apart_are_reported_as_tied():
    alone = [dataclasses.replace(one, batch=1.0) for one in exact()]
    best, second, *_ = ranked_terms(with_missing("step", 900.0, alone), "itl", resampling=QUICK)
    assert best.tied == ("request_in_step",)
    assert second.tied == ("step",)
    assert best.held_out == second.held_out


def test_equal_terms_keep_the_order_of_the_catalogue():
    step = BY_NAME["step"]
    names = ["a", "b", "c"]
    same = [dataclasses.replace(step, name=name) for name in names]
    found = ranked_terms(with_missing("step", 900.0), "itl", terms=same, resampling=QUICK)
    assert [one.term.name for one in found] == names
    assert found[0].tied == ("b", "c")


def test_a_close_second_is_named_as_a_rival():
    noisy = with_missing("layer", 60.0, noise_pct=(3.0, -3.0, 2.0, -1.0, 4.0, -4.0, 1.0))
    almost = Term("almost", "", "", "us", "cost", lambda one: one.layers**1.05, lambda one: 0.0)
    best, second = ranked_terms(noisy, "itl", terms=[BY_NAME["layer"], almost], resampling=QUICK)
    assert {best.term.name, second.term.name} == {"layer", "almost"}
    assert second.term.name in (*best.tied, *best.rivals)


def test_an_unknown_driver_is_a_row_with_a_reason():
    residuals = with_missing("layer", 60.0)
    residuals[3] = dataclasses.replace(residuals[3], kv_tokens=None)
    found = {one.term.name: one for one in ranked_terms(residuals, "itl", resampling=QUICK)}
    assert found["kv_token"].constant is None
    assert found["kv_token"].reason == "what it depends on is not known at 1 of 11 load points"
    assert found["layer"].constant == pytest.approx(60.0)


def test_collectives_need_a_link_bandwidth_only_where_there_are_collectives():
    residuals = [dataclasses.replace(one, link_bandwidth=None) for one in exact() if one.tensor_parallel == 1]
    found = {one.term.name: one for one in ranked_terms(residuals, "itl", resampling=QUICK)}
    assert found["all_reduce_bytes"].reason == "it is zero at every load point"


def test_load_points_without_a_number_enter_no_fit():
    residuals = with_missing("layer", 60.0)
    wild = dataclasses.replace(residual(0, experiment="wild"), itl=Figure(1000.0, 1.0, "the server was saturated"))
    assert ranked_terms([*residuals, wild], "itl", resampling=QUICK) == ranked_terms(residuals, "itl", resampling=QUICK)


def test_nothing_scored_gives_every_term_a_reason_and_no_constant():
    saturated = [unscored(one, "the server was saturated") for one in exact()]
    found = ranked_terms(saturated, "itl", resampling=QUICK)
    assert len(found) == len(TERMS)
    assert {one.constant for one in found} == {None}
    assert {one.reason for one in found} == {"no load point has a residual of this metric"}
    assert {one.reason for one in ranked_terms([], "itl")} == {"no load point has a residual of this metric"}


def test_one_family_is_fitted_but_never_beyond_noise():
    residuals = with_missing("layer", 60.0, exact(3))
    best = ranked_terms(residuals, "itl", resampling=QUICK)[0]
    assert best.families == 1
    assert best.held_out is None
    assert best.low is None
    assert not best.beyond_noise
    assert best.reason == "one model family; none can be held out"


def test_fewer_families_than_an_interval_needs_hold_one_out_but_tell_nothing_from_noise():
    three = [one for one in exact() if one.family in sorted({two.family for two in exact()})[:3]]
    best = ranked_terms(with_missing("layer", 60.0, three), "itl")[0]
    assert (best.families, best.term.name) == (3, "layer")
    assert best.held_out < best.mape_before
    assert (best.low, best.gain_low, best.beyond_noise) == (None, None, False)
    assert best.reason == "3 model families; an interval needs 4"
    assert ranked_terms(with_missing("layer", 60.0), "itl")[0].beyond_noise
    told = sentence([best], "itl")
    assert told.startswith("Whether a term lowers the ITL error beyond noise cannot be told: 3 model families")


def test_two_families_are_enough_to_hold_one_out():
    best = ranked_terms(with_missing("layer", 60.0, exact(5)), "itl", resampling=QUICK)[0]
    assert best.families == 2
    assert best.held_out == pytest.approx(0.0, abs=1e-9)


def test_exact_predictions_leave_nothing_to_suggest():
    assert not any(one.beyond_noise for one in ranked_terms(exact(), "itl", resampling=QUICK))


def test_the_order_of_load_points_does_not_matter():
    residuals = with_missing("layer", 60.0, noise_pct=(3.0, -2.0, 1.0))
    assert ranked_terms(residuals, "e2e", resampling=QUICK) == ranked_terms(residuals[::-1], "e2e", resampling=QUICK)


def test_every_term_has_a_unit_a_formula_and_a_name_of_its_own():
    assert len(BY_NAME) == len(TERMS)
    assert all(one.label and one.formula and one.unit for one in TERMS)


def test_e2e_is_the_first_token_and_all_further_ones():
    one = residual(4)
    for term in TERMS:
        itl, ttft = term.column_ms(one, "itl"), term.column_ms(one, "ttft")
        assert term.column_ms(one, "e2e") == pytest.approx(ttft + 199 * itl)


@pytest.mark.parametrize("seed", range(5))
def test_a_term_that_does_not_act_on_a_metric_leaves_its_error_to_the_last_bit(seed):
    """A page says which means a constant makes worse; a rounding of the mean is no worsening."""
    noise = [((seed + 3) * place * 7.3) % 19 - 9 for place in range(11)]
    residuals = with_missing("request", 9000.0, noise_pct=noise)
    for suggestion in ranked_terms(residuals, "ttft", resampling=QUICK):
        if suggestion.term.name in ("request", "prompt_token", "queue"):
            assert error_with(residuals, "itl", suggestion) == mean_error_pct(residuals, "itl")
