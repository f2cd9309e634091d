"""The table of intervals for the simulator: it says what the held-out rows say."""

from __future__ import annotations

from itertools import product

import pytest
import yaml

from roofline_lab.client_overhead import ClientTime
from roofline_lab.trust.intervals import validation_of
from roofline_lab.trust.table import interval_table, table_text
from simulator.trust.distance import KIND_WORDS, Cell, Reach
from simulator.trust.intervals import Band, load_intervals
from tests.roofline_lab.trust.made_up import CELLS, rows

FLEET = validation_of("fleet", rows())
FEW = validation_of("few", rows(folds=("configuration",), servers=2))


@pytest.fixture(scope="module", params=[FLEET, FEW], ids=["fleet", "few"])
def both(request, tmp_path_factory):
    """Return held-out rows, and their table as it is read from its file."""
    path = tmp_path_factory.mktemp("table") / "fleet.yaml"
    path.write_text(table_text(interval_table(request.param, ClientTime(5000.0, 5.0))), encoding="utf-8")
    return request.param, load_intervals(path)


def test_every_interval_is_that_of_the_rows(both):
    validation, table = both
    cells = (*CELLS, *(Cell("new", kind, "", "") for kind in KIND_WORDS))
    for figure, reach, cell in product(validation.figures, Reach, cells):
        made, read = validation.band(figure, reach, cell), table.band(figure, reach, cell)
        if not isinstance(made, Band):
            assert read == made
            continue
        assert (read.low, read.high) == pytest.approx((made.low, made.high), rel=1e-5)
        assert (read.made_at, read.clusters, read.rows) == (made.made_at, made.clusters, made.rows)


def test_what_was_seen_is_what_was_fitted_to(both):
    validation, table = both
    assert (table.seen.cells, table.seen.sites) == (validation.seen.cells, validation.seen.sites)
    assert table.seen.ranges.keys() == validation.seen.ranges.keys()
    for name, ends in validation.seen.ranges.items():
        assert table.seen.ranges[name] == pytest.approx(ends)


def test_the_order_of_rows_changes_no_byte():
    either = (validation_of("fleet", given) for given in (rows(), rows()[::-1]))
    assert len({table_text(interval_table(validation, ClientTime())) for validation in either}) == 1


def test_a_figure_without_any_interval_is_no_part_of_the_table():
    single = validation_of("one", [one for one in rows(folds=("configuration",), servers=1) if one.model == "qwen"])
    assert yaml.safe_load(table_text(interval_table(single, ClientTime())))["figures"] == {}
