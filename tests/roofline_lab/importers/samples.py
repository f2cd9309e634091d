"""Result files of each tool, as small as they can be, formed from one list of requests.

Every latency follows from the request, so that a test knows what a reader has to find.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml

from roofline_lab.ground_truth.experiment import Tool
from simulator.metrics import mean, percentile

START_S = 1_768_918_269.0


@dataclass(frozen=True)
class Sent:
    """One request: when it is sent, lengths, and latencies in seconds."""

    start_s: float
    prompt: int
    output: int
    ttft_s: float
    gap_s: float

    @property
    def e2e_s(self):
        return self.ttft_s + self.gap_s * (self.output - 1)


def sent(count=20, every_s=1.0, ttft_s=0.05, gap_s=0.01, first_s=0.0):
    """Return requests of varied length; the time between tokens is the same for all."""
    source = random.Random(5)
    return [
        Sent(
            first_s + position * every_s,
            source.randint(100, 900),
            source.randint(10, 60),
            ttft_s + 0.0001 * position,
            gap_s,
        )
        for position in range(count)
    ]


def summary(values):
    ranks = {f"p{rank:02d}": percentile(values, rank) for rank in (50, 90, 95, 99)}
    return {"successful": {"mean": mean(values), "max": max(values), "percentiles": ranks}}


def guidellm_request(position, one):
    return {
        "request_id": f"request-{position}",
        "response_id": f"cmpl-{position}",
        "output": "text " * 20,
        "prompt_tokens": one.prompt,
        "output_tokens": one.output,
        "request_start_time": START_S + one.start_s,
        "request_latency": one.e2e_s,
        "time_to_first_token_ms": one.ttft_s * 1000,
    }


def guidellm_benchmark(requests, strategy, index=0, recorded=None):
    tokens = [request.output for request in requests]
    begin_s = min(request.start_s for request in requests)
    return {
        "config": {"run_index": index, "strategy": strategy},
        "metrics": {
            "request_totals": {"successful": len(requests), "errored": 0, "incomplete": 0},
            "request_latency": summary([request.e2e_s for request in requests]),
            "time_to_first_token_ms": summary([request.ttft_s * 1000 for request in requests]),
            "time_per_output_token_ms": {
                "successful": summary([request.e2e_s * 1000 / request.output for request in requests])["successful"]
                | {"mean": sum(request.e2e_s for request in requests) * 1000 / sum(tokens)}
            },
            "inter_token_latency_ms": summary([request.gap_s * 1000 for request in requests]),
            "prompt_token_count": summary([request.prompt for request in requests]),
            "output_token_count": summary(tokens),
        },
        "requests": {
            "successful": [guidellm_request(*entry) for entry in list(enumerate(requests))[:recorded]],
            "errored": [],
            "incomplete": [],
            "total": None,
        },
        "start_time": START_S + begin_s,
        "end_time": START_S + max(request.start_s + request.e2e_s for request in requests),
    }


def guidellm_report(benchmarks, version=1, data=None, seed=42):
    description = data or {"prompt_tokens": 500, "output_tokens": 30}
    if version == 1:
        arguments = {"args": {"data": [str(description)], "random_seed": seed}}
    else:
        spec = {"data": [{"kind": "synthetic_text", **description}], "seed": {"kind": "static", "value": seed}}
        arguments = {"config": {"spec": spec}, "conclusions": []}
    return {"metadata": {"version": version, "guidellm_version": "0.0"}, **arguments, "benchmarks": benchmarks}


def write_guidellm(folder, report=None, model="meta-llama/Llama-2-7b-hf"):
    folder.mkdir(parents=True, exist_ok=True)
    content = report or guidellm_report([guidellm_benchmark(sent(), {"type_": "constant", "rate": 1.0})])
    (folder / "benchmarks.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "exp-config.yaml").write_text(f"model: {model}\ntensor_parallelism: 1\n", encoding="utf-8")
    return folder


def distribution(values):
    ranks = {f"p{rank:g}": percentile(values, rank) for rank in (75, 90, 95, 99, 99.9)}
    return {"mean": mean(values), "min": min(values), "median": percentile(values, 50), "max": max(values)} | ranks


def inference_perf_stage(requests, tokens, *, stream_lines=True, failures=0, rate=1.0):
    """Return stage metrics; `stream_lines` counts 2 N + 2 events per request, as old clients do."""
    e2e = [request.e2e_s for request in requests]
    gaps = [request.gap_s for request in requests for _ in range(request.output - 1)]
    tpot = [request.gap_s for request in requests]
    if stream_lines:
        tpot = [request.gap_s * (request.output - 1) / (2 * request.output + 1) for request in requests]
        gaps += [5e-6] * (len(gaps) + 3 * len(requests))
    run_s = max(request.start_s + request.e2e_s for request in requests) - requests[0].start_s
    return {
        "load_summary": {
            "count": len(requests) + failures,
            "requested_rate": rate,
            "achieved_rate": (len(requests) + failures) / run_s,
        },
        "successes": {
            "count": len(requests),
            "latency": {
                "request_latency": distribution(e2e),
                "time_to_first_token": distribution([request.ttft_s for request in requests]),
                "time_per_output_token": distribution(tpot),
                "inter_token_latency": distribution(gaps),
            },
            "throughput": {"requests_per_sec": len(requests) / run_s},
            "prompt_len": distribution([request.prompt for request in requests]),
            "output_len": distribution([float(tokens) for _ in requests]),
        },
        "failures": {"count": failures, "request_latency": None},
    }


def pooled(count=300, prompts=10, output=50, every_s=1.0):
    """Return requests of one output length that cycle through a few prompts."""
    lengths = [random.Random(9 + entry).randint(100, 900) for entry in range(prompts)]
    return [
        Sent(position * every_s, lengths[position % prompts], output, 0.03 + 0.00001 * (position % 7), 0.01)
        for position in range(count)
    ]


def inference_perf_config(output=50, groups=(5, 2), names=("num_groups", "num_prompts_per_group"), load="constant"):
    shared = {names[0]: groups[0], names[1]: groups[1], "output_len": output, "question_len": 400}
    return {
        "data": {"type": "shared_prefix", "shared_prefix": shared},
        "load": {"type": load},
        "server": {"ignore_eos": True, "model_name": "meta-llama/Llama-2-7b-hf"},
    }


def write_inference_perf(folder, stages=None, config=None, profile=None):
    results = folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    for number, stage in enumerate(stages or [inference_perf_stage(pooled(), 40)]):
        (results / f"stage_{number}_lifecycle_metrics.json").write_text(json.dumps(stage), encoding="utf-8")
    if config is not False:
        (results / "config.yaml").write_text(yaml.safe_dump(config or inference_perf_config()), encoding="utf-8")
    if profile:
        (folder / "profile.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    return folder


def per_request(requests, begin_s=1000.0):
    return [
        {
            "start_time": begin_s + request.start_s,
            "end_time": begin_s + request.start_s + request.e2e_s,
            "request": "a long prompt " * 10,
            "info": {
                "input_tokens": request.prompt,
                "output_tokens": request.output - 3,
                "output_token_times": [begin_s + request.start_s + request.ttft_s],
            },
            "error": None,
        }
        for request in requests
    ]


def vllm_result(requests, *, detailed=False, rate=1.0, start_times=True, **changes):
    e2e_ms = [request.e2e_s * 1000 for request in requests]
    ttft_ms = [request.ttft_s * 1000 for request in requests]
    tpot_ms = [request.gap_s * 1000 for request in requests]
    duration = max(request.start_s + request.e2e_s for request in requests)
    result = {
        "date": "20260131-142500",
        "backend": "vllm",
        "model_id": "meta-llama/Llama-2-7b-hf",
        "num_prompts": len(requests),
        "request_rate": rate,
        "burstiness": 1.0,
        "max_concurrency": None,
        "duration": duration,
        "completed": len(requests),
        "total_input_tokens": sum(request.prompt for request in requests),
        "total_output_tokens": sum(request.output for request in requests),
        "request_throughput": len(requests) / duration,
        "output_throughput": sum(request.output for request in requests) / duration,
    }
    for name, values in (("ttft", ttft_ms), ("tpot", tpot_ms), ("itl", tpot_ms), ("e2el", e2e_ms)):
        result |= {
            f"mean_{name}_ms": mean(values),
            f"median_{name}_ms": percentile(values, 50),
            f"p99_{name}_ms": percentile(values, 99),
        }
    if detailed:
        result |= {
            "input_lens": [request.prompt for request in requests],
            "output_lens": [request.output for request in requests],
            "ttfts": [request.ttft_s for request in requests],
            "itls": [[request.gap_s] * (request.output - 1) for request in requests],
            "generated_texts": ["text"] * len(requests),
            "errors": [""] * len(requests),
        }
        if start_times:
            result["start_times"] = [5000.0 + request.start_s for request in requests]
    return result | changes


def write_vllm(folder, result=None):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "result.json"
    path.write_text(json.dumps(result or vllm_result(sent())), encoding="utf-8")
    return path


# What SGLang's benchmark calls otherwise, and what it has alone.
SGLANG_NAMES = {f"{rank}_e2el_ms": f"{rank}_e2e_latency_ms" for rank in ("mean", "median", "p99")}
VLLM_ALONE = ("date", "model_id", "num_prompts", "burstiness")


def sglang_result(requests, **changes):
    """Return a line of SGLang's benchmark, from that of vLLM's, which it was made of."""
    result = vllm_result(requests, **changes)
    content = {SGLANG_NAMES.get(key, key): value for key, value in result.items() if key not in VLLM_ALONE}
    alone = {"backend": "sglang", "dataset_name": "sharegpt", "server_info": {"model_path": "meta-llama/Llama-2-7b-hf"}}
    return content | alone | {"total_output_tokens_retokenized": result["total_output_tokens"] - 3}


def write_sglang(folder, *results):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sglang.jsonl"
    lines = results or (sglang_result(sent()),)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def of_units(values, units):
    ranks = {f"p{rank}": percentile(values, rank) for rank in (50, 90, 99)}
    return {"units": units, "mean": mean(values), "max": max(values), **ranks}


def llm_d_figures(requests, failures=0):
    """Return what both versions of llm-d's report have of the requests."""
    run_s = max(request.start_s + request.e2e_s for request in requests)
    tokens = [request.output for request in requests]
    return {
        "requests": {
            "total": len(requests) + failures,
            "failures": failures,
            "input_length": of_units([request.prompt for request in requests], "count"),
            "output_length": of_units(tokens, "count"),
        },
        "latency": {
            "time_to_first_token": of_units([request.ttft_s for request in requests], "s"),
            "time_per_output_token": of_units([request.gap_s for request in requests], "s/token"),
            "inter_token_latency": of_units([request.gap_s for request in requests], "s/token"),
            "request_latency": of_units([request.e2e_s for request in requests], "s"),
        },
        "throughput": {
            "request_rate": {"units": "queries/s", "mean": len(requests) / run_s},
            "output_token_rate": {"units": "tokens/s", "mean": sum(tokens) / run_s},
        },
    }


