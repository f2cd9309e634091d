"""Noise from the repeats that a closed-loop table states."""

from __future__ import annotations

import math

import pytest

from roofline_lab.ground_truth.reading import load_set
from roofline_lab.importers.table import read
from tests.paths import ROOT
from tests.roofline_lab.importers.test_closed_loop_table import ROW, table

SAME = {"repeat_class": "same version and flags, prefix caching on/off", "repeat_ttft_rel": "", "repeat_tpot_rel": ""}


def point(concurrency, ttft="", tpot="", **changes):
    width = {"concurrency": str(concurrency), "num_prompts": str(10 * concurrency)}
    return ROW | SAME | {"repeat_ttft_rel": ttft, "repeat_tpot_rel": tpot} | width | changes


def noise(folder, *rows):
    first = next(iter(read(table(folder, *rows, columns=(*ROW, *SAME))).found.values()))
    return first.experiment.noise


def test_three_pairs_of_a_server_give_its_noise_by_their_median_over_the_root_of_two(tmp_path):
    found = noise(tmp_path, point(4, "0.01", "0.002"), point(8, "0.03", "0.004"), point(16, "0.9", "0.006"))
    assert found.relative_sd == {
        "ttft_mean": pytest.approx(0.03 / math.sqrt(2), abs=1e-5),
        "tpot_mean": pytest.approx(0.004 / math.sqrt(2), abs=1e-5),
    }
    assert found.pairs == 3
    assert "this server" in found.basis


def test_a_server_with_fewer_pairs_has_the_noise_of_its_cell_and_else_of_the_table(tmp_path):
    others = [point(width, "0.02", "0.004", run_id="Other", osl="300") for width in (4, 8, 16)]
    found = noise(tmp_path, point(4, "0.9", "0.9"), *others)
    assert (found.pairs, "model, GPU and precision" in found.basis) == (4, True)
    elsewhere = [row | {"system": "h200_sxm"} for row in others]
    found = noise(tmp_path, point(4, "0.9", "0.9"), *elsewhere)
    assert (found.pairs, "all servers" in found.basis) == (4, True)


def test_both_rows_of_a_pair_count_once_and_pairs_with_an_outlier_or_other_flags_not_at_all(tmp_path):
    rows = [point(width, "0.02", "0.004") for width in (4, 8, 16)]
    again = [row | {"run_id": "Again", "date": "2026-03-02"} for row in rows]
    odd = point(32, "0.9", "0.9", outlier="1")
    changed = point(64, "0.9", "0.9", repeat_class="different version or flags")
    found = noise(tmp_path, *rows, *again, odd, changed)
    assert found.pairs == 3
    assert found.relative_sd["ttft_mean"] == pytest.approx(0.02 / math.sqrt(2), abs=1e-5)


def test_a_table_without_enough_repeats_states_no_noise(tmp_path):
    assert noise(tmp_path, point(4, "0.02", "0.004"), point(8)) is None
    assert next(iter(read(table(tmp_path, ROW)).found.values())).experiment.noise is None


def test_every_committed_closed_loop_says_how_far_its_figures_scatter():
    committed = load_set(ROOT, "closed_loop")
    assert all({"ttft_mean", "tpot_mean"} == set(each.noise.relative_sd) for each in committed)
    # Nothing of Llama and Qwen was repeated, so that the whole table stands for them.
    assert {each.noise.pairs for each in committed if each.family in ("Llama3.3-70B", "Qwen3-32B")} == {47}
