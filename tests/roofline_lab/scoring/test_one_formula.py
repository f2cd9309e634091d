"""An error is worked out in one place: nowhere else does code divide a difference by what it is taken from."""

from __future__ import annotations

import ast

import pytest

from tests.paths import ROOT
from tests.test_architecture import sources, tree_of

LAB = ROOT / "workflow" / "roofline_lab"
HOME = LAB / "scoring" / "errors.py"
# Rooms below `scoring` that hold no prediction: they compare measured figures with each other.
BELOW = ("ground_truth", "importers")
# A position between the ends of a range, from -1 to 1; gaps between tokens per request.
NO_ERRORS = {
    "2 * ((1 / value if self.inverse else value) - low) / (high - low) - 1",
    "(sum(times.output_tokens) - count) / count",
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
