"""An error is worked out in one place, by one formula with one sign, and every page prints the same one of a row."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline_lab.calibration.judge import judged_table
from roofline_lab.predict.replay import Sample
from roofline_lab.regression.noise import Scored
from roofline_lab.report.results import load_numbers
from roofline_lab.residuals.record import Figure as ResidualFigure
from roofline_lab.run_files import error_rows
from roofline_lab.scoring.comparison import Comparison
from roofline_lab.scoring.errors import PERCENT, signed_error_pct
from roofline_lab.scoring.table import table_of
from roofline_lab.vocabulary import Metric, RowStatus, Statistic
from tests.paths import ROOT
from tests.roofline_lab.builders import error_row
from tests.test_architecture import sources, tree_of

METRIC = (Metric.E2E_MEAN,)
LAB = ROOT / "workflow" / "roofline_lab"
HOME = LAB / "scoring" / "errors.py"
# Rooms below `scoring` that hold no prediction: they compare measured figures with each other.
BELOW = ("ground_truth", "importers")
# A position between the ends of a range, from -1 to 1; gaps between tokens per request; further members of a cluster.
NO_ERRORS = {
    "2 * ((1 / value if self.inverse else value) - low) / (high - low) - 1",
    "(sum(times.output_tokens) - count) / count",
    "squares / total - 1.0",
}


def relative_differences(tree):
    """Return every `(a - b) / b` and `a / b - 1` of a syntax tree, as text; a constant `b` makes none."""
    found = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.BinOp) and is_relative(node)]
    return [text for text in found if text not in NO_ERRORS]


def is_relative(node):
    if isinstance(node.op, ast.Sub):
        is_one = isinstance(node.right, ast.Constant) and node.right.value == 1
        return is_one and is_quotient(node.left)
    return isinstance(node.op, ast.Div) and not isinstance(node.right, ast.Constant) and takes(node.left, node.right)


def is_quotient(node):
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)


def takes(node, other):
    """Say whether a numerator is a difference of which `other` is one side, perhaps its size (`abs`)."""
    while isinstance(node, ast.Call) and node.args:
        node = node.args[0]
    sides = (node.left, node.right) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) else ()
    return ast.dump(other) in [ast.dump(side) for side in sides]


@pytest.mark.parametrize(
    "formula",
    ["(p - m) / m", "(m - p) / m * 100", "abs(p - m) / m", "p['a'] / m['a'] - 1", "100.0 * (self.p / self.m - 1.0)"],
)
def test_the_guard_knows_every_way_to_write_an_error(formula):
    assert relative_differences(ast.parse(formula))


def test_the_formula_of_an_error_stands_in_one_place():
    others = [path for path in sources("roofline_lab") if path != HOME and path.relative_to(LAB).parts[0] not in BELOW]
    found = {
        path.relative_to(LAB).as_posix(): texts for path in others if (texts := relative_differences(tree_of(path)))
    }
    assert found == {}, "call roofline_lab.scoring.errors instead"


def test_the_one_place_has_the_formula_once():
    assert relative_differences(tree_of(HOME)) == ["(value - reference) / reference"]


# --- every page ---------------------------------------------------------------------------------------

LINE = {
    **{"method": "m", "arm": "a", "experiment": "e", "load_point": "x", "workload": "w", "family": "f", "model": "m"},
    **{"tensor_parallel": 1, "status": "ok", "reason": "", "counters": {"steps": 0, "mixed_steps": 0}},
}
JUDGED = {
    **{"experiment": "e", "load_point": "x", "family": "f", "workload": "w", "hardware": "h", "tensor_parallel": 1},
    **{"side": "client", "strategy": "poisson", "rate_per_s": 1.0, "mixture": False},
}


def finding(predicted, measured):
    (row,) = error_rows([LINE | {"metrics": {"e2e_mean": {"predicted": predicted, "measured": measured}}}], METRIC)
    return row.signed_error_pct


def table_of_all(predicted, measured):
    return table_of([error_row(predicted=predicted, measured=measured)])["signed_error_pct"][0]


def replayed_load_point(predicted, measured):
    figure = {"predicted": predicted, "measured": measured, "unit": "ms", "reason": ""}
    load = {"figures": {"e2e_p90": figure}, "saturated": {"measured": False, "predicted": False}, "branches": {}}
    (error,) = (
        number.value for number in load_numbers([LINE | {"load": load}]) if number.statistic is Statistic.SIGNED_ERROR
    )
    return error


def evaluation(predicted, measured):
    return Comparison("e2e_mean", "request_latency", "ms", measured, predicted, RowStatus.OK).error_pct


def calibration(predicted, measured):
    figures = {"e2e_mean": {"predicted": predicted, "measured": measured}}
    return judged_table([JUDGED | {"variants": {"held_out": {"figures": figures}}}])["signed_error_pct"][0]


def replay(predicted, measured):
    return Sample((measured,), (round(predicted * 1000),)).signed_error_pct("mean")


def residual(predicted, measured):
    return ResidualFigure(measured, predicted).relative * PERCENT


def comparison(predicted, measured):
    return Scored(predicted, measured).signed_error_pct


PAGES = (finding, table_of_all, replayed_load_point, evaluation, calibration, replay, residual, comparison)
# Simulated latencies are whole microseconds.
latencies_ms = st.integers(10, 10**9).map(lambda us: us / 1000)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__name__)
@settings(max_examples=25, deadline=None)
@given(predicted=latencies_ms, measured=latencies_ms)
def test_every_page_gives_the_same_row_the_same_error_to_the_last_bit(page, predicted, measured):
    assert page(predicted, measured) == signed_error_pct(predicted, measured)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__name__)
def test_a_prediction_that_is_too_fast_has_a_negative_error_on_every_page(page):
    assert page(75.0, 100.0) == -25.0
