"""Questions that do not depend on each other, answered in several processes.

Contract: answers are the same whatever the number of processes; only the order in which they come differs. Every
process is given all questions when it starts, so that what they share travels once or, where a process is a copy of
this one, not at all.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from simulator.errors import ConfigError

Question = TypeVar("Question")
Answer = TypeVar("Answer")

# What a process of the pool works on; set once, when it starts.
_own: dict[str, Any] = {}


def answers(
    function: Callable[[Question], Answer], questions: Sequence[Question], jobs: int, weights: Sequence[int]
) -> Iterator[tuple[int, Answer]]:
    """Yield place and answer of every question as it is answered.

    Parameters
    ----------
    function
        Of a module's top level; answers travel between processes.
    jobs
        Processes; with one, this process answers in order.
    weights
        How much work each question is, in any unit: the largest are answered first, so that none is left for the end.

    Raises
    ------
    ConfigError
        If a process is ended from outside.
    """
    processes = min(jobs, len(questions))
    if processes <= 1:
        yield from ((place, function(question)) for place, question in enumerate(questions))
        return
    try:
        with ProcessPoolExecutor(processes, initializer=_begin, initargs=(function, questions)) as pool:
            yield from _as_answered(pool, weights)
    except BrokenProcessPool:
        raise ConfigError("a worker process was ended from outside, perhaps for memory; try --jobs 1") from None


def _as_answered(pool: ProcessPoolExecutor, weights: Sequence[int]) -> Iterator[tuple[int, Any]]:
    largest_first = sorted(range(len(weights)), key=lambda place: -weights[place])
    places = {pool.submit(_answer, place): place for place in largest_first}
    try:
        for future in as_completed(places):
            yield places[future], future.result()
    finally:
        for future in places:
            future.cancel()


def _begin(function: Callable[..., Any], questions: Sequence[Any]) -> None:
    """Let the main process alone answer an interrupt, and search no cycles: runs leave none, and the search is long."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    _own.update(function=function, questions=questions)


def _answer(place: int) -> Any:
    return _own["function"](_own["questions"][place])
