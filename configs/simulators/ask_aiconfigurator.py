"""Asks aiconfigurator (ai-dynamo/aiconfigurator, Apache-2.0) what the laboratory asks.

Its estimate of a server with continuous batching (`cli_estimate`, mode `agg`) knows one load: always the same number of
requests in flight, all of the same lengths. What its figures are, as `run_agg` of release 0.12.0 makes them for vLLM:

- TTFT: one step that holds a whole prompt and all other requests' tokens, plus 0.8 ms a layer, all of it times
  1 + log2(requests) / 8, at most 2, for waiting: what a request waits on average once the loop runs, so `ttft_mean`.
- TPOT: mean step between the first token of a request and its last. All requests are alike, so that the mean over
  requests, over tokens and the ratio of means are one number.
- Latency: TTFT + TPOT x (answer - 1), so `e2e_mean`.

Its throughputs are those of a loop that never starts nor ends and are not answered. The two constants of TTFT were
fitted by its authors to measurements at clients (comments of `vllm_backend.py`), which is why TTFT is one at a client.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import json
import logging
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

BACKEND = "vllm"
# Our model -> the checkpoint whose configuration comes with the package and says what is quantized how.
CHECKPOINTS = {
    "deepseek-r1": "deepseek-ai/DeepSeek-R1",
    "deepseek-v3": "deepseek-ai/DeepSeek-V3",
    "deepseek-v3.1-nvfp4": "nvidia/DeepSeek-V3.1-NVFP4",
    "gpt-oss-120b": "openai/gpt-oss-120b",
    "kimi-k2.5": "moonshotai/Kimi-K2.5",
    "kimi-k2.5-nvfp4": "nvidia/Kimi-K2.5-NVFP4",
    "llama-3.3-70b-instruct-fp8": "nvidia/Llama-3.1-70B-Instruct-FP8",
    "minimax-m2.5": "MiniMaxAI/MiniMax-M2.5",
    "minimax-m2.5-nvfp4": "nvidia/MiniMax-M2.5-NVFP4",
    "qwen3-235b-a22b-fp8": "Qwen/Qwen3-235B-A22B-FP8",
    "qwen3-32b-fp8": "Qwen/Qwen3-32B-FP8",
}
# Architectures it does not know by name whose layers have the shapes of one it knows.
SAME_LAYERS = {"MistralForCausalLM": "LlamaForCausalLM", "Llama4ForCausalLM": "Llama4ForConditionalGeneration"}
ALL_FP8 = {"gemm_quant_mode": "fp8", "moe_quant_mode": "fp8"}
KV_CACHE = {"bfloat16": "bfloat16", "float16": "bfloat16", "fp8": "fp8", "int8": "int8"}
# Options of ours beside the arguments of `cli_estimate`.
OWN_OPTIONS = {"lengths": ("mean", "max"), "open_loop": ("unsupported", "littles_law")}
# More requests in flight than any server here runs.
MOST_IN_FLIGHT = 8192
# What it raises where it has no table, no memory, or does not know how to split a model.
ITS_OWN = (RuntimeError, ValueError, AssertionError)
Estimate = Callable[[int], Any]


class UnknownToItError(Exception):
    """Why a load point is none that the program knows."""


def answer(question: Mapping[str, Any], databases: Mapping[str, Any], estimate: Callable[..., Any]) -> dict[str, Any]:
    """Return the answer to one load point."""
    try:
        arguments, own = _arguments(question, databases, estimate)
        at = _at(estimate, arguments, question)
        found = at(_in_flight(question, own, at))
    except (UnknownToItError, *ITS_OWN) as error:
        return {"id": question["id"], "status": "unsupported", "reason": _told(error)}
    latency_ms = found.ttft + found.tpot * (found.osl - 1)
    figures = {"ttft_mean": found.ttft, "e2e_mean": latency_ms, "tpot_guidellm": latency_ms / found.osl}
    figures |= dict.fromkeys(("tpot_request", "itl_token_weighted", "itl_ratio_of_means"), found.tpot)
    said = {"id": question["id"], "metrics": {name: {"value": ms, "unit": "ms"} for name, ms in figures.items()}}
    # Its warning says that requests will wait for room in the KV cache, which is in none of its figures.
    return said | ({"saturated": True} if found.kv_cache_warning else {})


def _told(error: Exception) -> str:
    """Return what an error says in one line, its tables named from where they start."""
    return re.sub(r"\S*/systems/data/", "", " ".join(str(error).split()))


def _arguments(
    question: Mapping[str, Any], databases: Mapping[str, Any], estimate: Callable[..., Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of the estimate but for the requests in flight, and the options that are ours."""
    known, options = inspect.signature(estimate).parameters, question["options"]
    own = {name: options.get(name, allowed[0]) for name, allowed in OWN_OPTIONS.items()}
    wrong = [name for name in options if name not in known and name not in OWN_OPTIONS]
    wrong += [name for name, value in own.items() if value not in OWN_OPTIONS[name]]
    if wrong:
        raise UnknownToItError(
            f"options {', '.join(wrong)}: allowed are {OWN_OPTIONS} and the arguments of cli_estimate"
        )
    server, work = question["server"], question["workload"]
    prompt, output = (max(1, round(work[side][own["lengths"]])) for side in ("prompt_tokens", "output_tokens"))
    system = question["gpu"]["id"].replace("-", "_")
    found = {
        **_model(question["model"]),
        "system_name": system,
        "backend_name": BACKEND,
        "backend_version": _closest(databases.get(system, {}).get(BACKEND) or [], server.get("software", ""), system),
        "isl": prompt,
        "osl": output,
        "prefix": min(prompt - 1, _cached_tokens(question)),
        "ctx_tokens": min(prompt, server.get("token_budget", prompt)),
        "kvcache_quant_mode": _kv_cache(question["precision"]["kv_cache"]),
        "free_gpu_memory_fraction": server.get("gpu_memory_utilization"),
        **_parallelism(question),
    }
    return found | {name: value for name, value in options.items() if name not in OWN_OPTIONS}, own


