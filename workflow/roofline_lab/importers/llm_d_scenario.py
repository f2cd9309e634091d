"""The scenario of a benchmark report of llm-d: which server ran, and what was sent to it.

Contract: `read_scenario` returns what the simulator has words for, in one form for versions 0.1 and 0.2, and in
`not_modelled` a sentence for everything it has none for. Server options stay under the names the report has for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roofline_lab.importers.common import CONVERSATIONS
from simulator.errors import ConfigError

# Where a rate alone is stated: how the gaps of a tool's requests are.
EVENLY_SPACED = ("guidellm",)
# inference-perf stretches exponential gaps to the length of a stage, and calls them constant.
RESCALED = ("inference-perf",)
SPLIT_ROLES = ("prefill",)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a report says of server and load; None where it does not.

    Attributes
    ----------
    tool, tool_version
        Who measured.
    lengths
        `input` and `output` tokens that were asked for.
    prefix
        As the format writes it, without lengths of prompts.
    server
        Options and facts under any names.
    arrivals_stated, evenly_spaced, rescaled
        Whether the kind of gaps is known, and which it is.
    not_modelled
        One sentence for each thing the simulator has no words for.
    """

    tool: str
    tool_version: str | None = None
    model: str | None = None
    hardware: str | None = None
    tensor_parallel: int | None = None
    rate_per_s: float | None = None
    concurrency: int | None = None
    stage: int | None = None
    lengths: Mapping[str, float] = field(default_factory=dict)
    prefix: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    arrivals_stated: bool = False
    evenly_spaced: bool = False
    rescaled: bool = False
    not_modelled: tuple[str, ...] = ()


def read_scenario(file: Path, document: Mapping[str, Any]) -> Scenario:
    """Return the scenario of a report.

    Raises
    ------
    ConfigError
        If something in it cannot be.
    """
    scenario = _mapping(document.get("scenario"))
    if str(document.get("version")) == "0.1":
        return _of_0_1(file, scenario)
    return _of_0_2(file, scenario, _mapping(document.get("results")))


# --- version 0.1 ------------------------------------------------------------------------------------


def _of_0_1(file: Path, scenario: Mapping[str, Any]) -> Scenario:
    host, platform = _mapping(scenario.get("host")), _mapping(scenario.get("platform"))
    accelerators, engines = _list(host.get("accelerator")), _list(platform.get("engine"))
    load = _mapping(scenario.get("load"))
    arguments = _mapping(load.get("args"))
    first = _mapping(accelerators[0]) if accelerators else {}
    engine = _mapping(engines[0]) if engines else {}
    roles = [str(role) for role in _list(host.get("type"))]
    tool = str(load.get("name") or "an unnamed tool")
    beyond = [*_several("scenario.host.type", roles), *_parallelism("scenario.host.accelerator", accelerators)]
    if len(engines) > 1 and not beyond:
        beyond.append(f"scenario.platform.engine: {len(engines)} servers; one server is modelled")
    return Scenario(
        tool=tool,
        model=_text(_mapping(scenario.get("model")).get("name")),
        hardware=_text(first.get("model")),
        tensor_parallel=_degree(file, "scenario.host.accelerator", first),
        rate_per_s=_first_number(arguments, "rate_qps", "qps", "qps_values", "rate", "request_rate"),
        concurrency=_width(file, "scenario.load.args", _first(arguments, "concurrency", "max_concurrency")),
        server={
            **_version(engine.get("name"), engine.get("version")),
            **_whole_experts(first),
            **_options(engine.get("args")),
        },
        evenly_spaced=tool in EVENLY_SPACED,
        arrivals_stated=tool in (*EVENLY_SPACED, *RESCALED),
        rescaled=tool in RESCALED,
        not_modelled=tuple(beyond),
    )


# --- version 0.2 ------------------------------------------------------------------------------------


def _of_0_2(file: Path, scenario: Mapping[str, Any], results: Mapping[str, Any]) -> Scenario:
    load = _mapping(_mapping(scenario.get("load")).get("standardized"))
    native = _mapping(_mapping(_mapping(scenario.get("load")).get("native")).get("config"))
    engines = list(_engines(scenario))
    engine, options = engines[0] if engines else ({}, {})
    accelerator = _mapping(engine.get("accelerator"))
    tool = str(load.get("tool") or "an unnamed tool")
    kind = _mapping(native.get("load")).get("type")
    return Scenario(
        tool=tool,
        tool_version=_text(load.get("tool_version")),
        model=_text(_mapping(engine.get("model")).get("name"))
        or _text(_mapping(native.get("server")).get("model_name")),
        hardware=_text(accelerator.get("model")),
        tensor_parallel=_degree(file, "scenario.stack", accelerator),
        rate_per_s=_first_number(load, "rate_qps"),
        concurrency=_width(file, "scenario.load.standardized.concurrency", load.get("concurrency")),
        stage=_whole(load.get("stage"), least=0),
        lengths={
            key: value
            for key in ("input", "output")
            if (value := _first_number(_mapping(load.get(f"{key}_seq_len")), "value")) is not None
        },
        prefix=_prefix(_mapping(load.get("prefix"))),
        server={**_version(engine.get("tool"), engine.get("tool_version")), **_whole_experts(accelerator), **options},
        arrivals_stated=kind is not None or tool in (*EVENLY_SPACED, *RESCALED),
        evenly_spaced=tool in EVENLY_SPACED and kind in (None, "constant"),
        rescaled=tool in RESCALED,
        not_modelled=tuple(_beyond(engines, load, results)),
    )


