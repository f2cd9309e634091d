"""What committed findings say of answers about capacity, as who gives new answers reads it."""

from __future__ import annotations

import pytest

from roofline_lab.report.ladder_numbers import capacity_numbers
from roofline_lab.scoring.capacity import Question, Rung, answers_of
from roofline_lab.scoring.numbers import numbers_text
from roofline_lab.trust.proof import FINDINGS, proof_of
from simulator.errors import ConfigError
from simulator.slo import read_limits
from tests.paths import ROOT
from tests.roofline_lab.builders import error_row

# TPOT in ms at 4 and 16 in flight; the limit of 15 ms is crossed at 4 x 4^log2(1.5) = 9 measured, and at 4 predicted.
LADDER = ((4.0, 10.0, 15.0, 12.0, 16.0), (16.0, 20.0, 30.0, 24.0, 32.0))


@pytest.fixture
def numbers(tmp_path):
    """Write the numbers of one ladder, and return their folder."""

    def write(load):
        asked = Question((read_limits("tpot_mean<=15ms", "test"),), "tpot_mean", 1.5, 1.5, 3.0)
        rungs = [
            Rung(error_row("mine", load_point=f"c{at:g}"), at, *({"tpot_mean": value} for value in values))
            for at, *values in LADDER
        ]
        folder = tmp_path / "reports" / FINDINGS[load]
        folder.mkdir(parents=True)
        found = capacity_numbers("m", ["mine"], answers_of([rungs], asked), load)
        (folder / "numbers.csv").write_text(numbers_text(found), encoding="utf-8")
        return folder

    write.root = tmp_path
    return write


@pytest.mark.parametrize("load", ["concurrency", "rate"])
def test_errors_and_verdicts_of_a_calibration_are_read_from_its_finding(numbers, load):
    numbers(load)
    found = proof_of(numbers.root, "mine", load)
    assert found.finding == FINDINGS[load]
    assert found.error_pct == found.median_error_pct == pytest.approx(100.0 * (9.0 - 4.0) / 9.0)
    assert (found.capacities, found.verdicts, found.right_pct, found.wrong_met_pct) == (1, 2, 100.0, 0.0)
    assert (found.inside_pct, found.upper_wrong_met_pct) == (0.0, 0.0)


def test_nothing_is_said_of_a_calibration_or_a_load_that_nobody_checked(numbers):
    numbers("rate")
    assert proof_of(numbers.root, "another", "rate") is None
    assert proof_of(numbers.root, "mine", "concurrency") is None


def test_a_damaged_file_names_its_line(numbers):
    path = numbers("rate") / "numbers.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("100.000000", "many", 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"numbers\.csv: line \d+.*'many' is not a finite number"):
        proof_of(numbers.root, "mine", "rate")


@pytest.mark.parametrize(("calibration", "load"), [("vllm_fleet", "concurrency"), ("h100_vllm", "rate")])
def test_the_committed_findings_have_the_calibrations_that_answer(calibration, load):
    found = proof_of(ROOT, calibration, load)
    assert found is not None
    assert found.capacities > 0
    assert found.verdicts > found.capacities