def llm_d_report(requests, *, load=None, engine=None, failures=0, version="0.2"):
    stated = {"tool": "vllm-benchmark", "tool_version": "0.11.0", "rate_qps": 1.0, "concurrency": ".inf"}
    server = {
        "kind": "inference_engine",
        "tool": "vllm",
        "tool_version": "0.11.0",
        "role": "aggregate",
        "replicas": 1,
        "model": {"name": "meta-llama/Llama-2-7b-hf"},
        "accelerator": {"model": "NVIDIA-H100-80GB-HBM3", "count": 1, "parallelism": {"tp": 1, "pp": 1, "dp": 1}},
    }
    options = {"--max-model-len": 4096, "--no-enable-prefix-caching": None}
    return {
        "version": version,
        "run": {"uid": "u", "time": {"start": "2026-01-05T10:00:00Z", "duration": "PT60S"}},
        "scenario": {
            "load": {"standardized": stated | (load or {})},
            "stack": [{"standardized": server | (engine or {}), "native": {"args": options}}],
        },
        "results": {"request_performance": {"aggregate": llm_d_figures(requests, failures)}},
    }


def write_llm_d(folder, report=None, name="benchmark_report.json"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(report or llm_d_report(sent())), encoding="utf-8")
    return path


NS = 1_000_000_000


