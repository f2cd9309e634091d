"""Files that people keep beside results: run description, client profile, server log, server spans.

Contract: everything here is optional; what is absent is None or empty. A file that is there and cannot be read raises
a `ConfigError`, as its facts were meant to be used.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text
from roofline_lab.importers.common import MS_PER_S, Foreign, WholeNumber
from simulator.errors import ConfigError
from simulator.input_files import unreadable
from simulator.validation import parse, read_yaml

RUN_FILE = "exp-config.yaml"
PROFILE_FILE = "profile.yaml"
LOG_PATTERN = "vllm*.log*"
SPANS_PATTERN = "traces*.json*"

MAX_LINE_CHARACTERS = 1 << 24

# What a vLLM log says about the server, by setting.
_LOGGED = {
    "software": re.compile(r"\(v(\d+\.\d+[^)\s]*)\) with config"),
    "prefix_caching": re.compile(r"enable_prefix_caching=(True|False)"),
    "tensor_parallel": re.compile(r"tensor_parallel_size=(\d{1,4})\b"),
    "token_budget": re.compile(r"[Cc]hunked prefill is enabled with max_num_batched_tokens=(\d{1,9})\b"),
    "max_model_len_tokens": re.compile(r"max_seq_len=(\d{1,9})\b"),
    "kv_blocks": re.compile(r"num_gpu_blocks is: (\d{1,9})\b"),
}


class _Run(Foreign):
    model: str | None = None
    tensor_parallelism: WholeNumber | None = None
    max_model_len: WholeNumber | None = None
    max_num_batched_tokens: WholeNumber | None = None
    max_num_seqs: WholeNumber | None = None


@dataclass(frozen=True, slots=True)
class RunMetadata:
    """What the files beside results say.

    Attributes
    ----------
    model_name, tensor_parallel
        Of the run.
    settings
        Server settings by our names.
    profile
        The client's profile.
    spans
        (TTFT, E2E) in ms by request id, as the engine measured them.
    files
        Names of the files used.
    """

    model_name: str | None = None
    tensor_parallel: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    spans: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    files: tuple[str, ...] = ()


def read_run_metadata(folder: Path) -> RunMetadata:
    """Read what lies in a folder of results.

    Raises
    ------
    ConfigError
        If a file that is there cannot be read.
    """
    run = parse(_Run, _mapping(folder / RUN_FILE), source=str(folder / RUN_FILE))
    logs, traces = sorted(folder.glob(LOG_PATTERN)), sorted(folder.glob(SPANS_PATTERN))
    settings = _logged(logs[0]) if logs else {}
    logged_tensor_parallel = settings.pop("tensor_parallel", None)
    stated = {
        "token_budget": run.max_num_batched_tokens,
        "max_running": run.max_num_seqs,
        "max_model_len_tokens": run.max_model_len,
    }
    present = [file for file in (folder / RUN_FILE, folder / PROFILE_FILE, *logs[:1], *traces[:1]) if file.is_file()]
    return RunMetadata(
        model_name=run.model,
        tensor_parallel=run.tensor_parallelism or logged_tensor_parallel,
        settings=settings | {name: value for name, value in stated.items() if value},
        profile=_mapping(folder / PROFILE_FILE),
        spans=dict(_spans(traces[0])) if traces else {},
        files=tuple(file.name for file in present),
    )


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file that must be a mapping.

    Raises
    ------
    ConfigError
        If it cannot be read or is something else.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{path}: must be a mapping of names to values")
    return content


def _mapping(path: Path) -> dict[str, Any]:
    return read_mapping(path) if path.is_file() else {}


def _logged(path: Path) -> dict[str, Any]:
    found: dict[str, str] = {}
    # A log is searched, not parsed: a server may have printed bytes that are no text.
    for line in _lines(path, errors="replace"):
        for name, pattern in _LOGGED.items():
            match = pattern.search(line)
            if match:
                found.setdefault(name, match.group(1))
    settings: dict[str, Any] = {name: int(text) for name, text in found.items() if text.isdigit() and int(text)}
    if "software" in found:
        settings["software"] = f"vLLM {found['software']}"
    if "prefix_caching" in found:
        settings["prefix_caching"] = found["prefix_caching"] == "True"
    return settings


def _spans(path: Path) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield request id, TTFT and E2E of every request span of an OpenTelemetry JSON-lines file."""
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            for resource in json.loads(line)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        latencies = _latencies(span)
                        if latencies is not None:
                            yield latencies
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError) as error:
            raise ConfigError(f"{path}:{number}: not a line of OpenTelemetry spans: {error!r}"[:300]) from None


def _latencies(span: Any) -> tuple[str, tuple[float, float]] | None:
    values = {entry["key"]: next(iter(entry["value"].values())) for entry in span["attributes"]}
    ttft_s, e2e_s = (values.get(f"gen_ai.latency.{name}") for name in ("time_to_first_token", "e2e"))
    if ttft_s is None or e2e_s is None:
        return None
    return str(values["gen_ai.request.id"]), (_ms(ttft_s), _ms(e2e_s))


def _ms(seconds: Any) -> float:
    value = float(seconds) * MS_PER_S
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{seconds!r} is no latency in seconds")
    return value


def _lines(path: Path, errors: str = "strict") -> Iterator[str]:
    try:
        with open_text(path, errors) as stream:
            while line := stream.readline(MAX_LINE_CHARACTERS):
                yield line
    except READ_ERRORS as error:
        raise unreadable(path, error) from None