def _closest(versions: list[str], software: str, system: str) -> str:
    """Return the oldest version with tables that is not older than the server's, else the newest."""

    def number(text: str) -> tuple[int, ...]:
        found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
        return tuple(int(part or 0) for part in found.groups()) if found else (0, 0, 0)

    if not versions:
        raise UnknownToItError(f"no tables of {BACKEND} on {system}")
    ordered = sorted(versions, key=number)
    return next((version for version in ordered if number(version) >= number(software)), ordered[-1])


def _model(model: Mapping[str, Any]) -> dict[str, str]:
    """Return the checkpoint whose configuration it has, or a folder here with ours and what is quantized how."""
    name, config = model["id"], model["config"]
    if name in CHECKPOINTS:
        return {"model_path": CHECKPOINTS[name]}
    quantization = config.get("quantization")
    in_part = any(value for key, value in config.items() if key.startswith(("quantized_", "unquantized_")))
    if quantization and (quantization != "fp8" or in_part):
        raise UnknownToItError(f"no configuration of its own says how {name} is quantized ({quantization})")
    folder = Path(name)
    if not folder.is_dir():
        folder.mkdir()
        named = [SAME_LAYERS.get(each, each) for each in config["architectures"]]
        (folder / "config.json").write_text(json.dumps({**config, "architectures": named}), encoding="utf-8")
    return {"model_path": name, **(ALL_FP8 if quantization else {})}


def _kv_cache(dtype: str) -> str:
    if dtype not in KV_CACHE:
        raise UnknownToItError(f"no KV cache of type {dtype}")
    return KV_CACHE[dtype]


def _parallelism(question: Mapping[str, Any]) -> dict[str, int]:
    """Return over how many GPUs each part is split."""
    parallel, gpus = question["parallelism"], {}
    tensor, copies = parallel["tensor_parallel"], parallel["attention_data_parallel"]
    if question["model"]["config"].get("num_local_experts"):
        whole = tensor * copies if parallel["expert_parallel"] else 1
        gpus = {"moe_ep_size": whole, "moe_tp_size": tensor * copies // whole}
    return {"tp_size": tensor, "attention_dp_size": copies, **gpus}


def _cached_tokens(question: Mapping[str, Any]) -> int:
    """Return how many tokens of a prompt an earlier request began with, on average, if the server keeps them."""
    if not question["server"].get("prefix_caching"):
        return 0
    seen: set[str] = set()
    cached = []
    for request in question["workload"]["requests"]:
        group = request["prefix_group"]
        if not request["warm_up"]:
            cached.append(request["prefix_tokens"] if group in seen else 0)
        seen |= {group} if group else set()
    return int(statistics.fmean(cached))


# --- requests in flight -------------------------------------------------------------------------------


def _at(estimate: Callable[..., Any], arguments: Mapping[str, Any], question: Mapping[str, Any]) -> Estimate:
    """Return what estimates a server with so many requests in flight."""
    copies = question["parallelism"]["attention_data_parallel"]

    def at(in_flight: int) -> Any:
        return estimate(**{"batch_size": -(-in_flight // copies), **arguments})

    return at


def _in_flight(question: Mapping[str, Any], own: Mapping[str, Any], at: Estimate) -> int:
    """Return how many requests are in flight on average."""
    arrivals = question["workload"]["arrivals"]
    most = question["server"].get("max_running") or MOST_IN_FLIGHT
    if arrivals["kind"] == "closed_loop":
        wanted = min(arrivals["concurrency"], question["workload"]["requests_counted"])
    elif own["open_loop"] == "littles_law":
        wanted = next((each for each in _upwards(most) if _per_s(at(each), each) >= _rate_per_s(question)), most + 1)
    else:
        raise UnknownToItError("it knows a number of requests in flight, and no requests that arrive by themselves")
    if wanted > most:
        raise UnknownToItError(f"more than {most} requests in flight, which the server does not run at once")
    return wanted


def _upwards(most: int) -> Iterator[int]:
    """Yield numbers of requests, each by a sixteenth larger than the one before, or by one."""
    number = 1
    while number <= most:
        yield number
        number += max(1, number // 16)


def _per_s(found: Any, in_flight: int) -> float:
    """Return the rate at which so many requests in flight are answered: Little's law."""
    return 1e3 * in_flight / (found.ttft + found.tpot * (found.osl - 1))


def _rate_per_s(question: Mapping[str, Any]) -> float:
    sent_ms = [request["arrival_ms"] for request in question["workload"]["requests"] if not request["warm_up"]]
    if sent_ms[-1] <= sent_ms[0]:
        raise UnknownToItError("all requests arrive at once: there is no number that is always in flight")
    return 1e3 * (len(sent_ms) - 1) / (sent_ms[-1] - sent_ms[0])


def main() -> None:
    """Say the version, or answer every question."""
    answers, sys.stdout = sys.stdout, sys.stderr
    if "--version" in sys.argv:
        print(f"aiconfigurator {importlib.metadata.version('aiconfigurator')}", file=answers)
        return
    from aiconfigurator.cli.api import cli_estimate  # type: ignore[import-not-found]
    from aiconfigurator.sdk.perf_database import get_supported_databases  # type: ignore[import-not-found]

    logging.disable(logging.CRITICAL)
    # Which versions have tables: looked up once, where every estimate without a version looks it up again.
    databases = get_supported_databases()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), databases, cli_estimate)), file=answers, flush=True)


if __name__ == "__main__":
    main()
