"""The processes in which a run computes: as many as it may use cores, each knowing the project as it was read.

Snakemake runs jobs as threads of one process, of which only one computes at a time. So a job asks here for what it
needs and waits. Whatever is asked for twice, by two jobs or two pages, is computed once; what comes back is the same
whatever the number of processes.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.connection import wait
from typing import Any

from roofline_lab.project import Project

# What a worker works on; set once, when it starts.
_own = threading.local()


class Workers:
    """Answers of one run, and the processes that work them out.

    Until `start` is called, or with a single core, a thread of this process works everything out.

    Attributes
    ----------
    project
        What questions are about.
    reuse
        Rows of an earlier run that still stand need not be simulated again.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.reuse = False
        self._answers: dict[Hashable, Future[Any]] = {}
        self._lock = threading.Lock()
        self._pool: Executor = ThreadPoolExecutor(1, initializer=_begin_here, initargs=(project,))

    def start(self, cores: int, *, reuse: bool) -> None:
        """Start the processes.

        They are copies of this one, so it must have read the project, and it must not yet have threads that compute.
        Where the system cannot copy a process, there are none.
        """
        self.reuse = reuse
        if cores < 2 or "fork" not in multiprocessing.get_all_start_methods():
            return
        gc.freeze()  # A collection in a copy would touch, and so copy, every page of memory it shares.
        fork = multiprocessing.get_context("fork")
        self._pool = ProcessPoolExecutor(cores, fork, initializer=_begin, initargs=(self.project,))
        self._pool.submit(os.getpid).result()

    def stop(self) -> None:
        """End the processes, once what they work on is done."""
        self._pool.shutdown(cancel_futures=True)

    def ask(self, key: Hashable, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Return the promise of `function(project, *arguments)`, a known one if the key was asked for before.

        Parameters
        ----------
        key
            Names the answer; equal keys must have equal answers.
        function
            Of a module's top level; arguments and answer travel between processes.
        """
        with self._lock:
            if key not in self._answers:
                self._answers[key] = self._pool.submit(_answer, function, arguments)
            return self._answers[key]


def _begin(project: Project) -> None:
    """Set up a worker process: it ends at once when interrupted, without a word, and never outlives its parent."""
    _own.project = project
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _begin_here(project: Project) -> None:
    """Set up the thread that stands in for processes."""
    _own.project = project


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(_own.project, *arguments)