def metric(unit, values, **more):
    """Return one entry of an aiperf summary."""
    ranks = {f"p{rank}": percentile(values, rank) for rank in (50, 90, 95, 99)}
    return {"unit": unit, "avg": mean(values), "min": min(values), "max": max(values), "std": 1.0, **ranks} | more


def export_metrics(requests):
    """Return the metrics that aiperf and genai-perf both have, under the names of both."""
    run_s = max(one.start_s + one.e2e_s for one in requests)
    return {
        "request_throughput": {"unit": "requests/sec", "avg": len(requests) / run_s},
        "request_latency": metric("ms", [1000 * one.e2e_s for one in requests]),
        "request_count": {"unit": "requests", "avg": float(len(requests))},
        "time_to_first_token": metric("ms", [1000 * one.ttft_s for one in requests]),
        "inter_token_latency": metric("ms", [1000 * one.gap_s for one in requests]),
        "output_token_throughput": {"unit": "tokens/sec", "avg": sum(one.output for one in requests) / run_s},
        "output_sequence_length": metric("tokens", [float(one.output) for one in requests], count=len(requests)),
        "input_sequence_length": metric("tokens", [float(one.prompt) for one in requests]),
    }


def aiperf_export(requests, *, load=None, failed=0, cancelled=0, **changes):
    """Return a summary of aiperf as version 0.2 lays it out; `records` of the first versions hold the same."""
    run_s = max(one.start_s + one.e2e_s for one in requests)
    errors = ((cancelled, 499, "RequestCancellationError"), (failed, 500, "ServerError"))
    summary = [
        {"error_details": {"code": code, "type": kind}, "count": number} for number, code, kind in errors if number
    ]
    content = {
        **export_metrics(requests),
        "benchmark_duration": {"unit": "sec", "avg": run_s},
        "aiperf_version": "0.2.0",
        "input_config": {
            "endpoint": {"model_names": ["meta-llama/Llama-2-7b-hf"], "streaming": True},
            "loadgen": load or {"request_rate": 1.0, "request_rate_mode": "constant"},
        },
        "was_cancelled": False,
        "error_summary": summary,
        "start_time": "2026-01-31T14:25:00.123456",
    }
    if failed + cancelled:
        content["error_request_count"] = {"unit": "requests", "avg": float(failed + cancelled)}
    return content | changes


