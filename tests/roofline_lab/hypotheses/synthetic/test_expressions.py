"""The arithmetic authors may write."""

from __future__ import annotations

import pytest

from roofline_lab.hypotheses.synthetic.expressions import Expression
from simulator.errors import ConfigError


def value(text, **names):
    return Expression(text)(lambda name: names[name.replace(".", "_")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("-(1 + 2) * 3", -9),
        ("7 // 2 + 7 % 2", 4),
        ("abs(min(3, -4, 5)) + max(1, 2)", 6),
        ("1 < 2 <= 2", 1),
        ("1 < 2 and 3 < 2", 0),
        ("1 < 2 or 3 < 2", 1),
        ("not 1 < 2", 0),
        ("'a' == 'a'", 1),
    ],
)
def test_arithmetic_and_comparisons_come_out(text, expected):
    assert value(text) == expected


def test_names_may_be_dotted_and_are_listed_once_in_order():
    expression = Expression("b.step_us / a.decode.step_us + max(b.step_us, n)")
    assert expression.names == ("b.step_us", "a.decode.step_us", "n")
    assert value("a.x / b", a_x=6, b=3) == 2


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "a[0]", "(lambda: 1)()", "a.b()", "[1, 2]", "1 +", "", "True", "x := 1", "f'{a}'", "a ** b"],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError):
        Expression(text)(lambda name: 1)


@pytest.mark.parametrize("text", ["1 / n", "'a' + 1", "'a' < 1"])
def test_what_cannot_be_worked_out_names_the_formula(text):
    with pytest.raises(ConfigError, match="cannot be worked out") as caught:
        value(text, n=0)
    assert text in str(caught.value)
