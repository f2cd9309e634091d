"""What a GuideLLM client sent: lengths drawn again from its seed, and checked against the report.

Contract: `synthetic_settings` finds the description of synthetic data in a report or profile, or returns None.
`reconstruct` repeats the client's draws and keeps them only if every recorded length is among them and the reported
means come out; otherwise the workload has mean lengths and says so.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.metrics import CONSISTENCY_TOLERANCE
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.common import CONVERSATIONS, Foreign, Notes, WholeNumber, constant_workload, drawn_lengths
from simulator.errors import ConfigError
from simulator.validation import parse
from simulator.workload.lengths import GUIDELLM_DEFAULT_SEED
from simulator.workload.prefixes import NoSharing, SharedPrefix

MAX_DESCRIPTION_CHARACTERS = 20_000

# Where a profile gives no limits, GuideLLM clips at five standard deviations (0.3 to 0.8,
# `utils/random.py`), and never below 1 token.
DEFAULT_LIMIT_SIGMAS = 5

# How far reported means may lie from those of the draws, in tokens: the server counts the prompt
# again after it was joined with its prefix, which moves single requests by a token.
MEAN_TOLERANCE_TOKENS = 0.5

# How far a whole number of tokens may lie from the mean it stands for.
HALF_TOKEN = 0.5


class _Bucket(Foreign):
    """Prefixes of one length; a request draws one of them with the weight of the bucket."""

    bucket_weight: WholeNumber = 100
    prefix_count: WholeNumber = 1
    prefix_tokens: WholeNumber = 0


class _Synthetic(Foreign):
    prompt_tokens: WholeNumber
    prompt_tokens_stdev: WholeNumber | None = None
    prompt_tokens_min: WholeNumber | None = None
    prompt_tokens_max: WholeNumber | None = None
    output_tokens: WholeNumber
    output_tokens_stdev: WholeNumber | None = None
    output_tokens_min: WholeNumber | None = None
    output_tokens_max: WholeNumber | None = None
    prefix_tokens: WholeNumber | None = None
    prefix_count: WholeNumber | None = None
    prefix_buckets: tuple[_Bucket, ...] | None = None


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Beginnings that prompts share: how many different ones, and the mean length; none if it is 0."""

    tokens: int = 0
    groups: int = 1

    @property
    def spec(self) -> SharedPrefix | NoSharing:
        """As the format has them."""
        if not self.tokens:
            return NoSharing(kind="none")
        return SharedPrefix(kind="shared", tokens=self.tokens, counted="on_top", groups=self.groups)

    @property
    def description(self) -> dict[str, Any]:
        """As the format writes them."""
        words = {"counted": "on_top"} if self.tokens else {}
        return {**self.spec.model_dump(exclude_defaults=True), **words}


NO_PREFIX = Prefixes()


@dataclass(frozen=True, slots=True)
class Settings:
    """How the client was told to draw lengths; distributions are those of the format.

    Attributes
    ----------
    unlike
        What to say of prefixes of several kinds, which one kind stands for; empty where there is one.
    """

    prompt: Mapping[str, Any]
    output: Mapping[str, Any]
    prefixes: Prefixes = NO_PREFIX
    unlike: str = ""

    @property
    def prefix_tokens(self) -> int:
        """Tokens of the prefix of every prompt."""
        return self.prefixes.tokens


@dataclass(frozen=True, slots=True)
class Observed:
    """What the report says about the lengths of one load point; `recorded` if of all its single requests."""

    load_point: str
    source: str
    recorded: bool
    benchmark_index: int
    sent: int
    complete: bool
    prompt_tokens: Sequence[int]
    output_tokens: Sequence[int]
    mean_prompt_tokens: float
    mean_output_tokens: float