def aiperf_line(position, one, error=None, phase="profiling", begin_s=START_S):
    """Return a line of `profile_export.jsonl`."""
    start_ns = round((begin_s + one.start_s) * NS)
    metrics = {
        "time_to_first_token": {"value": 1000 * one.ttft_s, "unit": "ms"},
        "request_latency": {"value": 1000 * one.e2e_s, "unit": "ms"},
        "input_sequence_length": {"value": one.prompt, "unit": "tokens"},
        "output_sequence_length": {"value": one.output, "unit": "tokens"},
        "inter_chunk_latency": {"value": [1000 * one.gap_s] * (one.output - 1), "unit": "ms"},
    }
    counted = {"error_request_count": {"value": 1, "unit": "requests"}}
    metadata = {"x_request_id": f"id-{position}", "request_start_ns": start_ns, "benchmark_phase": phase}
    return {"metadata": metadata, "metrics": counted if error else metrics, "error": error}


def write_lines(folder, lines, name="profile_export.jsonl"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)
    return path


def write_aiperf(folder, content=None, lines=None):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "profile_export_aiperf.json"
    path.write_text(json.dumps(content or aiperf_export(sent())), encoding="utf-8")
    if lines is not None:
        write_lines(folder, lines)
    return path


def genai_perf_export(requests, *, stimulus=None, **changes):
    config = {
        "model_names": ["meta-llama/Llama-2-7b-hf"],
        "perf_analyzer": {"stimulus": stimulus or {"request_rate": 1.0}},
    }
    return {**export_metrics(requests), "input_config": config} | changes


