"""Who is closest: in order over the load points all share, with ties where a test cannot tell."""

from __future__ import annotations

import pytest

from roofline_lab.scoring.ranks import standings
from roofline_lab.scoring.scores import Scores
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import Metric
from tests.roofline_lab.builders import error_row, unscored_row

UNCERTAINTY = Uncertainty(resamples=200, level_pct=95, seed=1, permutations=500)
PLACES = [f"server{i}" for i in range(8)]


def rows(arm, errors, places=PLACES):
    return [
        error_row(arm, place, error, family=f"family{int(place[-1]) // 2}")
        for place, error in zip(places, errors, strict=True)
    ]


def ranked(scores, arms, **excluded):
    found = standings(Scores(scores), arms, Metric.TPOT_MEAN, UNCERTAINTY, excluded)
    return {each.arm: each for each in found}


def test_the_closest_is_first_and_the_others_follow_by_error():
    scores = [*rows("far", [-40.0] * 8), *rows("near", [4.0] * 8), *rows("middle", [-20.0] * 8)]
    found = ranked(scores, ["far", "near", "middle"])
    assert list(found) == ["near", "middle", "far"]
    assert [each.rank for each in found.values()] == [1, 2, 3]
    assert found["far"].behind_pp == pytest.approx(36.0)
    assert found["far"].signed_pct == pytest.approx(-40.0)
    assert (found["near"].behind_pp, found["near"].behind) == (None, None)


def test_who_cannot_be_told_from_the_first_shares_its_rank():
    wavering = [2.0, -12.0, 3.0, -11.0, 12.0, 2.0, -13.0, 1.0]
    found = ranked(
        [*rows("steady", [6.0] * 8), *rows("wavering", wavering), *rows("far", [50.0] * 8)],
        ["steady", "wavering", "far"],
    )
    assert {arm: each.rank for arm, each in found.items()} == {"steady": 1, "wavering": 1, "far": 3}


def test_who_is_excluded_has_errors_but_no_rank_and_takes_no_load_point_from_the_others():
    scores = [*rows("fitted", [0.1] * 3, PLACES[:3]), *rows("near", [4.0] * 8), *rows("far", [20.0] * 8)]
    found = ranked(scores, ["fitted", "near", "far"], fitted="was fitted to them")
    assert found["fitted"].rank is None
    assert found["fitted"].error_pct == pytest.approx(0.1)
    assert found["fitted"].excluded == "was fitted to them"
    assert found["near"].rank == 1
    assert found["near"].shared_points == 8


def test_the_order_is_by_what_all_predict_not_by_what_each_chose():
    """Easy questions alone make a low mean: on what both predict the other one is closer."""
    chosen = [*rows("picky", [10.0] * 4, PLACES[:4]), *(unscored_row("picky", place) for place in PLACES[4:])]
    found = ranked([*chosen, *rows("open", [5.0] * 4 + [60.0] * 4)], ["picky", "open"])
    assert list(found) == ["open", "picky"]
    assert found["open"].error_pct > found["picky"].error_pct
    assert (found["open"].shared_pct, found["open"].shared_points) == (pytest.approx(5.0), 4)
    assert str(found["picky"].coverage) == "4 of 8"


def test_who_shares_no_load_point_is_not_ranked_and_says_so():
    found = ranked([*rows("one", [5.0] * 4, PLACES[:4]), *rows("other", [5.0] * 4, PLACES[4:])], ["one", "other"])
    assert {each.rank for each in found.values()} == {None}
    assert {each.excluded for each in found.values()} == {"no load point is predicted by all who compete"}


def test_an_arm_that_predicts_nothing_leaves_the_others_their_shared_load_points():
    scores = Scores([*rows("near", [4.0] * 8), *(unscored_row("silent", place) for place in PLACES)])
    assert len(scores.shared(["near", "silent"]).select("near", Metric.TPOT_MEAN)) == 8
