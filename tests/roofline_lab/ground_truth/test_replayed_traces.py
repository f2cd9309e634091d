"""Recorded requests are replayed one by one, and compared as distributions; only where the traces are there."""

from __future__ import annotations

import csv
import gzip
import json

import pytest

from roofline_lab.ground_truth.requests import MeasuredRequest
from roofline_lab.predict.arms import run_lines
from roofline_lab.project import load_project
from roofline_lab.report.load import distances
from tests.roofline_lab.builders import ROOT

EXPERIMENT = "jan21-llama7b-train-1"
STAGE, LOAD_POINT = 2, "constant_0.407"


@pytest.fixture(scope="module")
def row(shared_dir):
    """Simulate the sweep with the requests of one stage replayed from its trace."""
    path = shared_dir / "ground_truth" / "replay" / f"{EXPERIMENT}__stage{STAGE}_server.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        recorded = tuple(
            MeasuredRequest(
                load_point=LOAD_POINT,
                id=row["index"],
                arrival_us=int(row["arrival_time_us"]),
                prompt_tokens=int(row["input_tokens"]),
                output_tokens=int(row["output_tokens_true"]),
                ttft_ms=float(row["ttft_ms"]),
                e2e_ms=float(row["e2e_ms"]),
            )
            for row in csv.DictReader(lines)
        )
    laboratory = load_project(ROOT)
    run = laboratory.run("h7b_mixed_max_end_to_end", "multi_rate", "longer", EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(run.experiment), "recorded", lambda self: recorded)
        rows = [json.loads(line) for line in run_lines(laboratory, run).splitlines()]
    return next(row for row in rows if row["load_point"] == LOAD_POINT)


def test_a_replayed_trace_is_compared_request_by_request(row):
    found = row["load"]["distances"]
    assert found.keys() == {"ttft", "tpot", "e2e"}
    assert found["ttft"]["requests"] == row["requests"] == 24
    for one in found.values():
        assert 0 < one["kolmogorov_smirnov"] <= 1
        assert one["quantile_difference"] > 0


def test_the_distance_of_a_replayed_trace_is_a_line_of_the_report(row):
    assert f"{EXPERIMENT}, {LOAD_POINT}" in distances([row], ["longer"])
