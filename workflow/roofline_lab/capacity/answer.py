"""The answer to a question about one server: the highest load that meets the limits, and what it rests on.

Contract: `answer` is pure; it returns an `Answer` for every server, one that cannot be with the reason. The highest
load is looked for three times: by the predictions, by the upper ends of their intervals (`pessimistic`) and by the
lower ones (`optimistic`), all with the same arrivals and lengths. What one search has simulated the next one knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import Field

from roofline_lab.capacity.question import Variant
from roofline_lab.capacity.search import Highest, highest
from roofline_lab.capacity.serve import MS_PER_S, Ends, Served, Simulated
from simulator.errors import RooflineLabError
from simulator.slo import Limit
from simulator.validation import StrictModel

# A percent of a rate is less than any interval here is wide; so are two where they end.
TOLERANCE, END_TOLERANCE = 0.01, 0.02
# So little of a server's time is asked of it by the lightest load that no two requests meet.
LIGHTEST = 0.01
# Requests of the run that says how long one request takes that is alone.
ALONE = 50
# Clients: more than any server here has room for.
MOST_CLIENTS = 8192


class Missed(StrictModel):
    """A limit that is not met.

    Attributes
    ----------
    value_ms
        What is in its place; None where nothing is known of it.
    """

    limit: str
    value_ms: float | None


class Answer(StrictModel):
    """What is known of one server.

    Attributes
    ----------
    name, digest
        The server as the question tells it from others.
    gpus
        Of one server; None where there is none.
    step_time, basis
        The step-time model, and what it rests on.
    refused
        Why there is no such server; empty where there is.
    highest, pessimistic, optimistic
        The highest load that meets all limits, by predictions and by the ends of their intervals; None where none does,
        or there are no intervals.
    no_end
        Whether all limits are met at any load that was tried.
    binding
        The limit, or the reason, that the next higher load fails by.
    alone
        What the lightest load gives.
    best
        What `highest` gives; None where no load meets the limits.
    points
        Everything that was simulated, by load.
    borrowed
        Limits whose interval is one of another statistic.
    no_interval
        Why an end is not known, or the pessimistic one lies where intervals end; empty where both are.
    memory, bottleneck
        How the memory of a GPU is divided, and what bounds a typical step; of predictions at a load alone.
    """

    name: str
    digest: str
    varied: dict[str, str] = Field(default={})
    hardware: str = ""
    gpus: int | None = None
    step_time: str = ""
    basis: str = ""
    refused: str = ""
    notes: tuple[str, ...] = ()
    highest: float | None = None
    pessimistic: float | None = None
    optimistic: float | None = None
    no_end: bool = False
    binding: str = ""
    alone: Served | None = None
    best: Served | None = None
    missed_alone: tuple[Missed, ...] = ()
    points: tuple[Served, ...] = ()
    borrowed: tuple[str, ...] = ()
    no_interval: str = ""
    memory: dict[str, float] = Field(default={})
    bottleneck: tuple[str, ...] = ()

    @property
    def tokens_per_s_per_gpu(self) -> float | None:
        """Output tokens per second and GPU at the highest load."""
        value = self.best.values.get("output_token_throughput") if self.best else None
        return None if value is None or not self.gpus else value / self.gpus

    def cost_per_million_tokens(self, price_per_gpu_hour: float) -> float | None:
        """Return what a million output tokens cost at the highest load, in the currency of the price."""
        rate = self.tokens_per_s_per_gpu
        return None if not rate else price_per_gpu_hour / (rate * 3600) * 1e6


def answer(variant: Variant, limits: Sequence[Limit], configs: Path) -> Answer:
    """Return what is known of one server of a question with limits."""
    empty = unanswered(variant)
    try:
        server = Simulated(variant, configs)
        lightest = lightest_load(server, variant)
        found = highest_load(server, variant, lightest, lambda served: meets(served, limits))
    except RooflineLabError as error:
        return empty.model_copy(update={"refused": str(error)})
    alone = server.at(lightest)
    return empty.model_copy(
        update={
            **described(server),
            "alone": alone,
            "highest": found.meets,
            "no_end": found.fails is None,
            "best": None if found.meets is None else server.at(found.meets),
            "binding": "" if found.fails is None else _binding(server.at(found.fails), limits),
            "missed_alone": _missed(alone, limits) if found.meets is None else (),
            **_ends(server, variant, lightest, limits),
            "points": server.served,
            "borrowed": tuple(limit.name for limit in limits if (ends := alone.ends(limit)) and ends.borrowed),
        }
    )


def unanswered(variant: Variant) -> Answer:
    """Return an answer that says no more than which server was asked about."""
    varied = {key: str(value) for key, value in variant.varied.items()}
    return Answer(name=variant.name, digest=variant.digest, varied=varied)


def described(server: Simulated) -> dict[str, object]:
    """Return what an answer says of its server."""
    setup = server.setup
    return {
        "hardware": setup.hardware.id,
        "gpus": server.gpus,
        "step_time": setup.chosen.name,
        "basis": setup.chosen.basis,
        "notes": setup.warnings,
    }


def lightest_load(server: Simulated, variant: Variant) -> float:
    """Return a load at which requests are alone: one client, or a rate of which the server is idle nearly always."""
    if variant.load == "concurrency":
        return 1.0
    return LIGHTEST / (server.alone_ms(ALONE) / MS_PER_S)


def highest_load(
    server: Simulated,
    variant: Variant,
    lightest: float,
    accept: Callable[[Served], bool],
    tolerance: float = TOLERANCE,
) -> Highest:
    """Return the highest load at which what a server does is accepted."""
    clients = variant.load == "concurrency"
    return highest(
        lambda load: accept(server.at(load)),
        lightest,
        tolerance=tolerance,
        whole=clients,
        most=MOST_CLIENTS if clients else None,
        # Where one request is in flight on average; below, nothing changes.
        first=None if clients else lightest / LIGHTEST,
    )


def meets(served: Served, limits: Sequence[Limit]) -> bool:
    """Whether a server keeps up and meets all limits at a load."""
    return not served.overloaded and not _missed(served, limits)


def _missed(served: Served, limits: Sequence[Limit]) -> tuple[Missed, ...]:
    return tuple(
        Missed(limit=limit.words, value_ms=value)
        for limit in limits
        for value in (served.value(limit),)
        if value is None or value > limit.at_most_ms
    )


def _binding(served: Served, limits: Sequence[Limit]) -> str:
    missed = _missed(served, limits)
    return "; ".join(each.limit for each in missed) if missed else served.overloaded


def _ends(server: Simulated, variant: Variant, lightest: float, limits: Sequence[Limit]) -> dict[str, object]:
    """Return the highest loads by the ends of intervals, and why one of them is not known.

    A load without an interval is not safe to promise, so the pessimistic end stops before it; how far the optimistic
    one would go beyond it, nobody knows.
    """

    def search(end: Callable[[Ends], float]) -> Highest:
        return highest_load(server, variant, lightest, lambda served: _within(served, limits, end), END_TOLERANCE)

    low, high = search(lambda ends: ends.high), search(lambda ends: ends.low)
    unknown = "" if high.fails is None else _unknown(server.at(high.fails), limits)
    safe_until = "" if low.fails is None else _unknown(server.at(low.fails), limits)
    return {
        "pessimistic": low.meets,
        "optimistic": None if unknown else high.meets,
        "no_interval": unknown or safe_until,
    }


def _within(served: Served, limits: Sequence[Limit], end: Callable[[Ends], float]) -> bool:
    """Whether a server keeps up, and one end of every interval meets its limit."""
    known = [(served.ends(limit), limit.at_most_ms) for limit in limits]
    return not served.overloaded and all(ends is not None and end(ends) <= most for ends, most in known)


def _unknown(served: Served, limits: Sequence[Limit]) -> str:
    """Return why a limit has no interval at a load; empty where all have one, or the server does not keep up."""
    missing = not served.overloaded and any(served.ends(limit) is None for limit in limits)
    return served.no_interval if missing else ""