@dataclass(frozen=True, slots=True)
class SentWorkload:
    """The workload as the format writes it, and its shared prefixes.

    Attributes
    ----------
    own
        Lengths of the load points that the mean lengths cannot stand for.
    """

    description: dict[str, Any]
    prefixes: Prefixes
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def synthetic_settings(report: Mapping[str, Any], profile: Mapping[str, Any], source: str = "") -> Settings | None:
    """Return how lengths were drawn, from a report of version 1 or 2, else from the client's profile.

    Raises
    ------
    ConfigError
        If the data are conversations of several turns.
    """
    arguments = _mapping(report.get("args"))
    spec = _mapping(_mapping(report.get("config")).get("spec"))
    seeds = (
        arguments.get("random_seed"),
        _mapping(spec.get("seed")).get("value"),
        profile.get("random-seed"),
        profile.get("random_seed"),
    )
    seed = next((seed for seed in seeds if isinstance(seed, int) and seed >= 0), GUIDELLM_DEFAULT_SEED)
    for given in (arguments.get("data"), spec.get("data"), profile.get("data")):
        description = given[0] if isinstance(given, list) and given else given
        if isinstance(description, str):
            description = _from_text(description)
        if isinstance(description, Mapping) and {"prompt_tokens", "output_tokens"} <= description.keys():
            _refuse_conversations(source, description.get("turns"))
            return _settings({str(key): value for key, value in description.items()}, seed)
    return None


