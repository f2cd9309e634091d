"""Traces without latencies, predicted on a server that a person describes.

Contract: `read_sent` reads what was sent and says what of it was left out; `served_by` turns what a person states into
a `Deployment`; `predict` serves every request with every set of options. Nothing here was measured, so nothing has an
error: a figure is a prediction, or is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roofline_lab.config import RandomArrivals
from roofline_lab.ground_truth.assumed_server import require_room, served, with_assumed_server
from roofline_lab.ground_truth.catalog import HARDWARE, MODELS, hardware_in
from roofline_lab.ground_truth.deployment import Deployment
from roofline_lab.ground_truth.experiment import Replay
from roofline_lab.ground_truth.requests import digest_of_trace
from roofline_lab.importers.common import DEFAULT_SETTINGS
from roofline_lab.importers.stated_server import settings_by_options
from roofline_lab.load_point import Prediction, serve
from roofline_lab.places import shelves
from roofline_lab.predict.choose import OptionSet
from roofline_lab.predict.replay import LATENCIES, STATISTICS, refuse_in_sample
from simulator.engine.records import Request, RequestState
from simulator.errors import AllAtOnce, ConfigError, UnsupportedError
from simulator.gpu_names import gpu_named
from simulator.hardware import Hardware, load_hardware
from simulator.model import Model
from simulator.model_files import find_model_file, load_model, models_in
from simulator.parallelism import require_runnable
from simulator.validation import parse, suggest
from simulator.workload.arrivals import US_PER_S, Poisson, arrival_times
from simulator.workload.build import Workload
from simulator.workload.trace import TraceFile, read_trace

# A trace with our own columns has no publisher.
OWN_FORMAT = "request trace"
# Latency and statistic -> definition of `simulator.metrics`; TPOT is formed per request, as a comparison forms it.
DEFINITION_OF: Mapping[tuple[str, str], str] = {
    (latency, statistic): ("tpot_request" if latency == "tpot" else latency)
    + ("" if (latency, statistic) == ("tpot", "mean") else f"_{statistic}")
    for latency in LATENCIES
    for statistic in STATISTICS
}
RATES: Mapping[str, str] = {"request_throughput": "per_s", "output_token_throughput": "tok/s"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which requests of a trace are sent, and when.

    Attributes
    ----------
    window_s
        From and to, seconds since the first request; the end is not in it.
    first
        At most so many, of those in the window.
    poisson_per_s
        Sent at random at so many per second instead of when they were recorded.
    """

    window_s: tuple[float, float] | None = None
    first: int | None = None
    poisson_per_s: float | None = None

    @property
    def said(self) -> str:
        """As the command line says it."""
        parts = [] if self.window_s is None else [f"--window {self.window_s[0]:g}-{self.window_s[1]:g}"]
        return " ".join([*parts, *([] if self.first is None else [f"--first {self.first}"])])


@dataclass(frozen=True, slots=True)
class SentTrace:
    """What one file says was sent.

    Attributes
    ----------
    source, digest, format
        Name of the file, a short hash of its content, and whose format it has.
    replays
        What the engine is given: one set of requests, or one per sequence of arrivals where these are drawn.
    notes
        What was left out, and what cannot be told.
    """

    source: str
    digest: str
    format: str
    replays: tuple[Replay, ...]
    notes: tuple[str, ...]

    @property
    def requests(self) -> Sequence[Request]:
        """The requests, of the first sequence of arrivals."""
        return self.replays[0].workload.requests

    @property
    def sent_per_s(self) -> float | None:
        """Requests per second from the first to the last; None where all arrive at once."""
        span_us = self.requests[-1].arrival_us - self.requests[0].arrival_us
        return len(self.requests) / span_us * US_PER_S if span_us else None

    @property
    def shared(self) -> float:
        """The share of prompts that have a beginning in common with others."""
        return sum(request.prefix_group is not None for request in self.requests) / len(self.requests)