def write_genai_perf(folder, content=None):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "profile_export_genai_perf.json"
    path.write_text(json.dumps(content or genai_perf_export(sent())), encoding="utf-8")
    return path


def inferencex_run(concurrency=4, tokens=100, prompt=200, ttft_s=0.05, gap_s=0.01, gpus=2, **changes):
    """Return one object of an aggregated result; lengths are all alike, so that every figure follows."""
    e2e_s = ttft_s + gap_s * (tokens - 1)
    per_s = concurrency / e2e_s
    figures = {"ttft": ttft_s, "tpot": gap_s, "itl": gap_s, "e2el": e2e_s}
    return {
        "hw": "h100",
        "model": "meta-llama/Llama-2-7b-hf",
        "framework": "vllm",
        "image": "vllm/vllm-openai:v0.11.0",
        "precision": "bf16",
        "tp": gpus,
        "ep": 1,
        "dp_attention": "false",
        "spec_decoding": "none",
        "disagg": False,
        "is_multinode": False,
        "conc": concurrency,
        "isl": prompt,
        "osl": tokens,
        "tput_per_gpu": per_s * (tokens + prompt) / gpus,
        "input_tput_per_gpu": per_s * prompt / gpus,
        "output_tput_per_gpu": per_s * tokens / gpus,
        **{f"{rank}_{name}": value for name, value in figures.items() for rank in ("mean", "median", "p99")},
        "mean_intvty": 1 / gap_s,
    } | changes


def write_inferencex(folder, content=None, name="agg_run.json"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(content or inferencex_run()), encoding="utf-8")
    return path


LLMSERVINGSIM_META = {
    "model": "meta-llama/Llama-2-7b-hf",
    "vllm_version": "0.11.0",
    "engine_kwargs": {"tensor_parallel_size": 1, "max_num_seqs": 64, "max_num_batched_tokens": 2048},
    "kv_cache": {"num_gpu_blocks": 5000, "block_size": 16, "enable_prefix_caching": False},
    "hardware": {"device_name": "NVIDIA H100 80GB HBM3"},
    "resolved_config": {},
}


def llmservingsim_row(position, one):
    queued_s = 27_000.0 + one.start_s
    return {
        "request_id": f"bench-{position}",
        "input_toks": one.prompt,
        "output_toks": one.output,
        "arrival_time": START_S + one.start_s - 0.002,
        "queued_ts": queued_s,
        "scheduled_ts": queued_s + 0.001,
        "first_token_ts": queued_s + one.ttft_s,
        "last_token_ts": queued_s + one.e2e_s,
    }


def write_llmservingsim(folder, rows=None, meta=LLMSERVINGSIM_META):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "requests.jsonl"
    lines = [llmservingsim_row(0, sent()[0])] if rows is None else rows
    path.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
    if meta is not None:
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return path


def large_llmservingsim(folder):
    path = write_llmservingsim(folder)
    with path.open("w", encoding="utf-8") as stream:
        for entry in enumerate(sent(LARGE_REQUESTS)):
            stream.write(json.dumps({**llmservingsim_row(*entry), "text": TEXT * REPEATED}) + "\n")
    return path


