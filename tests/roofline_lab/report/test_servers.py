"""Model and TP of every point of a scatter can be told, in every panel by the same marker and filling."""

from __future__ import annotations

import itertools

from roofline_lab.report.plots import FILLS, MARKERS, Panel, Series, scatter
from roofline_lab.report.servers import Server, ServerMarkers

SMALL, LARGE, OTHER = Server("A-7B", "h100-sxm", 1), Server("A-7B", "h100-sxm", 4), Server("B-70B", "h100-sxm", 4)
AT = (1.0, 2.0)


def looks(series):
    return {one.label: (one.marker, one.fill) for one in series}


def test_the_marker_is_the_model_and_the_filling_is_tp():
    found = looks(ServerMarkers([SMALL, LARGE, OTHER]).series([(SMALL, AT), (LARGE, AT), (OTHER, AT)]))
    assert set(found) == {"A-7B TP1", "A-7B TP4", "B-70B TP4"}
    assert found["A-7B TP1"][0] == found["A-7B TP4"][0] != found["B-70B TP4"][0]
    assert found["A-7B TP4"][1] == found["B-70B TP4"][1] != found["A-7B TP1"][1]


def test_a_server_looks_the_same_in_a_panel_without_the_others():
    markers = ServerMarkers([SMALL, LARGE, OTHER])
    assert looks(markers.series([(OTHER, AT)])).items() <= looks(markers.series([(SMALL, AT), (OTHER, AT)])).items()


def test_the_gpu_is_told_where_there_are_several():
    elsewhere = SMALL._replace(hardware="h200-sxm")
    found = looks(ServerMarkers([SMALL, elsewhere]).series([(SMALL, AT), (elsewhere, AT)]))
    assert set(found) == {"A-7B H100 TP1", "A-7B H200 TP1"}
    assert found["A-7B H100 TP1"][0] != found["A-7B H200 TP1"][0]


def test_every_marker_and_filling_is_drawn_differently():
    drawn = {
        scatter([Panel("", "", (Series("", (AT,), marker, fill),))], "equal")
        for marker, fill in itertools.product(range(len(MARKERS)), range(len(FILLS)))
    }
    assert len(drawn) == len(MARKERS) * len(FILLS)