@dataclass(frozen=True, slots=True)
class Server:
    """A deployment with what it names, and what had to be assumed about it."""

    deployment: Deployment
    model: Model
    hardware: Hardware
    files: tuple[Path, ...]
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TracePrediction:
    """One trace under one set of options.

    Attributes
    ----------
    prediction
        What was simulated; None if nothing could be.
    failure
        Why not.
    notes
        Where the prediction leaves what its constants rest on.
    """

    trace: SentTrace
    options: OptionSet
    prediction: Prediction | None
    failure: str = ""
    notes: tuple[str, ...] = ()

    def figure(self, latency: str, statistic: str) -> float | None:
        """Return `mean` or a percentile of a latency, ms; None where no request has one."""
        return None if self.prediction is None else self.prediction.value(DEFINITION_OF[latency, statistic])

    def rate(self, name: str) -> float | None:
        """Return a throughput, per second."""
        return None if self.prediction is None else self.prediction.value(name)

    @property
    def unfinished(self) -> int:
        """How many requests the simulated server did not complete, in all sequences of arrivals."""
        if self.prediction is None:
            return 0
        results = (result for draw in self.prediction.draws for result in draw.requests)
        return sum(result.state is not RequestState.COMPLETED for result in results)


# --- what was sent ----------------------------------------------------------------------------


def read_sent(path: Path, choice: Choice, arrivals: RandomArrivals) -> SentTrace:
    """Read the requests of one trace that are chosen.

    Raises
    ------
    ConfigError
        If the trace cannot be read, says nothing of times that are asked for, or no request is chosen.
    """
    found = read_trace(path, times_required=choice.poisson_per_s is None)
    found, notes = _answered(found)
    kept = _chosen(path, found, choice)
    if len(kept) < len(found.requests):
        left_out = len(found.requests) - len(kept)
        notes.append(f"{left_out:,} of {len(found.requests):,} requests are left out: {choice.said}")
    if choice.poisson_per_s is None:
        replays: tuple[Replay, ...] = (Replay(Workload(kept, None), 0),)
    else:
        instead = "instead of when they were recorded" if found.timed else "since no times are recorded"
        notes.append(f"sent at random, {choice.poisson_per_s:g} per second on average, {instead}")
        replays = tuple(_at_random(kept, choice.poisson_per_s, arrivals))
    return SentTrace(path.name, digest_of_trace(path), found.format or OWN_FORMAT, replays, tuple(notes))


def _answered(found: TraceFile) -> tuple[TraceFile, list[str]]:
    """Return a trace without the requests that nobody answered, and what is to be told of it."""
    answered = tuple(request for request in found.requests if request.output_tokens)
    unanswered = len(found.requests) - len(answered)
    told = f"{unanswered} of {len(found.requests)} rows have no prompt or no answer (0 tokens) and are left out"
    return replace(found, requests=answered), [*found.notes, *([told] if unanswered else [])]


def _chosen(path: Path, found: TraceFile, choice: Choice) -> tuple[Request, ...]:
    """Return the chosen requests on a clock that starts with the first of them, or with the window."""
    requests = found.requests
    if not requests:
        raise ConfigError(f"{path}: no request has a prompt and an answer, so there is nothing to simulate")
    begin_us = requests[0].arrival_us
    if choice.window_s is not None:
        if not found.timed:
            raise ConfigError(f"{path}: --window: the trace records no times; choose with --first")
        low_us, high_us = (begin_us + round(limit_s * US_PER_S) for limit_s in choice.window_s)
        requests = tuple(request for request in requests if low_us <= request.arrival_us < high_us)
        begin_us = low_us
    if not requests:
        span_s = (found.requests[-1].arrival_us - found.requests[0].arrival_us) / US_PER_S
        raise ConfigError(f"{path}: {choice.said}: no request was sent then; the trace lasts {span_s:g} s")
    kept = requests if choice.first is None else requests[: choice.first]
    return tuple(replace(request, arrival_us=request.arrival_us - begin_us) for request in kept)


def _at_random(requests: Sequence[Request], per_s: float, arrivals: RandomArrivals) -> Iterator[Replay]:
    process = parse(Poisson, {"kind": "poisson", "rate_per_s": per_s}, source="--poisson")
    for seed in arrivals.seeds[: arrivals.draws(len(requests))]:
        times = arrival_times(process, len(requests), seed)
        sent = (replace(request, arrival_us=at_us) for request, at_us in zip(requests, times, strict=True))
        yield Replay(Workload(tuple(sent), None), 0)


# --- where it is served -----------------------------------------------------------------------


