"""What every importer returns, and the small steps they share.

Contract: an importer turns files into one `Measurement`: an `Experiment` by our definitions, under the names its files
use, and sentences that say what was converted. It knows nothing of the project's names. Every refusal is a
`ConfigError` that names file and key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, Strict

from roofline_lab.ground_truth.experiment import Experiment, Tool
from roofline_lab.ground_truth.kept_up import Judgement, Load, judge
from roofline_lab.ground_truth.metrics import CONSISTENCY_TOLERANCE, DEFINITIONS, KINDS, PLAUSIBLE_MS, UNITS
from roofline_lab.ground_truth.quality import Finding, Flag, QualityFlag, Treatment
from roofline_lab.ground_truth.requests import REQUESTS_FILE, MeasuredRequest
from simulator.errors import ConfigError
from simulator.metrics import mean, percentile
from simulator.validation import parse
from simulator.workload.lengths import guidellm_draws

US_PER_S = 1_000_000
MS_PER_S = 1000.0

# What is said of conversations, whatever tool held them.
CONVERSATIONS = (
    "conversations of several turns are not modelled; their prompts grow, and each turn waits for the one before"
)

# Digits behind the point that imported figures keep: a nanosecond for latencies in ms.
DECIMALS = 6

# Latencies of a request: one that is 0 was not measured, and spoils every mean it is in. A gap between two tokens that
# came together is 0 and right.
ZERO_SPOILS = ("ttft", "tpot", "e2e")

# Beyond any count of tokens or bytes and any time in any unit; keeps a damaged file from overflowing.
LARGEST = 10**12

_DAY_IN_A_NAME = re.compile(r"(?<!\d)(20\d\d)(0[1-9]|1[0-2])([0-2]\d|3[01])(?!\d)")

# How the day of a run is known that its folder names.
FOLDER_DAY = "From the name of the folder."

# Lengths of a range below a nominal one: how far prompts and answers may differ in where it begins, and from which
# share on all lengths count as nominal; clients add a token of the text's beginning or lose one.
SAME_RANGE = 0.04
FULL_LENGTH = 0.97

# What stands for a name that the files do not say.
UNSTATED = "-"
OWN_LICENCE = "Figures formed from the importer's own files; on what terms they may be used was not stated."

# Defaults of a vLLM server of the V1 engine, where nothing states a setting.
DEFAULT_SETTINGS: Mapping[str, Any] = {"token_budget": 2048, "prefix_caching": True, "client_offset_ms": 0.0}

WholeNumber = Annotated[int, Strict(), Field(ge=0, le=LARGEST)]
Number = Annotated[float, Strict(), Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Latency = Annotated[float, Strict(), Field(ge=0, le=LARGEST, allow_inf_nan=False)]


class Foreign(BaseModel):
    """A record of a file that another tool wrote: keys we do not use are left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


# --- what an importer returns -----------------------------------------------------------------


