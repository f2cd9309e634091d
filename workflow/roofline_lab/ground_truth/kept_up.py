"""Whether a server kept up with its load, and whether the client sent what it was asked to: two questions.

Contract: `judge` is pure and decides for every reader, for tables and for experiments whose file does not say. A server
is overloaded by what it did: requests failed, waiting grew from the first requests to the last, or it served less per
second than was sent and the time to the first token says that requests waited. That less was completed than was asked
for proves nothing: the client may have been slow, the gaps are random, and the last answers end after the last request
is sent. Nor does a run prove that its server kept up while its requests wait for a good part of the time they are sent
in: that is unknown, unless single requests show that waiting does not grow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.quality import Finding, Flag
from roofline_lab.ground_truth.requests import MeasuredRequest
from simulator.saturation import MIN_WAITS
from simulator.workload.arrivals import US_PER_S, Burst, ClosedLoop

MS_PER_S = 1000.0

# In a queue that grows evenly through a run the mean wait is half of the last one, and a run takes half of the last
# wait longer, less its mean answer, than its requests take to be sent. Requests that wait in a queue show at least a
# third of that time as time to their first token; a client that is slow shows none of it.
WAITING_SHARE = 1 / 3

# The sum of n exponential gaps has a relative standard deviation of 1 / sqrt(n); three of them are chance.
CHANCE_SIGMAS = 3.0

# A closed loop that keeps its width is below it only while it starts and ends: with at least four rounds of requests
# of like length, for less than a quarter of its area.
FULL_LOOP = 0.75
LOOP_ROUNDS = 4

BUSY = 0.95

State = Literal["saturated", "not_saturated", "unknown"]


@dataclass(frozen=True, slots=True)
class Load:
    """What is known of one load point; None and empty where nobody recorded it.

    Attributes
    ----------
    sent, completed, failed
        Numbers of requests.
    requested_per_s
        What the client was told to send.
    random_gaps
        Whether gaps are random, so that a short run may miss its rate by chance.
    in_flight
        Width of a closed loop.
    at_once
        Everything is sent at once, so that how long requests wait depends on their number alone.
    sent_per_s
        What the client says it sent.
    arrivals_s
        Recorded times of sending, of all requests.
    run_s
        From the first request to the last answer.
    ttft_s, e2e_s, longest_s
        Mean time to the first token, mean and longest time of a request.
    waits
        Times to the first token in order of sending, in any one unit.
    """

    sent: int
    completed: int
    failed: int = 0
    requested_per_s: float | None = None
    random_gaps: bool = False
    in_flight: int | None = None
    at_once: bool = False
    sent_per_s: float | None = None
    arrivals_s: Sequence[float] = ()
    run_s: float | None = None
    ttft_s: float | None = None
    e2e_s: float | None = None
    longest_s: float | None = None
    waits: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a load.

    Attributes
    ----------
    state, basis
        Whether the server kept up, and how this is known.
    overload
        Why it did not.
    client
        That the client sent less than it was asked for.
    sent_per_s
        What was really sent, where it is known or follows from the length of the run.
    """

    state: State
    basis: str
    overload: Finding | None = None
    client: Finding | None = None
    sent_per_s: float | None = None

    @property
    def saturation(self) -> dict[str, str]:
        """As `experiment.yaml` writes it."""
        return {"state": self.state, "basis": self.basis}


def judge(load: Load) -> Judgement:
    """Say whether the server kept up, and whether the client did."""
    sent_per_s = _sent_per_s(load)
    client = _client(load, sent_per_s)
    if client is not None and load.in_flight is None and sent_per_s is None:
        sent_per_s = client.value
    overload = lint.too_many_failed(sent=load.sent, failed=load.failed) or _behind(load, sent_per_s)
    if overload is not None:
        return Judgement("saturated", overload.text, overload, client, sent_per_s)
    if load.at_once:
        return Judgement("saturated", "Everything is sent at once.")
    state, basis = _kept_up(load, sent_per_s)
    return Judgement(state, basis, None, client, sent_per_s)


