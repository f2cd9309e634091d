"""Files of tools that are not read: what they are, and what to give instead.

Contract: `what_is` looks at the beginning of a file that no reader knows and names the tool by what it writes, or
returns None. `refuse_unread` raises a `ConfigError` with the name and with what to convert. Nothing here is imported:
these files lack what an experiment needs (streamed answers, lengths in tokens, or a server at all), or nobody has shown
us enough of them. Their keys are those of public documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text
from simulator.errors import ConfigError

HEAD_CHARACTERS = 1 << 16
MAX_FILES = 100
# Folders between the one given and its files.
MAX_DEPTH = 2

_KEY = re.compile(r"\"([^\"\\\n]{1,80})\"\s*:|^[ \-]*([A-Za-z_][\w. -]{0,80}):(?:\s|$)", re.MULTILINE)

REQUESTS = (
    "write its requests as a trace (CSV with arrival_us, prompt_tokens, output_tokens, and where measured ttft_ms and "
    "e2e_ms) for inspect, replay and --request-trace"
)
FIGURES = "write its figures as a table of runs (import --from-csv; docs/importing.md has the columns)"
NO_LATENCIES = (
    "it has no latencies of single answers; measure with vllm bench serve, GuideLLM, inference-perf or aiperf"
)
NO_TOKENS = "it counts requests, not tokens; measure with vllm bench serve, GuideLLM, inference-perf or aiperf"


@dataclass(frozen=True, slots=True)
class Unread:
    """A kind of file, and what it is known by.

    Attributes
    ----------
    name
        The tool, or what the file is.
    instead
        What to convert, or to give in its place.
    keys
        Keys or columns that are all there.
    begins
        Pattern of the first line that says something.
    """

    name: str
    instead: str
    keys: frozenset[str] = field(default_factory=frozenset)
    begins: str = ""


def _keys(*names: str) -> frozenset[str]:
    return frozenset(names)


KINDS: tuple[Unread, ...] = (
    Unread("a summary of llmperf", FIGURES, _keys("results_ttft_s_mean", "num_concurrent_requests")),
    Unread("single requests of llmperf", REQUESTS, _keys("end_to_end_latency_s", "inter_token_latency_s", "ttft_s")),
    Unread("statistics of Locust", NO_TOKENS, _keys("Request Count", "Failure Count", "Median Response Time")),
    Unread("statistics of Locust", NO_TOKENS, _keys("num_requests", "num_failures", "total_response_time")),
    Unread("a summary of k6", NO_TOKENS, _keys("root_group", "metrics")),
    Unread("a summary of k6", NO_TOKENS, _keys("http_req_duration", "metrics")),
    Unread("samples of k6", NO_TOKENS, _keys("metric_name", "metric_value", "timestamp")),
    Unread("samples of k6", NO_TOKENS, _keys("metric", "type", "data"), begins=r'\{"(?:type|metric)":.*'),
    Unread("a report of vegeta", NO_TOKENS, _keys("latencies", "bytes_in", "status_codes")),
    Unread("a report of oha", NO_TOKENS, _keys("summary", "responseTimeHistogram")),
    Unread("samples of hey", NO_TOKENS, _keys("response-time", "DNS+dialup", "Request-write")),
    Unread("a result of JMeter", NO_TOKENS, _keys("timeStamp", "elapsed", "responseCode", "Latency")),
    Unread("a summary of MLPerf LoadGen", FIGURES, begins=r"(?:=+\s+)?MLPerf Results Summary.*"),
    Unread("a detail log of MLPerf LoadGen", FIGURES, begins=r":::MLLOG.*"),
    Unread("an accuracy log of MLPerf LoadGen", NO_LATENCIES, _keys("seq_id", "qsl_idx", "data")),
    Unread("a report of Triton perf_analyzer", FIGURES, _keys("Concurrency", "Inferences/Second", "Client Send")),
    Unread("a report of Triton perf_analyzer", FIGURES, _keys("Request Rate", "Inferences/Second", "Client Send")),
    Unread("a profile of Triton perf_analyzer or genai-perf", REQUESTS, _keys("experiments", "service_kind")),
    Unread("a profile of Triton perf_analyzer", REQUESTS, _keys("experiments", "response_timestamps")),
    Unread("metrics of genai-perf or aiperf", FIGURES, _keys("Metric", "avg", "min", "max", "p99")),
    Unread("a result of vllm bench latency", NO_LATENCIES, _keys("avg_latency", "latencies", "percentiles")),
    Unread(
        "a result of vllm bench throughput", NO_LATENCIES, _keys("elapsed_time", "num_requests", "tokens_per_second")
    ),
    Unread("a result of SGLang bench_one_batch", NO_LATENCIES, _keys("prefill_latency", "median_decode_latency")),
    Unread("a report of trtllm-bench", FIGURES, _keys("world_info", "request_info", "performance")),
    Unread(
        "a report of TensorRT-LLM gptManagerBenchmark", FIGURES, _keys("num_samples", "avg_time_to_first_token(ms)")
    ),
    Unread("a result of llm-load-test", REQUESTS, _keys("results", "config", "summary", "ttft", "user_id")),
    Unread("a result of the Hugging Face inference-benchmarker", FIGURES, _keys("config", "results", "benchmark_kind")),
    Unread("a dump of a server's Prometheus metrics", NO_LATENCIES, begins=r"# (?:HELP|TYPE) .*"),
    Unread("spans of a server (OpenTelemetry)", "put it beside results as traces.jsonl", _keys("resourceSpans")),
    Unread("a model's configuration", "put it into configs/models/<id>.json", _keys("architectures", "model_type")),
    Unread("ShareGPT conversations, a data set", NO_LATENCIES, _keys("conversations", "from", "value")),
)


def what_is(path: Path) -> Unread | None:
    """Return what a file is that no reader knows; None if nothing here knows it either, or it cannot be read."""
    try:
        with open_text(path, "replace") as stream:
            head = stream.read(HEAD_CHARACTERS)
    except READ_ERRORS:
        return None
    # A frame of signs above the first line says nothing.
    first = next((line.strip() for line in head.splitlines() if line.strip(" =-*")), "")
    names = {key or plain for key, plain in _KEY.findall(head)} | {cell.strip(' "') for cell in first.split(",")}
    return next(
        (kind for kind in KINDS if kind.keys <= names and (not kind.begins or re.fullmatch(kind.begins, first))), None
    )


def refuse_unread(path: Path, readers: Iterable[str]) -> None:
    """Refuse a file, or a folder with a file, of a tool that is not read, saying what to give instead.

    Parameters
    ----------
    readers
        Names of the tools that are read.

    Raises
    ------
    ConfigError
        If it is one.
    """
    found = _in(path)
    if found:
        told = [f"{file}: this is {kind.name}, which is not read; {kind.instead}" for file, kind in found.items()]
        raise ConfigError(f"{told[0]} (read are results of {', '.join(readers)})")


def _in(path: Path) -> Mapping[Path, Unread]:
    if path.is_file():
        files = [path]
    elif path.is_dir():
        inside = (file for depth in range(MAX_DEPTH + 1) for file in sorted(path.glob("/".join("*" * (depth + 1)))))
        files = list(islice((file for file in inside if file.is_file()), MAX_FILES))
    else:
        return {}
    return {file: kind for file in files if (kind := what_is(file)) is not None}
