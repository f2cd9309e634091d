"""A run says how far it is: plain lines in a log, time left on a terminal, nothing where silence was asked for."""

from __future__ import annotations

import sys

import pytest

from roofline_lab.jobs.progress import Progress, duration


@pytest.fixture
def progress():
    """Return the progress of a run that began at 100 s, with a clock that advances 10 s whenever it is looked at."""
    times = iter(range(100, 1000, 10))
    return Progress(lambda: next(times))


def test_a_log_says_how_many_findings_are_made_and_no_time(progress, capsys):
    progress.start(2)
    for name in "ab":
        progress.finding_made(name)
    assert capsys.readouterr().err == "a (1 of 2 findings)\nb (2 of 2 findings)\n"


def test_a_terminal_is_told_the_time_left_from_the_third_finding_to_the_last_but_one(progress, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress.start(5)
    for name in "abcde":
        progress.finding_made(name)
    assert capsys.readouterr().err.splitlines() == [
        "a (1 of 5 findings)",
        "b (2 of 5 findings)",
        "c (3 of 5 findings, about 7 s left)",
        "d (4 of 5 findings, about 5 s left)",
        "e (5 of 5 findings)",
    ]


def test_one_finding_alone_is_not_counted(progress, capsys):
    progress.start(1)
    progress.finding_made("a")
    assert capsys.readouterr().err == "a\n"


def test_a_quiet_run_says_nothing(progress, capsys):
    progress.quiet = True
    progress.start(2)
    progress.finding_made("a")
    progress.say("b")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "told"), [(0.2, "1 s"), (119, "119 s"), (150, "2 min"), (3600, "60 min")])
def test_a_time_is_told_in_seconds_and_from_two_minutes_on_in_minutes(seconds, told):
    assert duration(seconds) == told
