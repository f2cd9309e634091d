"""Intervals by distance: wider the farther, made of what was left out as far, held out from what they are tested by."""

from __future__ import annotations

import math
import pickle
import random
from itertools import pairwise

import pytest

from roofline_lab.trust.intervals import validation_of
from simulator.trust.distance import Cell, Load, Reach, Run
from simulator.trust.intervals import Band, NoBand
from tests.roofline_lab.trust.made_up import CELLS, row, rows

FLEET = validation_of("fleet", rows())
LOAD = Load(4, 16, 900, 900)
MEANS = ("ttft_mean", "tpot_mean", "e2e_mean")
# Models that were not fitted to, of every kind.
DENSE, MOE, MLA = (Cell("new", kind, "", "") for kind in ("dense", "moe", "mla"))


def test_the_reach_of_a_row_is_what_its_fold_leaves_unseen():
    """Qwen is the only model in BF16, MiniMax the only mixture: left out alone, they are outside already."""
    found = {(one.row.fold, one.cell): one.reach for one in FLEET.tested}
    llama, qwen, minimax = CELLS[0], CELLS[3], CELLS[4]
    assert {found["configuration", cell] for cell in CELLS} == {Reach.CELL}
    assert found["cell", llama] is Reach.PAIRING
    assert found["cell", qwen] is found["cell", minimax] is Reach.UNSEEN
    assert found["gpu", llama] is found["kind", llama] is Reach.UNSEEN


def test_the_only_configuration_of_a_cell_is_a_cell_held_out():
    single = validation_of("one server each", rows(folds=("configuration",), servers=1))
    assert {one.reach for one in single.tested if one.cell == CELLS[3]} == {Reach.UNSEEN}


@pytest.mark.parametrize("metric", MEANS)
@pytest.mark.parametrize("seed", range(6))
def test_an_interval_holds_those_of_every_lesser_reach_and_the_prediction(metric, seed):
    bands = [validation_of("fleet", rows(seed)).band(metric, reach, DENSE) for reach in Reach]
    assert all(isinstance(band, Band) and band.low <= 1.0 <= band.high for band in bands)
    for nearer, farther in pairwise(bands):
        assert farther.low <= nearer.low
        assert farther.high >= nearer.high


def test_a_reach_of_too_few_cells_takes_the_next_wider_one_and_says_so():
    """No model was left out alone, so nothing was held out at that reach; cells of new pairs were."""
    band = FLEET.band("tpot_mean", Reach.MODEL, DENSE)
    assert band.made_at is Reach.PAIRING
    assert (band.low, band.high) == (
        FLEET.band("tpot_mean", Reach.PAIRING, DENSE).low,
        FLEET.band("tpot_mean", Reach.PAIRING, DENSE).high,
    )


def test_without_enough_cells_at_a_reach_and_beyond_there_is_no_interval_but_a_reason():
    few = validation_of("few", rows(folds=("configuration",)))
    assert isinstance(few.band("tpot_mean", Reach.CELL, DENSE), Band)
    none = few.band("tpot_mean", Reach.PAIRING, DENSE)
    assert isinstance(none, NoBand)
    assert "as far away: 0" in none.reason
    assert "needs 3" in none.reason


def test_rows_of_other_kinds_alone_say_nothing_of_a_kind():
    """Of pairs that were never seen together only dense ones were held out: experts take what is farther away."""
    dense, experts = (FLEET.band("tpot_mean", Reach.PAIRING, cell) for cell in (DENSE, MOE))
    assert (dense.made_at, experts.made_at) == (Reach.PAIRING, Reach.UNSEEN)
    assert experts.width > dense.width
    alone = validation_of("dense", [one for one in rows() if one.kind == "dense" and one.fold == "configuration"])
    assert isinstance(alone.band("tpot_mean", Reach.CELL, DENSE), Band)
    assert isinstance(alone.band("tpot_mean", Reach.CELL, MOE), NoBand)


@pytest.mark.parametrize("kind", [DENSE, MOE, MLA], ids=lambda cell: cell.kind)
@pytest.mark.parametrize("seed", range(4))
def test_an_interval_holds_those_of_every_cell_of_its_kind_that_was_fitted_to(kind, seed):
    fleet = validation_of("fleet", rows(seed))
    bands = [fleet.band("ttft_mean", reach, kind) for reach in Reach]
    assert all(farther.low <= nearer.low and farther.high >= nearer.high for nearer, farther in pairwise(bands))
    inside = [fleet.band("ttft_mean", Reach.CELL, cell) for cell in CELLS if cell.kind == kind.kind]
    assert all(band.low <= own.low and band.high >= own.high for own in inside for band in bands[1:])


def test_a_cell_that_was_fitted_to_has_an_interval_of_its_own():
    """One cell misses ten times as far as the others, at every server: its interval is wide, theirs are not."""
    odd = CELLS[0]
    some = [
        one.model_copy(update={"predicted_ms": 10.0 * (one.predicted_ms / 10.0) ** 10}) if one.cell == odd else one
        for one in rows(folds=("configuration",))
    ]
    fleet = validation_of("fleet", some)
    widths = {cell: fleet.band("tpot_mean", Reach.CELL, cell).width for cell in CELLS}
    assert widths.pop(odd) > 4 * max(widths.values())
    assert fleet.band("tpot_mean", Reach.CELL, odd).clusters == 6


