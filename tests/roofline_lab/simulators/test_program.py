"""A program that is asked: whatever it does costs the load point it does it at, and no other."""

from __future__ import annotations

import os
import sys
import time

import pytest

from roofline_lab.simulators import processes
from roofline_lab.simulators import program as programs
from roofline_lab.simulators.answers import read_answers
from roofline_lab.simulators.program import ask, version_of
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError
from tests.paths import ROOT
from tests.roofline_lab.simulators.samples import RIGHT, program, questions

SOURCE = "configs/simulators/mine.yaml"


def predictions(simulator, asked):
    """Return status, reason and metrics of every load point, in order."""
    heard = ask(simulator, ROOT, asked)
    assert set(heard) == {question.id for question in asked}
    found = []
    for question in asked:
        told = heard[question.id]
        said = read_answers(told.answers, question) if told.answers else None
        found.append((RowStatus.FAILED, told.failure, {}) if said is None else (said.status, said.reason, said.metrics))
    return found


def test_every_load_point_is_answered_by_one_process():
    found = predictions(program(), questions())
    assert found == [(RowStatus.OK, "", RIGHT)] * 5


@pytest.mark.parametrize(
    ("behaviour", "status", "reason"),
    [
        ("crashes", RowStatus.FAILED, "the program ended with code 7 before it answered; its last words: segmentation"),
        ("hangs", RowStatus.FAILED, "no answer within 3 s (timeout_s)"),
        ("silent", RowStatus.FAILED, "no answer: the program ended by itself after 4 of 5 load points"),
        ("rubbish", RowStatus.FAILED, "1 lines of its output are no answer, the first: Loading weights: 100 %"),
        ("seconds", RowStatus.FAILED, "metrics.ttft_mean.value: 0.08 ms is less than any server takes"),
        ("twice", RowStatus.FAILED, "answered 2 times"),
        ("unsupported", RowStatus.UNSUPPORTED, "no data for this GPU"),
    ],
)
def test_what_goes_wrong_at_the_third_load_point_is_its_row_and_nothing_else_is_lost(behaviour, status, reason):
    found = predictions(program(behaviour, timeout_s=3.0 if behaviour == "hangs" else 30.0), questions())
    assert found[2][0] is status
    assert reason in found[2][1]
    assert found[:2] + found[3:] == [(RowStatus.OK, "", RIGHT)] * 4


@pytest.mark.parametrize(
    ("behaviour", "lost", "reason"),
    [
        ("nan", {"ttft_mean"}, "metrics.ttft_mean.value: nan; expected is a finite number above 0"),
        ("seconds_said", set(RIGHT), "metrics.ttft_mean.unit: s; expected is 'ms'"),
    ],
)
def test_a_metric_that_is_no_number_costs_that_metric_alone(behaviour, lost, reason):
    asked = questions()
    heard = ask(program(behaviour), ROOT, asked)
    found = [read_answers(heard[question.id].answers, question) for question in asked]
    assert {name for name, _ in found[2].refused.items()} == lost
    assert reason in found[2].refused["ttft_mean"][1]
    assert dict(found[2].metrics) == {name: value for name, value in RIGHT.items() if name not in lost}
    assert all(dict(one.metrics) == RIGHT for place, one in enumerate(found) if place != 2)


def test_a_program_that_answers_one_load_point_a_start_is_started_for_each():
    found = predictions(program("crashes", batch=False), questions())
    assert found == [(RowStatus.OK, "", RIGHT)] * 5, "it crashes at the third question of a process alone"


def test_a_program_that_never_answers_is_not_started_for_ever(monkeypatch):
    monkeypatch.setattr(programs, "MOST_BARREN_STARTS", 2)
    words = (sys.executable, "-c", "import sys; sys.exit('no module named tensors')")
    found = predictions(program(run=words), questions())
    assert ["not asked any more: 2 starts in a row gave no answer" in reason for _, reason, _ in found] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert all("no module named tensors" in reason for _, reason, _ in found)


def test_a_program_that_floods_its_output_is_ended(monkeypatch):
    monkeypatch.setattr(programs, "MOST_RUBBISH", 50)
    words = (sys.executable, "-c", "while True: print('loading')")
    found = predictions(program(run=words), questions(1))
    assert "the program writes something else than answers" in found[0][1]


def test_neither_a_program_nor_what_it_started_outlives_the_call(tmp_path):
    script = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "os.close(1); time.sleep(600)\n"
    )
    found = predictions(program(run=(sys.executable, "-c", script), timeout_s=2.0), questions(1))
    assert "no answer" in found[0][1]
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    assert_ends(child)
    assert processes._running == set()


def assert_ends(pid):
    """Insist that a killed process goes; who adopts it may take a moment to notice."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:  # noqa: PTH123 - it may be gone by now
            if stat.read().rpartition(")")[2].split()[0] == "Z":
                return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} is still there")


def test_no_shell_ever_sees_the_words_of_a_command(tmp_path):
    proof = tmp_path / "proof"
    words = (sys.executable, "-c", "import sys; print(sys.argv[1])", f"$(touch {proof}); echo `touch {proof}`")
    assert version_of(program(version=words), ROOT, SOURCE) == words[3]
    assert not proof.exists()


def test_a_program_that_is_missing_is_told_with_file_and_field():
    with pytest.raises(ConfigError) as caught:
        version_of(program(version=("no-such-simulator", "--version")), ROOT, SOURCE)
    told = f"{SOURCE}: simulator.version: 'no-such-simulator' cannot be started: No such file or directory; install it"
    assert str(caught.value) == told
    found = predictions(program(run=("no-such-simulator",)), questions(1))
    assert found[0][1] == "'no-such-simulator' cannot be started: No such file or directory"


def test_the_version_is_the_first_line_a_program_says():
    assert version_of(program(), ROOT, SOURCE) == "fake 1.0"


@pytest.mark.parametrize("script", ["pass", "import sys; sys.exit('broken')"])
def test_a_program_that_does_not_say_its_version_is_told_what_a_right_answer_is(script):
    with pytest.raises(ConfigError, match="expected is one line on standard output that names the version, such as"):
        version_of(program(version=(sys.executable, "-c", script)), ROOT, SOURCE)


def test_a_version_that_never_comes_is_not_waited_for():
    words = (sys.executable, "-c", "import time; time.sleep(600)")
    with pytest.raises(ConfigError, match=r"did not end within 0\.5 s"):
        version_of(program(version=words, timeout_s=0.5), ROOT, SOURCE)
