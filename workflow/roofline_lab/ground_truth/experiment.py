"""One measured experiment: what ran, what was sent, what was measured, and who says so.

Contract: an `Experiment` is immutable and checked by `roofline_lab.ground_truth.reading`, which reads it.
Workloads are functions of the experiment, a load point and a seed; random arrivals use the seed, and lengths only
where nothing but their distribution is known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, Strict, model_validator

from roofline_lab.ground_truth.load import AnySent, DrawnLengths, Id, LoadPoint, SentLengths, Side, Text
from roofline_lab.ground_truth.metrics import Measured, inter_token_ms
from roofline_lab.ground_truth.noise import Noise
from roofline_lab.ground_truth.quality import QualityFlag
from roofline_lab.ground_truth.requests import REQUESTS_FILE, MeasuredRequest, read_measured_requests, replayed
from roofline_lab.ground_truth.server import Server
from simulator.engine.records import Request
from simulator.errors import ConfigError
from simulator.parallelism import Parallelism
from simulator.validation import Count, NonNegative, StrictModel, suggest
from simulator.workload.arrivals import ClosedLoop
from simulator.workload.build import Workload, WorkloadSpec, build_workload, in_closed_loop
from simulator.workload.lengths import GuideLlmLengths, draw_lengths, expected_tokens
from simulator.workload.prefixes import NoSharing, PrefixSpec, SharedPrefix

Day = Annotated[date, Strict()]
Tool = Literal["guidellm", "inference-perf", "vllm-bench", "other"]

# Time between two requests that only fill the prefix cache. Unit: microseconds; method: longer than
# any model described here needs for a prompt of a pool, so that each is done before the next.
WARM_UP_INTERVAL_US = 1_000_000
# Workloads and answers that are kept because another load point sends the same, or somebody asks again.
KEPT_WORKLOADS = 256
# More GPUs than one fast network joins (576 of NVLink in the largest announced).
MOST_GPUS = 1024


class Source(StrictModel):
    """Where the figures come from: a public document, its date, and on what terms they are used.

    Attributes
    ----------
    document
        Precise enough to find the figures in it.
    date, date_note
        Of the document, None where it is not known, and what is uncertain about it.
    licence
        On what terms its figures are used here.
    """

    document: Text
    date: Day | None = None
    date_note: Text | None = None
    licence: Text

    @model_validator(mode="after")
    def _dated(self) -> Self:
        if self.date is None and self.date_note is None:
            raise ValueError("date is missing; give it, or say in date_note why it is not known")
        return self


class SentWorkload(StrictModel):
    """The requests as the client sent them.

    Attributes
    ----------
    name
        A workload of the vocabulary; the key results are aggregated by.
    prompt, output
        Lengths in tokens; prompts without the shared prefix. A load point may have its own.
    prefix
        What prompts share.
    temperature
        With which requests ask for their tokens; at 0 none is cut off, whatever the model's defaults are. None: not
        stated, so that these count.
    note
        Where the description comes from, if not from the experiment's own profile.
    """

    name: Text
    prompt: SentLengths
    output: SentLengths
    prefix: PrefixSpec = NoSharing(kind="none")
    temperature: NonNegative | None = None
    note: Text | None = None

    @property
    def prefix_tokens(self) -> int:
        """Tokens of a shared prefix that the lengths of prompts do not contain."""
        on_top = isinstance(self.prefix, SharedPrefix) and self.prefix.counted == "on_top"
        return self.prefix.tokens if on_top and isinstance(self.prefix, SharedPrefix) else 0


@dataclass(frozen=True, slots=True)
class Replay:
    """What an engine is given to repeat one load point.

    Attributes
    ----------
    workload
        Requests in order of arrival, those that only warm the prefix cache first.
    warm_up
        How many of them those are; no metric may count them.
    """

    workload: Workload
    warm_up: int


class Experiment(StrictModel):
    """One model on one server, measured at one or more load points.

    Attributes
    ----------
    family, model, hardware
        Words of the vocabulary and of `configs`.
    tool, tool_version, side
        What measured, and on which side of the network.
    site
        Where that was: a name for all that the time of client and host depends on. Experiments of one name share it.
    date, date_basis
        When the measurement was made, None where nobody says, and how that is known.
    tensor_parallel
        GPUs that split the attention of one request; all GPUs where `server` says nothing of groups.
    noise
        How far one measurement scatters; None where nothing was repeated.
    quality
        What is known to be wrong or special about the figures.
    requests_file
        Named where single requests are recorded; they are then replayed instead of drawn again.
    """

    id: Id
    family: Text
    model: Text
    hardware: Text
    tensor_parallel: Annotated[Count, Field(le=MOST_GPUS)]
    tool: Tool
    tool_version: Text | None = None
    side: Side
    site: Text | None = None
    date: Day | None = None
    date_basis: Text
    source: Source
    server: Server
    workload: SentWorkload
    load_points: tuple[LoadPoint, ...]
    noise: Noise | None = None
    quality: tuple[QualityFlag, ...] = ()
    requests_file: Literal["requests.csv"] | None = None

    _folder: Path | None = PrivateAttr(default=None)
    _requests: tuple[MeasuredRequest, ...] | None = PrivateAttr(default=None)

    def located(self, folder: Path) -> Self:
        """Return the same experiment, knowing the folder its requests are recorded in."""
        copy = self.model_copy()
        copy._folder = folder
        return copy

    def with_requests(self, requests: tuple[MeasuredRequest, ...]) -> Self:
        """Return the same experiment with requests that are in no file yet."""
        copy = self.model_copy(update={"requests_file": REQUESTS_FILE if requests else None})
        copy._requests = requests
        return copy

    def point(self, load_point: str) -> LoadPoint:
        """Return one load point.

        Raises
        ------
        ConfigError
            If there is none of that id.
        """
        for point in self.load_points:
            if point.id == load_point:
                return point
        raise ConfigError(
            f"{self.id}: unknown load point '{load_point}'; {suggest(load_point, [p.id for p in self.load_points])}"
        )

    @property
    def parallelism(self) -> Parallelism:
        """How the server spreads the model over its GPUs."""
        return self.server.parallelism(self.tensor_parallel)

    @property
    def saturated(self) -> bool:
        """Whether every load point is known to be saturated, so that no latency has an error."""
        return all(point.saturated is True for point in self.load_points)

    def side_of(self, load_point: str) -> Side:
        """Return where the figures of one load point were taken."""
        return self.point(load_point).side or self.side

    def flags_of(self, load_point: str) -> tuple[QualityFlag, ...]:
        """Return the quality flags that concern one load point."""
        return tuple(flag for flag in self.quality if not flag.load_points or load_point in flag.load_points)

    def measured_requests(self, load_point: str) -> tuple[MeasuredRequest, ...]:
        """Return the recorded requests of one load point in order of arrival; empty if none are recorded.

        Raises
        ------
        ConfigError
            If the file of requests cannot be read.
        """
        self.point(load_point)
        return tuple(request for request in self.recorded() if request.load_point == load_point)

    def workload_spec(self, load_point: str) -> WorkloadSpec:
        """Describe every request the client sent at one load point, lost ones included."""
        point = self.point(load_point)
        return WorkloadSpec(
            requests=point.requests.sent,
            arrivals=point.arrivals,
            prompt=self.prompt_lengths(load_point),
            output=self.output_lengths(load_point),
            prefix=self.workload.prefix,
            sent_before=point.prompts_sent_before,
        )

    def prompt_lengths(self, load_point: str) -> AnySent:
        """Return the prompt lengths of one load point, without the shared prefix."""
        point = self.point(load_point)
        return _at_benchmark(point.prompt or self.workload.prompt, point.benchmark_index)

    def output_lengths(self, load_point: str) -> AnySent:
        """Return the answer lengths of one load point."""
        point = self.point(load_point)
        return _at_benchmark(point.output or self.workload.output, point.benchmark_index)

    def completed_workload(self, load_point: str, seed: int = 0) -> Workload:
        """Return the requests behind the measured means, in order of sending.

        Recorded requests are replayed exactly; otherwise lengths are drawn as the client drew them
        and `seed` decides random arrivals. A lost request is left out: its work on the server, if
        any, was not published.
        """
        point = self.point(load_point)
        recorded = [request for request in self.measured_requests(load_point) if request.completed]
        if recorded:
            return _sent_again(replayed(recorded), point)
        sent = _built(self.workload_spec(load_point), seed)
        lost = {sent.warm_up + position for position in point.requests.lost}
        if not lost:
            return sent
        kept = tuple(request for position, request in enumerate(sent.requests) if position not in lost)
        return replace(sent, requests=kept)

    def replay(self, load_point: str, seed: int = 0) -> Replay:
        """Return `completed_workload`, behind the prompts an earlier stage had left in the prefix cache.

        Where `prompts_seen_before`, every prompt of the pool is sent once, alone and for one token,
        before the load point begins; where `prompts_sent_before`, those sent until then are.
        """
        workload, point = self.completed_workload(load_point, seed), self.point(load_point)
        if point.prompts_seen_before:
            return behind_warm_up(workload)
        if point.prompts_sent_before:
            return behind_warm_up(workload, self._sent_before(point))
        return Replay(workload, workload.warm_up)

    def _sent_before(self, point: LoadPoint) -> tuple[Request, ...]:
        """Return the requests that came before a load point: the recorded ones, else those of the pool."""
        earlier = {each.id for each in itertools.takewhile(lambda each: each.id != point.id, self.load_points)}
        recorded = [request for request in self.recorded() if request.load_point in earlier]
        if recorded:
            return replayed(recorded)
        changes = {"requests": point.prompts_sent_before, "sent_before": 0}
        return build_workload(self.workload_spec(point.id).model_copy(update=changes), seed=0).requests

    def mean_output_tokens(self, load_point: str) -> float:
        """Return the mean output length of the completed requests, in tokens: measured where lengths are drawn."""
        point = self.point(load_point)
        lengths = self.output_lengths(load_point)
        if isinstance(lengths, DrawnLengths) and not self.measured_requests(load_point):
            counted = point.measured.get("output_tokens_mean")
            return counted.value if counted is not None else expected_tokens(lengths)[0]
        tokens = self._completed_output_tokens(point)
        return math.fsum(tokens) / len(tokens)

    def draws_lengths(self, load_point: str) -> bool:
        """Whether nobody recorded the lengths of a load point's requests, so that they are drawn."""
        sides = (self.prompt_lengths(load_point), self.output_lengths(load_point))
        return any(isinstance(side, DrawnLengths) for side in sides) and not self.measured_requests(load_point)

    def _completed_output_tokens(self, point: LoadPoint) -> list[int]:
        recorded = [request.output_tokens for request in self.measured_requests(point.id) if request.completed]
        if recorded:
            return [max(1, tokens) for tokens in recorded]
        drawn, lost = _answers(self.output_lengths(point.id), point.requests.sent), point.requests.lost
        return [max(1, tokens) for position, tokens in enumerate(drawn) if position not in lost]

    def recorded(self) -> tuple[MeasuredRequest, ...]:
        """Return the recorded requests of all load points; empty if none are recorded."""
        if self._requests is not None:
            return self._requests
        if self.requests_file is None or self._folder is None:
            return ()
        return read_measured_requests(self._folder / self.requests_file)

    def measured_itl_ms(self, load_point: str) -> float:
        """Return the measured mean time between tokens: (E2E - TTFT) / (n - 1), from means, in ms.

        Raises
        ------
        ConfigError
            If the load point lacks a mean TTFT or E2E.
        """
        return inter_token_ms(self._means(load_point), self.mean_output_tokens(load_point))

    def measured_itl_half_digit_ms(self, load_point: str) -> float:
        """Return how far rounding of TTFT and E2E can move `measured_itl_ms`, in ms."""
        means = self._means(load_point)
        digits = means["e2e_mean"].half_digit + means["ttft_mean"].half_digit
        return digits / (self.mean_output_tokens(load_point) - 1)

    def _means(self, load_point: str) -> dict[str, Measured]:
        measured = self.point(load_point).measured
        missing = [name for name in ("ttft_mean", "e2e_mean") if name not in measured]
        if missing:
            raise ConfigError(
                f"{self.id}: load point '{load_point}' has no {' and no '.join(missing)}; "
                "the time between tokens needs both"
            )
        return measured


