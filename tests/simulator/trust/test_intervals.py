"""The table of intervals beside a calibration: what it says of a run, and what is refused in it."""

from __future__ import annotations

import pytest
import yaml

from simulator.cli.catalog import SHIPPED_CONFIGS
from simulator.errors import ConfigError
from simulator.trust.distance import Cell, Load, Reach, Run
from simulator.trust.intervals import INTER_TOKEN, SATURATES, Band, NoBand, load_intervals, trust_in, within

FILE = SHIPPED_CONFIGS / "calibration" / "intervals" / "h100_vllm.yaml"
FITTED = Cell("llama-2-7b-hf", "dense", "h100-sxm", "bf16")
LOAD = Load(1, 16, 500, 200)


@pytest.fixture(scope="module")
def table():
    return load_intervals(FILE)


def edited(tmp_path, change):
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    change(content)
    path = tmp_path / "edited.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_a_run_as_it_was_fitted_to_has_the_interval_of_that_distance(table):
    found = trust_in(table, Run(FITTED, LOAD), saturated=False)
    assert (found.reach, found.reasons) == (Reach.CELL, ())
    assert found.band(INTER_TOKEN) == table.figures[INTER_TOKEN].of_kinds["dense"].cell.band
    assert found.bands.keys() == table.figures.keys()


def test_a_cell_with_an_interval_of_its_own_has_that_one_and_only_where_it_was_fitted_to():
    fleet = load_intervals(FILE.with_name("vllm_fleet.yaml"))
    cell = Cell("minimax-m2.5", "moe", "h200-sxm", "fp8")
    figure = fleet.figures["ttft_mean"]
    assert fleet.band("ttft_mean", Reach.CELL, cell) == figure.of_cells["minimax-m2.5/h200-sxm/fp8"].band
    assert fleet.band("ttft_mean", Reach.UNSEEN, cell) == figure.of_kinds["moe"].unseen.band


def test_a_saturated_run_has_a_word_and_no_interval(table):
    found = trust_in(table, Run(FITTED, LOAD), saturated=True)
    assert found.reach is Reach.CELL
    assert {found.refusal(figure) for figure in table.figures} == {SATURATES}


def test_a_figure_or_a_kind_that_was_never_held_out_has_none(table):
    unknown = Cell("mamba", "state space", "h100-sxm", "bf16")
    for figure, cell in (("queue_time_mean", FITTED), ("ttft_mean", unknown)):
        assert table.band(figure, Reach.CELL, cell) == NoBand(f"no {figure} was held out")


def test_only_figures_that_a_client_times_contain_its_time(table):
    assert table.client_ms("ttft_mean", 1000.0) == pytest.approx(5.03597 + 5.15762, abs=1e-4)
    assert table.client_ms("e2e_p99", 0.0) == pytest.approx(5.03597, abs=1e-4)
    assert table.client_ms(INTER_TOKEN, 1000.0) == 0.0


def test_without_its_client_a_figure_keeps_the_error_in_milliseconds():
    """20 ms of which 10 are the client's, 25 % either way: 5 ms of the 10 that are left."""
    band = Band(0.75, 1.25, Reach.MODEL, 8, 29)
    assert within(band, 10.0, 10.0) == (5.0, 15.0)
    assert within(band, 20.0, 0.0) == band.of(20.0)
    assert within(band, 1.0, 99.0) == (0.0, 26.0)


def test_all_that_is_wrong_in_a_table_is_told_at_once(tmp_path):
    def change(content):
        content["ranges"].pop("concurrency")
        content["sitse"] = content.pop("sites")
        content["figures"]["e2e_mean"]["of_kinds"]["dense"]["model"]["low"] = 1.5

    with pytest.raises(ConfigError) as refused:
        load_intervals(edited(tmp_path, change))
    message = str(refused.value)
    for words in ("ranges.concurrency: missing", "sitse: unknown key; did you mean 'sites'?", "dense.model.low"):
        assert words in message


def test_intervals_that_leave_the_prediction_out_are_refused(tmp_path):
    def change(content):
        content["figures"]["e2e_mean"]["of_kinds"]["dense"]["model"]["high"] = 0.9

    with pytest.raises(ConfigError, match=r"dense\.model\.high"):
        load_intervals(edited(tmp_path, change))