def test_a_cell_of_too_few_servers_takes_the_interval_of_all_cells():
    few = validation_of("few", rows(folds=("configuration",), servers=2))
    bands = {few.band("tpot_mean", Reach.CELL, cell) for cell in CELLS if cell.kind == "dense"}
    assert len(bands) == 1
    assert bands.pop().clusters == len(CELLS)


def test_a_figure_that_was_not_held_out_has_no_interval_but_a_reason():
    assert "no ttft_p99 was held out" in FLEET.band("ttft_p99", Reach.CELL, DENSE).reason


def test_time_between_tokens_has_one_interval_whatever_it_is_called():
    bands = {FLEET.band(name, Reach.CELL, DENSE) for name in ("tpot_mean", "itl_mean", "inter_token_mean")}
    assert len(bands) == 1


def test_saturated_load_points_are_in_no_interval():
    extra = [
        one.model_copy(update={"saturated": True, "load_point": "full", "predicted_ms": 1000.0})
        for one in rows()
        if one.concurrency == 64
    ]
    with_full = validation_of("fleet", [*rows(), *extra])
    assert [with_full.band("ttft_mean", reach, DENSE) for reach in Reach] == [
        FLEET.band("ttft_mean", reach, DENSE) for reach in Reach
    ]


def test_the_order_of_rows_does_not_matter():
    shuffled = rows()
    random.Random(1).shuffle(shuffled)
    again = validation_of("fleet", shuffled)
    assert [again.band(name, reach, DENSE) for name in MEANS for reach in Reach] == [
        FLEET.band(name, reach, DENSE) for name in MEANS for reach in Reach
    ]


def test_predictions_that_were_too_fast_widen_the_upper_end_alone():
    """Measured 20 to 30 % above every prediction: the interval of the measured value lies above the prediction."""
    cells = CELLS[:4]
    slow = [
        row(cell, experiment=f"{place}-{server}", predicted_ms=10.0 / (1.2 + 0.02 * server))
        for place, cell in enumerate(cells)
        for server in range(6)
    ]
    band = validation_of("slow", slow).band("tpot_mean", Reach.CELL, DENSE)
    assert band.low == 1.0
    assert band.high > 1.25


def test_an_interval_in_milliseconds_is_the_prediction_times_its_ends():
    band = Band(0.9, 1.25, Reach.CELL, 7, 100)
    assert band.of(200.0) == (180.0, 250.0)
    assert band.holds(200.0, 180.0)
    assert not band.holds(200.0, 251.0)
    assert band.width == pytest.approx(0.35)


def test_what_a_prediction_is_tested_by_is_neither_in_its_distance_nor_in_its_interval():
    """One cell that misses tenfold widens every interval but its own, and one server of it every one but that."""
    odd = CELLS[0]
    loud = [
        one.model_copy(update={"predicted_ms": one.predicted_ms * 10}) if one.cell == odd else one for one in rows()
    ]
    whole = validation_of("fleet", loud)
    rest = whole.less("cell", odd)
    assert rest.band("tpot_mean", Reach.PAIRING, odd).width < 1.0 < whole.band("tpot_mean", Reach.PAIRING, odd).width
    server = next(one.row.experiment for one in FLEET.tested if one.cell == odd)
    loud = [
        one.model_copy(update={"predicted_ms": one.predicted_ms * 10}) if one.experiment == server else one
        for one in rows()
    ]
    whole = validation_of("fleet", loud)
    rest = whole.less("configuration", odd, server)
    assert rest.band("tpot_mean", Reach.CELL, odd).width < 0.5 < whole.band("tpot_mean", Reach.CELL, odd).width
    assert whole.distance(Run(odd, LOAD))[0] is rest.distance(Run(odd, LOAD))[0] is Reach.CELL
    assert whole.less("cell", odd).distance(Run(odd, LOAD))[0] is Reach.PAIRING


def test_leaving_out_a_model_leaves_out_all_its_cells():
    rest = FLEET.less("model", CELLS[0])
    assert {one.cell.model for one in rest.tested} == {cell.model for cell in CELLS} - {"llama"}
    assert rest.distance(Run(Cell("phi", "dense", "b200-sxm", "fp8"), LOAD))[0] is Reach.PAIRING


def test_nine_of_ten_held_out_points_of_exchangeable_cells_lie_inside():
    """Twelve made-up fleets, every cell tested with intervals of the others: 90 % within what chance allows.

    The points of one cell stand or fall together, so the margin is that of 12 x 7 cells, not of 1500 points.
    """
    shares = []
    for seed in range(12):
        fleet = validation_of("fleet", rows(seed, metrics=("tpot_mean",)))
        for cell in CELLS:
            rest, own = fleet.less("cell", cell), [one for one in fleet.tested if one.cell == cell]
            found = [(rest.band("tpot_mean", one.reach, cell), one.row) for one in own if one.reach is Reach.UNSEEN]
            held = [band.holds(one.predicted_ms, one.measured_ms) for band, one in found]
            shares.append(sum(held) / len(held))
    share = math.fsum(shares) / len(shares)
    error = (math.fsum((one - share) ** 2 for one in shares) / len(shares) ** 2) ** 0.5
    assert abs(share - 0.92) < 0.03 + 2 * error


def test_a_validation_can_be_sent_to_a_process():
    again = pickle.loads(pickle.dumps(FLEET))
    assert again.band("tpot_mean", Reach.UNSEEN, MOE) == FLEET.band("tpot_mean", Reach.UNSEEN, MOE)
