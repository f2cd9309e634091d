"""One set of rules formats every number of a report."""

from __future__ import annotations

import pytest

from roofline_lab.formatting import MISSING, counted, ms, pct, pp, signed_pct, table


@pytest.mark.parametrize("formatter", [pct, signed_pct, pp, ms])
def test_a_number_that_does_not_exist_is_a_dash_and_never_a_zero(formatter):
    assert formatter(None) == MISSING
    assert "0" not in formatter(None)


@pytest.mark.parametrize("formatter", [pct, signed_pct, pp, ms])
@pytest.mark.parametrize("value", [-0.04, -0.0, -1e-12, 0.0, 0.04])
def test_zero_never_has_a_minus_sign(formatter, value):
    assert "-" not in formatter(value)
    assert "0.0" in formatter(value)


@pytest.mark.parametrize(
    ("formatter", "value", "text"),
    [
        (pct, 47.697, "47.7 %"),
        (pct, 100.0, "100.0 %"),
        (signed_pct, -36.12, "-36.1 %"),
        (signed_pct, 3.0, "+3.0 %"),
        (pp, 11.58, "+11.6 pp"),
        (pp, -0.06, "-0.1 pp"),
        (ms, 1292.61, "1292.6"),
        (ms, 0.97, "1.0"),
    ],
)
def test_every_quantity_has_one_decimal_and_its_unit(formatter, value, text):
    assert formatter(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "+1.0 pp"),
        (-1.0, "-1.0 pp"),
        (1.001, "**+1.0 pp**"),
        (-1.2, "**-1.2 pp**"),
        (12.0, "**+12.0 pp**"),
        (0.4, "+0.4 pp"),
    ],
)
def test_a_gain_is_bold_exactly_when_its_size_exceeds_the_threshold(value, text):
    assert pp(value, bold_above=1.0) == text


def test_without_a_threshold_nothing_is_bold():
    assert pp(99.0) == "+99.0 pp"


def test_a_threshold_of_zero_makes_every_real_gain_bold():
    assert pp(0.5, bold_above=0.0) == "**+0.5 pp**"
    assert pp(0.0, bold_above=0.0) == "+0.0 pp"


def test_a_table_aligns_text_left_and_numbers_right():
    lines = table(["Name", "ms"], [["a", "1.0"], ["long name", "1000.0"]]).splitlines()
    assert lines == ["| Name | ms |", "| :-- | --: |", "| a | 1.0 |", "| long name | 1000.0 |"]


def test_one_changed_number_changes_one_line_of_a_table():
    before, after = (table(["Name", "ms"], [["a", "1.0"], ["b", value]]).splitlines() for value in ("2.0", "12345.0"))
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


def test_a_cell_cannot_break_its_row():
    line = table(["A"], [["one | two\nthree"]]).splitlines()[2]
    assert line == "| one \\| two three |"


def test_a_row_with_too_few_cells_is_a_bug_not_a_crooked_table():
    with pytest.raises((ValueError, IndexError)):
        table(["A", "B"], [["only one"]])


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 experiments"), (1, "1 experiment"), (2, "2 experiments"), (1234, "1,234 experiments")]
)
def test_a_noun_behind_a_number_has_the_right_form(count, told):
    assert counted(count, "experiment") == told


def test_a_noun_with_a_plural_of_its_own_has_that():
    assert (counted(1, "family", "families"), counted(3, "family", "families")) == ("1 family", "3 families")


def test_columns_without_anything_are_left_out_where_asked():
    header, rows = ("name", "known", "unknown"), [["a", "1", MISSING], ["b", MISSING, MISSING]]
    assert "unknown" not in table(header, rows, only_told=True)
    assert "| a | 1 |" in table(header, rows, only_told=True)
    assert "unknown" in table(header, rows)
