"""What is asked: servers, requests and limits, in the keys of `simulator run`, without a load.

Contract: `read_question` returns a `Question` or raises one `ConfigError` with all that is wrong; `variants` are the
servers it asks about, each with the values it has where the question lists several. `spec_at` is the run of one of
them at one load: a rate in requests per second, or clients of a closed loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from roofline_lab.files import digest_of
from roofline_lab.places import CONFIGS, is_shipped, listed, name_of
from simulator.cli.run_spec import DEFAULT_HARDWARE, DEFAULT_SEED, RunSpec, spec_of
from simulator.errors import ConfigError
from simulator.gpu_names import gpu_named
from simulator.slo import Limit, read_limits
from simulator.validation import NonNegativeInt, Positive, StrictModel, parse, read_yaml, suggest
from simulator.workload.build import RequestCount

WORKLOADS = f"{CONFIGS}/workloads"
Load = Literal["rate", "concurrency"]
UNITS: Mapping[str, str] = {"rate": "requests/s", "concurrency": "clients"}
OF_SESSIONS: Mapping[str, str] = {"rate": "sessions/s", "concurrency": "users"}
# Keys that name a file, and where a lab has its own of that name.
OWN_FILES: Mapping[str, str] = {
    "model": "models/{}.json",
    "hardware": "hardware/{}.yaml",
    "steptime": "calibration/{}.yaml",
}
# More servers than anybody reads a table of.
MOST_VARIANTS = 2000
# Keys of a question that are a run's and may have several values.
VARIED = ("model", "hardware", "tensor_parallel", "expert_parallel", "kv_cache_dtype", "steptime")
Values = Annotated[list[Any], Field(min_length=1)]


class Question(StrictModel):
    """One question about capacity.

    Attributes
    ----------
    title
        What is asked, in a sentence.
    model, hardware, tensor_parallel, expert_parallel, kv_cache_dtype, steptime, engine, seed
        As in a run (`simulator.cli.run_spec`). Those of `VARIED` and every key of `engine` may be a list.
    workload
        Name of a file in `configs/workloads`, or what such a file holds: a run's workload without a load.
    slo
        Limits on latencies with their units, separated by commas; None: only what latencies are is asked.
    load
        What is varied: requests per second, or clients of a closed loop.
    at
        The load at which latencies are wanted, or that has to be served; None: the highest is looked for.
    price_per_gpu_hour
        Price of an hour of one GPU by its id, in any currency.
    """

    title: str = ""
    model: str | dict[str, Any] | Values
    hardware: str | dict[str, Any] | Values = DEFAULT_HARDWARE
    tensor_parallel: int | Values = 1
    expert_parallel: bool | Values = False
    kv_cache_dtype: str | Values = "auto"
    steptime: str | dict[str, Any] | Values = Field(default={})
    engine: dict[str, Any] = Field(default={})
    workload: str | dict[str, Any]
    slo: str | None = None
    load: Load = "rate"
    at: Positive | None = None
    price_per_gpu_hour: dict[str, Positive] = Field(default={})
    seed: NonNegativeInt = DEFAULT_SEED

    @property
    def unit(self) -> str:
        """What a load is counted in."""
        of_sessions = isinstance(self.workload, Mapping) and self.workload.get("sessions") is not None
        return (OF_SESSIONS if of_sessions else UNITS)[self.load]

    @model_validator(mode="after")
    def _whole_clients(self) -> Self:
        if self.load == "concurrency" and self.at is not None and self.at != round(self.at):
            raise ValueError(f"at: {self.at:g} clients; give a whole number")
        return self


class WorkloadFile(StrictModel):
    """Requests without a load: `configs/workloads/<name>.yaml`.

    Attributes
    ----------
    about
        What sends such requests, and where its lengths are from.
    requests, arrivals, prompt, output, prefix, sessions, trace
        As in the workload of a run, arrivals without their rate.
    """

    about: str = ""
    requests: RequestCount | None = None
    arrivals: dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    prefix: dict[str, Any] | None = None
    sessions: dict[str, Any] | None = None
    trace: dict[str, Any] | None = None


@dataclass(frozen=True)
class Variant:
    """One server a question asks about.

    Attributes
    ----------
    varied
        Keys the question lists several values of, and those of this server.
    data
        The keys of a run, without a load.
    load
        What is varied.
    own
        Files of models, GPUs and calibrations that a lab has itself, by key; they stand in place of the names.
    """

    varied: Mapping[str, Any]
    data: Mapping[str, Any]
    load: Load
    source: str
    own: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The server in few words: what it has that others of the question have not."""
        data = {key: self.data[key] for key in ("model", "hardware")}
        shown = [_shown(value) for value in data.values()] + [f"TP{self.data['tensor_parallel']}"]
        others = [key for key in self.varied if key not in (*data, "tensor_parallel")]
        return " ".join([*shown, *(f"{key.rpartition('.')[2]}={_shown(self.varied[key])}" for key in others)])

    @cached_property
    def digest(self) -> str:
        """A hash of everything that is asked about this server."""
        return digest_of({"data": dict(self.data), "load": self.load})

    def spec_at(self, load: float, requests: int) -> RunSpec:
        """Return the run at one load.

        Raises
        ------
        RooflineLabError
            If anything in it is wrong or not modelled.
        """
        workload = {**self.data["workload"], "requests": requests, "arrivals": self._arrivals(load)}
        return spec_of({**self.data, **self.own, "workload": workload}, self.source)

    @property
    def requests(self) -> int | None:
        """How many requests a run has at least; None where the question leaves that open."""
        stated: int | None = self.data["workload"].get("requests")
        return stated

    def _arrivals(self, load: float) -> dict[str, Any]:
        stated = dict(self.data["workload"].get("arrivals", {}))
        if self.load == "concurrency":
            return {"kind": "closed_loop", **stated, "concurrency": round(load)}
        return {"kind": "poisson", **stated, "rate_per_s": float(load)}


