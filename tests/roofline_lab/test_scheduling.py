"""Snakemake's scheduler looks at waiting jobs when there is a reason to, and says only what is of use."""

from __future__ import annotations

import logging

import pytest
from snakemake.logging import logger
from snakemake.scheduling.job_scheduler import JobScheduler

from roofline_lab import scheduling


@pytest.fixture
def looks(monkeypatch):
    """Return the delays after which the scheduler was asked to look again."""
    asked = []
    monkeypatch.setattr(JobScheduler, scheduling.REEVALUATE, lambda scheduler, delay: asked.append(delay))
    scheduling.stop_idle_rounds()
    return asked


def test_the_pinned_snakemake_has_the_method_that_is_held_back():
    assert callable(getattr(JobScheduler, scheduling.REEVALUATE))


def test_another_look_at_once_is_not_taken_and_one_later_is(looks):
    look_again = getattr(JobScheduler, scheduling.REEVALUATE)
    look_again(object(), 0)
    look_again(object(), 10)
    assert looks == [10]


def test_a_snakemake_without_the_method_is_left_alone(monkeypatch):
    monkeypatch.delattr(JobScheduler, scheduling.REEVALUATE)
    scheduling.stop_idle_rounds()
    assert not hasattr(JobScheduler, scheduling.REEVALUATE)


def test_lines_about_scheduling_rounds_are_dropped_and_others_are_not():
    before = list(logger.filters)
    try:
        scheduling.hush_scheduler()
        record = logging.LogRecord("snakemake", logging.INFO, "", 0, "Select jobs to execute...", (), None)
        other = logging.LogRecord("snakemake", logging.INFO, "", 0, "Nothing to be done.", (), None)
        assert (bool(logger.filter(record)), bool(logger.filter(other))) == (False, True)
    finally:
        for one in set(logger.filters) - set(before):
            logger.removeFilter(one)