def _refuse_conversations(source: str, turns: object) -> None:
    if isinstance(turns, int) and turns > 1:
        raise ConfigError(f"{source}: data: turns: {turns}: {CONVERSATIONS}")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _from_text(text: str) -> object:
    """Return what a text describes: JSON, a Python literal, or `key=value` pairs."""
    if len(text) > MAX_DESCRIPTION_CHARACTERS:
        return None
    for decode in (json.loads, ast.literal_eval, _pairs):
        try:
            return decode(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
    return None


def _pairs(text: str) -> dict[str, int]:
    entries = [entry.partition("=") for entry in text.split(",")]
    return {key.strip(): int(value) for key, _, value in entries}


def _settings(description: Mapping[str, Any], seed: int) -> Settings | None:
    try:
        given = parse(_Synthetic, description, source="synthetic data")
    except ConfigError:
        return None
    prompt = _lengths(given.prompt_tokens, given.prompt_tokens_stdev, given.prompt_tokens_min, given.prompt_tokens_max)
    output = _lengths(given.output_tokens, given.output_tokens_stdev, given.output_tokens_min, given.output_tokens_max)
    if prompt is None or output is None:
        return None
    prefixes, unlike = _prefixes(given)
    return Settings({**prompt, "random_seed": seed}, {**output, "random_seed": seed}, prefixes, unlike)


def _prefixes(given: _Synthetic) -> tuple[Prefixes, str]:
    """Return the prefixes of synthetic data, and what to say where one kind stands for several.

    Source: GuideLLM 0.4 and later draw a prefix for each request, evenly among those of a bucket and among buckets by
    their weight; `prefix_tokens` and `prefix_count` alone are one bucket.
    """
    buckets = given.prefix_buckets or ()
    if not buckets:
        return Prefixes(given.prefix_tokens or 0, max(1, given.prefix_count or 1)), ""
    used = [bucket for bucket in buckets if bucket.bucket_weight and bucket.prefix_count]
    weight = sum(bucket.bucket_weight for bucket in used)
    if not weight:
        return NO_PREFIX, ""
    tokens = round(sum(bucket.bucket_weight * bucket.prefix_tokens for bucket in used) / weight)
    found = Prefixes(tokens, sum(bucket.prefix_count for bucket in used))
    if len(used) == 1:
        return found, ""
    return found, (
        f"Prompts begin with prefixes of {len(used)} buckets of their own lengths and weights; {found.groups} prefixes "
        f"of the mean length, {tokens} tokens, sent equally often, stand for them."
    )


def _lengths(mean: int, stdev: int | None, least: int | None, most: int | None) -> dict[str, Any] | None:
    """Return a distribution of the format, or None for the uniform draws that limits without a stdev mean."""
    spread = DEFAULT_LIMIT_SIGMAS * (stdev or 0)
    least = max(1, mean - spread) if least is None else least
    most = mean + spread if most is None else most
    if (not stdev and least != most) or not 1 <= least <= most:
        return None
    return {
        "kind": "guidellm",
        "mean_tokens": mean,
        "stdev_tokens": stdev or 0,
        "min_tokens": least,
        "max_tokens": most,
    }


def reconstruct(settings: Settings | None, observed: Sequence[Observed], notes: Notes) -> SentWorkload:
    """Return the workload; load points with all of their requests are replayed, so that it only describes them."""
    prefixes = settings.prefixes if settings else NO_PREFIX
    if settings and settings.unlike:
        notes.say(Flag.SETTING_ASSUMED, settings.unlike)
    shift = _prompt_shift(settings, observed, notes) if settings else None
    if settings is None or shift is None:
        return _of_mean_lengths(observed, prefixes, notes)
    description = {
        "prompt": {**settings.prompt, "adjustment_tokens": shift},
        "output": dict(settings.output),
        "prefix": prefixes.description,
        "note": "Lengths drawn again from the client's seed; the recorded lengths and reported means agree.",
    }
    return SentWorkload(description, prefixes)


def _of_mean_lengths(observed: Sequence[Observed], prefixes: Prefixes, notes: Notes) -> SentWorkload:
    unrecorded = [point for point in observed if not point.recorded]
    meant, prefix_tokens = unrecorded or observed, prefixes.tokens
    prompt = round(fmean(point.mean_prompt_tokens for point in meant)) - prefix_tokens
    output = round(fmean(point.mean_output_tokens for point in meant))
    unknown = "Lengths of single requests are not recorded and not drawn again; every request has the mean length."
    for point in unrecorded:
        where = point.load_point if len(unrecorded) < len(observed) else ""
        notes.say(Flag.LENGTHS_UNKNOWN, unknown, load_point=where)
    note = "Mean lengths of the report." if unrecorded else "Recorded requests are replayed; these are mean lengths."
    description = constant_workload(prompt, output, note, **prefixes.description)
    own = {point.load_point: _lengths_of(point, prefix_tokens) for point in unrecorded if _differs(point, output)}
    return SentWorkload(description, prefixes, own)


def _differs(point: Observed, output_tokens: int) -> bool:
    """Whether answers of a load point are longer or shorter than one mean length for all allows."""
    apart = abs(point.mean_output_tokens - output_tokens)
    return apart > HALF_TOKEN + CONSISTENCY_TOLERANCE * point.mean_output_tokens


def _lengths_of(point: Observed, prefix_tokens: int) -> dict[str, Any]:
    own = constant_workload(point.mean_prompt_tokens - prefix_tokens, point.mean_output_tokens, "-")
    return {name: own[name] for name in ("prompt", "output")}


def _prompt_shift(settings: Settings, observed: Sequence[Observed], notes: Notes) -> int | None:
    """Return by how many tokens prompts differ from their draws, if all load points agree on it."""
    shifts = [_agreement(settings, point) for point in observed]
    if len(set(shifts)) != 1 or shifts[0] is None:
        return None
    checked = sum(len(point.prompt_tokens) for point in observed)
    text = (
        f"Lengths are drawn again from seed {settings.prompt['random_seed']}; {checked} recorded requests and the "
        "reported mean lengths agree with the draws."
    )
    notes.say(Flag.LENGTHS_FROM_SEED, text)
    return shifts[0]


def _agreement(settings: Settings, observed: Observed) -> int | None:
    seed = settings.prompt["random_seed"] + observed.benchmark_index
    prompts = drawn_lengths(settings.prompt, seed, observed.sent)
    outputs = drawn_lengths(settings.output, seed + 1, observed.sent)
    behind_prefix = [tokens - settings.prefix_tokens for tokens in observed.prompt_tokens]
    of_prompts = lint.lengths_from_seed(behind_prefix, prompts)
    of_outputs = lint.lengths_from_seed(observed.output_tokens, outputs)
    if of_prompts is None or of_outputs is None or of_outputs.value:
        return None
    means = (fmean(prompts) + of_prompts.value + settings.prefix_tokens, fmean(outputs))
    reported = (observed.mean_prompt_tokens, observed.mean_output_tokens)
    if observed.complete and any(abs(a - b) > MEAN_TOLERANCE_TOKENS for a, b in zip(means, reported, strict=True)):
        return None
    return round(of_prompts.value)
