"""What an inference-perf client sent: the configuration it ran with, and its single requests where it recorded them.

Contract: `read_profile` needs `config.yaml` (what ran) or `profile.yaml` (what was asked for); where both are there,
the first decides and differences become findings. A shared-prefix data set is a pool of prompts sent in turn; its
arrivals are exponential gaps stretched to the length of the stage. `read_requests` streams
`per_request_lifecycle_metrics.json` (a list of any length) and keeps times and lengths, never texts.

Sources: inference-perf at commit e8e0aa99 and version 0.7.0, load timer and shared-prefix data.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from pydantic import AliasChoices, Field

from roofline_lab.ground_truth.json_stream import stream_values
from roofline_lab.ground_truth.lint import DEFINITION_TOLERANCE
from roofline_lab.ground_truth.quality import Finding, Flag
from roofline_lab.ground_truth.requests import refuse_too_many
from roofline_lab.importers.common import CONVERSATIONS, Foreign, Latency, WholeNumber, constant_workload
from roofline_lab.importers.run_metadata import PROFILE_FILE
from roofline_lab.importers.server_sources import read_mapping
from simulator.errors import ConfigError
from simulator.validation import parse
from simulator.workload.lengths import GaussianLengths, UniformLengths, expected_tokens
from simulator.workload.prefixes import PromptPool

CONFIG_FILE = "config.yaml"
REQUESTS_FILE = "per_request_lifecycle_metrics.json"

# Group counts that a client of before February 2026 knew, and the names it silently dropped.
OLD_KEYS = ("num_groups", "num_prompts_per_group")
NEW_KEYS = ("num_unique_system_prompts", "num_users_per_system_prompt")

# Prompts that such a client sends where it was told nothing it understood: 10 groups of 10
# (defaults of commit e8e0aa99, as the `config.yaml` it writes shows).
OLD_GROUPS = (10, 10)

# Kinds of data whose lengths are drawn from distributions of the configuration.
DRAWN = ("random", "synthetic")
# Kinds of distribution that give one length alone.
FIXED = ("fixed", "constant", "deterministic")


# --- the profile ------------------------------------------------------------------------------


class _Distribution(Foreign):
    """Lengths in tokens; what is drawn is cut to `min` and `max`."""

    type: str | None = None
    min: Latency | None = None
    max: Latency | None = None
    mean: Latency | None = None
    std_dev: Latency | None = Field(None, validation_alias=AliasChoices("std_dev", "stddev", "std"))

    @property
    def fixed(self) -> int | None:
        """The one length that is drawn, or None where there are several."""
        if self.min is not None and self.min == self.max:
            return round(self.min)
        one = (self.type or "").lower() in FIXED or (self.std_dev == 0 and (self.type or "normal").lower() == "normal")
        if not one or self.mean is None:
            return None
        return round(min(max(self.mean, self.min or 0.0), self.mean if self.max is None else self.max))

    @property
    def spec(self) -> GaussianLengths | UniformLengths | None:
        """The distribution as workloads describe it, or None where they have no such kind."""
        kind, low, high = (self.type or "normal").lower(), self.min, self.max
        if low is None or high is None or not 1 <= low < high:
            return None
        limits = {"min_tokens": round(low), "max_tokens": round(high)}
        if kind == "uniform":
            return UniformLengths(kind="uniform", **limits)
        if kind not in ("normal", "gaussian") or self.mean is None or not self.std_dev:
            return None
        return GaussianLengths(kind="gaussian", mean_tokens=self.mean, stdev_tokens=self.std_dev, **limits)


class _SharedPrefix(Foreign):
    groups: WholeNumber | None = Field(None, validation_alias=AliasChoices(OLD_KEYS[0], NEW_KEYS[0]))
    prompts_per_group: WholeNumber | None = Field(None, validation_alias=AliasChoices(OLD_KEYS[1], NEW_KEYS[1]))
    system_prompt_len: WholeNumber | _Distribution | None = None
    output_len: WholeNumber | _Distribution | None = None
    enable_multi_turn_chat: bool | None = None


class _Data(Foreign):
    type: str
    shared_prefix: _SharedPrefix | None = None
    input_distribution: _Distribution | None = None
    output_distribution: _Distribution | None = None


class _Load(Foreign):
    type: str


class _Server(Foreign):
    ignore_eos: bool | None = None
    model_name: str | None = None


class _Config(Foreign):
    data: _Data
    load: _Load
    server: _Server | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """Prompts that are sent in turn: groups, prompts of each, and the tokens that a group begins with."""

    groups: int
    per_group: int
    shared_tokens: int = 0

    @property
    def prompts(self) -> int:
        """How many prompts there are."""
        return self.groups * self.per_group

    def spec(self, prompt_tokens: float) -> PromptPool:
        """Return the pool as workloads describe it; no beginning is longer than a whole prompt."""
        shared = min(self.shared_tokens, max(1, round(prompt_tokens)))
        return PromptPool(
            kind="prompt_pool", prompts=self.prompts, groups=self.groups if shared else 1, shared_tokens=shared
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """What was sent.

    Attributes
    ----------
    file
        Where this is from.
    pool
        Prompts that are sent in turn; None if prompts do not repeat as far as is known.
    output_tokens
        Tokens every request generates; None where the server may stop earlier, or lengths are drawn.
    why_not_fixed
        Why the number of tokens is not known, in words of the file.
    drawn
        Distributions that single lengths are drawn from, by `prompt` and `output`.
    asked
        Groups that a profile asked for by names this client did not understand.
    multi_turn
        Whether requests are turns of conversations.
    new_names
        Whether the pool is described by names that old clients drop, and nobody recorded what ran.
    """

    file: str
    load_type: str
    model_name: str | None
    pool: Pool | None
    output_tokens: int | None
    why_not_fixed: str = ""
    drawn: Mapping[str, GaussianLengths | UniformLengths] = field(default_factory=dict)
    asked: tuple[int, int] | None = None
    multi_turn: bool = False
    new_names: bool = False

    def as_sent(self, *, stream_lines: bool) -> Profile:
        """Return the profile as a client understood it that counts stream lines, if this one does.

        Such a client is older than the names of today, so it dropped them and used its defaults.
        """
        if not (stream_lines and self.new_names) or self.pool is None:
            return self
        pool = Pool(*OLD_GROUPS, self.pool.shared_tokens)
        return replace(self, pool=pool, asked=(self.pool.groups, self.pool.per_group), multi_turn=False)

    def generated_tokens(self, reported: float, from_server: bool, file: str) -> float:
        """Return the mean number of tokens generated per request; what the server counted decides.

        Raises
        ------
        ConfigError
            If neither profile nor server says it.
        """
        if from_server and reported > 0:
            return reported
        if self.output_tokens is not None:
            return float(self.output_tokens)
        raise ConfigError(
            f"{file}: successes.output_len is the client's own count of the text, and {self.file} does not fix the "
            f"number of tokens ({self.why_not_fixed}); give the profile that does, or the report of a client that "
            "records the server's count as successes.output_tokens (inference-perf 0.5 or newer)"
        )

    def arrivals(self, rate: float | None, concurrency: int | None, file: str) -> dict[str, Any]:
        """Return how requests of one stage arrived.

        Raises
        ------
        ConfigError
            If the load is neither a rate nor a number of clients.
        """
        if concurrency:
            return {"kind": "closed_loop", "concurrency": concurrency}
        if rate and self.load_type in ("constant", "poisson"):
            return {"kind": "poisson", "rate_per_s": rate, "rescaled": True}
        raise ConfigError(
            f"{file}: load_summary.requested_rate: missing or 0 for load type '{self.load_type[:40]}'; allowed: "
            "constant or poisson with a rate, or a stage with concurrency"
        )

    def workload(self, mean_prompt_tokens: float, mean_output_tokens: float) -> dict[str, Any]:
        """Return prompt, output and prefix as the format writes them."""
        how = "the length the profile fixes" if self.output_tokens else "their mean length as the server counted it"
        note = f"Mean prompt length as measured; answers have {how}."
        if self.pool is None:
            workload = constant_workload(mean_prompt_tokens, mean_output_tokens, note)
            lengths = {"prompt": mean_prompt_tokens, "output": mean_output_tokens}
            return workload | {side: self.lengths(side, mean) for side, mean in lengths.items()}
        note += f" {self.pool.prompts} prompts are sent in turn."
        prefix = self.pool.spec(mean_prompt_tokens).model_dump(exclude_defaults=True)
        return constant_workload(mean_prompt_tokens, mean_output_tokens, note, **prefix)

    def lengths(self, side: str, mean_tokens: float) -> dict[str, Any]:
        """Return lengths of prompts or answers: as they are drawn if that gives the measured mean, else the mean."""
        drawn = self.drawn.get(side)
        if drawn is not None and abs(expected_tokens(drawn)[0] / mean_tokens - 1.0) <= DEFINITION_TOLERANCE:
            return drawn.model_dump()
        return {"kind": "constant", "tokens": max(1, round(mean_tokens))}

    def findings(self, sent: int) -> Iterator[Finding]:
        """Yield what the configuration says about figures, for a run of `sent` requests."""
        if self.load_type == "constant":
            text = "The timer called constant draws exponential gaps and stretches them to the length of the stage."
            yield Finding(Flag.CONSTANT_IS_POISSON, text)
        if self.pool is not None:
            yield Finding(Flag.PROMPTS_REPEAT, " ".join(self._about(self.pool, sent)), float(self.pool.prompts))

    def _about(self, pool: Pool, sent: int) -> Iterator[str]:
        """Yield sentences about what a prefix cache can do; whether there is one, the server's settings say."""
        yield f"The client sends {pool.prompts} prompts in turn, and {sent} requests in all."
        if sent > pool.prompts:
            yield "With prefix caching on, the server holds them after the first round: TTFT is that of cached prompts."
        else:
            yield "So no prompt is sent twice."
        if pool.shared_tokens:
            which = "all of them" if pool.groups == 1 else f"the {pool.per_group} of each of {pool.groups} groups"
            yield f"With prefix caching on, the {pool.shared_tokens} tokens that begin {which} are computed once."
        yield "Without prefix caching every prompt is computed as a whole."
        if self.asked is not None:
            asked = f"{self.asked[0]} x {self.asked[1]} prompts"
            yield f"The profile asked for {asked}, which this client did not understand; it used its defaults."
        if self.multi_turn:
            yield "Requests are turns of conversations, whose growing prompts are taken at their mean length."