class BothSides(NamedTuple):
    """(TTFT, E2E) in ms of one request, as client and server recorded it."""

    request: str
    client: tuple[float, float]
    server: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured run as its files tell it.

    Attributes
    ----------
    experiment
        The run with its single requests; `UNSTATED` stands for names that the files do not say.
    source
        The files as the user named them, for messages.
    conversions
        One sentence per conversion.
    tensor_parallel_stated
        Whether the files say over how many GPUs the model was split.
    both_sides
        Requests that client and server recorded, in order of sending.
    asked
        What the client was told to send, in a word such as `rate_4`, where load points with other words may look alike.
    stored_as
        How the files say that weights are stored: the formats their word stands for; empty where they do not say.
    """

    experiment: Experiment
    source: str
    conversions: tuple[str, ...]
    tensor_parallel_stated: bool = True
    both_sides: tuple[BothSides, ...] = ()
    asked: str = ""
    stored_as: tuple[str, ...] = ()


class Notes:
    """Flags and sentences collected while a file is read, each once."""

    def __init__(self) -> None:
        self._flags: dict[tuple[Flag, Treatment, str], list[str]] = {}
        self._conversions: dict[str, None] = {}

    def flag(self, finding: Finding | None, treatment: Treatment, load_point: str = "", more: str = "") -> None:
        """Note what a check found; the same text about several load points becomes one flag."""
        if finding is None:
            return
        points = self._flags.setdefault((finding.flag, treatment, f"{finding.text} {more}".strip()), [])
        if load_point and load_point not in points:
            points.append(load_point)

    def say(self, flag: Flag, text: str, treatment: Treatment = "noted", load_point: str = "") -> None:
        """Note a flag that no check has to find."""
        self.flag(Finding(flag, text), treatment, load_point)

    def converted(self, sentence: str) -> None:
        """Note a conversion."""
        self._conversions[sentence] = None

    @property
    def quality(self) -> tuple[QualityFlag, ...]:
        """The flags, those of one kind together."""
        order = list(Flag)
        keys = sorted(self._flags, key=lambda key: order.index(key[0]))
        return tuple(
            QualityFlag(flag=key[0], treatment=key[1], text=key[2], load_points=tuple(self._flags[key])) for key in keys
        )

    @property
    def conversions(self) -> tuple[str, ...]:
        """The sentences in the order they were noted."""
        return tuple(self._conversions)


def measurement(
    *,
    tool: str,
    source: str,
    document: str,
    measured_on: tuple[date | None, str],
    workload: Mapping[str, Any],
    load_points: Sequence[Mapping[str, Any]],
    notes: Notes,
    requests: tuple[MeasuredRequest, ...] = (),
    model_name: str | None = None,
    tensor_parallel: int | None = None,
    hardware: str | None = None,
    workload_name: str | None = None,
    known: Mapping[str, Any] | None = None,
    assumed: Mapping[str, Any] | None = None,
    server_note: str | None = None,
    side: str = "client",
    site: str | None = None,
    tool_version: str | None = None,
    both_sides: tuple[BothSides, ...] = (),
    noise: Mapping[str, Any] | None = None,
) -> Measurement:
    """Return what was read as an experiment.

    Parameters
    ----------
    tool
        Its `TOOL`; the experiment of a tool that the format has no word for says `other`, with the name as version.
    source, document
        The files as the user named them, and without folders.
    measured_on
        The day, or None, and how it is known.
    workload, load_points
        As the format of `experiment.yaml` writes them; the workload without its name.
    notes
        Flags and conversions.
    model_name, tensor_parallel, hardware, workload_name
        As far as the files say; names are those of the files, not of `configs`.
    site
        Who measured and on what, where the files say it; what comes from there shares the time of its client.
    known, assumed, server_note
        Server settings; what is still missing is assumed.
    noise
        Scatter of one measurement, as the format writes it.

    Raises
    ------
    ConfigError
        Naming every key that the format does not allow.
    """
    stated = dict(known or {}) | ({} if side == "client" else {"client_offset_ms": 0.0})
    guessed = {**DEFAULT_SETTINGS, **(assumed or {})}
    has_word = tool in get_args(Tool)
    content = {
        "id": "unnamed",
        "family": UNSTATED,
        "model": (model_name or "").strip() or UNSTATED,
        "hardware": (hardware or "").strip() or UNSTATED,
        "tensor_parallel": tensor_parallel or 1,
        "tool": tool if has_word else "other",
        "tool_version": tool_version if has_word else " ".join((tool, tool_version or "")).strip(),
        "side": side,
        **({"site": site} if site else {}),
        "date": measured_on[0],
        "date_basis": measured_on[1],
        "source": {
            "document": document,
            "date": measured_on[0],
            "date_note": None if measured_on[0] else measured_on[1],
            "licence": OWN_LICENCE,
        },
        "server": {
            "known": stated,
            "assumed": {name: value for name, value in guessed.items() if name not in stated},
            "note": server_note,
        },
        "workload": {"name": workload_name or UNSTATED, **workload},
        "load_points": tuple(load_points),
        **({"noise": noise} if noise else {}),
        "quality": notes.quality,
        "requests_file": REQUESTS_FILE if requests else None,
    }
    return Measurement(
        parse(Experiment, content, source=source).with_requests(requests),
        source,
        notes.conversions,
        tensor_parallel_stated=bool(tensor_parallel),
        both_sides=both_sides,
    )


# --- figures ----------------------------------------------------------------------------------


def measured_metrics(
    source: str, values: Mapping[str, float | None], definitions: Mapping[str, str], notes: Notes | None = None
) -> dict[str, Any]:
    """Return the figures that were measured, as the format writes them, latencies in ms.

    None was not measured, nor was 0. A latency that is 0 throughout is left out, which `notes` are told of.

    Raises
    ------
    ConfigError
        If some figures of a latency are 0 and others not: the zeros of requests without a measurement are in its mean.
    """
    problems = []
    for kind in ZERO_SPOILS:
        given = {name: value for name, value in values.items() if KINDS[name] == kind and value is not None}
        zeros = [name for name, value in given.items() if value == 0]
        if zeros and len(zeros) == len(given) and notes is not None:
            notes.converted(f"Every {kind.upper()} is 0, which means that it was not measured; it is left out.")
        elif zeros and len(zeros) < len(given):
            problems.append(
                f"{source}: {', '.join(zeros)}: 0, which means not measured; then requests without a measurement are "
                f"in every other figure of {kind.upper()} too; give the single requests of the run, measure with "
                f"streaming on, or leave all figures of {kind.upper()} out"
            )
    if problems:
        raise ConfigError("\n".join(problems))
    return {
        name: {
            "value": round(float(value), DECIMALS),
            "unit": UNITS[KINDS[name]],
            "definition": definitions.get(KINDS[name]) or next(iter(DEFINITIONS[KINDS[name]])),
        }
        for name, value in values.items()
        if value
    }


def statistics_of(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Return mean, p50, p90 and p99 under their metric names."""
    return {f"{name}_mean": mean(values)} | {f"{name}_p{rank}": percentile(values, rank) for rank in (50, 90, 99)}


