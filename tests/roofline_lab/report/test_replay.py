"""The page of a replay says what was replayed, on which side, and what was left out and why."""

from __future__ import annotations

import re

import pytest

from roofline_lab.predict.choose import load_option_sets
from roofline_lab.predict.recording import load_recordings
from roofline_lab.predict.replay import score
from roofline_lab.report.replay import ERRORS_FIGURE, NUMBERS, PAGE, report_files
from tests.roofline_lab.conftest import Toy
from tests.roofline_lab.report import replay_toy as toy
from tests.roofline_lab.report.replay_toy import requests, write_experiment, write_trace


def made(root, lab):
    option_sets = load_option_sets(lab)
    recordings = load_recordings(root, [root / "traces"])
    return report_files(recordings, score(lab, recordings, option_sets), option_sets)


@pytest.fixture(scope="module")
def files(tmp_path_factory, lab):
    """Return the files of a run with a cold start, a failure, a large stage and a saturated one."""
    toy_run = Toy(tmp_path_factory.mktemp("toy"))
    rows = (
        requests(240)
        + requests(stage=1, first=300, begin_us=200_000_000)
        + requests(24, stage=2, first=400, begin_us=300_000_000, gap_us=1, input_tokens=2000)
    )
    rows[0] |= {"ttft_ms": 150.0, "e2e_ms": 350.0}
    rows[245] |= {"has_error": 1, "ttft_ms": "", "e2e_ms": ""}
    saturated = {"state": "saturated", "basis": "made up"}
    points = [toy.load_point(rows, 0), toy.load_point(rows, 1, saturation=saturated), toy.load_point(rows, 2)]
    flags = [
        {"flag": "lengths_from_seed", "treatment": "noted", "text": "Lengths are drawn again."},
        {"flag": "setting_assumed", "treatment": "noted", "text": "The hardware is assumed."},
    ]
    write_experiment(toy_run.root, toy.experiment(points, quality=flags))
    write_trace(toy_run.traces / f"{toy.EXPERIMENT}.csv.gz", rows)
    return made(toy_run.root, lab)


@pytest.fixture(scope="module")
def page(files):
    return files[PAGE]


def section(page, title):
    """Return the text below one heading."""
    return re.split(r"^## ", page.split(f"## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_a_replay_is_a_page_numbers_and_figures(files):
    assert set(files) == {PAGE, NUMBERS, ERRORS_FIGURE, f"distribution_{toy.EXPERIMENT}.svg"}
    assert list(files)[-1] == PAGE


def test_every_figure_is_on_the_page_and_has_axes_with_units(files, page):
    for name in (ERRORS_FIGURE, f"distribution_{toy.EXPERIMENT}.svg"):
        assert f"]({name})" in page
    assert "signed error of mean TTFT [%]" in files[ERRORS_FIGURE]
    assert "TTFT [ms]" in files[f"distribution_{toy.EXPERIMENT}.svg"]


def test_a_figure_never_draws_single_requests(files):
    """At whole percentiles a curve has 99 points, whatever the number of requests."""
    curves = re.findall(r'<path d="([^"]*)" clip-path', files[f"distribution_{toy.EXPERIMENT}.svg"])
    assert curves
    assert max(len(re.findall("[ML]", curve)) for curve in curves) <= 99


def test_what_was_replayed_is_told_with_side_and_what_was_left_out(page):
    told = section(page, "What was replayed")
    assert re.search(
        r"\| toy-run\s*\| stage_0\s*\| server \| recorded \| no\s*\| 1 \(cold start: TTFT up to 150.0 ms", told
    )
    assert re.search(r"\| stage_1\s*\| server \| recorded \| yes\s*\| 1 \(failed; its work on the server", told)


def test_a_saturated_load_point_has_no_latencies_on_the_page(page):
    told = section(page, "toy-run")
    assert "| stage_1 " not in told
    assert "Saturated, so no latencies: stage_1." in told
    assert "| toy-run, stage_1 |" in section(page, "Throughput and saturation")


def test_every_latency_has_mean_p50_p90_p99_and_a_signed_error(page):
    told = section(page, "toy-run")
    for latency in ("TTFT", "TPOT", "E2E"):
        for statistic in ("mean", "p50", "p90", "p99"):
            assert re.search(
                rf"\| stage_0\s*\| {latency}\s*\| {statistic}\s*\|\s*[\d,.]+ \|\s*[\d,.]+ \([+-][\d.]+ %\)", told
            )


def test_a_prediction_that_saturates_is_marked_and_explained(page):
    assert "at 1 of 2 load points the simulated server does not keep up" in page
    assert re.search(r"\| stage_2 .*%\)†", section(page, "toy-run"))


def test_the_page_quotes_its_sources_and_says_that_the_traces_are_not_here(page):
    assert "**The traces are not part of this project.**" in page
    assert "roofline-lab replay TRACES --out reports/replay" in page
    assert "Source: a made-up document (2026-01-21). none needed" in page


def test_flags_are_printed_but_those_a_trace_makes_moot(page):
    told = section(page, "What is known about these measurements")
    assert "The hardware is assumed." in told
    assert "Lengths are drawn again." not in told


def test_the_same_input_gives_the_same_bytes(tmp_path, lab):
    toy_run = Toy(tmp_path)
    toy_run.measured(requests())
    assert made(toy_run.root, lab) == made(toy_run.root, lab)


def test_a_run_that_is_saturated_throughout_has_a_page_without_latencies(tmp_path, lab):
    toy_run = Toy(tmp_path)
    toy_run.measured(requests(), point={"saturation": {"state": "saturated", "basis": "made up"}})
    files = made(toy_run.root, lab)
    assert set(files) == {PAGE, NUMBERS}
    assert "Saturated, so no latencies: stage_0." in files[PAGE]