def read_profile(results: Path, run: Path) -> Profile:
    """Read `config.yaml` of the results, else of the run, and the `profile.yaml` beside it.

    Raises
    ------
    ConfigError
        If both are missing, or one is damaged.
    """
    ran = next((path for path in (results / CONFIG_FILE, run / CONFIG_FILE) if path.is_file()), None)
    asked = next((path for path in (run / PROFILE_FILE, results / PROFILE_FILE) if path.is_file()), None)
    path = ran or asked
    if path is None:
        raise ConfigError(
            f"{run}: neither {CONFIG_FILE} nor {PROFILE_FILE}; the metrics do not say how many tokens were generated "
            "or which prompts repeat, so put the client's configuration beside them"
        )
    content = read_mapping(path)
    config = parse(_Config, content, source=str(path))
    if "conversation" in config.data.type.lower():
        raise ConfigError(f"{path}: data.type: {config.data.type[:40]}: {CONVERSATIONS}")
    shared = config.data.shared_prefix if config.data.type == "shared_prefix" else None
    server = config.server or _Server()
    output_tokens, why_not = _fixed_output(config.data, server)
    names = content["data"].get("shared_prefix")
    in_new_names = isinstance(names, Mapping) and any(key in names for key in NEW_KEYS) and OLD_KEYS[0] not in names
    pool = _pool(shared)
    return Profile(
        file=path.name,
        load_type=config.load.type,
        model_name=server.model_name,
        pool=pool,
        output_tokens=output_tokens,
        why_not_fixed=why_not,
        drawn=_drawn(config.data),
        asked=_asked(read_mapping(asked), pool) if ran and asked and pool else None,
        multi_turn=bool(shared and shared.enable_multi_turn_chat),
        new_names=ran is None and in_new_names,
    )


