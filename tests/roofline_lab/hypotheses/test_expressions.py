"""The arithmetic authors may write."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline_lab.errata.columns import CLAIMS
from roofline_lab.hypotheses.expressions import MOST_CHARACTERS, NUMBERS, Expression
from simulator.errors import ConfigError


def value(text, **names):
    return Expression(text, NUMBERS)(lambda name: names[name.replace(".", "_")])


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
    expression = Expression("b.step_us / a.decode.step_us + max(b.step_us, n)", NUMBERS)
    assert expression.names == ("b.step_us", "a.decode.step_us", "n")
    assert value("a.x / b", a_x=6, b=3) == 2


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "a[0]", "(lambda: 1)()", "a.b()", "[1, 2]", "1 +", "", "True", "x := 1", "f'{a}'", "a ** b"],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError):
        Expression(text, NUMBERS)(lambda name: 1)


@pytest.mark.parametrize("text", ["1 / n", "'a' + 1", "'a' < 1", "1e308 * 10"])
def test_what_cannot_be_worked_out_names_the_formula(text):
    with pytest.raises(ConfigError, match="cannot be worked out") as caught:
        value(text, n=0)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2 * mim(1, 2)", "at character 5: 'mim' is no function; did you mean 'min'? allowed: abs, max, min"),
        ("max()", "max: wrong number of arguments (0)"),
        ("'é' == 2 ** 3", "at character 8: the operator Pow cannot be used here; allowed: numbers, names"),
        ("1 + (2 / n)", "cannot be worked out at character 6: division by zero"),
        ("1 +", "is not a formula at character 4: invalid syntax; write for instance 'other.step_us / step_us'"),
        ("1 < n in 2", "the operator In cannot be used"),
    ],
)
def test_a_mistake_is_quoted_with_its_place_and_what_is_allowed(text, words):
    with pytest.raises(ConfigError) as caught:
        value(text, n=0)
    assert words in str(caught.value)


HOSTILE = {
    "a word made long": "'a' * 1000000000",
    "a word formatted long": "'%1000000000d' % 1",
    "a number multiplied long": " * ".join(["9" * 200] * 9),
    "a power": "9 ** 9 ** 9",
    "a number written long": "9" * 1000,
    "a number without end": "1e999",
    "a shift": "1 << 1000000000",
    "a long text": "1" + " + 1" * MOST_CHARACTERS,
    "deep signs": "-" * (MOST_CHARACTERS - 1) + "1",
    "deep names": "a" + ".a" * (MOST_CHARACTERS // 2 - 1),
    "deep brackets": "(" * 500 + "1" + ")" * 500,
    "a walrus": "(x := 1)",
    "an import": "__import__('os').system('true')",
    "an attribute of a word": "'a'.__class__",
    "all at once": "min(*n)",
}


@pytest.mark.parametrize("language", [NUMBERS, CLAIMS], ids=["numbers", "claims"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_formula_is_refused_at_once_in_either_language(text, language):
    with pytest.raises(ConfigError):
        Expression(text, language)(lambda name: 1)


def test_no_number_grows_beyond_what_a_formula_may_hold():
    """Values that are no literals of the formula count too."""
    with pytest.raises(ConfigError, match="the result is too large"):
        value("n * n", n=2**900)


@given(st.text(alphabet="ab1.9'+-*/%<=>(),[] notadrmixbs", max_size=30))
def test_no_text_gets_past_with_another_error(text):
    with contextlib.suppress(ConfigError):
        Expression(text, NUMBERS)(lambda name: 2)
