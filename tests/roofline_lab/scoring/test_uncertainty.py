"""How sure a criterion is: clusters, permutation tests, sample sizes, robust means - and what the report says."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline_lab.report import tables
from roofline_lab.scoring.scores import Gain
from roofline_lab.scoring.statistics import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    label_swap_p,
    median,
    pairs_needed,
    per_group_needed,
    sign_flip_p,
    trimmed_mean,
)
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import CriterionResult, Status
from tests.roofline_lab.builders import HYPOTHESIS, error_row

BOOTSTRAP = {"resamples": 2000, "level_pct": 95.0, "seed": 5}
DRAWS = {"draws": 4000, "seed": 7}
LABORATORY = Uncertainty(resamples=500, level_pct=95.0, seed=5)


# --- clusters -----------------------------------------------------------------------------------


def test_members_of_one_cluster_are_drawn_together_and_widen_the_interval():
    """Twenty values in four clusters are four pieces of evidence, not twenty."""
    sample, clusters = ([0.0] * 5 + [10.0] * 5) * 2, [name for name in "abcd" for _ in range(5)]
    apart = bootstrap_mean(sample, **BOOTSTRAP)
    together = bootstrap_mean(sample, **BOOTSTRAP, clusters=clusters)
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_a_cluster_per_value_is_no_clustering_and_a_single_cluster_has_no_interval():
    sample = [1.0, 4.0, 9.0, 2.0]
    alone = bootstrap_mean(sample, **BOOTSTRAP, clusters=list("abcd"))
    plain = bootstrap_mean(sample, **BOOTSTRAP)
    assert alone.low == pytest.approx(plain.low, abs=0.5)
    assert bootstrap_mean(sample, **BOOTSTRAP, clusters=["a"] * 4) is None


def test_two_groups_are_resampled_each_for_itself_although_they_share_clusters():
    """Drawing the same clusters for both would let their spread cancel, down to an interval without width."""
    first, second = [1.0, 11.0, 21.0, 31.0], [0.0, 10.0, 20.0, 30.0]
    clusters = list("abcd")
    shared = bootstrap_difference(first, second, **BOOTSTRAP, clusters=(clusters, clusters))
    assert shared.low < 0 < shared.high
    assert shared.high - shared.low > 20
    assert shared == bootstrap_difference(first, second, **BOOTSTRAP, clusters=(clusters, list("efgh")))


# --- permutation tests --------------------------------------------------------------------------


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=7))
@settings(max_examples=40, deadline=None)
def test_flipping_signs_visits_every_pattern(differences):
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    expected = sum(one >= abs(sum(differences)) for one in sums) / len(sums)
    found = sign_flip_p([float(d) for d in differences], **DRAWS)
    assert (found.value, found.exact, found.arrangements) == (pytest.approx(expected), True, len(sums))


def test_thirteen_gains_of_one_sign_have_the_smallest_p_there_is():
    assert sign_flip_p([float(i) for i in range(1, 14)], **DRAWS).value == pytest.approx(2 / 2**13)


def test_exchanging_labels_is_exact_for_small_groups():
    found = label_swap_p([10.0, 11.0, 12.0], [1.0, 2.0, 3.0], **DRAWS)
    assert (found.value, found.arrangements) == (pytest.approx(2 / 20), 20)
    assert label_swap_p([1.0, 2.0], [1.0, 2.0], **DRAWS).value == 1.0


def test_large_samples_are_drawn_with_a_seed_and_never_give_zero():
    many = [1.0 + 0.01 * i for i in range(40)]
    found = sign_flip_p(many, **DRAWS)
    assert not found.exact
    assert found == sign_flip_p(many, **DRAWS)
    assert 0 < found.value < 0.01
    groups = label_swap_p(many[:20], many[20:], **DRAWS)
    assert not groups.exact
    assert 0 < groups.value < 0.01


def test_too_few_experiments_have_no_test():
    assert sign_flip_p([3.0], **DRAWS) is None
    assert label_swap_p([], [1.0, 2.0], **DRAWS) is None
    assert label_swap_p([1.0], [2.0], **DRAWS) is None


def test_load_points_of_one_experiment_flip_together_and_are_one_piece_of_evidence():
    gains, experiments = [1.0] * 12, ["sweep"] * 10 + ["a", "b"]
    apart, together = sign_flip_p(gains, **DRAWS), sign_flip_p(gains, **DRAWS, blocks=experiments)
    assert apart.value == pytest.approx(2 / 2**12)
    assert (together.value, together.arrangements) == (pytest.approx(2 / 2**3), 2**3)
    assert sign_flip_p([1.0, 2.0], **DRAWS, blocks=["sweep", "sweep"]) is None


def test_load_points_of_one_experiment_change_their_label_together():
    first, second = [5.0, 6.0, 7.0, 5.0], [1.0, 1.0]
    together = label_swap_p(first, second, **DRAWS, blocks=(["s", "s", "s", "a"], ["b", "c"]))
    assert together.arrangements == 6
    assert together.value == pytest.approx(2 / 6)  # the observed labels, and all of them exchanged
    assert label_swap_p(first, second, **DRAWS).arrangements == 15


def test_a_block_per_value_is_no_blocking():
    sample = [3.0, -1.0, 4.0, 1.0, 5.0]
    assert sign_flip_p(sample, **DRAWS, blocks=list("abcde")) == sign_flip_p(sample, **DRAWS)
    plain = label_swap_p(sample[:2], sample[2:], **DRAWS)
    assert label_swap_p(sample[:2], sample[2:], **DRAWS, blocks=(list("ab"), list("cde"))) == plain


# --- sample sizes, robust means -----------------------------------------------------------------


def test_the_number_of_experiments_follows_the_normal_approximation():
    """(1.95996 + 0.84162)**2 = 7.8489; with s = 3 and an effect of 2 that is 17.66 pairs."""
    assert pairs_needed(2.0, 3.0, level_pct=95.0, power=0.8) == 18
    assert pairs_needed(-2.0, 3.0, level_pct=95.0, power=0.8) == 18
    assert per_group_needed(2.0, 3.0, 4.0, level_pct=95.0, power=0.8) == 50
    assert pairs_needed(100.0, 1.0, level_pct=95.0, power=0.8) == 2


def test_no_effect_needs_no_finite_number_of_experiments():
    assert pairs_needed(0.0, 3.0, level_pct=95.0, power=0.8) is None


def test_one_wild_experiment_moves_neither_median_nor_trimmed_mean():
    sample = [1.0, 2.0, 3.0, 4.0, 1000.0]
    assert median(sample) == 3.0
    assert trimmed_mean(sample, 20.0) == 3.0
    assert trimmed_mean(sample, 0.0) == 202.0


# --- what the report says -----------------------------------------------------------------------


def test_the_published_contrast_between_workloads_passes_undecided(h1_report):
    """H1 reports 1.0 pp more for chat than for code as directional evidence."""
    published = h1_report.methods[0]
    assert published.method.id == "as_published"
    contrast = next(criterion for criterion in published.verdict.criteria if criterion.id == "chat_more_than_code")
    assert contrast.observed == pytest.approx(1.0, abs=0.05)
    assert contrast.result is CriterionResult.UNDECIDED
    assert contrast.evidence.is_distinguishable is False
    assert contrast.evidence.interval.low < 0 < contrast.evidence.interval.high
    assert contrast.evidence.p_value.value > 0.5
    assert contrast.evidence.needed > 100
    assert "not distinguishable from zero" in contrast.detail
    assert "**no**" in tables.uncertainty(published.verdict)
    assert published.verdict.status is Status.CONFIRMED_WITH_NUANCE
    assert "chat_more_than_code cannot be told from its threshold" in published.verdict.reason


def test_the_improvement_of_h1_is_distinguishable_and_robust(h1_report):
    for method in h1_report.methods:
        improvement = method.verdict.criteria[0]
        assert improvement.evidence.is_distinguishable is True
        assert improvement.evidence.p_value.value == pytest.approx(2 / 2**13)
        assert (improvement.evidence.sizes, improvement.evidence.clusters) == ((13,), 5)
        assert {check.result for check in improvement.robust} == {improvement.result}


def test_the_laboratory_settings_reach_the_statistics(lab, h1_rows):
    from roofline_lab.report.results import build_report

    power = lab.settings.testing.power
    assert (power, lab.settings.testing.trim_pct) == (0.8, 20)
    found = build_report(lab, HYPOTHESIS, h1_rows, None).headline.verdict.criteria[0]
    assert found.evidence.interval.level_pct == lab.settings.bootstrap.level_pct


# --- one experiment, one family -----------------------------------------------------------------


def gain(value, experiment, family="f"):
    return Gain(error_row(experiment=experiment, family=family), value)


def test_load_points_of_one_experiment_have_no_interval_however_many_they_are():
    sweep = [gain(float(value), "sweep") for value in range(8)]
    found = LABORATORY.of_gains(sweep, 0.0)
    assert (found.sizes, found.interval, found.p_value) == ((1,), None, None)
    assert found.no_interval == "1 experiment, and an interval needs 4"
    rows = [error_row(experiment="sweep", load_point=str(point)) for point in range(8)]
    assert LABORATORY.of_errors([1.0] * 8, rows).interval is None


def test_experiments_of_one_family_are_drawn_whole():
    apart = LABORATORY.of_gains([gain(value, name) for value, name in zip((0, 10, 0, 10), "abcd", strict=True)], 0.0)
    twice = LABORATORY.of_gains([gain(value, name) for value, name in zip((0, 10) * 4, "abcd" * 2, strict=True)], 0.0)
    assert (apart.interval.low, apart.interval.high) == (twice.interval.low, twice.interval.high)
    assert apart.clusters == 1


def test_fewer_families_than_an_interval_needs_have_none_however_many_experiments_they_have():
    """Two families would give the means of the two as a 95 % interval, and a single one among them no width."""
    found = LABORATORY.of_gains([gain(1.0 + i, f"e{i}", "fg"[i % 2]) for i in range(12)], 0.0)
    assert (found.interval, found.no_interval) == (None, "2 model families, and an interval needs 4")
    assert found.p_value.value < 0.05
    assert found.is_distinguishable is None


def test_a_difference_between_groups_needs_enough_experiments_in_each():
    many = [gain(float(i), f"e{i}", f"f{i}") for i in range(5)]
    few = [gain(0.5, "one"), gain(1.0, "two")]
    found = LABORATORY.of_groups(many, few, 0.0)
    assert (found.interval, found.no_interval) == (None, "2 experiments, and an interval needs 4")
    assert LABORATORY.of_groups(many, many, 0.0).interval is not None


# --- told from the threshold --------------------------------------------------------------------


def test_a_mean_is_told_from_its_threshold_and_not_only_from_zero():
    gains = [gain(value, f"e{i}", f"f{i}") for i, value in enumerate((6.0, 8.0, 12.0, 14.0, 20.0, 25.0, 31.0))]
    assert LABORATORY.of_gains(gains, 0.0).is_distinguishable is True
    asked_for_twelve = LABORATORY.of_gains(gains, 12.0)
    assert asked_for_twelve.is_distinguishable is False
    assert asked_for_twelve.interval.low < 12.0
    assert asked_for_twelve.p_value.value > 0.05


def test_an_error_below_a_limit_is_told_from_that_limit():
    rows = [error_row(experiment=f"e{i}", family=f"f{i}") for i in range(7)]
    errors = [6.0, 9.0, 7.0, 8.0, 6.5, 9.5, 7.5]
    assert LABORATORY.of_errors(errors, rows, 20.0).is_distinguishable is True
    assert LABORATORY.of_errors(errors, rows, 8.0).is_distinguishable is False


def test_a_page_prints_no_interval_without_width():
    assert tables.interval_cell(Interval(8.46, 8.46, 95.0)) == "all +8.5"
    assert tables.interval_cell(Interval(-0.0021, -0.0012, 95.0), " pp") == "-0.002 to -0.001 pp"
    assert tables.interval_cell(None) == "–"