def _pool(shared: _SharedPrefix | None) -> Pool | None:
    if shared is None or not shared.groups or not shared.prompts_per_group:
        return None
    return Pool(shared.groups, shared.prompts_per_group, _one_length(shared.system_prompt_len) or 0)


def _fixed_output(data: _Data, server: _Server) -> tuple[int | None, str]:
    """Return the number of tokens of every answer, or None and why it is not fixed."""
    shared = data.shared_prefix
    if data.type == "shared_prefix":
        key, tokens = "data.shared_prefix.output_len", _one_length(shared.output_len if shared else None)
    elif data.type in DRAWN:
        key, tokens = "data.output_distribution", _one_length(data.output_distribution)
    else:
        return None, f"data.type {data.type[:40]} takes its lengths from texts"
    if not tokens:
        return None, f"{key} is missing or has more than one length"
    if not server.ignore_eos:
        return None, f"server.ignore_eos is not true, so that {key} is only the most"
    return tokens, ""


def _drawn(data: _Data) -> dict[str, GaussianLengths | UniformLengths]:
    if data.type not in DRAWN:
        return {}
    given = {"prompt": data.input_distribution, "output": data.output_distribution}
    specs = {side: distribution.spec for side, distribution in given.items() if distribution is not None}
    return {side: spec for side, spec in specs.items() if spec is not None}


def _one_length(length: int | _Distribution | None) -> int | None:
    return length.fixed if isinstance(length, _Distribution) else length