def load_of(point: LoadPoint, requests: Sequence[MeasuredRequest]) -> Load:
    """Return what an experiment says of one of its load points."""
    measured = {name: metric.value for name, metric in point.measured.items()}
    counts, arrivals, throughput = point.requests, point.arrivals, measured.get("request_throughput")
    closed = isinstance(arrivals, ClosedLoop | Burst)
    width = getattr(arrivals, "concurrency", counts.sent) if closed else None
    e2e_ms, ttft_ms = measured.get("e2e_mean"), measured.get("ttft_mean")
    return Load(
        sent=counts.sent,
        completed=counts.completed,
        failed=counts.failed or 0,
        requested_per_s=point.rate.requested_per_s if point.rate else None,
        random_gaps=point.draws_arrivals,
        in_flight=width,
        at_once=isinstance(arrivals, Burst),
        sent_per_s=point.rate.achieved_per_s if point.rate else None,
        arrivals_s=[request.arrival_us / US_PER_S for request in requests],
        run_s=counts.completed / throughput if throughput else point.duration_s,
        ttft_s=None if ttft_ms is None else ttft_ms / MS_PER_S,
        e2e_s=None if e2e_ms is None else e2e_ms / MS_PER_S,
        waits=[request.ttft_ms for request in requests if request.ttft_ms is not None],
    )


def requests_in_flight(load: Load) -> float | None:
    """Return how many requests the server held on average, by Little's law; None where it is not known."""
    if not load.run_s or load.e2e_s is None:
        return None
    return load.completed * load.e2e_s / load.run_s


def fills_loop(load: Load, width: int) -> bool:
    """Whether as many requests were in flight as a limit allowed, so that the limit was the load and not the rate."""
    held = requests_in_flight(load)
    return held is not None and held >= FULL_LOOP * min(width, load.sent)


def _sent_per_s(load: Load) -> float | None:
    if len(load.arrivals_s) == load.sent > 1:
        span_s = max(load.arrivals_s) - min(load.arrivals_s)
        return load.sent / span_s if span_s > 0 else None
    return load.sent_per_s


# --- the server ---------------------------------------------------------------------------------


def _behind(load: Load, sent_per_s: float | None) -> Finding | None:
    """Find waiting that grows, or requests served more slowly than they were sent."""
    if load.in_flight is not None or _idle(load, sent_per_s):
        return None
    if len(load.waits) >= MIN_WAITS:
        return lint.queue_grows(load.waits)
    return _served_less(load, sent_per_s)


def _idle(load: Load, sent_per_s: float | None) -> bool:
    """Whether the server was without any request for a part of the run: one that falls behind never is."""
    held = _held_while_busy(load, sent_per_s)
    return held is not None and held < BUSY


def _held_while_busy(load: Load, sent_per_s: float | None) -> float | None:
    """Return how many requests the server held on average, not counting time behind the last answer.

    A run of a fixed time goes on when nothing is left to do. In a queue that grows evenly the last answer ends, after
    the last request is sent, within twice the mean time of a request.
    """
    rate = sent_per_s or load.requested_per_s
    if not rate or not load.run_s or load.e2e_s is None:
        return requests_in_flight(load)
    return load.completed * load.e2e_s / min(load.run_s, load.sent / rate + 2 * load.e2e_s)


def _served_less(load: Load, sent_per_s: float | None) -> Finding | None:
    rate = sent_per_s or load.requested_per_s
    excess_s = _excess_s(load, rate, load.completed)
    if rate is None or excess_s is None or load.ttft_s is None or load.ttft_s < WAITING_SHARE * excess_s:
        return None
    if excess_s <= _allowed_s(load, rate, by_chance=sent_per_s is None):
        return None
    served_per_s = load.completed / (load.completed / rate + excess_s)
    words = "sent" if sent_per_s else "requested"
    return Finding(
        Flag.OVERLOADED,
        f"{served_per_s:.3g} requests per second were completed, {rate:.3g} {words} ({served_per_s / rate:.0%}), and "
        f"the mean time to the first token, {load.ttft_s:.3g} s, says that they waited.",
        served_per_s / rate,
    )


