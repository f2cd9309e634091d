"""One rate at which a server was measured: what arrived, how many were served, what was measured."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from roofline_lab.ground_truth.metrics import Measured
from simulator.validation import Count, NonNegativeInt, Positive, StrictModel
from simulator.workload.arrivals import (
    ArrivalSpec,
    Burst,
    ClosedLoop,
    ConstantInterval,
    ConstantRate,
    GammaGaps,
    Poisson,
    RecordedArrivals,
)
from simulator.workload.build import RequestCount
from simulator.workload.lengths import (
    ConstantLengths,
    EmpiricalLengths,
    GaussianLengths,
    GuideLlmLengths,
    UniformLengths,
    VllmRandomLengths,
    expected_tokens,
)

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Side = Literal["client", "server"]

# Lengths that are facts of the recorded run, or the distribution they are known to come from, which is drawn anew.
DrawnLengths = GaussianLengths | UniformLengths
AnySent = GuideLlmLengths | VllmRandomLengths | ConstantLengths | EmpiricalLengths | DrawnLengths
SentLengths = Annotated[AnySent, Field(discriminator="kind")]


def mean_tokens(lengths: AnySent) -> float:
    """Return the mean of lengths in tokens: whole tokens of recorded ones and of a distribution's moments."""
    if isinstance(lengths, ConstantLengths):
        return float(lengths.tokens)
    if isinstance(lengths, EmpiricalLengths):
        return float(round(sum(lengths.tokens) / len(lengths.tokens)))
    return lengths.mean_tokens if isinstance(lengths, GuideLlmLengths) else float(round(expected_tokens(lengths)[0]))


class RequestCounts(StrictModel):
    """How many requests stand behind the figures.

    Attributes
    ----------
    sent
        Requests the client sent.
    completed
        Requests in the measured means.
    failed
        Requests known to have failed; None if not published.
    cancelled
        Requests known to have been cut off: the client gave up on them, or its run ended; None if not published.
    without_output
        Requests known to have been answered without a token; None if not published.
    warm_up
        Requests that had warmed the server up before these were sent, and are in no figure; None if not published.
    lost_positions
        Positions (from 0, in order of sending) of the requests that are not in the means, or
        `unknown`; a simulation then runs all that were sent.
    basis
        How this is known.
    """

    sent: RequestCount
    completed: Count
    failed: NonNegativeInt | None = None
    cancelled: NonNegativeInt | None = None
    without_output: NonNegativeInt | None = None
    warm_up: NonNegativeInt | None = None
    lost_positions: tuple[NonNegativeInt, ...] | Literal["unknown"] = ()
    basis: Text

    @property
    def lost(self) -> frozenset[int]:
        """Known positions of requests that are not in the means."""
        return frozenset() if self.lost_positions == "unknown" else frozenset(self.lost_positions)

    @property
    def lost_text(self) -> str:
        """What became of the requests that are in no figure, in words; empty if there are none."""
        missing = self.sent - self.completed
        if not missing:
            return ""
        known = ((self.failed, "failed"), (self.cancelled, "cut off"), (self.without_output, "without a token"))
        parts = [f"{number} {word}" for number, word in known if number]
        rest = missing - sum(number or 0 for number, _ in known)
        parts += [f"of {rest} nobody says why"] if rest > 0 else []
        return f"{missing} of {self.sent} requests are in no figure: {', '.join(parts)}"

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if self.completed > self.sent:
            raise ValueError(f"completed {self.completed} does not add up to sent {self.sent}; it cannot be more")
        missing = self.sent - self.completed
        if self.cancelled and (self.failed or 0) + self.cancelled > missing:
            raise ValueError(
                f"failed {self.failed or 0} and cancelled {self.cancelled} are more than the {missing} requests that "
                "are not in the means"
            )
        if self.without_output and (self.failed or 0) + (self.cancelled or 0) + self.without_output > missing:
            raise ValueError(
                f"without_output {self.without_output} and those that failed or were cut off are more than the "
                f"{missing} requests that are not in the means"
            )
        if self.failed is not None and self.failed > missing and self.lost_positions == "unknown":
            raise ValueError(f"failed {self.failed} exceeds the {missing} requests that are not in the means")
        if self.lost_positions == "unknown":
            return self
        if len(self.lost) != missing:
            raise ValueError(
                f"completed {self.completed} and {len(self.lost)} lost_positions do not add up to "
                f"sent {self.sent}; name each lost position once"
            )
        if any(position >= self.sent for position in self.lost_positions):
            raise ValueError(f"lost_positions count from 0, so each must be below sent {self.sent}")
        if self.failed is not None and self.failed > missing:
            raise ValueError(f"failed {self.failed} exceeds the {missing} lost_positions")
        return self


