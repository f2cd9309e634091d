"""When requests reach the waiting queue: at given times, or as earlier ones finish."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from simulator.engine.records import Request

# Time of entering the waiting queue, time of arrival, place in the caller's list.
Arrival = tuple[int, int, int]


class Arrivals:
    """Requests on their way to the waiting queue.

    Attributes
    ----------
    next_us
        Time at which the next request enters the waiting queue; None if none is on its way.
    """

    def __init__(self) -> None:
        self.next_us: int | None = None

    def take(self) -> Arrival:
        """Remove and return the next request."""
        raise NotImplementedError

    def release(self, now_us: int) -> None:
        """Note that a request is done (completed or dropped)."""
        raise NotImplementedError

    def remaining(self) -> list[Arrival]:
        """Return every request that was released but not taken, in order of arrival."""
        raise NotImplementedError


class OpenLoop(Arrivals):
    """Requests that arrive at their own `arrival_us`, whatever the server does."""

    def __init__(self, requests: Sequence[Request]) -> None:
        super().__init__()
        self._arrivals: list[Arrival] = [
            (request.arrival_us + request.queueing_delay_us, request.arrival_us, index)
            for index, request in enumerate(requests)
        ]
        self._arrivals.sort()
        self._taken = 0
        self._look()

    def take(self) -> Arrival:
        """Remove and return the next request."""
        arrival = self._arrivals[self._taken]
        self._taken += 1
        self._look()
        return arrival

    def release(self, now_us: int) -> None:
        """Ignore that a request is done."""

    def remaining(self) -> list[Arrival]:
        """Return every request not taken."""
        return self._arrivals[self._taken :]

    def _look(self) -> None:
        self.next_us = self._arrivals[self._taken][0] if self._taken < len(self._arrivals) else None


class ClosedLoop(Arrivals):
    """A fixed number of clients, each sending its next request as soon as its last one is done.

    Client k of n sends its first request at `ramp_us * k / n`: all at once where there is no ramp.
    """

    def __init__(self, requests: Sequence[Request], concurrency: int, ramp_us: int = 0) -> None:
        super().__init__()
        self._requests = requests
        self._released = 0
        self._arrivals: list[Arrival] = []
        for client in range(min(concurrency, len(requests))):
            self.release(ramp_us * client // concurrency)

    def take(self) -> Arrival:
        """Remove and return the next request."""
        arrival = heappop(self._arrivals)
        self.next_us = self._arrivals[0][0] if self._arrivals else None
        return arrival

    def release(self, now_us: int) -> None:
        """Let the next request of the list arrive now, if there is one."""
        if self._released == len(self._requests):
            return
        delay_us = self._requests[self._released].queueing_delay_us
        heappush(self._arrivals, (now_us + delay_us, now_us, self._released))
        self._released += 1
        self.next_us = self._arrivals[0][0]

    def remaining(self) -> list[Arrival]:
        """Return every request released but not taken."""
        return sorted(self._arrivals)
