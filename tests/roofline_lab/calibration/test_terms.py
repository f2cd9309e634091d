"""What terms buy: shares that add up, surfaces without a head, a chain that grows by one term."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations

import numpy as np
import pytest

from roofline_lab.calibration import terms as terms_module
from roofline_lab.calibration.constants import CONSTANTS, at, data_sheet, positions, starts
from roofline_lab.calibration.fit import problem_of
from roofline_lab.calibration.points import load_points
from roofline_lab.calibration.surface import Stack, surface_of, without_head
from roofline_lab.calibration.terms import (
    ALL_TERMS,
    TERMS,
    Switches,
    chain,
    chain_errors,
    ideal_of,
    shares,
    subset_errors,
    switches_of,
)
from roofline_lab.report.calibration_terms import TermErrors, chain_table, shares_table, terms_text
from simulator.errors import ConfigError
from tests.paths import ROOT

WEIGHTS = {"ttft": 0.5, "itl": 1.0, "e2e": 1.0}
TRUTH = {**starts(), "layer_us": 42.0, "guidellm_request_us": 4500.0, "client_us_per_prompt_token": 5.0}


def worth_of(players, gain):
    """Worth of every coalition, one quantity."""
    members = [[one for one in range(players) if subset >> one & 1] for subset in range(1 << players)]
    return np.array([[float(gain(member))] for member in members])


@pytest.fixture
def random_worth():
    return np.random.default_rng(4).normal(size=(32, 3))


def test_shares_sum_to_the_worth_of_all_less_that_of_nobody(random_worth):
    assert shares(random_worth).sum(axis=0) == pytest.approx(random_worth[-1] - random_worth[0])


def test_a_share_is_the_mean_gain_over_all_orders(random_worth):
    gains = np.zeros((5, 3))
    orders = list(permutations(range(5)))
    for order in orders:
        present = 0
        for player in order:
            gains[player] += random_worth[present | 1 << player] - random_worth[present]
            present |= 1 << player
    assert shares(random_worth) == pytest.approx(gains / len(orders))


def test_players_that_always_gain_the_same_get_the_same():
    found = shares(worth_of(4, lambda members: len({0, 2} & set(members)) ** 2 + 5 * (3 in members) * (1 in members)))
    assert found[0] == found[2]
    assert found[1] == found[3]


def test_a_player_that_never_gains_gets_nothing():
    found = shares(worth_of(4, lambda members: sum(member + 1 for member in members if member != 2) ** 2))
    assert found[2] == 0.0
    assert found[3] > found[0] > 0.0


def test_shares_of_a_sum_of_games_are_the_sums_of_shares(random_worth):
    other = random_worth[::-1] ** 2
    assert shares(random_worth + other) == pytest.approx(shares(random_worth) + shares(other))


def test_the_glove_game_is_shared_as_its_author_says():
    """One left glove and two right ones: only a pair is worth anything."""
    found = shares(worth_of(3, lambda members: 0 in members and len(members) > 1))
    assert found.ravel() == pytest.approx([2 / 3, 1 / 6, 1 / 6])


def test_half_a_game_is_refused():
    with pytest.raises(ConfigError, match="3 coalitions"):
        shares(np.zeros((3, 1)))


def test_every_fitted_constant_belongs_to_one_term():
    named = [constant for term in TERMS for constant in term.constants]
    assert sorted(named) == sorted(one.name for one in CONSTANTS)
    assert all(bool(term.constants) != (term.switch is not None) for term in TERMS)


def test_the_chain_goes_from_the_data_sheet_to_the_full_model_one_term_at_a_time():
    sets = chain()
    assert (sets[0], sets[-1]) == (0, ALL_TERMS)
    assert all((later ^ earlier).bit_count() == 1 for earlier, later in pairwise(sets))
    assert switches_of(0) == Switches(lm_head=False, schedule_ahead=False)
    assert switches_of(ALL_TERMS) == Switches(lm_head=True, schedule_ahead=True)
    assert ideal_of(ALL_TERMS) == ()
    assert sorted(ideal_of(0)) == sorted(constant.name for constant in CONSTANTS)


def test_an_absent_term_means_what_the_data_sheet_says():
    assert at(np.full(len(CONSTANTS), -1.0)) == pytest.approx(data_sheet())


@pytest.fixture(scope="module")
def points():
    return load_points(ROOT, ["synchronous_13"], None, seed=1)


@pytest.fixture(scope="module")
def surfaces(points):
    return {point.name: surface_of(point, 100, seed=5) for point in points}


@pytest.fixture(scope="module")
def problems(points, surfaces):
    """Under every switch, load points whose measured means are what `TRUTH` predicts with all terms."""
    truth = problem_of(points, surfaces, WEIGHTS, scatter=1e-4)
    measured = truth.predicted(positions(TRUTH))
    headless = {point.name: without_head(surfaces[point.name], point) for point in points}
    return {
        Switches(lm_head, ahead): replace(
            problem_of(points, surfaces if lm_head else headless, WEIGHTS, scatter=1e-4), measured=measured
        )
        for lm_head in (True, False)
        for ahead in (True, False)
    }


def test_a_surface_without_the_head_gives_what_the_engine_gives_without_it(points, surfaces):
    generator = np.random.default_rng(3)
    for point in points[::4]:
        stack = Stack.of([without_head(surfaces[point.name], point)])
        for _ in range(2):
            values = at(generator.uniform(-0.9, 0.9, size=len(CONSTANTS)))
            means = point.switched(lm_head=False, schedule_ahead=True).engine_means(values)
            (ttft_us,), (decode_us,) = stack.engine(positions(values))
            assert decode_us == pytest.approx(means.decode_us, rel=2e-3)
            assert ttft_us == pytest.approx(means.ttft_us, rel=2e-2)
            assert decode_us < 0.999 * point.engine_means(values).decode_us


def test_a_server_that_never_schedules_ahead_answers_cached_prompts_sooner_and_waits_between_steps():
    point = load_points(ROOT, ["inference_perf_stages"], 200, seed=1)[0]
    waiting = point.switched(lm_head=True, schedule_ahead=False)
    assert (point.engine.schedule_ahead, waiting.engine.schedule_ahead) == (True, False)
    values = {**starts(), "host_step_us": 0.0}
    slow = {**values, "host_step_us": 400.0}
    assert waiting.engine_means(values).ttft_us < point.engine_means(values).ttft_us
    assert waiting.engine_means(slow).decode_us > 1.02 * waiting.engine_means(values).decode_us
    assert point.engine_means(slow) == point.engine_means(values)


@pytest.fixture
def three_terms(monkeypatch):
    chosen = [
        term for term in TERMS if term.name in ("launches per layer", "scheduling ahead", "client time per request")
    ]
    monkeypatch.setattr(terms_module, "TERMS", tuple(chosen))
    return chosen


def test_a_switch_that_changes_no_prediction_gets_no_share(problems, three_terms):
    # One request at a time on servers that never schedule ahead: that term is a dummy.
    problems = {key: problems[Switches(lm_head=True, schedule_ahead=True)] for key in problems}
    worth = np.array([errors for _, errors in subset_errors(problems, range(8))])
    found = dict(zip((term.name for term in three_terms), shares(-worth), strict=True))
    assert found["scheduling ahead"].tolist() == [0.0, 0.0, 0.0]
    assert found["launches per layer"][1] > 0.05
    assert found["client time per request"][0] > 0.02
    assert sum(found.values()) == pytest.approx(worth[0] - worth[-1])


def test_the_chain_by_the_engine_follows_the_chain_by_surfaces(points, problems, three_terms, monkeypatch):
    truth = problems[Switches(lm_head=True, schedule_ahead=True)].measured / 1000.0
    made_up = [replace(one, measured=tuple(row)) for one, row in zip(points, truth, strict=True)]
    simulated = chain_errors(made_up, problems)
    surfaces = [errors for _, errors in subset_errors(problems, chain())]
    assert np.array(simulated) == pytest.approx(np.array(surfaces), abs=0.01)
    assert simulated[-1][1] < simulated[0][1]


@pytest.fixture
def made_up_errors():
    generator = np.random.default_rng(6)
    by_subset = 40.0 + generator.uniform(-5, 5, size=(ALL_TERMS + 1, 3))
    return TermErrors(by_subset, by_subset[chain()] + 0.25)


def test_the_page_says_how_far_surface_and_engine_are_apart(made_up_errors):
    assert made_up_errors.surface_gap == pytest.approx(0.25)


def test_the_table_of_shares_ends_on_two_rows_that_agree(made_up_errors):
    *_, summed, gained = shares_table(made_up_errors).splitlines()
    assert summed.split("|")[2:5] == gained.split("|")[2:5]


def test_tables_and_csv_hold_every_term_once(made_up_errors):
    assert len(chain_table(made_up_errors).splitlines()) == 2 + 1 + len(TERMS)
    rows = terms_text(made_up_errors).splitlines()
    assert len(rows) == 1 + 3 * (1 + len(TERMS))
    assert all(row.count(",") == 4 for row in rows)
