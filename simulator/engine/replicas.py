"""Several servers with the same model behind a router that sends every request to one of them.

Exact in time: a request is routed when every server has come to its arrival, so that the router sees what is in flight
then, and a server never takes a step without the requests that had come before it. What happens at one server changes
no step of another but through the requests that are sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import fields, replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from simulator.engine.arrivals import NEVER_US, Arrival, Arrivals, OpenLoop
from simulator.engine.grouped_server import GroupedServer
from simulator.engine.records import ReplicaShare, Request, RequestResult, RunCounters, RunResult, StepRecord
from simulator.engine.run_statistics import RunStatistics, ordered_gaps
from simulator.engine.server import Server
from simulator.steptime.base import StepTimeModel

if TYPE_CHECKING:
    from simulator.engine.options import EngineOptions

# Totals of servers that are no sums.
LARGEST = ("peak_kv_blocks", "end_us")
# Time of a completion, place of the server, place of the request in the caller's list.
Completion = tuple[int, int, int]


class Inbox(Arrivals):
    """Requests that a router has sent to one server."""

    def __init__(self, place: int, completions: list[Completion], waits_for_completions: bool) -> None:
        super().__init__()
        self._place = place
        self._completions = completions
        self._waits = waits_for_completions
        self._arrivals: deque[Arrival] = deque()

    def put(self, arrival: Arrival) -> None:
        """Send a request; they come in order of time."""
        self._arrivals.append(arrival)
        self.next_us = self._arrivals[0][0]

    def take(self) -> Arrival:
        """Remove and return the next request."""
        arrival = self._arrivals.popleft()
        self.next_us = self._arrivals[0][0] if self._arrivals else None
        return arrival

    def release(self, index: int, now_us: int) -> None:
        """Note for the router that a request is done; where that lets another come, it may come here."""
        heappush(self._completions, (now_us, self._place, index))
        if self._waits and now_us < self.known_until_us:
            self.known_until_us = now_us

    def remaining(self) -> list[Arrival]:
        """Return every request that was sent but not taken."""
        return list(self._arrivals)


class Router:
    """Sends requests in turn.

    Attributes
    ----------
    in_flight
        Requests that each server was sent and has not completed (or dropped) yet.
    """

    def __init__(self, replicas: int, load_factor: float) -> None:
        self.in_flight = [0] * replicas
        self.load_factor = load_factor
        self._last = -1

    def choose(self, request: Request) -> int:
        """Return the place of the server that a request is sent to."""
        self._last = (self._last + 1) % len(self.in_flight)
        return self._last


class LeastRequests(Router):
    """Sends a request where the fewest are in flight; of several, to the next in turn."""

    def choose(self, request: Request) -> int:
        """Return the place of the server that a request is sent to."""
        least, replicas = min(self.in_flight), len(self.in_flight)
        self._last = (self._last + 1) % replicas
        while self.in_flight[self._last] != least:
            self._last = (self._last + 1) % replicas
        return self._last


class PrefixAware(LeastRequests):
    """Sends a request where its session or prefix group was sent last, unless too many are in flight there.

    Too many: with the new request, more than `load_factor` times as many as where the fewest are. Then, and for what
    nobody has seen yet or belongs to no group, as `LeastRequests`.
    """

    def __init__(self, replicas: int, load_factor: float) -> None:
        super().__init__(replicas, load_factor)
        self._home: dict[tuple[str | None, str | None], int] = {}

    def choose(self, request: Request) -> int:
        """Return the place of the server that a request is sent to."""
        group = None if request.session is not None else request.prefix_group
        home = self._home.get((request.session, group), -1)
        least = min(self.in_flight)
        if home < 0 or self.in_flight[home] + 1 > self.load_factor * (least + 1):
            home = super().choose(request)
        if request.session is not None or group is not None:
            self._home[request.session, group] = home
        return home


def router_of(name: str, replicas: int, load_factor: float) -> Router:
    """Return the router of the option (see `EngineOptions.router`)."""
    if name == "least_requests":
        return LeastRequests(replicas, load_factor)
    if name == "prefix_aware":
        return PrefixAware(replicas, load_factor)
    return Router(replicas, load_factor)


class Replicas:
    """One run in progress of several servers."""

    def __init__(
        self,
        requests: Sequence[Request],
        arrivals: Arrivals,
        step_time: StepTimeModel,
        options: EngineOptions,
        statistics: Sequence[RunStatistics],
    ) -> None:
        self._requests = requests
        self._arrivals = arrivals
        self._horizon_us = options.horizon_us
        self._router = router_of(options.router, options.replicas, options.router_load_factor)
        self._sent: list[list[int]] = [[] for _ in range(options.replicas)]
        self._completions: list[Completion] = []
        # Whether completions let requests come, so that no server may run ahead of another.
        self._in_step = not isinstance(arrivals, OpenLoop)
        self._inboxes: list[Inbox] = []
        self._servers: list[Server] = []
        self._statistics = statistics
        results: list[RequestResult | None] = [None] * len(requests)
        kind = Server if options.attention_data_parallel == 1 else GroupedServer
        for place, own in enumerate(statistics):
            inbox = Inbox(place, self._completions, self._in_step)
            self._inboxes.append(inbox)
            self._servers.append(kind(requests, inbox, step_time, options, own, results))

    def serve(self) -> None:
        """Route request after request until nothing is left to do or the horizon is passed."""
        while True:
            starts_us = [server.next_step_us() for server in self._servers]
            clock_us = min(starts_us)
            self._note_completions(clock_us)
            next_us = self._arrivals.next_us
            if next_us is not None and next_us <= clock_us:
                self._route()
            elif clock_us < NEVER_US:
                place = starts_us.index(clock_us)
                starts_us[place] = NEVER_US
                self._inboxes[place].known_until_us = self._known_until_us(clock_us, min(starts_us))
                self._servers[place].serve()
            else:
                return

    def outcome(self) -> RunResult:
        """Return what became of every request; counters are those of all servers together."""
        for server in self._servers:
            server.settle()
        results = self._servers[0].results()
        counters = [
            statistics.counters(server.schedulers)
            for statistics, server in zip(self._statistics, self._servers, strict=True)
        ]
        gaps: dict[int, int] = {}
        for statistics in self._statistics:
            for gap_us, count in statistics.gaps.items():
                gaps[gap_us] = gaps.get(gap_us, 0) + count
        shares = tuple([ReplicaShare(tuple(sent), own) for sent, own in zip(self._sent, counters, strict=True)])
        return RunResult(results, totals(counters), self._records(), ordered_gaps(gaps), shares)

    def _records(self) -> tuple[StepRecord, ...]:
        records = [
            replace(record, replica=place)
            for place, statistics in enumerate(self._statistics)
            for record in statistics.records
        ]
        records.sort(key=_start)
        return tuple(records)

    def _note_completions(self, now_us: int) -> None:
        """Let go what completed by now, in order of time, and let come what waited for that."""
        completions, arrivals = self._completions, self._arrivals
        while completions and completions[0][0] <= now_us:
            next_us = arrivals.next_us
            if next_us is not None and next_us < completions[0][0]:
                return
            end_us, place, index = heappop(completions)
            self._router.in_flight[place] -= 1
            arrivals.release(index, end_us)

    def _route(self) -> None:
        """Send the next request to a server; one that is too large for it is sent back at once."""
        arrival = self._arrivals.take()
        entered_us, arrival_us, index = arrival
        place = self._router.choose(self._requests[index])
        self._sent[place].append(index)
        known = self._horizon_us is None or entered_us <= self._horizon_us
        if known and not self._servers[place].fits(index):
            self._servers[place].drop(index, arrival_us)
            self._arrivals.release(index, entered_us)
        else:
            self._router.in_flight[place] += 1
            self._inboxes[place].put(arrival)

    def _known_until_us(self, clock_us: int, others_us: int) -> int:
        """Return until when a server that comes to `clock_us` knows all requests it may be sent, the others later."""
        until_us = NEVER_US if self._arrivals.next_us is None else self._arrivals.next_us
        if self._in_step:
            until_us = min(until_us, others_us, self._completions[0][0] if self._completions else NEVER_US)
        # A step takes time, so that what starts now ends later, here and elsewhere.
        return max(until_us, clock_us + 1)


def totals(counters: Sequence[RunCounters]) -> RunCounters:
    """Return sums over servers, but the largest of the KV blocks in use at once and of the times of the end."""
    names = [each.name for each in fields(RunCounters)]
    values = {name: [int(getattr(each, name)) for each in counters] for name in names}
    return RunCounters(**{name: max(many) if name in LARGEST else sum(many) for name, many in values.items()})


def _start(record: StepRecord) -> int:
    return record.start_us
