"""Snakemake's scheduler looks at waiting jobs when there is a reason to, and says only what is of use."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from types import SimpleNamespace

import pytest
from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.logging import logger
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.settings.types import GroupSettings

from roofline_lab import scheduling
from roofline_lab.simulators import processes


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

    def __init__(self, jobs, free=2):
        self.resources = {"_cores": free}
        self.workflow = type("Workflow", (), {"dag": _Dag(jobs)})()


@pytest.fixture
def few(monkeypatch):
    """Return the scheduler's own method and property, patched for one test."""
    monkeypatch.setattr(JobScheduler, "open_jobs", JobScheduler.open_jobs)
    monkeypatch.setattr(JobScheduler, "update_input_sizes", JobScheduler.update_input_sizes)
    scheduling.choose_among_few(lambda job: -job)
    return JobScheduler


@pytest.mark.parametrize(
    ("free", "offered"), [(0, 1), (2, 2), (64, scheduling.OFFERED), (sys.maxsize, scheduling.OFFERED)]
)
def test_a_round_is_offered_the_first_ready_jobs_as_many_as_there_are_free_cores(few, free, offered):
    jobs = set(range(10 * scheduling.OFFERED))
    assert few.open_jobs.fget(_Scheduler(jobs, free)) == sorted(jobs, reverse=True)[:offered]


def test_a_round_asks_for_no_size(few):
    jobs = {1, 2}
    scheduler = _Scheduler(jobs)
    assert asyncio.run(few.update_input_sizes(scheduler, jobs)) is None
    assert scheduler._input_sizes["of any file"] == 0


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


class _Executor:
    use_threads = False

    def __init__(self, jobs=()):
        self.active_jobs, self.cancelled = list(jobs), []

    def cancel_jobs(self, jobs):
        self.cancelled += jobs


@pytest.fixture
def begun(monkeypatch):
    """Return a function that lets a scheduler begin: what was done before its first job, and its executor."""
    acted = []
    monkeypatch.setattr(JobScheduler, "schedule", lambda scheduler: acted.append("scheduled"))
    scheduling.at_start(lambda workflow: acted.append("begun"))

    def begin(*, dryrun=False, remote=False, local=True):
        workflow = SimpleNamespace(remote_exec=remote, local_exec=local)
        scheduler = SimpleNamespace(dryrun=dryrun, workflow=workflow, _executor=_Executor())
        JobScheduler.schedule(scheduler)
        return list(acted), scheduler._executor.use_threads

    return begin


@pytest.mark.parametrize("remote", [False, True])
def test_a_process_begins_before_its_first_job_that_of_a_submission_too(begun, remote):
    assert begun(remote=remote)[0] == ["begun", "scheduled"]


def test_a_look_ahead_begins_nothing(begun):
    assert begun(dryrun=True)[0] == ["scheduled"]


def test_jobs_of_a_submission_run_in_its_own_process_and_not_in_one_each(begun):
    assert begun(remote=True)[1]
    assert not begun(remote=True, local=False)[1]
    assert not begun()[1]


@pytest.fixture
def graph_class():
    """Return Snakemake's graph of jobs; its modules import one another in a circle, so this one first."""
    importlib.import_module("snakemake.workflow")
    return importlib.import_module("snakemake.dag").DAG


@pytest.mark.parametrize(
    ("remote", "local", "together"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_jobs_that_were_submitted_together_are_run_together(monkeypatch, graph_class, remote, local, together):
    seen = []
    monkeypatch.setattr(graph_class, scheduling.GROUP_COMPONENTS, lambda dag: seen.append(dag.workflow.group_settings))
    scheduling.keep_submissions_whole()
    workflow = SimpleNamespace(remote_exec=remote, local_exec=local, group_settings=GroupSettings())
    jobs = [SimpleNamespace(group="surfaces"), SimpleNamespace(group=None)]
    getattr(graph_class, scheduling.GROUP_COMPONENTS)(SimpleNamespace(workflow=workflow, needrun_jobs=lambda: jobs))
    assert dict(seen[0].group_components) == ({"surfaces": sys.maxsize} if together else {})


def test_the_pinned_snakemake_has_what_puts_jobs_together(graph_class):
    assert callable(getattr(graph_class, scheduling.GROUP_COMPONENTS))


def test_an_interrupted_run_takes_back_what_it_handed_to_a_cluster(monkeypatch):
    executor = _Executor(["submitted"])
    workflow = SimpleNamespace(scheduler=SimpleNamespace(_executor=executor))
    monkeypatch.setattr(processes, "_elsewhere", [])
    processes.end_elsewhere_too(lambda: scheduling.cancel_submitted(workflow))
    processes.end_all()
    assert executor.cancelled == ["submitted"]


@pytest.mark.parametrize("scheduler", [None, SimpleNamespace(_executor=object())])
def test_nothing_is_taken_back_where_nothing_was_handed_over(scheduler):
    scheduling.cancel_submitted(SimpleNamespace(scheduler=scheduler))