def _asked(content: Mapping[str, Any], pool: Pool) -> tuple[int, int] | None:
    """Return groups that a profile asks for under names that the client which ran did not know."""
    data = content.get("data")
    wanted = data.get("shared_prefix") if isinstance(data, Mapping) else None
    given = [wanted.get(key) for key in NEW_KEYS] if isinstance(wanted, Mapping) else []
    groups = [number for number in given if isinstance(number, int)]
    if len(groups) != len(NEW_KEYS) or groups[0] * groups[1] == pool.prompts:
        return None
    return groups[0], groups[1]


# --- single requests --------------------------------------------------------------------------


class _Text(Foreign):
    input_tokens: WholeNumber | None = None


class _RequestMetrics(Foreign):
    text: _Text | None = None


class _ResponseMetrics(Foreign):
    output_tokens: WholeNumber | None = None
    output_token_times: tuple[Latency, ...] = ()
    server_usage: dict[str, Any] | None = None


class _Info(Foreign):
    input_tokens: WholeNumber | None = None
    output_tokens: WholeNumber | None = None
    output_token_times: tuple[Latency, ...] = ()
    request_metrics: _RequestMetrics | None = None
    response_metrics: _ResponseMetrics | None = None


class _Request(Foreign):
    start_time: Latency
    end_time: Latency
    info: _Info | None = None
    error: dict[str, Any] | str | None = None


class SentRequest(NamedTuple):
    """One request as the client recorded it, all of them numbers; what is not known is NaN.

    Attributes
    ----------
    first_gap_s, typical_gap_s
        Between the first two recorded times of the stream, and the median of the later gaps.
    client_tokens
        Tokens the client counted in the text.
    events
        Recorded times of the stream.
    """

    start_s: float
    end_s: float
    first_token_s: float
    first_gap_s: float
    typical_gap_s: float
    prompt_tokens: float
    output_tokens: float
    client_tokens: float
    events: float
    failed: float


def read_requests(folder: Path, profile: Profile) -> tuple[Path, list[SentRequest]] | None:
    """Return the file of single requests and what it holds, in order of sending; None if there is none.

    Numbers are kept in an array while the file is read: as objects they would lie between those of the times of tokens,
    of which there are hundreds per request, and keep the memory of all of them from being used again.

    Raises
    ------
    ConfigError
        If the file is damaged.
    """
    path = next((path for path in (folder / REQUESTS_FILE, folder / f"{REQUESTS_FILE}.gz") if path.is_file()), None)
    if path is None:
        return None
    packed = array("d")
    for place, value in stream_values(path, frozenset({()})):
        if len(place) != 1 or not isinstance(place[0], int):
            raise ConfigError(f"{path}: must be a list of requests; is this a file of inference-perf?")
        refuse_too_many(str(path), place[0] + 1)
        source = f"{path}: {place[0]}"
        packed.extend(_sent(parse(_Request, value, source=source), profile, source))
    width = len(SentRequest._fields)
    found = [SentRequest(*packed[begin : begin + width]) for begin in range(0, len(packed), width)]
    return path, sorted(found, key=lambda request: request.start_s)


def _sent(request: _Request, profile: Profile, source: str) -> SentRequest:
    info = request.info or _Info()
    response = info.response_metrics or _ResponseMetrics()
    text = (info.request_metrics.text if info.request_metrics else None) or _Text()
    times = info.output_token_times or response.output_token_times
    prompt_tokens = info.input_tokens or text.input_tokens
    client_tokens = info.output_tokens or response.output_tokens
    counted = (response.server_usage or {}).get("completion_tokens")
    output_tokens = counted if isinstance(counted, int) and counted else profile.output_tokens or client_tokens
    if request.end_time < request.start_time:
        raise ConfigError(f"{source}: end_time is before start_time; the file is damaged")
    if times and not request.start_time <= times[0] <= request.end_time:
        raise ConfigError(
            f"{source}: info.output_token_times.0: not between start_time and end_time; are clocks mixed?"
        )
    if not prompt_tokens or (output_tokens is None and request.error is None):
        raise ConfigError(f"{source}: info: no input_tokens or output_tokens; record requests with their info")
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return SentRequest(
        start_s=request.start_time,
        end_s=request.end_time,
        first_token_s=times[0] if times else math.nan,
        first_gap_s=gaps[0] if gaps else math.nan,
        typical_gap_s=median(gaps[1:]) if len(gaps) > 1 else math.nan,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens or 0,
        client_tokens=math.nan if client_tokens is None else client_tokens,
        events=len(times),
        failed=request.error is not None,
    )
