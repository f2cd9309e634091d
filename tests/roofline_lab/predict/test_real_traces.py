"""The committed page comes out again from the traces; only where they are there."""

from __future__ import annotations

import json

import pytest

from roofline_lab.predict.choose import load_option_sets
from roofline_lab.predict.recording import load_recordings
from roofline_lab.predict.replay import score
from roofline_lab.regression.check import compare_reports
from roofline_lab.report.replay import FOLDER, PROVENANCE, provenance, publish, report_files
from tests.roofline_lab.builders import ROOT


@pytest.fixture(scope="module")
def recordings(shared_dir):
    return load_recordings(ROOT, [shared_dir / "ground_truth" / "replay"])


@pytest.fixture(scope="module")
def scores(lab, recordings):
    return score(lab, recordings, load_option_sets(lab))


def test_all_fifteen_traces_are_of_the_runs_they_are_named_after(recordings):
    assert len(recordings) == 15
    assert sum(len(stage.requests) for recording in recordings for stage in recording.stages) == 33_282
    assert {stage.side for recording in recordings for stage in recording.stages} == {"client", "server"}


def test_the_traces_are_those_of_the_committed_page(recordings):
    record = json.loads((ROOT / FOLDER / PROVENANCE).read_text(encoding="utf-8"))
    assert record["traces"] == {recording.source: recording.digest for recording in recordings}


def test_every_request_is_completed_in_the_simulation(scores):
    assert {score.failure for score in scores} == {""}
    assert sum(score.unfinished for score in scores) == 0


def test_only_the_load_point_that_was_saturated_has_no_latencies(scores):
    assert {score.stage.point.id for score in scores if not score.has_latencies} == {"throughput"}


def test_the_committed_page_comes_out_again(recordings, scores, lab, tmp_path):
    option_sets = load_option_sets(lab)
    publish(tmp_path, report_files(recordings, scores, option_sets), provenance(lab, recordings, option_sets))
    differences = compare_reports(ROOT / FOLDER, tmp_path, lab.settings.check.tolerance)
    found = [difference for difference in differences if difference.file != PROVENANCE]
    assert found == [], "roofline-lab replay TRACES --out reports/replay makes the page again"