def served_by(root: Path, model: str, hardware: str, tensor_parallel: int, stated: Sequence[str]) -> Server:
    """Return the server that a person describes.

    Parameters
    ----------
    root
        The project, whose models and GPUs go by their names.
    model
        A name, or the path of a Hugging Face `config.json` or of the folder of a downloaded model.
    stated
        Further facts, as `--server` takes them.

    Raises
    ------
    ConfigError
        Naming everything that is wrong.
    UnsupportedError
        If the model does not fit on the GPUs, or its architecture is not described by the formulas.
    """
    files, problems = [], []
    for find in (_model_file, _hardware_file):
        try:
            files.append(find(root, model if find is _model_file else hardware))
        except ConfigError as error:
            problems.append(str(error))
    try:
        facts = {name: fact.value for name, fact in settings_by_options(stated).items()}
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    runs, gpu = load_model(files[0]), load_hardware(files[1])
    known = {name: value for name, value in facts.items() if name != "date"}
    content: dict[str, Any] = {
        "model": runs.id,
        "hardware": gpu.id,
        "tensor_parallel": tensor_parallel,
        "server": {
            "known": known,
            "assumed": {name: value for name, value in DEFAULT_SETTINGS.items() if name not in known},
        },
        "date": facts.get("date"),
    }
    deployment = parse(Deployment, content, source="--model, --hardware, --tensor-parallel, --server")
    model_as_served = served(deployment, runs, gpu)
    filled, notes = with_assumed_server(deployment, model_as_served, gpu)
    told = AllAtOnce()
    with told:
        require_runnable(runs, deployment.parallelism)
    with told:
        require_room(filled, model_as_served, gpu)
    told.refuse()
    return Server(deployment, model_as_served, gpu, tuple(files), (*notes, *_defaults(deployment)))


def too_long(trace: SentTrace, server: Server) -> str | None:
    """Say how many requests a server would refuse for their length, or None; the simulation serves them."""
    stated, made_for = server.deployment.server.settings.max_model_len_tokens, server.model.max_position_embeddings
    limit = stated or made_for
    lengths = [request.prompt_tokens + request.output_tokens for request in trace.requests]
    longer = sum(limit is not None and tokens > limit for tokens in lengths)
    if not longer:
        return None
    whose = "the server is said to take (max_model_len)" if stated else "the model takes (max_position_embeddings)"
    return (
        f"{longer:,} of {len(lengths):,} requests exceed the {limit:,} tokens {whose}, up to {max(lengths):,}; "
        "a server refuses them, the simulation does not"
    )


def _model_file(root: Path, name: str) -> Path:
    places, path = shelves(root, f"configs/{MODELS}"), Path(name)
    found = find_model_file(name, places)
    if found is None and path.exists():
        return path
    if found is None:
        raise ConfigError(
            f"--model: unknown model '{name}'; {suggest(name, models_in(places))} (or give the path of its Hugging "
            "Face config.json, or of the folder of a downloaded model)"
        )
    return found


def _hardware_file(root: Path, name: str) -> Path:
    known, path = hardware_in(shelves(root, f"configs/{HARDWARE}")), Path(name)
    found = gpu_named(name, known)
    if found is None and path.is_file():
        return path
    if found is None:
        raise ConfigError(
            f"--hardware: unknown GPU '{name}'; {suggest(name, known)} (or give the path of a data sheet)"
        )
    return known[found]


def _defaults(deployment: Deployment) -> Iterator[str]:
    words = {
        "token_budget": "the most tokens of a step are not stated: {} ",
        "prefix_caching": "whether prefixes are cached is not stated: {} ",
    }
    for name, text in words.items():
        value = getattr(deployment.server.assumed, name)
        if value is not None:
            yield text.format({True: "they are", False: "they are not"}.get(value, value)).rstrip() + ", as vLLM does"


# --- what becomes of it -----------------------------------------------------------------------


def predict(
    traces: Iterable[SentTrace],
    server: Server,
    option_sets: Sequence[OptionSet],
    progress: Callable[[str], None] = lambda what: None,
) -> tuple[TracePrediction, ...]:
    """Serve every trace with every set of options; traces in their order.

    Parameters
    ----------
    progress
        Told which trace is served with which options, once that is done.
    """
    found = []
    for trace in traces:
        for options in option_sets:
            found.append(_predicted(trace, server, options))
            progress(f"{trace.source} with {options.label}")
    return tuple(found)


def _predicted(trace: SentTrace, server: Server, options: OptionSet) -> TracePrediction:
    described = (server.deployment, server.model, server.hardware)
    try:
        refuse_in_sample(options.predictor, server.deployment, server.model)
        setup = options.predictor.setup(*described)
        prediction = serve(setup, trace.replays, "server")
    except UnsupportedError as error:
        return TracePrediction(trace, options, None, str(error))
    notes = tuple(note.text for note in options.predictor.notes(*described))
    return TracePrediction(trace, options, prediction, notes=notes)