def _shown(value: object) -> str:
    return str(value.get("id", "described")) if isinstance(value, Mapping) else str(value)


def read_question(path: Path, root: Path) -> Question:
    """Return the question of a file of a lab.

    Raises
    ------
    ConfigError
        Naming every key that is wrong.
    """
    return question_of(read_yaml(path), name_of(path, root), root)


def question_of(data: object, source: str, root: Path) -> Question:
    """Return a question from plain data, with the workload in it that it names.

    Raises
    ------
    ConfigError
        Naming every key that is wrong.
    """
    question = parse(Question, data, source=source)
    if question.slo is not None:
        read_limits(question.slo, f"{source}: slo")
    workload = workload_of(question.workload, source, root)
    _refuse_load(workload, source)
    return question.model_copy(update={"workload": workload, "price_per_gpu_hour": _prices(question, source, root)})


def _prices(question: Question, source: str, root: Path) -> dict[str, float]:
    """Return prices by the ids of GPUs; one of a GPU that no server has would silently count for nothing."""
    described = {path.stem: path for path in listed(root, f"{CONFIGS}/hardware", "*.yaml")}
    stated = question.hardware if isinstance(question.hardware, list) else [question.hardware]
    asked = {gpu_named(gpu, described) or gpu for gpu in stated if isinstance(gpu, str)}
    prices = {gpu_named(gpu, described) or gpu: price for gpu, price in question.price_per_gpu_hour.items()}
    for gpu in sorted(prices.keys() - asked) if len(asked) == len(stated) else ():
        raise ConfigError(f"{source}: price_per_gpu_hour.{gpu}: no server is on it, but on {', '.join(sorted(asked))}")
    return prices


def limits_of(question: Question, source: str) -> tuple[Limit, ...]:
    """Return the limits of a question; none where it has none."""
    return () if question.slo is None else read_limits(question.slo, f"{source}: slo")


def workload_of(given: str | Mapping[str, Any], source: str, root: Path) -> dict[str, Any]:
    """Return a workload by its name or as it is described.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if isinstance(given, Mapping):
        return dict(given)
    path = Path(given)
    known = {file.stem: file for file in listed(root, WORKLOADS, "*.yaml")}
    file = known.get(given) or (path if path.suffix in (".yaml", ".yml") and path.is_file() else None)
    if file is None:
        raise ConfigError(
            f"{source}: workload: unknown '{given}'; {suggest(given, known)} (or give the path of a file)"
        )
    parsed = parse(WorkloadFile, read_yaml(file), source=str(file))
    return parsed.model_dump(exclude={"about"}, exclude_unset=True)


def _refuse_load(workload: Mapping[str, Any], source: str) -> None:
    """Refuse a load where none belongs, and requests nobody describes."""
    arrivals = workload.get("arrivals", {})
    stated = [key for key in ("rate_per_s", "concurrency") if isinstance(arrivals, Mapping) and key in arrivals]
    if stated:
        raise ConfigError(
            f"{source}: workload.arrivals.{stated[0]}: the load is what is looked for; leave it out, or give it as 'at'"
        )
    if "trace" not in workload:
        missing = [key for key in ("prompt", "output") if key not in workload]
        if missing:
            raise ConfigError(
                f"{source}: workload: no lengths of {' and '.join(missing)}; give them as "
                "{kind: constant, tokens: 500}, name a 'trace', or a file of configs/workloads"
            )
    if "requests" in workload:
        parse(_Requests, {"requests": workload["requests"]}, source=f"{source}: workload")


class _Requests(StrictModel):
    requests: RequestCount


def variants(question: Question, source: str, root: Path | None = None) -> tuple[Variant, ...]:
    """Return the servers a question asks about, in the order in which it lists their values.

    Parameters
    ----------
    root
        The lab, whose own models, GPUs and calibrations are found before those that are shipped.

    Raises
    ------
    ConfigError
        If there are too many.
    """
    fixed: dict[str, Any] = {}
    listed_values: dict[str, Sequence[Any]] = {}
    for key, value in _stated(question):
        (listed_values if isinstance(value, list) else fixed)[key] = value
    count = 1
    for values in listed_values.values():
        count *= len(values)
    if count > MOST_VARIANTS:
        raise ConfigError(f"{source}: {count} servers are asked about; at most {MOST_VARIANTS}: list fewer values")
    return tuple(
        Variant(varied, data, question.load, source, dict(_own(data, root)))
        for combination in product(*listed_values.values())
        for varied in (dict(zip(listed_values, combination, strict=True)),)
        for data in (_nested({**fixed, **varied}, question),)
    )


def _own(data: Mapping[str, Any], root: Path | None) -> Iterator[tuple[str, str]]:
    """Yield the keys whose names are files of a lab's own, with the files."""
    for key, place in OWN_FILES.items() if root is not None and not is_shipped(root) else ():
        file = root / CONFIGS / place.format(data[key]) if isinstance(data[key], str) and root is not None else None
        if file is not None and file.is_file():
            yield key, str(file)


def _stated(question: Question) -> Iterator[tuple[str, Any]]:
    for key in VARIED:
        yield key, getattr(question, key)
    for key, value in question.engine.items():
        yield f"engine.{key}", value


def _nested(flat: Mapping[str, Any], question: Question) -> dict[str, Any]:
    data: dict[str, Any] = {"engine": {}, "workload": question.workload, "seed": question.seed}
    for key, value in flat.items():
        room, _, name = key.rpartition(".")
        (data[room] if room else data)[name] = value
    return data
