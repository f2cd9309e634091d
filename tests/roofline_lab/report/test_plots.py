"""Figures are whole SVG files whatever values they are given, and the same for the same values."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from roofline_lab.report.plots import (
    BAND,
    FILLS,
    MARKERS,
    PANEL,
    Axis,
    Layout,
    Panel,
    Series,
    bars,
    dots,
    drawn,
    legend,
    linear_axis,
    scatter,
    svg,
)

NAMES = ("first <one>", "second & last")
# (value, place of the name) of rows, and (x, y) of points.
VALUES = {"none": (), "zero": ((0.0, 0.0),), "one": ((3.0, 1.0),), "both signs": ((-40.0, 0.0), (250.0, 1.0))}


def panel(points, **changes):
    series = tuple(Series(f"series {index}", points, index, index) for index in range(len(FILLS)))
    return Panel("Title", "error [%]", series, **{"y_label": "time [ms]", **changes})


def numbers(svg):
    return [float(text) for text in re.findall(r'"(-?\d+\.?\d*)"', svg)]


@pytest.mark.parametrize("points", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("draw", [bars, dots, lambda panels, names: scatter(panels, "equal")])
def test_a_figure_is_well_formed_and_finite_whatever_its_values(draw, points):
    svg = draw([panel(points), panel(())], NAMES)
    ElementTree.fromstring(svg)
    assert numbers(svg)
    assert "nan" not in svg
    assert "inf" not in svg


def test_the_same_values_give_the_same_text():
    assert bars([panel(VALUES["both signs"])], NAMES) == bars([panel(VALUES["both signs"])], NAMES)


def test_names_are_shown_as_text_and_never_as_markup():
    assert "first &lt;one&gt;" in dots([panel(VALUES["one"])], NAMES)


@pytest.mark.parametrize("label", ["$x^$", r"$\frac{1$", "$$", "5 $ a day", "100 % & <b>"])
def test_a_label_is_shown_as_it_was_written_and_never_read_as_a_formula(label):
    shown = label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    layout = Layout(panels=1, panel_height=2.0, left=0.75, gap=0.28, legend_lines=1)
    with drawn(layout) as (figure, (axes,)):
        axes.plot([1, 2], [1, 2], label=label)
        axes.set_title(label)
        axes.set_xlabel(label)
        legend(figure, axes, 1)
        text = svg(figure)
    ElementTree.fromstring(text)
    assert text.count(f">{shown}<") == 3


def test_bars_of_all_panels_share_one_range():
    svg = bars([panel(((-10.0, 0.0),)), panel(((-90.0, 0.0),))], NAMES)
    labels = re.findall(r">(-?\d+)</text>", svg)
    assert labels[: len(labels) // 2] == labels[len(labels) // 2 :]


def test_a_mark_is_a_dashed_line_with_its_meaning_in_the_legend():
    svg = bars([panel(VALUES["one"], marks=((1.0, "no difference"),))], NAMES)
    assert svg.count("stroke-dasharray") == 2
    assert "no difference" in svg


def test_marks_of_one_panel_differ_in_their_dashes():
    svg = bars([panel(VALUES["one"], marks=((1.0, "low"), (2.0, "high")))], NAMES)
    assert len(set(re.findall(r'stroke-dasharray="([^"]+)"', svg))) == 2


def test_a_band_is_shaded_as_far_as_the_axis_goes_and_named_in_the_legend():
    svg = bars([panel(((-40.0, 0.0),), band=(-10.0, 10.0, "within 10 %"))], NAMES)
    assert svg.count(f'fill="{BAND}"') == 2
    assert "within 10 %" in svg
    shaded = re.search(rf'x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="[\d.]+" fill="{BAND}"', svg)
    assert 0 < float(shaded.group(2)) < PANEL


def test_panels_are_put_under_each_other_when_there_are_more_than_columns():
    one, two = (scatter([panel(VALUES["zero"])] * 2, "equal", columns=columns) for columns in (2, 1))
    height, width = (rf'{side}="([\d.]+)pt"' for side in ("height", "width"))
    assert float(re.search(height, two).group(1)) > 1.5 * float(re.search(height, one).group(1))
    assert float(re.search(width, two).group(1)) < float(re.search(width, one).group(1))


def test_panels_of_a_shared_range_have_the_same_ticks():
    panels = [panel(((1.0, 2.0),)), panel(((500.0, 700.0),))]
    labels = re.findall(r">([\d.]+)</text>", scatter(panels, "equal", shared=True))
    assert labels[: len(labels) // 2] == labels[len(labels) // 2 :]


def test_six_series_differ_in_marker_and_filling():
    svg = dots([panel(VALUES["one"])], NAMES)
    assert len(MARKERS) >= len(FILLS) == 6
    assert all(f'fill="{fill}"' in svg for fill in FILLS)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_an_axis_shows_zero_and_every_value(values):
    axis = linear_axis(value for value, _ in values)
    assert axis.low <= 0.0 <= axis.high
    assert all(axis.low <= value <= axis.high for value, _ in values)
    assert 1 <= len(axis.ticks) <= 8


def test_ticks_of_wide_ranges_are_powers_of_ten_and_of_narrow_ones_have_steps_between():
    assert Axis(1.0, 200.0, log=True).ticks == [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]
    assert Axis(0.5, 2e5, log=True).ticks == [1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0]
