"""A run says how far it is: plain lines in a log, time left on a terminal, nothing where silence was asked for."""

from __future__ import annotations

import gzip
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from snakemake.exceptions import WorkflowError

from roofline_lab.ground_truth import json_stream
from roofline_lab.jobs.findings import logged
from roofline_lab.jobs.progress import OVER, Progress, duration
from simulator.errors import ConfigError

OVER_PATTERN = re.escape(OVER)


@pytest.fixture
def progress():
    """Return the progress of a run that began at 100 s, with a clock that advances 10 s whenever it is looked at."""
    return progress_to(terminal=False)


@pytest.fixture
def watched():
    """Return the same for somebody who looks at a terminal."""
    return progress_to(terminal=True)


def progress_to(*, terminal):
    times = iter(range(100, 1000, 10))
    return Progress(lambda: next(times), lambda: terminal)


def test_a_log_says_how_many_findings_are_made_and_no_time(progress, capsys):
    progress.start({"findings": 2})
    for name in "ab":
        progress.finding_made(name)
    assert capsys.readouterr().err == "a (1 of 2 findings)\nb (2 of 2 findings)\n"


def test_a_terminal_is_told_the_time_left_from_the_third_finding_to_the_last_but_one(watched, capsys):
    watched.start({"findings": 5})
    for name in "abcde":
        watched.finding_made(name)
    assert capsys.readouterr().err.splitlines() == [
        "a (1 of 5 findings)",
        "b (2 of 5 findings)",
        "c (3 of 5 findings, about 7 s left)",
        "d (4 of 5 findings, about 5 s left)",
        "e (5 of 5 findings)",
    ]


def test_one_finding_alone_is_not_counted(progress, capsys):
    progress.start({"findings": 1})
    progress.finding_made("a")
    assert capsys.readouterr().err == "a\n"


def test_a_quiet_run_says_nothing(progress, capsys):
    progress.quiet = True
    progress.start({"findings": 2})
    progress.finding_made("a")
    progress.say("b")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "told"), [(0.2, "1 s"), (119, "119 s"), (150, "2 min"), (3600, "60 min")])
def test_a_time_is_told_in_seconds_and_from_two_minutes_on_in_minutes(seconds, told):
    assert duration(seconds) == told


# --- steps without a result of their own --------------------------------------------------------------


def test_a_log_gets_a_plain_line_per_step(progress, capsys):
    progress.start({"experiments": 2})
    for name in "ab":
        progress.step("experiments", name)
    assert capsys.readouterr().err == "1 of 2 experiments: a\n2 of 2 experiments: b\n"


def test_a_terminal_gets_one_line_with_rate_and_time_left_and_the_last_one_stays(watched, capsys):
    watched.start({"experiments": 4})
    for name in "abcd":
        watched.step("experiments", name)
    lines = capsys.readouterr().err.split(OVER)
    assert lines[:2] == ["1 of 4 experiments: a", "2 of 4 experiments: b"]
    assert re.fullmatch(r"3 of 4 experiments, \d+\.\d/min, about \d+ s left: c", lines[2])
    assert lines[3] == "4 of 4 experiments: d\n"


def test_a_line_that_stays_takes_the_place_of_one_that_is_overwritten(watched, capsys):
    watched.start({"experiments": 2})
    watched.step("experiments", "a")
    watched.say("said")
    watched.say("said again")
    assert capsys.readouterr().err == f"1 of 2 experiments: a{OVER}said\nsaid again\n"


def test_a_terminal_is_not_written_to_more_often_than_anybody_can_read(capsys):
    progress = Progress(lambda: 1.0, lambda: True)
    progress.start({"experiments": 100})
    for _ in range(99):
        progress.step("experiments", "a")
    assert capsys.readouterr().err == "1 of 100 experiments: a"


def test_steps_of_two_kinds_are_counted_each_for_itself(progress, capsys):
    progress.start({"experiments": 1, "fits": 2})
    progress.step("fits", "a")
    progress.step("experiments", "b")
    assert capsys.readouterr().err == "1 of 2 fits: a\n1 of 1 experiments: b\n"


def test_a_log_says_once_that_a_large_file_is_read_and_a_terminal_how_far(progress, watched, capsys):
    path = Path("run.json")
    progress.reading(path, 1_000_000, 90_000_000)
    progress.reading(path, 2_000_000, 90_000_000)
    assert capsys.readouterr().err == "reading run.json (90 MB)\n"
    watched.reading(path, 1_000_000, 90_000_000)
    capsys.readouterr()
    watched.reading(path, 45_000_000, 90_000_000)
    assert re.fullmatch(OVER_PATTERN + r"reading run\.json: 50 %, \d+ MB/s, about \d+ s left", capsys.readouterr().err)


@pytest.mark.parametrize("compress", [False, True])
def test_reading_a_large_file_is_told_up_to_its_last_byte(tmp_path, monkeypatch, compress):
    monkeypatch.setattr(json_stream, "LARGE_BYTES", 1000)
    told = []
    path, small = tmp_path / "large.json", tmp_path / "small.json"
    text = json.dumps([f"{number * 7919}" for number in range(10_000)]).encode()
    path.write_bytes(gzip.compress(text) if compress else text)
    small.write_bytes(b"[1]")
    with json_stream.reading_told(lambda *so_far: told.append(so_far)):
        values = list(json_stream.stream_values(path, {()}))
        list(json_stream.stream_values(small, {()}))
    assert len(values) == 10_000
    assert told == sorted(told)
    assert told[-1] == (path, path.stat().st_size, path.stat().st_size)
    before = list(told)
    list(json_stream.stream_values(path, {()}))
    assert told == before


# --- logs of jobs -------------------------------------------------------------------------------------


def fail_with(error):
    raise error


def test_what_a_job_says_stands_in_its_log_and_what_another_says_does_not(progress, tmp_path):
    def job(name):
        with progress.kept_in(tmp_path / "logs" / name):
            together.wait(timeout=60)
            progress.say(f"said by {name}")

    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(job, ("one", "two")))
    progress.say("said by nobody")
    for name in ("one", "two"):
        said, ended = (tmp_path / "logs" / name).read_text(encoding="utf-8").splitlines()
        assert said == f"said by {name}"
        assert re.fullmatch(r"ended after \d+\.\d s", ended)


def test_a_quiet_run_keeps_its_logs(progress, tmp_path, capsys):
    progress.quiet = True
    with progress.kept_in(tmp_path / "log"):
        progress.say("done")
    assert (tmp_path / "log").read_text(encoding="utf-8").startswith("done\n")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "raised", "kept"),
    [
        (ConfigError("file: key: wrong"), WorkflowError, "file: key: wrong\n"),
        (KeyError("unexpected"), KeyError, "KeyError: 'unexpected'\n"),
    ],
)
def test_why_a_job_failed_stands_in_its_log_too(error, raised, kept, tmp_path):
    with pytest.raises(raised):
        logged(fail_with)(error, log=str(tmp_path / "log"))
    assert kept in (tmp_path / "log").read_text(encoding="utf-8")


def test_a_log_is_begun_anew_by_the_next_job(progress, tmp_path):
    for line in ("first", "second"):
        with progress.kept_in(tmp_path / "log"):
            progress.say(line)
    assert (tmp_path / "log").read_text(encoding="utf-8").startswith("second\n")
