"""A published number is compared within its printed digit, and within that of the measurements behind it."""

from __future__ import annotations

import pytest

from roofline_lab.scoring.published import COLUMNS, Cell, NotReproducible, Published, Source, load_published, reproduce
from roofline_lab.scoring.scores import Scores
from roofline_lab.vocabulary import Metric, Reproduction, Scope, Statistic
from simulator.errors import ConfigError
from tests.roofline_lab.builders import error_row, pair, tolerances

TOLERANCES = tolerances(0.1)
UNITS = {Statistic.MAPE: "pct", Statistic.SIGNED_ERROR: "pct", Statistic.DELTA: "pp"}
REASON = "its inputs were never published"


def cell(statistic, value, scope=Scope.EXPERIMENT, key="one", arm="treatment", decimals=1):
    return Cell("t", arm, scope, key, Metric.TPOT_MEAN, statistic, value, UNITS.get(statistic, "ms"), decimals)


def compared(one, rows, not_reproducible=(), allowed=TOLERANCES):
    """Compare one published cell with rows."""
    source = Source(document="d", date="2026-01-01", method="m", not_reproducible=not_reproducible)
    (found,) = reproduce(Published(source, (one,)), Scores(rows), "baseline", allowed)
    return found


def predicted(value, **changes):
    return [error_row("treatment", predicted=value, **changes)]


# --- one printed digit ------------------------------------------------------------------------------


@pytest.mark.parametrize("regenerated", [4.75, 4.8, 4.8499, 4.85])
def test_a_number_that_rounds_to_the_printed_one_is_reproduced_to_the_digit(regenerated):
    found = compared(cell(Statistic.PREDICTED, 4.8), predicted(regenerated))
    assert found.to_the_digit
    assert found.verdict is Reproduction.REPRODUCED
    assert found.reason == ""
    assert found.difference == pytest.approx(regenerated - 4.8)


@pytest.mark.parametrize("regenerated", [4.74, 4.86, 4.9499, 4.651])
def test_a_number_just_outside_the_digit_is_reproduced_within_tolerance_and_says_so(regenerated):
    found = compared(cell(Statistic.PREDICTED, 4.8), predicted(regenerated))
    assert not found.to_the_digit
    assert found.verdict is Reproduction.REPRODUCED
    assert found.reason.endswith("ms beyond the printed digit")


@pytest.mark.parametrize("regenerated", [4.951, 4.64, 6.8])
def test_a_number_outside_the_tolerance_is_not_reproduced(regenerated):
    found = compared(cell(Statistic.PREDICTED, 4.8), predicted(regenerated))
    assert found.verdict is Reproduction.NOT_REPRODUCED
    assert not found.to_the_digit


def test_more_printed_digits_ask_for_more():
    assert compared(cell(Statistic.PREDICTED, 4.8, decimals=1), predicted(4.82)).to_the_digit
    assert not compared(cell(Statistic.PREDICTED, 4.80, decimals=2), predicted(4.82)).to_the_digit


def test_the_tolerance_is_the_one_of_the_cells_unit():
    tight = tolerances(5.0, ms=0.0)
    found = compared(cell(Statistic.PREDICTED, 4.8), predicted(4.86), allowed=tight)
    assert found.verdict is Reproduction.NOT_REPRODUCED


# --- the digit of the measurement -------------------------------------------------------------------


def test_an_error_may_use_any_measurement_that_prints_the_same():
    """3.9 against a measured 13.9 +- 0.05 is an error of 71.84 to 72.04 %."""
    rows = [error_row("treatment", predicted=3.9, measured=13.9, half_digit_ms=0.05)]
    found = compared(cell(Statistic.MAPE, 71.8), rows)
    assert found.regenerated == pytest.approx(100 * 10 / 13.9)
    assert (found.low, found.high) == (pytest.approx(71.84, abs=0.005), pytest.approx(72.04, abs=0.005))
    assert found.to_the_digit
    for value, expected in ((72.0, True), (72.1, False), (71.7, False)):
        assert compared(cell(Statistic.MAPE, value), rows).to_the_digit is expected


def test_without_rounding_of_the_measurement_only_the_cells_own_digit_counts():
    rows = [error_row("treatment", predicted=3.9, measured=13.9, half_digit_ms=0.0)]
    found = compared(cell(Statistic.MAPE, 72.0), rows)
    assert found.low == found.high == found.regenerated
    assert not found.to_the_digit


def test_a_prediction_does_not_move_with_the_measurement():
    rows = [error_row("treatment", predicted=4.86, measured=6.2, half_digit_ms=0.05)]
    found = compared(cell(Statistic.PREDICTED, 4.8), rows)
    assert (found.low, found.high) == (4.86, 4.86)


def test_a_gain_moves_both_of_its_errors_with_one_and_the_same_measurement():
    rows = pair("one", -40, -30, measured=10.0, half_digit_ms=0.5)
    found = compared(cell(Statistic.DELTA, 10.0), rows)
    # Predictions 6 and 7 against 9.5 to 10.5: the gain is 1 / measured.
    assert (found.low, found.high) == (pytest.approx(100 / 10.5), pytest.approx(100 / 9.5))


