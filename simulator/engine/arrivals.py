"""When requests reach the waiting queue: at given times, or as earlier ones finish."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from simulator.engine.records import Request

# Later than any arrival or horizon, yet no number that takes more than a machine word.
NEVER_US = 1 << 60
# Time of entering the waiting queue, time of arrival, place in the caller's list.
Arrival = tuple[int, int, int]


class Arrivals:
    """Requests on their way to the waiting queue.

    Attributes
    ----------
    next_us
        Time at which the next request enters the waiting queue; None if none is on its way.
    known_until_us
        Nobody knows yet what comes from then on, so no step may start then or later.
    """

    def __init__(self) -> None:
        self.next_us: int | None = None
        self.known_until_us = NEVER_US

    def take(self) -> Arrival:
        """Remove and return the next request."""
        raise NotImplementedError

    def release(self, index: int, now_us: int) -> None:
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

    def release(self, index: int, now_us: int) -> None:
        """Ignore that a request is done."""

    def remaining(self) -> list[Arrival]:
        """Return every request not taken."""
        return self._arrivals[self._taken :]

    def _look(self) -> None:
        self.next_us = self._arrivals[self._taken][0] if self._taken < len(self._arrivals) else None


class Released(Arrivals):
    """Requests that come when others are done: turns of sessions, or whatever a client of a closed loop sends next."""

    def __init__(self, requests: Sequence[Request]) -> None:
        super().__init__()
        self._requests = requests
        self._arrivals: list[Arrival] = []
        self._first, self._next_turn = _turns(requests)

    def take(self) -> Arrival:
        """Remove and return the next request."""
        arrival = heappop(self._arrivals)
        self.next_us = self._arrivals[0][0] if self._arrivals else None
        return arrival

    def release(self, index: int, now_us: int) -> None:
        """Let the next turn of the session arrive when the user has read the answer, if there is one."""
        following = self._next_turn.get(index)
        if following is not None:
            self._send(following, now_us + self._requests[following].think_us)

    def remaining(self) -> list[Arrival]:
        """Return every request released but not taken."""
        return sorted(self._arrivals)

    def _send(self, index: int, arrival_us: int) -> None:
        heappush(self._arrivals, (arrival_us + self._requests[index].queueing_delay_us, arrival_us, index))
        self.next_us = self._arrivals[0][0]


class OpenSessions(Released):
    """Sessions that begin at the `arrival_us` of their first turns."""

    def __init__(self, requests: Sequence[Request]) -> None:
        super().__init__(requests)
        for index in self._first:
            self._send(index, requests[index].arrival_us)


class ClosedLoop(Released):
    """A fixed number of clients, each sending its next request, or beginning a session, when its last one is done.

    Client k of n sends its first request at `ramp_us * k / n`: all at once where there is no ramp.
    """

    def __init__(self, requests: Sequence[Request], concurrency: int, ramp_us: int = 0) -> None:
        super().__init__(requests)
        self._begun = 0
        for client in range(min(concurrency, len(self._first))):
            self._begin(ramp_us * client // concurrency)

    def release(self, index: int, now_us: int) -> None:
        """Let the next turn of the session, or behind its last one the next session of the list, arrive."""
        if index in self._next_turn:
            super().release(index, now_us)
        else:
            self._begin(now_us)

    def _begin(self, now_us: int) -> None:
        if self._begun < len(self._first):
            self._begun += 1
            self._send(self._first[self._begun - 1], now_us)


def arrivals_of(requests: Sequence[Request], concurrency: int | None, ramp_us: int) -> Arrivals:
    """Return how requests come: in a closed loop of so many clients, or (None) at their own times."""
    if concurrency is not None:
        return ClosedLoop(requests, concurrency, ramp_us)
    has_sessions = any([request.session is not None for request in requests])
    return OpenSessions(requests) if has_sessions else OpenLoop(requests)


def _turns(requests: Sequence[Request]) -> tuple[list[int], dict[int, int]]:
    """Return which requests wait for no other, and of those with a later turn, which one that is."""
    first: list[int] = []
    next_turn: dict[int, int] = {}
    last_turn: dict[str, int] = {}
    for index, request in enumerate(requests):
        session = request.session
        if session is None or session not in last_turn:
            first.append(index)
        else:
            next_turn[last_turn[session]] = index
        if session is not None:
            last_turn[session] = index
    return first, next_turn