class AsWritten:
    """What a reader returns, as the file of the experiment would say it."""

    def __init__(self, found):
        content = found.experiment.model_dump(exclude_unset=True, exclude_none=True)
        self.load_points, self.workload = content["load_points"], content["workload"]
        self.known, self.assumed = content["server"]["known"], content["server"]["assumed"]
        self.server_note = content["server"].get("note")
        self.requests, self.quality = found.experiment.recorded(), found.experiment.quality
        self.date, self.side = content.get("date"), content["side"]
        self.site = content.get("site")
        self.model_name = None if content["model"] == "-" else content["model"]
        self.tensor_parallel = content["tensor_parallel"] if found.tensor_parallel_stated else None
        self.workload_name = self.workload["name"]
        self.conversions, self.both_sides = found.conversions, found.both_sides


# --- the tools, as the tests that hold for all of them need them ----------------------------------

LARGE_MB = 40
LARGE_REQUESTS = 4000
TEXT = "lorem ipsum "
REPEATED = LARGE_MB * 1_000_000 // LARGE_REQUESTS // len(TEXT)


@dataclass(frozen=True)
class Sample:
    """Sound results of one tool, and what is expected of its reader.

    Attributes
    ----------
    write
        Writes results into a folder.
    file
        The main file in the folder.
    document
        What the main file may hold: short, with all that the reader looks at.
    not_ours
        Part of the message for a main file that holds an empty object.
    beside
        What has to lie beside the main file, content by name.
    file_is_enough
        Whether the main file can be imported alone.
    twice
        Part of the message for a main file that holds its result twice.
    write_requests
        Writes results with more than five single requests, and returns the file that holds them; None for a tool that
        records none.
    write_large
        Writes results with `LARGE_REQUESTS` single requests entry by entry, and returns the file of `LARGE_MB` MB.
    """

    write: Callable[[Path], object]
    file: str
    document: Any
    not_ours: str
    beside: Mapping[str, Any] = field(default_factory=dict)
    file_is_enough: bool = True
    twice: str = "give each result a file of its own"
    write_requests: Callable[[Path], Path] | None = None
    write_large: Callable[[Path], Path] | None = None


def tool_word(tool):
    """Return what the experiments of a tool say of it: its name, if the format has a word for it."""
    return tool if tool in get_args(Tool) else "other"