def _excess_s(load: Load, rate: float | None, requests: int) -> float | None:
    """Return how much longer a run took, less one answer, than so many requests take to be sent at a rate."""
    if not rate or not load.run_s or load.e2e_s is None:
        return None
    return load.run_s - load.e2e_s - requests / rate


def _allowed_s(load: Load, rate: float, *, by_chance: bool) -> float:
    """Return how much longer sending may take than planned."""
    return _share_allowed(load, load.completed, by_chance=by_chance) * load.completed / rate


def _share_allowed(load: Load, requests: int, *, by_chance: bool) -> float:
    share = 1 / lint.KEPT_UP - 1
    if by_chance and (load.random_gaps or lint.constant_is_poisson([round(at * US_PER_S) for at in load.arrivals_s])):
        return max(share, CHANCE_SIGMAS / math.sqrt(max(1, requests)))
    return share


def _kept_up(load: Load, sent_per_s: float | None) -> tuple[State, str]:
    if load.in_flight is not None:
        return "not_saturated", "A closed loop waits for its answers."
    held = _held_while_busy(load, sent_per_s)
    if held is not None and held < BUSY:
        return "not_saturated", f"On average {held:.2g} requests were in flight: the server had nothing to do at times."
    if len(load.waits) >= MIN_WAITS:
        return "not_saturated", "Waiting does not grow from the first quarter of the requests to the last."
    rate = sent_per_s or load.requested_per_s
    if _excess_s(load, rate, load.completed) is None or load.ttft_s is None:
        return "unknown", "Neither single requests nor the length of the run are recorded."
    if rate and load.ttft_s >= WAITING_SHARE * load.sent / rate:
        return "unknown", (
            f"The run is too short to tell: its requests are sent within {load.sent / rate:.3g} s and wait "
            f"{load.ttft_s:.3g} s on average for their first token, and no single requests show whether that grows."
        )
    words = "sent" if sent_per_s else "requested"
    return "not_saturated", f"{load.completed} requests were served as fast as they were sent ({rate:.3g}/s {words})."


# --- the client ---------------------------------------------------------------------------------


def _client(load: Load, sent_per_s: float | None) -> Finding | None:
    """Find a client that sent less than it was asked for; the value is the rate, or the width, that it kept."""
    if load.in_flight is not None:
        return _narrow_loop(load)
    asked = load.requested_per_s
    if not asked:
        return None
    if sent_per_s is None:
        sent_per_s = _slowest_client(load, asked)
    if sent_per_s is None:
        return None
    if asked <= sent_per_s * (1 + _share_allowed(load, load.sent, by_chance=True)):
        return None
    return Finding(
        Flag.CLIENT_FELL_SHORT,
        f"The client sent {sent_per_s:.3g} of the {asked:.3g} requests per second it was asked for "
        f"({sent_per_s / asked:.0%}); the load is what it sent.",
        sent_per_s,
    )


def _slowest_client(load: Load, asked: float) -> float | None:
    """Return the rate that follows from a run too long for its answers, if nothing waited; None if it is not."""
    # What was lost on the way was sent too.
    excess_s = _excess_s(load, asked, max(load.sent, load.completed))
    if excess_s is None or load.run_s is None or load.e2e_s is None or load.ttft_s is None:
        return None
    scatter_s = (load.longest_s - load.e2e_s) if load.longest_s is not None else load.e2e_s
    if excess_s <= scatter_s or load.ttft_s >= WAITING_SHARE * excess_s:
        return None
    return max(load.sent, load.completed) / (load.run_s - load.e2e_s)


def _narrow_loop(load: Load) -> Finding | None:
    """Find a closed loop that did not keep its width: clients that think, or that cannot keep up."""
    held, width = requests_in_flight(load), load.in_flight or 0
    if held is None or width < 2 or load.completed < LOOP_ROUNDS * width or held >= FULL_LOOP * width:
        return None
    return Finding(
        Flag.CLIENT_FELL_SHORT,
        f"On average {held:.3g} of {width} requests were in flight: the client waited between an answer and the next "
        "request.",
        held,
    )