def constant_workload(prompt_tokens: float, output_tokens: float, note: str, **prefix: Any) -> dict[str, Any]:
    """Return a workload whose requests all have the mean lengths, with the fields of its prefix."""
    return {
        "prompt": {"kind": "constant", "tokens": max(1, round(prompt_tokens))},
        "output": {"kind": "constant", "tokens": max(1, round(output_tokens))},
        "prefix": prefix or {"kind": "none"},
        "note": note,
    }


def scattered_lengths(
    mean: float, deviation: float | None, low: float | None, high: float | None
) -> dict[str, Any] | None:
    """Return lengths of which a file states mean, deviation and limits, as the format writes them.

    None where they do not scatter, or the file does not say how.
    """
    if not deviation or low is None or high is None or not 1 <= low <= mean <= high or low == high:
        return None
    limits = {"min_tokens": math.floor(low), "max_tokens": math.ceil(high)}
    return {"kind": "gaussian", "mean_tokens": float(mean), "stdev_tokens": float(deviation), **limits}


def lengths_below(nominal: Mapping[str, float], means: Mapping[str, float]) -> dict[str, dict[str, Any]] | None:
    """Return the ranges that end at the lengths a client was asked for, and whose means are those measured.

    Parameters
    ----------
    nominal, means
        Tokens by side of the workload, `prompt` and `output`.

    Method: lengths drawn evenly from a share r to all of n tokens have the mean (1 + r) n / 2. That is what was sent
    where prompts and answers show the same r; None where they do not, or all lengths are the nominal ones.
    """
    shares = {side: 2 * means[side] / nominal[side] - 1 for side in nominal}
    if max(shares.values()) - min(shares.values()) > SAME_RANGE or not all(
        0 < r < FULL_LENGTH for r in shares.values()
    ):
        return None
    share = sum(shares.values()) / len(shares)
    return {
        side: {"kind": "uniform", "min_tokens": max(1, int(share * tokens)), "max_tokens": int(tokens)}
        for side, tokens in nominal.items()
    }


def request_counts(
    *, sent: int, completed: int, basis: str, failed: int | None = None, **lost: int | None
) -> dict[str, Any]:
    """Return how many requests stand behind the figures; which of them were lost is not known.

    Parameters
    ----------
    lost
        Further reasons why requests are in no figure, by the names of `RequestCounts`.
    """
    positions = {} if completed == sent else {"lost_positions": "unknown"}
    known = {name: number for name, number in lost.items() if number}
    return {"sent": sent, "completed": completed, "failed": failed, **known, **positions, "basis": basis}


def judged(load: Load, notes: Notes, load_point: str) -> Judgement:
    """Say whether server and client kept up with a load, and note what was found."""
    found = judge(load)
    notes.flag(found.overload, "noted", load_point)
    notes.flag(found.client, "noted", load_point)
    return found


def rates(requested_per_s: float | None, found: Judgement) -> dict[str, float] | None:
    """Return what was asked for and what was sent, as the format writes it; None where nobody knows either."""
    known = {"requested_per_s": requested_per_s, "achieved_per_s": found.sent_per_s}
    return {name: round(value, DECIMALS) for name, value in known.items() if value} or None


def arrivals_as_sent(
    arrivals: Mapping[str, Any], found: Judgement, sent: int, recorded_us: Sequence[int] = ()
) -> dict[str, Any]:
    """Return the load a client really sent, where that is not what it was asked for.

    Parameters
    ----------
    arrivals
        What was asked for.
    sent
        How many requests were sent.
    recorded_us
        When each of them was sent, as far as recorded: if all are, they are the load, else the rate they had.
    """
    if found.client is None or "rate_per_s" not in arrivals or not found.sent_per_s:
        return dict(arrivals)
    if len(recorded_us) == sent:
        return {"kind": "recorded", "arrival_us": tuple(recorded_us)}
    return {**arrivals, "rate_per_s": round(found.sent_per_s, DECIMALS)}


def drawn_lengths(lengths: Mapping[str, Any], seed: int, count: int) -> list[int]:
    """Return what a GuideLLM client draws from a distribution as the format writes it."""
    return guidellm_draws(
        seed,
        count,
        mean=lengths["mean_tokens"],
        stdev=lengths["stdev_tokens"],
        minimum=lengths["min_tokens"],
        maximum=lengths["max_tokens"],
    )


