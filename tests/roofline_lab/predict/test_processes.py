"""Questions answered in several processes: the same answers, however many there are."""

from __future__ import annotations

import os

import pytest

from roofline_lab.predict.processes import answers
from simulator.errors import ConfigError


def squared(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def ended(number: int) -> int:
    os._exit(1)


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_every_question_is_answered_once_whatever_the_number_of_processes(jobs):
    found = dict(answers(squared, (5, 3, 8), jobs, (1, 2, 3)))
    assert {place: square for place, (square, _) in found.items()} == {0: 25, 1: 9, 2: 64}
    assert (os.getpid() in {process for _, process in found.values()}) is (jobs == 1)


def test_no_question_has_no_answer():
    assert list(answers(squared, (), 4, ())) == []


def test_a_process_that_is_ended_from_outside_is_told_of():
    with pytest.raises(ConfigError, match="ended from outside, perhaps for memory; try --jobs 1"):
        list(answers(ended, (1, 2), 2, (1, 1)))
