"""Requests that wait for admission, in the scheduler's order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Protocol

from simulator.engine.state import Live

Key = tuple[int, int, str]


class WaitingQueue(Protocol):
    """Requests in the order in which they will be admitted."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Live]: ...

    def add(self, live: Live) -> None:
        """Add a request that has arrived."""
        ...

    def put_back(self, live: Live) -> None:
        """Add a request that was preempted."""
        ...

    def head(self) -> Live:
        """Return the request to be admitted next."""
        ...

    def pop(self) -> Live:
        """Remove and return the request to be admitted next."""
        ...


class FirstComeQueue:
    """In order of arrival; preempted requests go to the front."""

    def __init__(self) -> None:
        self._queue: deque[Live] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Live]:
        return iter(self._queue)

    def add(self, live: Live) -> None:
        """Add a request at the end."""
        self._queue.append(live)

    def put_back(self, live: Live) -> None:
        """Add a request in front."""
        self._queue.appendleft(live)

    def head(self) -> Live:
        """Return the request that waits in front."""
        return self._queue[0]

    def pop(self) -> Live:
        """Remove and return the request that waits in front."""
        return self._queue.popleft()


class SortedQueue:
    """In the order of a key that never changes while a request waits, preempted or not."""

    def __init__(self, key: Callable[[Live], Key]) -> None:
        self._key = key
        self._heap: list[tuple[Key, Live]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Live]:
        return (live for _, live in self._heap)

    def add(self, live: Live) -> None:
        """Add a request; ids are unique, so keys never tie."""
        heappush(self._heap, (self._key(live), live))

    put_back = add

    def head(self) -> Live:
        """Return the request with the smallest key."""
        return self._heap[0][1]

    def pop(self) -> Live:
        """Remove and return the request with the smallest key."""
        return heappop(self._heap)[1]


def waiting_queue(scheduler: str) -> WaitingQueue:
    """Return the empty queue of the scheduler option (see `EngineOptions.scheduler`)."""
    if scheduler == "shortest_job":
        return SortedQueue(lambda live: (live.request.prompt_tokens, live.arrival_us, live.request.id))
    if scheduler == "priority":
        return SortedQueue(lambda live: (-live.request.priority, live.arrival_us, live.request.id))
    return FirstComeQueue()
