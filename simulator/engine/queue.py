"""Requests that wait for admission, in the scheduler's order.

Every queue is used like a deque: `append` what has arrived, `appendleft` what was preempted, look at
`[0]` and `popleft` it. First come, first served is a deque; the other orders are a heap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Protocol

from simulator.engine.running_request import RunningRequest

Key = tuple[int, int, str]


class WaitingQueue(Protocol):
    """The part of a deque's interface that admission needs."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[RunningRequest]: ...

    def __getitem__(self, index: int, /) -> RunningRequest: ...

    def append(self, live: RunningRequest, /) -> None:
        """Add a request that has arrived."""
        ...

    def appendleft(self, live: RunningRequest, /) -> None:
        """Add a request that was preempted."""
        ...

    def popleft(self) -> RunningRequest:
        """Remove and return the request to be admitted next."""
        ...


class SortedQueue:
    """In the order of a key that never changes while a request waits, preempted or not."""

    def __init__(self, key: Callable[[RunningRequest], Key]) -> None:
        self._key = key
        self._heap: list[tuple[Key, RunningRequest]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[RunningRequest]:
        return (live for _, live in self._heap)

    def __getitem__(self, index: int, /) -> RunningRequest:
        """Return the request with the smallest key; only `[0]` has a meaning."""
        return self._heap[index][1]

    def append(self, live: RunningRequest, /) -> None:
        """Add a request; ids are unique, so keys never tie."""
        heappush(self._heap, (self._key(live), live))

    appendleft = append

    def popleft(self) -> RunningRequest:
        """Remove and return the request with the smallest key."""
        return heappop(self._heap)[1]


def waiting_queue(scheduler: str) -> WaitingQueue:
    """Return the empty queue of the scheduler option (see `EngineOptions.scheduler`)."""
    if scheduler == "shortest_job":
        return SortedQueue(lambda live: (live.request.prompt_tokens, live.arrival_us, live.request.id))
    if scheduler == "priority":
        return SortedQueue(lambda live: (-live.request.priority, live.arrival_us, live.request.id))
    return deque()
