"""Measured experiments: what was run on a real server, what a client measured, and who says so.

Contract: `load_experiment` and `load_set` return immutable records or raise one `ConfigError` that
lists every problem with file, key and remedy. A figure without a source, in another unit than it
says, or at odds with the other figures of its load point is refused, never repaired.

Layout: `ground_truth/<id>/experiment.yaml` is one experiment, `ground_truth/sets.yaml` names groups
of them, `ground_truth/vocabulary.yaml` lists the families and workloads an experiment may name;
models and GPUs are the files of the neighbouring `configs`. docs/ground-truth.md describes the format.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, Strict, StringConstraints, model_validator

from simulator.errors import ConfigError
from simulator.validation import (
    Count,
    NonNegative,
    NonNegativeInt,
    StrictModel,
    config_error,
    parse,
    read_yaml,
    suggest,
)
from simulator.workload.arrivals import ArrivalSpec
from simulator.workload.build import Workload, WorkloadSpec, build_workload
from simulator.workload.lengths import ConstantLengths, EmpiricalLengths, GuideLlmLengths
from simulator.workload.prefixes import NoSharing, PrefixSpec
from workflow.lib.measured import Measured, inter_token_ms, problems_of

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Day = Annotated[date, Strict()]

# Only lengths that are facts of the recorded run; a distribution would be drawn anew.
SentLengths = Annotated[GuideLlmLengths | ConstantLengths | EmpiricalLengths, Field(discriminator="kind")]

EXPERIMENT_FILE = "experiment.yaml"
SETS_FILE = "sets.yaml"
VOCABULARY_FILE = "vocabulary.yaml"


class Source(StrictModel):
    """Where the figures come from: a public document, its date, and on what terms they are used."""

    document: Text
    date: Day
    licence: Text


class ServerSettings(StrictModel):
    """Settings of the measured server that a simulation needs; None where not stated.

    Attributes
    ----------
    token_budget
        Most tokens of one engine step (`max_num_batched_tokens`).
    prefix_caching
        Whether the server reused computed prefixes.
    client_offset_ms
        Time between client and engine that the client's TTFT and E2E contain.
    """

    token_budget: Count | None = None
    prefix_caching: bool | None = None
    client_offset_ms: NonNegative | None = None


class Server(StrictModel):
    """What is known of the server, and what is assumed because it was not published."""

    known: ServerSettings = ServerSettings()
    assumed: ServerSettings = ServerSettings()
    note: Text | None = None

    @property
    def settings(self) -> ServerSettings:
        """Known and assumed settings together; no field is None."""
        return self.assumed.model_copy(update=self.known.model_dump(exclude_none=True))

    @model_validator(mode="after")
    def _each_setting_once(self) -> Self:
        for name in ServerSettings.model_fields:
            given = [getattr(part, name) is not None for part in (self.known, self.assumed)]
            if given == [True, True]:
                raise ValueError(f"{name} is given as known and as assumed; keep one")
            if given == [False, False]:
                raise ValueError(f"{name} is given neither as known nor as assumed; give one")
        return self


class SentWorkload(StrictModel):
    """The requests as the client sent them.

    Attributes
    ----------
    name
        A workload of the vocabulary; the key results are aggregated by.
    prompt, output
        Lengths in tokens; prompts without the shared prefix.
    prefix
        What prompts share.
    note
        Where the description comes from, if not from the experiment's own profile.
    """

    name: Text
    prompt: SentLengths
    output: SentLengths
    prefix: PrefixSpec = NoSharing(kind="none")
    note: Text | None = None


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
    lost_positions
        Positions (from 0, in order of sending) of the requests that are not in the means.
    basis
        How this is known.
    """

    sent: Count
    completed: Count
    failed: NonNegativeInt | None = None
    lost_positions: tuple[NonNegativeInt, ...] = ()
    basis: Text

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if self.completed + len(set(self.lost_positions)) != self.sent:
            raise ValueError(
                f"completed {self.completed} and {len(set(self.lost_positions))} lost_positions do not add up to "
                f"sent {self.sent}; name each lost position once"
            )
        if any(position >= self.sent for position in self.lost_positions):
            raise ValueError(f"lost_positions count from 0, so each must be below sent {self.sent}")
        if self.failed is not None and self.failed > len(self.lost_positions):
            raise ValueError(f"failed {self.failed} exceeds the {len(self.lost_positions)} lost_positions")
        return self


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
    requests
        How many were sent and completed.
    measured
        Figures by metric name, such as `ttft_mean`.
    """

    id: Id
    arrivals: ArrivalSpec
    benchmark_index: NonNegativeInt = 0
    requests: RequestCounts
    measured: dict[str, Measured]


class Experiment(StrictModel):
    """One model on one server, measured at one or more load points.

    Attributes
    ----------
    family, model, hardware
        Words of the vocabulary and of `configs`.
    tool, side
        What measured, and on which side of the network.
    date, date_basis
        When the measurement was made, and how that is known.
    """

    id: Id
    family: Text
    model: Text
    hardware: Text
    tensor_parallel: Count
    tool: Literal["guidellm"]
    side: Literal["client", "server"]
    date: Day
    date_basis: Text
    source: Source
    server: Server
    workload: SentWorkload
    load_points: tuple[LoadPoint, ...]

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

    def workload_spec(self, load_point: str) -> WorkloadSpec:
        """Describe every request the client sent at one load point, lost ones included."""
        point = self.point(load_point)
        return WorkloadSpec(
            requests=point.requests.sent,
            arrivals=point.arrivals,
            prompt=_at_benchmark(self.workload.prompt, point.benchmark_index),
            output=_at_benchmark(self.workload.output, point.benchmark_index),
            prefix=self.workload.prefix,
        )

    def completed_workload(self, load_point: str) -> Workload:
        """Return the requests behind the measured means, in order of sending.

        A lost request is left out: its work on the server, if any, was not published.
        """
        lost = set(self.point(load_point).requests.lost_positions)
        sent = build_workload(self.workload_spec(load_point), seed=0)
        kept = tuple(request for position, request in enumerate(sent.requests) if position not in lost)
        return replace(sent, requests=kept)

    def mean_output_tokens(self, load_point: str) -> float:
        """Return the mean output length of the completed requests, in tokens."""
        requests = self.completed_workload(load_point).requests
        return math.fsum(request.output_tokens for request in requests) / len(requests)

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


def load_experiment(folder: Path) -> Experiment:
    """Read one experiment and check it against vocabulary, models, GPUs and itself.

    Parameters
    ----------
    folder
        `<root>/ground_truth/<id>`; `<root>/configs` holds the models and GPUs.

    Raises
    ------
    ConfigError
        Naming file and every wrong key.
    """
    root = folder.parent.parent
    path = folder / EXPERIMENT_FILE
    source = path.relative_to(root).as_posix()
    experiment = parse(Experiment, read_yaml(path), source=source)
    problems = [*_reference_problems(experiment, folder, root), *_load_point_problems(experiment)]
    if problems:
        raise config_error(source, problems)
    return experiment


def load_set(root: Path, name: str) -> tuple[Experiment, ...]:
    """Read the experiments of one set, in the set's order.

    Parameters
    ----------
    root
        The folder that holds `ground_truth` and `configs`.
    name
        A key of `ground_truth/sets.yaml`.

    Raises
    ------
    ConfigError
        If the set or one of its experiments is unknown, listed twice or malformed.
    """
    folder = root / "ground_truth"
    sets = parse(_Sets, read_yaml(folder / SETS_FILE), source=f"ground_truth/{SETS_FILE}").sets
    if name not in sets:
        raise ConfigError(f"ground_truth/{SETS_FILE}: unknown set '{name}'; {suggest(name, sets)}")
    members = sets[name].experiments
    known = [path.parent.name for path in folder.glob(f"*/{EXPERIMENT_FILE}")]
    problems = [
        f"sets.{name}: unknown experiment '{one}'; {suggest(one, known)}" for one in members if one not in known
    ]
    problems += [f"sets.{name}: '{one}' is listed twice" for one in sorted(set(members)) if members.count(one) > 1]
    if problems:
        raise config_error(f"ground_truth/{SETS_FILE}", problems)
    return tuple(load_experiment(folder / one) for one in members)


class _Set(StrictModel):
    title: Text
    experiments: Annotated[tuple[Id, ...], Field(min_length=1)]


class _Sets(StrictModel):
    sets: dict[Id, _Set]


class _Vocabulary(StrictModel):
    families: dict[Text, Text]
    workloads: dict[Text, Text]


def _at_benchmark(
    lengths: GuideLlmLengths | ConstantLengths | EmpiricalLengths, index: int
) -> GuideLlmLengths | ConstantLengths | EmpiricalLengths:
    if isinstance(lengths, GuideLlmLengths):
        return lengths.model_copy(update={"benchmark_index": index})
    return lengths


def _reference_problems(experiment: Experiment, folder: Path, root: Path) -> Iterator[str]:
    """Yield names that nothing in the project answers to."""
    if experiment.id != folder.name:
        yield f"id: must be the folder's name '{folder.name}' (got '{experiment.id}')"
    words = parse(_Vocabulary, read_yaml(folder.parent / VOCABULARY_FILE), source=f"ground_truth/{VOCABULARY_FILE}")
    named: tuple[tuple[str, str, Iterable[str]], ...] = (
        ("family", experiment.family, words.families),
        ("workload.name", experiment.workload.name, words.workloads),
        ("model", experiment.model, [path.stem for path in (root / "configs" / "models").glob("*.json")]),
        ("hardware", experiment.hardware, [path.stem for path in (root / "configs" / "hardware").glob("*.yaml")]),
    )
    for key, word, known in named:
        if word not in known:
            yield f"{key}: unknown {key.removesuffix('.name')} '{word}'; {suggest(word, known)}"


def _load_point_problems(experiment: Experiment) -> Iterator[str]:
    if not experiment.load_points:
        yield "load_points: empty; give at least one measured load point"
    ids = [point.id for point in experiment.load_points]
    yield from (f"load_points: id '{one}' is used twice" for one in sorted(set(ids)) if ids.count(one) > 1)
    for position, point in enumerate(experiment.load_points):
        if not point.measured:
            yield f"load_points.{position}.measured: empty; give at least one figure"
        try:
            mean_output_tokens = experiment.mean_output_tokens(point.id)
        except ConfigError as error:
            yield f"load_points.{position}: {error}"
            continue
        for problem in problems_of(point.measured, mean_output_tokens):
            yield f"load_points.{position}.measured.{problem}"
