"""The committed page comes out again from the traces; only where they are there."""

from __future__ import annotations

import json

import pytest

from tests.workflow.builders import ROOT
from workflow.lib.compare import compare_reports
from workflow.lib.replay.committed import FOLDER, PROVENANCE, provenance, write_report
from workflow.lib.replay.option_sets import load_option_sets
from workflow.lib.replay.page import report_files
from workflow.lib.replay.recording import load_recordings
from workflow.lib.replay.score import score


@pytest.fixture(scope="module")
def recordings(shared_dir):
    return load_recordings(ROOT, [shared_dir / "ground_truth" / "replay"])


@pytest.fixture(scope="module")
def scores(lab, recordings):
    return score(lab, recordings, load_option_sets(lab))


def test_all_fifteen_traces_are_of_the_runs_they_are_named_after(recordings):
    assert len(recordings) == 15
    assert sum(len(stage.requests) for one in recordings for stage in one.stages) == 33_282
    assert {stage.side for one in recordings for stage in one.stages} == {"client", "server"}


def test_the_traces_are_those_of_the_committed_page(recordings):
    record = json.loads((ROOT / FOLDER / PROVENANCE).read_text(encoding="utf-8"))
    assert record["traces"] == {one.source: one.digest for one in recordings}


def test_every_request_is_completed_in_the_simulation(scores):
    assert {one.failure for one in scores} == {""}
    assert sum(one.unfinished for one in scores) == 0


def test_only_the_load_point_that_was_saturated_has_no_latencies(scores):
    assert {one.stage.point.id for one in scores if not one.has_latencies} == {"throughput"}


def test_the_committed_page_comes_out_again(recordings, scores, lab, tmp_path):
    option_sets = load_option_sets(lab)
    write_report(tmp_path, report_files(recordings, scores, option_sets), provenance(lab, recordings, option_sets))
    differences = compare_reports(ROOT / FOLDER, tmp_path, lab.settings.check.tolerance)
    found = [one for one in differences if one.file != PROVENANCE]
    assert found == [], "python -m workflow replay TRACES --out reports/replay makes the page again"
