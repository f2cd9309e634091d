"""`roofline-lab replay`: one command from traces to a page; bad input is one message and nothing is written."""

from __future__ import annotations

import pytest

from roofline_lab.cli.main import main
from tests.roofline_lab.builders import INPUTS, copy_project
from tests.roofline_lab.conftest import Toy
from tests.roofline_lab.report import replay_toy as toy
from tests.roofline_lab.report.replay_toy import requests, write_trace


@pytest.fixture(scope="module")
def toy_project(tmp_path_factory):
    """Return a copy of the project with a made-up experiment in it."""
    root = copy_project(tmp_path_factory.mktemp("command") / "project", (*INPUTS, "simulator", "workflow"))
    toy_run = Toy(root)
    toy_run.measured(requests())
    return toy_run


def outcome(capsys, *arguments):
    code = main(["replay", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_folder_of_traces_becomes_a_page(capsys, toy_project, tmp_path):
    code, out, err = outcome(capsys, toy_project.traces, "--out", tmp_path / "out", "--root", toy_project.root)
    assert code == 0
    assert err.splitlines()[0] == "1 of 5 replays: toy-run with H1 + H2b as published"
    assert "calibrated, family held out: mean error TTFT" in out
    assert "page written to" in out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "REPLAY.md",
        "numbers.csv",
        "provenance.json",
        "signed_errors.svg",
    }


@pytest.mark.parametrize(
    ("change", "arguments", "told"),
    [
        ({"arrival_time_us": 5}, (), "is before the row above"),
        ({"ttft_ms": -3}, (), "must be milliseconds, 0 or greater"),
        ({"index": "0"}, (), "is already used on line 2"),
        ({}, ("--experiment", "unknown-run"), "unknown experiment 'unknown-run'"),
    ],
)
def test_bad_input_is_one_message_and_nothing_is_written(capsys, toy_project, tmp_path, change, arguments, told):
    rows = requests()
    rows[-1] |= change
    path = write_trace(tmp_path / f"{toy.EXPERIMENT}.csv", rows)
    code, out, err = outcome(capsys, path, *arguments, "--out", tmp_path / "out", "--root", toy_project.root)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert told in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_the_command_explains_columns_and_gives_examples(capsys):
    code, out, _ = outcome(capsys, "--help")
    assert code == 0
    assert "examples:" in out
    assert "arrival_time_us" in out


def test_a_quiet_replay_says_nothing_of_its_progress(capsys, toy_project, tmp_path):
    arguments = (toy_project.traces, "--out", tmp_path / "out", "--root", toy_project.root)
    code, out, err = outcome(capsys, *arguments, "-q")
    assert (code, err) == (0, "")
    assert "page written to" in out