def write_entries(path, before, entries, after):
    """Write a JSON file whose entries need not fit into memory together."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(before)
        for position, entry in enumerate(entries):
            stream.write(("," if position else "") + json.dumps(entry))
        stream.write(after)
    return path


def write_into_list(path, content, key, entries):
    """Write a JSON file with `entries` in the one empty list that has this key."""
    before, after = json.dumps(content).split(f'"{key}": []', 1)
    return write_entries(path, f'{before}"{key}": [', entries, "]" + after)


def large_guidellm(folder):
    requests = sent(LARGE_REQUESTS)
    benchmark = guidellm_benchmark(requests, {"type_": "constant", "rate": 1.0}, recorded=0)
    entries = ({**guidellm_request(*one), "output": TEXT * REPEATED} for one in enumerate(requests))
    path = write_guidellm(folder) / "benchmarks.json"
    return write_into_list(path, guidellm_report([benchmark]), "successful", entries)


def requests_of_inference_perf(folder, requests, stages=None):
    path = write_inference_perf(folder, stages) / "results" / "per_request_lifecycle_metrics.json"
    return write_entries(path, "[", requests, "]")


def large_inference_perf(folder):
    requests = pooled(LARGE_REQUESTS)
    # What fills such a file are times of tokens, not texts.
    later = [9999.0 + 0.000001 * position for position in range(REPEATED)]

    def with_times(info):
        return info | {"output_token_times": [*info["output_token_times"], *later]}

    entries = (one | {"info": with_times(one["info"])} for one in per_request(requests))
    return requests_of_inference_perf(folder, entries, [inference_perf_stage(requests, 40)])


def large_vllm(folder):
    requests = sent(LARGE_REQUESTS)
    content = vllm_result(requests, detailed=True, generated_texts=[])
    return write_into_list(write_vllm(folder), content, "generated_texts", (TEXT * REPEATED for _ in requests))


def large_sglang(folder):
    requests = sent(LARGE_REQUESTS)
    content = sglang_result(requests, detailed=True, generated_texts=[])
    return write_into_list(write_sglang(folder), content, "generated_texts", (TEXT * REPEATED for _ in requests))


def large_aiperf(folder):
    requests = sent(LARGE_REQUESTS)
    write_aiperf(folder, aiperf_export(requests))
    lines = (aiperf_line(*one) | {"text": TEXT * REPEATED} for one in enumerate(requests))
    return write_lines(folder, lines)


def requests_of_aiperf(folder):
    write_aiperf(folder, lines=[aiperf_line(*one) for one in enumerate(sent())])
    return folder / "profile_export.jsonl"


SAMPLES = {
    "aiperf": Sample(
        write=write_aiperf,
        write_requests=requests_of_aiperf,
        write_large=large_aiperf,
        file="profile_export_aiperf.json",
        document=aiperf_export(sent(count=5)),
        not_ours="is this a result that aiperf profile wrote",
    ),
    "genai-perf": Sample(
        write=write_genai_perf,
        file="profile_export_genai_perf.json",
        document=genai_perf_export(sent(count=5)),
        not_ours="is this a result that genai-perf profile wrote",
    ),
    "guidellm": Sample(
        write=write_guidellm,
        write_requests=lambda folder: write_guidellm(folder) / "benchmarks.json",
        write_large=large_guidellm,
        file="benchmarks.json",
        document=guidellm_report([guidellm_benchmark(sent(count=5), {"type_": "constant", "rate": 1.0})]),
        not_ours="not a GuideLLM report",
    ),
    "inference-perf": Sample(
        write=write_inference_perf,
        write_requests=lambda folder: requests_of_inference_perf(folder, per_request(pooled())),
        write_large=large_inference_perf,
        file="results/stage_0_lifecycle_metrics.json",
        document=inference_perf_stage(pooled(count=20, prompts=4), 40),
        not_ours="is this a stage report of inference-perf",
        beside={"results/config.yaml": inference_perf_config()},
        file_is_enough=False,
    ),
    "inferencex": Sample(
        write=write_inferencex,
        file="agg_run.json",
        document=inferencex_run(),
        not_ours="is this an aggregated result (agg_*.json) of InferenceX",
    ),
    "llm-d": Sample(
        write=write_llm_d,
        file="benchmark_report.json",
        document=llm_d_report(sent(count=5)),
        not_ours="not a benchmark report of llm-d",
    ),
    "llmservingsim": Sample(
        write=write_llmservingsim,
        write_requests=lambda folder: write_llmservingsim(
            folder, [llmservingsim_row(*entry) for entry in enumerate(sent())]
        ),
        write_large=large_llmservingsim,
        file="requests.jsonl",
        document=llmservingsim_row(0, sent()[0]),
        not_ours="is this what LLMServingSim recorded",
        beside={"server.yaml": {"model": "meta-llama/Llama-2-7b-hf"}},
        twice="ids are unique",
    ),
    "vllm-bench": Sample(
        write=write_vllm,
        write_requests=lambda folder: write_vllm(folder, vllm_result(sent(), detailed=True)),
        write_large=large_vllm,
        file="result.json",
        document=vllm_result(sent(count=5), detailed=True),
        not_ours="is this a result that vllm bench serve",
        twice="so one is a copy: remove it",
    ),
    "sglang-bench": Sample(
        write=write_sglang,
        write_requests=lambda folder: write_sglang(folder, sglang_result(sent(), detailed=True)),
        write_large=large_sglang,
        file="sglang.jsonl",
        document=sglang_result(sent(count=5), detailed=True),
        not_ours="is this a result that SGLang's bench_serving wrote",
        twice="so one is a copy: remove it",
    ),
}
