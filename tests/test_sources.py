"""Rules of the experiment standards (R list) about our own code: what its text shows, and what tests hold.

`roofline-lab lint` is about hypotheses; these rules are about the program, under the numbers they have in the
standards. Every source is parsed and walked once.
"""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.paths import ROOT
from tests.test_architecture import SOURCES, tree_of

EXITS = {"exit", "quit", "sys.exit", "os._exit", "os.abort"}
SUMS = {"sum", "fmean", "mean", "math.fsum", "statistics.fmean"}
UNORDERED_CALLS = {"set", "frozenset"}
UNORDERED_METHODS = {"glob", "rglob", "iterdir"}
# The one module that may derive from pydantic's own record, because it makes the strict one.
STRICT_RECORD = ROOT / "simulator" / "validation.py"
# Rules that only a running program shows, and the tests that hold them.
HELD_BY_TESTS = {
    "R3": ("tests/simulator/steptime/test_bad_options.py", "tests/simulator/cli/test_bad_input.py"),
    "R7": ("tests/simulator/engine/test_two_engines.py", "tests/simulator/engine/test_preemption.py"),
    "R18": ("tests/roofline_lab/test_project.py",),
    "R20": ("tests/roofline_lab/scoring/test_errors.py", "tests/roofline_lab/scoring/test_statistics.py"),
    "R23": ("tests/simulator/steptime/test_price_and_explain.py",),
}


def called(node):
    return ast.unparse(node.func)


def is_unordered(node):
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return is_unordered(node.generators[0].iter)
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    return isinstance(node, ast.Call) and (
        called(node) in UNORDERED_CALLS
        or (isinstance(node.func, ast.Attribute) and node.func.attr in UNORDERED_METHODS)
    )


def sums_in_an_accidental_order(nodes):
    """R2: no float is summed in the order of a set or of a folder listing; sort before summing."""
    return [
        node
        for node in nodes
        if isinstance(node, ast.Call) and node.args and is_unordered(node.args[0]) and called(node) in SUMS
    ]


def exits(nodes):
    """R6: library code never ends the process; it raises a RooflineLabError and lets the command line exit."""
    guards = [node for node in nodes if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"]
    guarded = {inner for guard in guards for inner in ast.walk(guard)}
    return [
        node
        for node in nodes
        if node not in guarded
        and (
            (isinstance(node, ast.Call) and called(node) in EXITS)
            or (isinstance(node, ast.Raise) and node.exc is not None and "SystemExit" in ast.unparse(node.exc))
        )
    ]


def records_that_accept_unknown_keys(nodes):
    """R10: every validated record refuses unknown keys (`StrictModel`), or says what becomes of them."""
    return [
        node
        for node in nodes
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base) == "BaseModel" for base in node.bases)
        and "extra=" not in ast.unparse(node)
    ]


def loops_without_a_way_out(nodes):
    """R19: an endless loop is bounded, or returns, breaks or raises."""
    return [
        node
        for node in nodes
        if isinstance(node, ast.While)
        and isinstance(node.test, ast.Constant)
        and node.test.value
        and not any(isinstance(inner, ast.Break | ast.Return | ast.Raise) for inner in ast.walk(node))
    ]


RULES = {
    "R2": sums_in_an_accidental_order,
    "R6": exits,
    "R10": records_that_accept_unknown_keys,
    "R19": loops_without_a_way_out,
}


@cache
def nodes_of(path):
    return tuple(ast.walk(tree_of(path)))


@pytest.mark.parametrize("rule", RULES)
def test_our_own_code_keeps_the_rule(rule):
    broken = [
        f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"
        for path in SOURCES
        if (rule, path) != ("R10", STRICT_RECORD)
        for node in RULES[rule](nodes_of(path))
    ]
    assert broken == [], RULES[rule].__doc__


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("R2", "total = sum({0.1, 0.2})\n"),
        ("R2", "total = sum(float(p.stem) for p in folder.glob('*'))\n"),
        ("R2", "from statistics import fmean\nx = fmean([v for v in set(values)])\n"),
        ("R6", "import sys\ndef f():\n    sys.exit(1)\n"),
        ("R6", "def f():\n    raise SystemExit(2)\n"),
        ("R10", "class Loose(BaseModel):\n    x: int\n"),
        ("R19", "def f():\n    while True:\n        g()\n"),
    ],
)
def test_code_that_breaks_a_rule_is_found(rule, text):
    assert len(RULES[rule](list(ast.walk(ast.parse(text))))) == 1


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("R2", "total = sum(sorted({0.1, 0.2}))\n"),
        ("R6", "import sys\nif __name__ == '__main__':\n    sys.exit(0)\n"),
        ("R10", "class Open(BaseModel):\n    model_config = ConfigDict(extra='ignore')\n"),
        ("R10", "class Strict(StrictModel):\n    x: int\n"),
        ("R19", "def f():\n    while True:\n        if g():\n            return\n"),
    ],
)
def test_code_that_keeps_a_rule_is_left_alone(rule, text):
    assert RULES[rule](list(ast.walk(ast.parse(text)))) == []


@pytest.mark.parametrize("rule", HELD_BY_TESTS)
def test_the_tests_that_hold_a_rule_are_there(rule):
    """Restore a file that is missing, or name the test that holds the rule now."""
    gone = [
        name
        for name in HELD_BY_TESTS[rule]
        if not (ROOT / name).is_file() or "def test_" not in (ROOT / name).read_text(encoding="utf-8")
    ]
    assert gone == []


READERS_OF_FORMATS = {"yaml.load", "yaml.safe_load", "csv.reader", "csv.DictReader"}


def test_yaml_and_csv_are_read_in_one_place():
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{node.lineno}: {called(node)}"
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and called(node) in READERS_OF_FORMATS
    ]
    assert {entry.split(":")[0] for entry in found} == {"simulator/input_files.py"}, found
