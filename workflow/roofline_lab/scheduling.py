"""What Snakemake's scheduler does that costs this project time or lines, and how it is kept from it.

These functions touch Snakemake's own objects, so they live here and nowhere else; each says what it
relies on, and does nothing where that is not there.
"""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from heapq import nsmallest
from types import FrameType
from typing import Any

from snakemake.logging import logger
from snakemake.scheduling.job_scheduler import JobScheduler

CHATTER = ("Select jobs to execute", "Execute ", "Using shell", "Assuming unrestricted")
NOTHING_TO_BE_DONE = "Nothing to be done"
REASONS = "print_reasons"
GROUP_COMPONENTS = "_update_group_components"
REEVALUATE = "_schedule_reevalutation"
# Most ready jobs among which the scheduler chooses in one round.
OFFERED = 16


def hush_scheduler() -> None:
    """Drop Snakemake's two lines per scheduling round, which no verbosity setting of it covers."""
    logger.addFilter(lambda record: not str(record.msg).startswith(CHATTER))


def when_nothing_is_to_be_done(act: Callable[[], None]) -> None:
    """Call a function when Snakemake finds that all is made: it has a hook for a successful run, but none for this."""

    def seen(record: logging.LogRecord) -> bool:
        if str(record.msg).startswith(NOTHING_TO_BE_DONE):
            act()
        return True

    logger.addFilter(seen)


def tell_reasons(tell: Callable[[Any], None]) -> None:
    """Let a look ahead end with what a function says of the graph of jobs, in place of reasons by the name of rules."""
    # Imported here because Snakemake itself has to be loaded before: its modules import one another in a circle.
    from snakemake.dag import DAG

    if hasattr(DAG, REASONS):
        setattr(DAG, REASONS, tell)


def stop_idle_rounds() -> None:
    """Let the scheduler look at the waiting jobs when one ends, and not all the time in between.

    Its rate limiter asks for another look after every look, one timespan later, as long as jobs wait; the
    profile's timespan is zero, because the limiter would otherwise outlive the last job. With hundreds of
    jobs waiting these looks take half of the program's time and cannot find anything: a rate limit over no
    time is never reached, and a job that ends asks for a look itself.
    """
    original = getattr(JobScheduler, REEVALUATE, None)
    if original is None:
        return

    def look_again(scheduler: JobScheduler, delay: float) -> None:
        if delay > 0:
            original(scheduler, delay)

    setattr(JobScheduler, REEVALUATE, look_again)


def at_start(act: Callable[[Any], None]) -> None:
    """Call a function before the first job, in the process of the user as in one that runs a submission to a cluster.

    Snakemake's own hook is not called in the second kind, nor where these rules are another workflow's module. Jobs of
    a submission are threads of its process; Snakemake would start a process for each, which loads the project again.

    Parameters
    ----------
    act
        Is given the workflow.
    """
    original = JobScheduler.schedule

    def begin(scheduler: JobScheduler) -> Any:
        if not scheduler.dryrun:
            if scheduler.workflow.remote_exec and scheduler.workflow.local_exec:
                scheduler._executor.use_threads = True
            act(scheduler.workflow)
        return original(scheduler)

    JobScheduler.schedule = begin


def keep_submissions_whole() -> None:
    """Let a machine of a cluster run what was submitted together in one process, also jobs that have no file in common.

    It is not told how many of them were put together, so it would run one after the other, each in a process that
    loads the project again and uses one core.
    """
    # Imported here because Snakemake itself has to be loaded before: its modules import one another in a circle.
    from snakemake.dag import DAG

    original = getattr(DAG, GROUP_COMPONENTS, None)
    if original is None:
        return

    def together(dag: Any) -> None:
        workflow = dag.workflow
        if workflow.remote_exec and not workflow.local_exec:
            groups = {job.group: sys.maxsize for job in dag.needrun_jobs() if job.group is not None}
            workflow.group_settings = replace(workflow.group_settings, group_components=groups)
        original(dag)

    setattr(DAG, GROUP_COMPONENTS, together)


def cancel_submitted(workflow: Any) -> None:
    """Take back what was handed to a cluster and has not ended; does nothing where everything runs on this machine."""
    executor = getattr(workflow.scheduler, "_executor", None)
    if hasattr(executor, "cancel_jobs"):
        executor.cancel_jobs(list(executor.active_jobs))


def keep_handlers(workflow: Any) -> None:
    """Let what is to happen after success happen where these rules are another workflow's module too.

    Of a module Snakemake only leaves the handler among the module's names; that of the workflow itself comes first.
    """
    if workflow.modifier.is_main_snakefile():
        return
    own, ours = getattr(workflow, "_onsuccess", None), workflow.globals.get("onsuccess")
    if own is not None and hasattr(ours, "func"):
        workflow._onsuccess = _one_after_the_other(own, ours.func)


def _one_after_the_other(first: Callable[[str], None], then: Callable[[str], None]) -> Callable[[str], None]:
    def both(log: str) -> None:
        first(log)
        then(log)

    return both


def end_at_once(end: Callable[[int, FrameType | None], None]) -> None:
    """Let SIGTERM end a run at once, as SIGINT does: the scheduler would finish what is running, and exit with 0."""
    JobScheduler.exit_gracefully = lambda scheduler, number, frame=None: end(number, frame)


def choose_among_few(place: Callable[[Any], int]) -> None:
    """Let each round of the scheduler look at the first few ready jobs instead of all, and at no input's size.

    A round costs time with every job it looks at, and only as many start as there are free cores; were it offered more,
    it would choose among them in no order. Sizes decide about temporary files alone, of which there are none.

    Parameters
    ----------
    place
        Of a job in the order in which they are to be done.
    """
    if not hasattr(JobScheduler, "open_jobs") or not hasattr(JobScheduler, "update_input_sizes"):
        return

    def few_open_jobs(scheduler: JobScheduler) -> list[Any]:
        free = max(1, min(OFFERED, scheduler.resources["_cores"]))
        return nsmallest(free, scheduler.workflow.dag.ready_jobs, key=place)

    async def no_sizes(scheduler: JobScheduler, jobs: Iterable[Any]) -> None:
        """Ask for nothing; profiles, which say that sizes count for nothing, do not hold on machines of a cluster."""
        scheduler._input_sizes = defaultdict(int)

    JobScheduler.open_jobs = property(few_open_jobs)
    JobScheduler.update_input_sizes = no_sizes
