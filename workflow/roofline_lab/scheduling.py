"""What Snakemake's scheduler does that costs this project time or lines, and how it is kept from it.

Both functions touch Snakemake's own objects, so they live here and nowhere else; each says what it
relies on, and does nothing where that is not there.
"""

from __future__ import annotations

from snakemake.logging import logger
from snakemake.scheduling.job_scheduler import JobScheduler

CHATTER = ("Select jobs to execute", "Execute ", "Using shell", "Assuming unrestricted")
REEVALUATE = "_schedule_reevalutation"


def hush_scheduler() -> None:
    """Drop Snakemake's two lines per scheduling round, which no verbosity setting of it covers."""
    logger.addFilter(lambda record: not str(record.msg).startswith(CHATTER))


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
