"""A gate fails on what got worse and names it, and lets noise pass."""

from __future__ import annotations

import dataclasses
import random

import pytest

from roofline_lab.regression.difference import compare
from roofline_lab.regression.gate import judge
from roofline_lab.regression.gate_text import gate_markdown, gate_record
from roofline_lab.regression.noise import Figure
from roofline_lab.regression.reading import RIGHT, WRONG, Ruling
from roofline_lab.scoring.uncertainty import Uncertainty
from tests.roofline_lab.regression.small import H1, key, report, scored, snapshot

UNCERTAINTY = Uncertainty(1000, 95.0, 1)
EXPERIMENTS = [f"run{number}" for number in range(12)]
FAMILIES = {name: f"family {number % 4}" for number, name in enumerate(EXPERIMENTS)}
# Measured 100 ms to the microsecond, so that only the predictions move.
FIGURES = {key(name).measurement: Figure(100.0, 0.0005) for name in EXPERIMENTS}
BEFORE = dict.fromkeys(EXPERIMENTS, 110.0)


def gate(before, after, families=FAMILIES, threshold_pp=0.5, **fields):
    old = report(before, rulings={"corrected": Ruling("Confirmed", {"closer": "PASS"})})
    new = report(after, **{"rulings": {"corrected": Ruling("Confirmed", {"closer": "PASS"})}} | fields)
    sides = (snapshot(old, figures=FIGURES), snapshot(new, label="now", figures=FIGURES))
    return judge(compare(*sides, threshold_pp), families, UNCERTAINTY, threshold_pp)


def places(rows):
    return [(row.key.experiment, row.key.load_point) for row in rows]


def jitter(scale, seed=0):
    """Return predictions of a simulator that draws at random: each moves a little, and none of them for a reason."""
    draw = random.Random(seed)
    return {name: value + draw.gauss(0.0, scale) for name, value in BEFORE.items()}


def test_nothing_that_changes_passes():
    found = gate(BEFORE, BEFORE)
    assert found.passed
    assert "## Gate: passed" in gate_markdown(found)
    assert "no verdict flipped, no prediction is lost, no error grew beyond noise" in gate_markdown(found)


@pytest.mark.parametrize("seed", range(20))
def test_noise_passes(seed):
    assert gate(jitter(1.0, seed), jitter(1.0, seed + 100)).passed


def test_an_error_that_shrinks_passes():
    assert gate(BEFORE, dict.fromkeys(EXPERIMENTS, 104.0)).passed


def test_one_row_that_got_worse_fails_and_is_named():
    found = gate(BEFORE, BEFORE | {"run7": 160.0})
    assert not found.passed
    assert places(found.rows) == [("run7", "synchronous")]
    assert found.means == ()
    text = gate_markdown(found)
    assert "## Gate: **failed**" in text
    assert "1 row grew beyond noise" in text
    assert "run7, synchronous" in text
    assert "+50.0 pp" in text


def test_one_row_far_beyond_the_noise_of_the_others_is_found_among_them():
    found = gate(BEFORE, jitter(1.0) | {"run7": 125.0})
    assert places(found.rows) == [("run7", "synchronous")]


def test_a_mean_that_grew_everywhere_fails_with_its_interval_and_its_worst_rows():
    grown = {name: value + 3.0 for name, value in jitter(1.0).items()}
    found = gate(BEFORE, grown)
    (mean,) = found.means
    assert mean.interval.low > 0
    assert mean.change_pp == pytest.approx(3.0, abs=1.0)
    assert mean.rows[0].change.pp == max(row.change.pp for row in mean.rows)
    worst = mean.rows[0].key.experiment
    assert f"{worst}, synchronous (+" in gate_markdown(found)


def test_growth_below_the_threshold_counts_for_nothing():
    assert gate(BEFORE, dict.fromkeys(EXPERIMENTS, 110.4)).passed
    assert not gate(BEFORE, dict.fromkeys(EXPERIMENTS, 110.4), threshold_pp=0.1).passed


def test_a_measurement_that_cannot_tell_lets_a_row_pass():
    coarse = {name: Figure(100.0, 30.0) for name in FIGURES}
    old, new = report({"run0": 95.0}), report({"run0": 92.0})
    exact, vague = (
        judge(compare(snapshot(old, figures=f), snapshot(new, figures=f), 0.5), {}, UNCERTAINTY, 0.5)
        for f in (FIGURES, coarse)
    )
    assert not exact.passed
    assert vague.passed


def test_a_family_is_one_witness_however_many_experiments_it_has():
    grown = BEFORE | {name: 112.0 for name in EXPERIMENTS[:6]}
    of_many = {name: name for name in EXPERIMENTS}
    of_two = {name: "one" if name in EXPERIMENTS[:6] else "other" for name in EXPERIMENTS}
    assert gate(BEFORE, grown, of_many).means
    assert gate(BEFORE, grown, of_two).means == ()


@pytest.mark.parametrize("status", ["Refuted", "Confirmed"])
def test_a_flipped_verdict_or_criterion_fails(status):
    found = gate(BEFORE, BEFORE, rulings={"corrected": Ruling(status, {"closer": "FAIL"})})
    assert not found.passed
    assert {flip.subject for flip in found.flips} >= {"closer"}
    assert "### Verdicts and criteria that flipped" in gate_markdown(found)


def test_a_lost_prediction_fails_with_what_became_of_it():
    left = {name: value for name, value in BEFORE.items() if name != "run3"}
    found = gate(BEFORE, left, unscored={key("run3"): "failed"})
    assert [(state.key.experiment, state.after) for state in found.lost] == [("run3", "failed")]
    assert "run3, synchronous" in gate_markdown(found)
    gone = gate(BEFORE, left)
    assert [(state.key.experiment, state.after) for state in gone.lost] == [("run3", None)]


def test_a_saturation_that_is_predicted_wrongly_now_fails():
    flag = key("run3", metric="saturated")
    old, new = (report(BEFORE, unscored={flag: state}) for state in (RIGHT, WRONG))
    forth = judge(compare(snapshot(old), snapshot(new), 0.5), {}, UNCERTAINTY, 0.5)
    back = judge(compare(snapshot(new), snapshot(old), 0.5), {}, UNCERTAINTY, 0.5)
    assert [state.key.metric for state in forth.lost] == ["saturated"]
    assert back.passed


def test_a_row_that_is_compared_with_another_measurement_tells_nothing_of_the_simulator():
    old = report({}, rows={key("run0"): scored(110.0)})
    new = report({}, rows={key("run0"): scored(110.0, 50.0)})
    assert judge(compare(snapshot(old), snapshot(new), 0.5), {}, UNCERTAINTY, 0.5).passed


def test_the_record_for_programs_says_the_same_as_the_page():
    left = {name: value for name, value in BEFORE.items() if name != "run3"}
    found = gate(BEFORE, left | {"run7": 160.0}, rulings={"corrected": Ruling("Refuted", {"closer": "FAIL"})})
    record = gate_record(found)
    assert record["passed"] is False
    assert record["hypotheses"] == [H1]
    assert [row["experiment"] for row in record["rows"]] == ["run7"]
    assert record["rows"][0]["change_pp"] == pytest.approx(50.0)
    assert [lost["experiment"] for lost in record["lost"]] == ["run3"]
    assert [flip["subject"] for flip in record["flips"]] == ["status", "closer"]
    assert gate_record(dataclasses.replace(found, flips=(), lost=(), rows=()))["passed"] is True