class SendingRate(StrictModel):
    """Requests per second: what the client was told to send, and what it sent."""

    requested_per_s: Positive | None = None
    achieved_per_s: Positive | None = None


class Saturation(StrictModel):
    """Whether the server kept up with the load, and how this is known."""

    state: Literal["saturated", "not_saturated", "unknown"]
    basis: Text


class LoadPoint(StrictModel):
    """One rate at which the server was measured.

    Attributes
    ----------
    id
        Name within the experiment.
    arrivals
        How requests arrived.
    benchmark_index
        Position of the point in the client's run; GuideLLM's draws depend on it.
    rate
        Requested and achieved sending rate; None in a closed loop.
    prompts_seen_before
        The server had computed all prompts of a prompt pool in earlier stages of the same run.
    prompts_sent_before
        Or only the first ones: how many requests came before, fewer than the pool has prompts.
    duration_s
        From the first arrival to the last completion.
    requests
        How many were sent and completed.
    saturation
        Whether the server kept up; latencies of a saturated point depend on when the run ended.
    side
        Where the figures were taken, if not on the experiment's side.
    prompt, output
        Lengths in tokens, where they are not those of the experiment's workload.
    measured
        Figures by metric name, such as `ttft_mean`.
    """

    id: Id
    arrivals: ArrivalSpec
    benchmark_index: NonNegativeInt = 0
    rate: SendingRate | None = None
    prompts_seen_before: bool = False
    prompts_sent_before: NonNegativeInt = 0
    duration_s: Positive | None = None
    requests: RequestCounts
    saturation: Saturation | None = None
    side: Side | None = None
    prompt: SentLengths | None = None
    output: SentLengths | None = None
    measured: dict[str, Measured]

    @property
    def saturated(self) -> bool | None:
        """Whether the server kept up; None if not known. One request at a time never saturates."""
        if self.saturation is None:
            alone = isinstance(self.arrivals, ClosedLoop) and self.arrivals.concurrency == 1
            return False if alone else None
        return {"saturated": True, "not_saturated": False, "unknown": None}[self.saturation.state]

    @property
    def strategy(self) -> Literal["synchronous", "closed_loop", "constant", "poisson", "gamma", "burst", "recorded"]:
        """The kind of load, as results are grouped by it."""
        match self.arrivals:
            case ClosedLoop(concurrency=1):
                return "synchronous"
            case ClosedLoop():
                return "closed_loop"
            case Poisson():
                return "poisson"
            case GammaGaps():
                return "gamma"
            case Burst():
                return "burst"
            case ConstantRate() | ConstantInterval():
                return "constant"
            case RecordedArrivals():
                return "recorded"

    @property
    def draws_arrivals(self) -> bool:
        """Whether gaps between requests are random and must be drawn, because nobody recorded them."""
        return self.strategy in ("poisson", "gamma")

    @property
    def rate_per_s(self) -> float | None:
        """Requests per second sent, else requested; None where neither is known."""
        return None if self.rate is None else self.rate.achieved_per_s or self.rate.requested_per_s
