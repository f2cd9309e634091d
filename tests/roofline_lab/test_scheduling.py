"""Snakemake's scheduler looks at waiting jobs when there is a reason to, and says only what is of use."""

from __future__ import annotations

import asyncio
import importlib
import logging

import pytest
from snakemake.common import NOTHING_TO_BE_DONE_MSG
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


class _Dag:
    def __init__(self, jobs):
        self.ready_jobs = jobs


class _Scheduler:
    """What the patched methods see of a scheduler."""

    def __init__(self, jobs):
        self.workflow = type("Workflow", (), {"dag": _Dag(jobs)})()


@pytest.fixture
def few(monkeypatch):
    """Return the scheduler's own method and property, patched for one test."""
    monkeypatch.setattr(JobScheduler, "open_jobs", JobScheduler.open_jobs)
    monkeypatch.setattr(JobScheduler, "update_input_sizes", JobScheduler.update_input_sizes)
    scheduling.choose_among_few()
    return JobScheduler


def test_a_round_chooses_among_a_few_ready_jobs_and_asks_for_no_size(few):
    jobs = set(range(10 * scheduling.OFFERED))
    offered = few.open_jobs.fget(_Scheduler(jobs))
    assert len(offered) == scheduling.OFFERED
    assert set(offered) <= jobs
    assert asyncio.run(few.update_input_sizes(_Scheduler(jobs), jobs)) is None


def test_a_job_that_is_ready_alone_is_offered_and_none_is_where_none_is_ready(few):
    assert few.open_jobs.fget(_Scheduler({7})) == [7]
    assert few.open_jobs.fget(_Scheduler(set())) == []


def test_a_run_that_finds_nothing_to_be_done_tells_who_asked():
    before, told = list(logger.filters), []
    try:
        scheduling.when_nothing_is_to_be_done(lambda: told.append(True))
        for line in ("Building DAG of jobs...", f"{NOTHING_TO_BE_DONE_MSG}"):
            assert logger.filter(logging.LogRecord("snakemake", logging.INFO, "", 0, line, (), None))
        assert told == [True]
    finally:
        for one in set(logger.filters) - set(before):
            logger.removeFilter(one)


def test_a_look_ahead_ends_with_what_the_laboratory_says_of_the_jobs(monkeypatch):
    importlib.import_module("snakemake.cli")
    graphs = importlib.import_module("snakemake.dag").DAG
    told = []
    monkeypatch.setattr(graphs, scheduling.REASONS, getattr(graphs, scheduling.REASONS))
    scheduling.tell_reasons(lambda graph: told.append(graph))
    graph = graphs.__new__(graphs)
    graph.print_reasons()
    assert told == [graph]