@lru_cache(maxsize=KEPT_WORKLOADS)
def _built(spec: WorkloadSpec, seed: int) -> Workload:
    """Build a workload once: experiments of one client send the same requests to different servers."""
    return build_workload(spec, seed=seed)


@lru_cache(maxsize=KEPT_WORKLOADS)
def _answers(lengths: AnySent, count: int) -> tuple[int, ...]:
    """Draw the answers of a load point once: what is read, compared and scored asks for their mean."""
    return tuple(draw_lengths(lengths, count, "output", seed=0))


def behind_warm_up(workload: Workload, earlier: Iterable[Request] | None = None) -> Replay:
    """Return a workload behind one request for every prompt of its pool, each sent alone and for one token.

    Parameters
    ----------
    earlier
        Requests whose prompts those are, if not all of the workload.
    """
    warm_up = _first_of_each_group(workload.requests if earlier is None else earlier)
    begin_us = len(warm_up) * WARM_UP_INTERVAL_US
    later = tuple(replace(request, arrival_us=request.arrival_us + begin_us) for request in workload.requests)
    return Replay(replace(workload, requests=warm_up + later), len(warm_up) + workload.warm_up)


def _sent_again(requests: tuple[Request, ...], point: LoadPoint) -> Workload:
    """Return recorded requests as the load point sends them; those of a warm-up were not recorded."""
    if not isinstance(point.arrivals, ClosedLoop):
        return Workload(requests, None)
    return in_closed_loop(requests, point.arrivals.model_copy(update={"warm_up_requests": 0}))


def _at_benchmark(lengths: AnySent, index: int) -> AnySent:
    if isinstance(lengths, GuideLlmLengths):
        return lengths.model_copy(update={"benchmark_index": index})
    return lengths


def _first_of_each_group(requests: Iterable[Request]) -> tuple[Request, ...]:
    first: dict[str, Request] = {}
    for request in requests:
        if request.prefix_group is not None:
            first.setdefault(request.prefix_group, request)
    return tuple(
        replace(request, id=f"warm_up_{position}", arrival_us=position * WARM_UP_INTERVAL_US, output_tokens=1)
        for position, request in enumerate(first.values())
    )