def day_of(unix_s: float, source: str, key: str) -> date:
    """Return the UTC day of a Unix time.

    Raises
    ------
    ConfigError
        If it is not a time since 2020, so probably no Unix time at all.
    """
    if not 1_577_836_800 <= unix_s < 10_000_000_000:
        raise ConfigError(f"{source}: {key}: {unix_s:g} is not a time since 2020 in seconds since 1970")
    return datetime.fromtimestamp(unix_s, UTC).date()


def unrecorded_day(run: Path) -> tuple[date | None, str]:
    """Return the day of a run whose tool records none, and how it is known, as `measurement` takes them.

    The time of a file says when it was copied or downloaded, so without a statement the day is not known.

    Parameters
    ----------
    run
        The folder of the run: a day in its name, such as 20260217, is the day.
    """
    if match := _DAY_IN_A_NAME.search(run.resolve().name):
        try:
            return date(*(int(part) for part in match.groups())), FOLDER_DAY
        except ValueError:  # a 31st of a month that has none
            pass
    return None, "The tool records no date, and nothing states it."


# --- figures that cannot be, under the names the user's own file has --------------------------


class Mean(NamedTuple):
    """A mean latency in ms, and the key of the file that holds it."""

    key: str
    value_ms: float


def refuse_longer_than_run(source: str, key: str, latency_s: float, run_s: float) -> None:
    """Refuse a mean latency that is longer than the whole run, as one in another unit is.

    Raises
    ------
    ConfigError
        If it is.
    """
    if latency_s > run_s > 0:
        raise ConfigError(
            f"{source}: {key}: a mean of {latency_s:.4g} s in a run of {run_s:.4g} s; "
            "are seconds and milliseconds mixed?"
        )


def refuse_impossible(
    source: str, *, ttft: Mean | None, e2e: Mean | None, itl: Mean | None = None, tokens: float = math.nan
) -> None:
    """Refuse means that no server has, before any conversion: mixed units are then not met later as wrong lengths.

    Parameters
    ----------
    source
        The file as the user named it, and the place in it.
    ttft, e2e, itl
        What the file says; `itl` is the time between tokens, weighted by their number. None was not measured.
    tokens
        Mean output length, if the file says it.

    Raises
    ------
    ConfigError
        If a mean is implausible by itself, TTFT is not below E2E, or a thousandth or the thousandfold of TTFT is
        what E2E and the time between tokens leave for it.
    """
    mixed = "are seconds and milliseconds mixed?"
    for kind, given in (("ttft", ttft), ("e2e", e2e)):
        low, high = PLAUSIBLE_MS[kind]
        if given is not None and given.value_ms and not low <= given.value_ms <= high:
            allowed = f"{low:g} to {high:g} are plausible"
            raise ConfigError(f"{source}: {given.key}: a mean of {given.value_ms:g} ms, but {allowed}; {mixed}")
    if ttft is None or e2e is None or not ttft.value_ms or not e2e.value_ms:
        return
    # An answer of one token may end with its first token.
    if ttft.value_ms > e2e.value_ms or (ttft.value_ms == e2e.value_ms and tokens > 1):
        raise ConfigError(
            f"{source}: {ttft.key}: a mean of {ttft.value_ms:g} ms is not below {e2e.key}, {e2e.value_ms:g} ms; {mixed}"
        )
    left_ms = e2e.value_ms - itl.value_ms * (tokens - 1) if itl is not None and tokens > 1 else ttft.value_ms
    off_ms = {factor: abs(left_ms - factor * ttft.value_ms) for factor in (1, MS_PER_S, 1 / MS_PER_S)}
    if off_ms[1] > CONSISTENCY_TOLERANCE * e2e.value_ms >= min(off_ms.values()):
        raise ConfigError(
            f"{source}: {ttft.key}: a mean of {ttft.value_ms:g} ms, but {e2e.key} and the time between tokens "
            f"leave {left_ms:.4g} ms for it; {mixed}"
        )


# --- files ------------------------------------------------------------------------------------


def only_file(path: Path, patterns: Sequence[str], wanted: str, ignored: Sequence[str] = ()) -> Path:
    """Return `path` if it is a file, else the one file in it that matches.

    Raises
    ------
    ConfigError
        If there is none, or more than one.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file or folder; give {wanted} or its folder")
    matching = {file for pattern in patterns for file in path.glob(pattern)}
    found = sorted(file for file in matching if not any(file.match(other) for other in ignored))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ConfigError(f"{path}: one file with {wanted} is expected, found {names}; name the file itself")
    return found[0]