def test_a_measured_cell_is_compared_with_the_measurement():
    rows = [error_row("treatment", measured=13.9, half_digit_ms=0.05)]
    assert compared(cell(Statistic.MEASURED, 13.9), rows).to_the_digit
    assert compared(cell(Statistic.MEASURED, 14.1), rows).verdict is Reproduction.NOT_REPRODUCED


def test_an_aggregate_is_the_mean_over_its_group():
    rows = [
        *pair("a", -40, -30, workload="chat"),
        *pair("b", -20, -10, workload="chat"),
        *pair("c", -90, -80, workload="code"),
    ]
    assert compared(cell(Statistic.MAPE, 20.0, Scope.WORKLOAD, "chat"), rows).regenerated == pytest.approx(20.0)
    assert compared(cell(Statistic.MAPE, 40.0, Scope.OVERALL, "all"), rows).regenerated == pytest.approx(40.0)


def test_a_tp_cell_may_name_one_model_and_workload():
    rows = [*pair("a", -40, -26, tensor_parallel=1), *pair("b", -40, -30, tensor_parallel=2)]
    found = compared(cell(Statistic.DELTA, 14.0, Scope.TP, "small/chat/tp1"), rows)
    assert found.regenerated == pytest.approx(14.0)
    assert compared(cell(Statistic.DELTA, 12.0, Scope.TP, "2"), rows).regenerated == pytest.approx(10.0)


# --- cells without a counterpart --------------------------------------------------------------------


@pytest.mark.parametrize(
    "one",
    [
        cell(Statistic.PREDICTED, 4.8, key="two"),
        cell(Statistic.PREDICTED, 4.8, arm="control"),
        cell(Statistic.MAPE, 4.8, Scope.WORKLOAD, "code"),
    ],
)
def test_a_cell_the_matrix_does_not_have_is_not_reproduced_and_has_no_number(one):
    found = compared(one, predicted(4.8))
    assert found.verdict is Reproduction.NOT_REPRODUCED
    assert found.regenerated is None
    assert found.difference is None
    assert "no such number" in found.reason


def test_a_gain_without_its_reference_arm_is_not_reproduced():
    assert compared(cell(Statistic.DELTA, 5.0), predicted(4.8)).regenerated is None


def test_a_cell_whose_inputs_were_not_published_is_neither_a_success_nor_a_failure():
    group = NotReproducible(scope=Scope.EXPERIMENT, key="one", reason=REASON)
    found = compared(cell(Statistic.PREDICTED, 4.8), predicted(4.8), [group])
    assert found.verdict is Reproduction.NOT_REPRODUCIBLE
    assert found.reason == REASON
    assert found.regenerated == 4.8
    assert not found.to_the_digit


def test_a_measurement_is_reproducible_even_where_the_predictions_are_not():
    group = NotReproducible(scope=Scope.EXPERIMENT, key="one", reason=REASON)
    found = compared(cell(Statistic.MEASURED, 100.0), predicted(4.8), [group])
    assert found.verdict is Reproduction.REPRODUCED


def test_a_group_that_is_not_reproducible_leaves_other_groups_alone():
    group = NotReproducible(scope=Scope.WORKLOAD, key="one", reason=REASON)
    assert compared(cell(Statistic.PREDICTED, 4.8), predicted(4.8), [group]).verdict is Reproduction.REPRODUCED


# --- files ------------------------------------------------------------------------------------------

GOOD = "t,baseline,experiment,one,tpot_mean,predicted,4.0,ms,1"


HEADER = ",".join(COLUMNS)


def folder(tmp_path, *lines, header=HEADER):
    (tmp_path / "source.yaml").write_text("document: d\ndate: '2026-01-01'\nmethod: m\n", encoding="utf-8")
    (tmp_path / "cells.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return tmp_path


def test_a_hypothesis_without_published_tables_has_none(tmp_path):
    assert load_published(tmp_path / "published") is None


def test_published_cells_are_read_in_order(tmp_path):
    published = load_published(folder(tmp_path, GOOD, GOOD.replace("4.0", "5.25").replace(",1", ",2")))
    assert [(cell.value, cell.decimals, cell.half_digit) for cell in published.cells] == [
        (4.0, 1, pytest.approx(0.05)),
        (5.25, 2, pytest.approx(0.005)),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        GOOD.replace("experiment", "experimnt"),
        GOOD.replace("tpot_mean", "tpot"),
        GOOD.replace("predicted", "guessed"),
        GOOD.replace("4.0", "four"),
        GOOD.replace("4.0", "nan"),
        GOOD.replace("ms", "s"),
        GOOD.replace(",1", ",1.5"),
        GOOD.replace(",1", ",-1"),
        GOOD.rsplit(",", 1)[0],
        GOOD + ",more",
    ],
)
def test_a_malformed_cell_is_refused_with_file_and_line(tmp_path, wrong):
    with pytest.raises(ConfigError, match=r"cells\.csv:3: "):
        load_published(folder(tmp_path, GOOD, wrong))


def test_a_table_with_other_columns_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"cells\.csv:1: the header must be table,arm"):
        load_published(folder(tmp_path, GOOD, header="table,arm"))


def test_published_tables_need_a_source(tmp_path):
    (folder(tmp_path, GOOD) / "source.yaml").unlink()
    with pytest.raises(ConfigError, match=r"source\.yaml: cannot be read"):
        load_published(tmp_path)
