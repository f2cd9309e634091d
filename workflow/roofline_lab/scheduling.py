"""What Snakemake's scheduler does that costs this project time or lines, and how it is kept from it.

These functions touch Snakemake's own objects, so they live here and nowhere else; each says what it
relies on, and does nothing where that is not there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice
from types import FrameType
from typing import Any

from snakemake.logging import logger
from snakemake.scheduling.job_scheduler import JobScheduler

CHATTER = ("Select jobs to execute", "Execute ", "Using shell", "Assuming unrestricted")
NOTHING_TO_BE_DONE = "Nothing to be done"
REASONS = "print_reasons"
REEVALUATE = "_schedule_reevalutation"
# Ready jobs among which the scheduler chooses in one round; more than most machines have cores.
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


def keep_handlers(workflow: Any) -> None:
    """Let what is to happen at the start and after success happen where these rules are another workflow's module too.

    Of a module Snakemake only leaves the handlers among the module's names; those of the workflow itself come first.
    """
    if workflow.modifier.is_main_snakefile():
        return
    for name in ("onstart", "onsuccess"):
        own, ours = getattr(workflow, f"_{name}", None), workflow.globals.get(name)
        if own is not None and hasattr(ours, "func"):
            setattr(workflow, f"_{name}", _one_after_the_other(own, ours.func))


def _one_after_the_other(first: Callable[[str], None], then: Callable[[str], None]) -> Callable[[str], None]:
    def both(log: str) -> None:
        first(log)
        then(log)

    return both


def end_at_once(end: Callable[[int, FrameType | None], None]) -> None:
    """Let SIGTERM end a run at once, as SIGINT does: the scheduler would finish what is running, and exit with 0."""
    JobScheduler.exit_gracefully = lambda scheduler, number, frame=None: end(number, frame)


def choose_among_few() -> None:
    """Let each round of the scheduler look at a few ready jobs instead of all of them, and at no input's size.

    A round costs time with every job it looks at, and only as many start as there are free cores. All have the same
    priority, and sizes decide about temporary files alone, of which there are none.
    """
    if not hasattr(JobScheduler, "open_jobs") or not hasattr(JobScheduler, "update_input_sizes"):
        return

    def few_open_jobs(scheduler: JobScheduler) -> list[Any]:
        return list(islice(scheduler.workflow.dag.ready_jobs, OFFERED))

    async def no_sizes(scheduler: JobScheduler, jobs: Iterable[Any]) -> None:
        """Ask for nothing."""

    JobScheduler.open_jobs = property(few_open_jobs)
    JobScheduler.update_input_sizes = no_sizes
