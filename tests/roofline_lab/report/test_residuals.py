"""The section a page shows: correlations, groups, ranked terms in words, reasons, and the figure."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline_lab.report.residuals import MAX_TICKS, NOTHING_SCORED, Axis, _x_labels, residual_figure, residual_section
from roofline_lab.residuals.drivers import DRIVERS, correlation, groups, ranks, spearman, varies
from roofline_lab.residuals.ranking import Resampling, ranked_terms
from roofline_lab.residuals.record import Figure
from roofline_lab.residuals.words import constant_text, implied_text, interval_text, listed, sentence
from tests.roofline_lab.residuals.samples import exact, residual, unscored, with_missing

QUICK = Resampling(resamples=200)
BY_NAME = {driver.name: driver for driver in DRIVERS}


def section(residuals, **changes):
    return residual_section(residuals, resampling=QUICK, **changes)


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]


def circles(svg):
    return [element for element in ET.fromstring(svg).iter() if element.tag.endswith("circle")]


# --- drivers ----------------------------------------------------------------------------------------


def test_equal_values_share_their_mean_rank():
    assert ranks([30.0, 10.0, 30.0, 20.0]) == [3.5, 1.0, 3.5, 2.0]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(1, 1), (2, 4), (3, 9), (4, 16)], 1.0),
        ([(1, 4), (2, 3), (3, 2), (4, 1)], -1.0),
        ([(1, 1), (1, 2), (1, 3)], None),
        ([(1, 2), (2, 1), (3, 4), (4, 3), (5, 5)], 0.8),
    ],
)
def test_spearman_correlates_ranks(found, expected):
    assert spearman(found) == (expected if expected is None else pytest.approx(expected))


def test_a_correlation_needs_a_few_load_points():
    assert correlation(exact(3), BY_NAME["layers"], "itl").value is None
    assert correlation(exact(3), BY_NAME["layers"], "itl").points == 3


def test_what_a_prediction_lacks_the_more_of_a_driver_there_is_correlates_negatively_with_it():
    residuals = with_missing("layer", 60.0)
    by_hand = [(-residual.layers * 60e-3 / residual.itl.measured_ms, residual.layers) for residual in residuals]
    assert correlation(residuals, BY_NAME["layers"], "itl").value == pytest.approx(spearman(by_hand))


def test_an_unknown_driver_counts_for_nothing():
    residuals = [dataclasses.replace(residual, rate_per_s=None) for residual in with_missing("layer", 60.0)]
    assert correlation(residuals, BY_NAME["load"], "itl").points == 0
    assert not varies(residuals, BY_NAME["load"])
    assert groups(residuals, BY_NAME["load"], ["itl"]) == ()


def test_few_values_are_groups_of_their_own_and_many_become_thirds():
    residuals = with_missing("layer", 60.0)
    assert [group.label for group in groups(residuals, BY_NAME["tensor_parallel"], ["itl"])] == ["1", "2", "4", "8"]
    thirds = groups(residuals, BY_NAME["prompt"], ["itl"])
    assert len(thirds) == 3
    assert sum(group.points for group in thirds) == 11
    assert thirds[0].label == "350 to 800"


def test_the_mean_of_a_group_is_signed_and_over_scored_load_points_alone():
    fast = dataclasses.replace(residual(0), itl=Figure(10.0, 8.0))
    slow = dataclasses.replace(residual(0), itl=Figure(10.0, 14.0))
    other = dataclasses.replace(residual(1), itl=Figure(10.0, None, "not measured"))
    first, second = groups([fast, slow, other], BY_NAME["tensor_parallel"], ["itl"])
    assert first.mean_pct["itl"] == pytest.approx(10.0)
    assert second.mean_pct["itl"] is None


def test_values_that_print_alike_are_one_value():
    residuals = [dataclasses.replace(residual, batch=1.0 + 1e-6 * index) for index, residual in enumerate(exact())]
    assert not varies(residuals, BY_NAME["batch"])


# --- words ------------------------------------------------------------------------------------------


def best_of(residuals, metric="itl"):
    return ranked_terms(residuals, metric, resampling=QUICK)[0]


def test_a_cost_is_printed_in_its_unit_and_thousands_of_microseconds_in_ms():
    assert constant_text(best_of(with_missing("layer", 61.5))) == "61.5 us"
    assert constant_text(best_of(with_missing("step", 2030.0))) == "2.03 ms"
    assert interval_text(best_of(with_missing("step", 2030.0))) == "all 2.03"
    assert constant_text(best_of(with_missing("kv_token", 120.0))) == "120 us per 1000 tokens"


def test_a_rate_says_what_share_of_the_peak_it_implies():
    head = best_of(with_missing("lm_head", 1.6))
    assert implied_text(head) == "0.62 of peak"
    weights = best_of(with_missing("weights", 0.25))
    assert constant_text(weights) == "0.25 times their time at peak (0.67 of peak instead of 0.80)"


def test_the_suggestion_names_term_constant_and_the_error_on_unseen_families():
    text = sentence(ranked_terms(with_missing("layer", 60.0), "itl", resampling=QUICK), "itl")
    assert text.startswith("Next hypothesis: time per layer, 60 us: error ")
    assert " to 0.0 % on families it was not fitted to" in text


def test_where_nothing_helps_beyond_noise_the_page_says_so():
    noisy = with_missing("step", 0.0, noise_pct=(5.0, -4.0, 3.0, -5.0, 2.0, -1.0, 4.0))
    text = sentence(ranked_terms(noisy, "itl", resampling=QUICK), "itl")
    assert text.startswith("No single term lowers the ITL error on")


def test_a_best_term_within_noise_is_named_as_such():
    noisy = with_missing("layer", 4.0, noise_pct=(5.0, -4.0, 3.0, -5.0, 2.0, -1.0, 4.0))
    best = ranked_terms(noisy, "itl", resampling=QUICK)[0]
    text = sentence([dataclasses.replace(best, beyond_noise=False, mape_before=3.0, held_out=2.5)], "itl")
    assert text.startswith("No single term lowers the ITL error on unseen families beyond noise. The best is ")


def test_a_term_that_makes_another_mean_worse_is_not_called_the_best_of_what_is_within_noise():
    noisy = with_missing("layer", 4.0, noise_pct=(5.0, -4.0, 3.0, -5.0, 2.0, -1.0, 4.0))
    ranked = ranked_terms(noisy, "itl", resampling=QUICK)
    first, second = (
        dataclasses.replace(suggestion, beyond_noise=False, constant=1.0, mape_before=3.0, held_out=held_out)
        for suggestion, held_out in zip(ranked, (2.5, 2.7), strict=False)
    )
    text = sentence([first, second], "itl", {first.term.name})
    assert f"The best that makes no other mean worse is {second.term.label}, " in text
    assert first.term.label not in text.split("not distinguishably")[0]
    assert sentence([first, second], "itl", {first.term.name, second.term.name}).endswith(
        "beyond noise, and each that lowers it at all makes another mean worse."
    )


def test_a_section_names_no_term_as_best_that_makes_another_mean_worse():
    noise = (6.0, -4.0, 5.0, -5.0, 4.0, -3.0, 6.0)
    slow = [
        dataclasses.replace(residual, ttft=Figure(10.0, 13.0))
        for residual in with_missing("layer", 4.0, noise_pct=noise)
    ]
    text = section(slow, metrics=("ttft", "itl"))
    told = next(line for line in text.splitlines() if line.startswith("**ITL.**"))
    assert "beyond noise" in told
    assert "The best is" not in told


def test_exact_predictions_are_told_as_such():
    text = sentence(ranked_terms(exact(), "e2e", resampling=QUICK), "e2e")
    assert text == "No single term lowers the E2E error of 0.0 % on families it was not fitted to."


def test_one_family_is_told_as_one_that_cannot_be_judged():
    text = sentence(ranked_terms(with_missing("layer", 60.0, exact(3)), "itl", resampling=QUICK), "itl")
    assert "All 3 load points are of one model family, so no term can be judged on another" in text


def test_tied_terms_are_named_in_the_suggestion():
    alone = [dataclasses.replace(residual, batch=1.0) for residual in exact()]
    text = sentence(ranked_terms(with_missing("step", 900.0, alone), "itl", resampling=QUICK), "itl")
    assert "cannot be told from time per request in the step" in text


def test_a_long_list_of_terms_is_cut():
    assert listed(["step", "layer"]) == "fixed time per step; time per layer"
    assert listed(["step", "layer", "weights", "lm_head", "kv_token"]).endswith("; and 2 more")


def test_without_any_fit_the_reason_is_told():
    nothing = ranked_terms([], "itl")
    assert sentence(nothing, "itl") == "No term can be fitted: no load point has a residual of this metric."


# --- the section ------------------------------------------------------------------------------------


def test_a_section_shows_every_driver_every_metric_and_at_most_five_terms():
    text = section(with_missing("layer", 60.0, noise_pct=(1.0, -1.0, 2.0)))
    for driver in DRIVERS:
        assert f"| {driver.title} " in text
    for label in ("TTFT", "ITL", "E2E"):
        assert f"**{label}.** " in text
    assert len(re.findall(r"^\| \d ", text, flags=re.MULTILINE)) <= 3 * 5
    assert "(figures/residuals.svg)" in text


def test_a_term_that_does_nothing_is_not_listed():
    text = section([dataclasses.replace(residual, ttft=Figure(10.0, 13.0)) for residual in exact()], metrics=("ttft",))
    assert "time per request outside the engine" not in text


def test_a_suggestion_that_makes_another_mean_worse_is_told_with_one_that_does_not():
    residuals = [
        dataclasses.replace(
            residual, ttft=Figure(residual.ttft.predicted_ms + 8.0, residual.ttft.predicted_ms), prefill_steps=1.0
        )
        for residual in exact()
    ]
    slow = [dataclasses.replace(residual, queue_ms=0.0, decodes_beside_prefill=0.0) for residual in residuals]
    text = section(slow, metrics=("ttft", "itl"))
    assert "Next hypothesis: fixed time per step, 8 ms" in text
    assert "But the same constant makes ITL (0.0 % to" in text
    assert "The first term that does not: time per request outside the engine, 8 ms" in text


def test_every_table_says_what_a_constant_does_to_the_other_means():
    header = [line for line in section(with_missing("layer", 60.0)).splitlines() if "held out" in line]
    assert [re.findall(r"then (\w+)", line) for line in header] == [["ITL", "E2E"], ["TTFT", "E2E"], ["TTFT", "ITL"]]


def test_a_driver_that_does_not_vary_or_is_not_known_says_so():
    residuals = [dataclasses.replace(residual, batch=1.0, rate_per_s=None) for residual in with_missing("layer", 60.0)]
    lines = section(residuals).splitlines()
    (batch,) = [line for line in lines if "batch in decode steps" in line]
    (load,) = [line for line in lines if "load [requests/s]" in line]
    assert "does not vary" in batch
    assert "not known" in load


def test_load_points_without_a_residual_are_rows_with_reasons():
    residuals = [*with_missing("layer", 60.0), unscored(residual(0, experiment="x"), "the server was saturated")]
    residuals.append(unscored(residual(1, experiment="y"), "not measured", ("ttft",)))
    text = section(residuals)
    assert re.search(r"\| the server was saturated +\| TTFT, ITL, E2E +\| +1 \|", text)
    assert re.search(r"\| not measured +\| TTFT +\| +1 \|", text)


def test_a_metric_that_nobody_measured_has_no_table():
    residuals = [unscored(residual, "not measured", ("ttft",)) for residual in with_missing("layer", 60.0)]
    text = section(residuals)
    assert "**TTFT.**" not in text
    assert "**ITL.**" in text


@pytest.mark.parametrize("residuals", [[], [unscored(one, "the server was saturated") for one in exact()]])
def test_a_section_of_nothing_says_that_there_is_nothing(residuals):
    text = section(residuals)
    assert text.startswith(NOTHING_SCORED)
    assert "nan" not in text
    assert "no residual that could vary" in texts(residual_figure(residuals))


def test_a_single_load_point_makes_a_section_too():
    text = section(with_missing("layer", 60.0, exact(1)))
    assert "one model family" in text
    assert "nan" not in text


def test_the_same_residuals_in_any_order_give_the_same_bytes():
    residuals = with_missing("layer", 60.0, noise_pct=(3.0, -2.0))
    assert section(residuals) == section(residuals[::-1])
    assert residual_figure(residuals) == residual_figure(residuals[::-1])


# --- the figure -------------------------------------------------------------------------------------


def test_the_figure_has_a_panel_per_metric_and_driver_and_names_units():
    residuals = with_missing("layer", 60.0)
    svg = residual_figure(residuals)
    assert len(circles(svg)) == 3 * 6 * len(residuals)
    assert {driver.title for driver in DRIVERS} <= set(texts(svg))
    assert {"mean TTFT [%]", "mean ITL [%]", "mean E2E [%]"} <= set(texts(svg))
    assert texts(svg).count("signed error of") == 3


def test_the_figure_says_whose_errors_it_shows_and_what_their_sign_means():
    svg = residual_figure(with_missing("layer", 60.0), of="treatment, corrected method")
    assert texts(svg)[0] == "Signed errors of treatment, corrected method (negative: predicted too fast)"


@pytest.mark.parametrize("metrics", [("itl",), ("ttft", "itl", "e2e")])
def test_no_text_of_the_figure_runs_out_of_it(metrics):
    svg = residual_figure(with_missing("layer", 60.0), metrics, of="an arm with a long name, and its method")
    width = float(re.search(r'width="([\d.]+)pt"', svg).group(1))
    assert width >= 5.5 * len(texts(svg)[0])


def test_the_figure_leaves_out_drivers_that_do_not_vary():
    residuals = [dataclasses.replace(residual, batch=1.0, rate_per_s=None) for residual in with_missing("layer", 60.0)]
    svg = residual_figure(residuals, ("itl",))
    assert len(circles(svg)) == 4 * len(residuals)
    assert "batch in decode steps [requests]" not in texts(svg)


def test_every_point_lies_inside_its_panel():
    wild = [
        dataclasses.replace(residual, itl=Figure(10.0, 10.0 * (index - 3))) for index, residual in enumerate(exact())
    ]
    svg = residual_figure(wild, ("itl",))
    root = ET.fromstring(svg)
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    for circle in circles(svg):
        assert 0 < float(circle.attrib["cx"]) < width
        assert 0 < float(circle.attrib["cy"]) < height


@given(low=st.floats(-1e4, 1e4), size=st.floats(1e-3, 1e5), log=st.booleans())
def test_an_axis_has_a_few_round_ticks_inside_it(low, size, log):
    axis = Axis(abs(low) + 1e-3, (abs(low) + 1e-3) * (10 + size), log=True) if log else Axis(low, low + size)
    assert 1 <= len(axis.ticks) <= MAX_TICKS
    assert all(-1e-9 <= axis.place(tick) <= 1 + 1e-9 for tick in axis.ticks)


def test_the_figure_uses_greys_alone():
    colours = set(re.findall(r"#([0-9a-f]{6})", residual_figure(with_missing("layer", 60.0))))
    assert all(colour[:2] == colour[2:4] == colour[4:] for colour in colours)


def test_labels_of_neighbouring_ticks_do_not_run_into_each_other():
    """28 and 32 layers are closer than their labels are wide; both ticks stay."""
    layers = Axis(23.0, 85.0, values=(28.0, 32.0, 40.0, 48.0, 80.0))
    drawn = "".join(_x_labels(0.0, 0.0, layers, "layers"))
    assert ">28<" in drawn
    assert ">32<" not in drawn
    assert drawn.count("<line") == 5