def _engines(scenario: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield what is standardised of every inference engine, and the options it was started with."""
    for component in _list(scenario.get("stack")):
        standardized = _mapping(_mapping(component).get("standardized"))
        if standardized.get("kind") == "inference_engine":
            yield standardized, _options(_mapping(_mapping(component).get("native")).get("args"))


def _beyond(
    engines: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], load: Mapping[str, Any], results: Mapping[str, Any]
) -> Iterator[str]:
    roles = [str(engine.get("role", "")) for engine, _ in engines]
    yield from _several("scenario.stack", roles)
    for engine, _ in engines:
        replicas = _whole(engine.get("replicas")) or 1
        if replicas > 1:
            yield (
                f"scenario.stack: replicas {replicas}: several servers behind a router are not modelled; measure one "
                "server, or import its own part of the load"
            )
        yield from _parallelism("scenario.stack", [engine.get("accelerator")])
    if _mapping(load.get("multi_turn")).get("enabled") is True:
        yield f"scenario.load.standardized.multi_turn: {CONVERSATIONS}"
    groups = _whole(_mapping(load.get("prefix")).get("num_groups")) or 1
    if groups > 1:
        yield (
            f"scenario.load.standardized.prefix: {groups} groups of prompts, and nothing says which request is of "
            "which; import what the tool itself wrote (inference-perf)"
        )
    performance = _mapping(_mapping(results.get("request_performance")).get("aggregate"))
    if _mapping(_mapping(performance.get("requests")).get("multimodal")):
        yield "requests.multimodal: pictures, sound and video in prompts are not modelled"


def _several(key: str, roles: Sequence[str]) -> Iterator[str]:
    """Say that prefill and decode run apart, or that there are several servers."""
    if any(role in SPLIT_ROLES for role in roles):
        named = ", ".join(roles)
        yield f"{key}: {named}: prefill and decode on servers of their own (disaggregation) are not modelled"
    elif len(roles) > 1:
        yield f"{key}: {len(roles)} servers; one server is modelled"


def _parallelism(key: str, accelerators: Sequence[Any]) -> Iterator[str]:
    for accelerator in accelerators:
        degrees = _mapping(_mapping(accelerator).get("parallelism"))
        for name, words in (("pp", "pipeline parallelism"), ("dp", "data parallelism")):
            degree = _whole(degrees.get(name)) or 1
            if degree > 1:
                yield f"{key}: {name} {degree}: {words} is not modelled"


def _whole_experts(accelerator: Mapping[str, Any]) -> dict[str, bool]:
    """Return as a fact that experts are spread whole over several GPUs."""
    degree = _whole(_mapping(accelerator.get("parallelism")).get("ep")) or 1
    return {"expert_parallel": True} if degree > 1 else {}


def _degree(file: Path, key: str, accelerator: Mapping[str, Any]) -> int | None:
    """Return the GPUs of one instance; None where nothing is said."""
    stated = _mapping(accelerator.get("parallelism")).get("tp")
    degree = _whole(stated)
    if stated is not None and degree is None:
        raise ConfigError(f"{file}: {key}: parallelism.tp: must be a whole number of at least 1, got '{stated}'")
    return degree


def _prefix(prefix: Mapping[str, Any]) -> dict[str, Any]:
    tokens = _first_number(_mapping(prefix.get("prefix_len")), "value")
    if not tokens or tokens < 1:
        return {}
    return {"kind": "shared", "tokens": round(tokens), "counted": "included"}


def _version(name: Any, version: Any) -> dict[str, Any]:
    """Return the software as a fact, where it is vLLM with a version; the image of a distribution is none of it."""
    if not isinstance(name, str) or "vllm" not in name.lower() or not isinstance(version, str | int | float):
        return {}
    text = str(version)
    return {"software": text if "/" in text else f"vLLM {text.lstrip('v')}"}


def _options(arguments: Any) -> dict[str, Any]:
    """Return options as they were given; one without a value is a switch that is on."""
    return {str(name): True if value is None else value for name, value in _mapping(arguments).items()}


# --- values -----------------------------------------------------------------------------------------


def _width(file: Path, key: str, value: Any) -> int | None:
    """Return how many requests may be in flight; None where there is no limit."""
    if value is None or str(value).strip().lower() in (".inf", "inf", "infinity"):
        return None
    if isinstance(value, float) and math.isinf(value):
        return None
    found = _whole(value)
    if found is None:
        raise ConfigError(f"{file}: {key}: must be a whole number of at least 1 or .inf, got '{str(value)[:40]}'")
    return found


def _first(content: Mapping[str, Any], *names: str) -> Any:
    return next((content[name] for name in names if content.get(name) is not None), None)


def _first_number(content: Mapping[str, Any], *names: str) -> float | None:
    value = _first(content, *names)
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9
    return float(value) if usable else None


def _whole(value: Any, least: int = 1) -> int | None:
    usable = isinstance(value, int) and not isinstance(value, bool) and least <= value < 1e9
    return value if usable else None


def _text(value: Any) -> str | None:
    return value.strip() if isinstance(value, str) and value.strip() else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
