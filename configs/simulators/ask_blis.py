"""Asks a binary of inference-sim/inference-sim (BLIS) what the laboratory asks: `ask_blis.py PROGRAM KERNEL_TABLES`.

It draws its own requests, normally distributed lengths at a constant interval, from the mean, spread and limits of the
load point's. One request at a time is asked as requests so far apart that none waits. Other loads have no flags.

Flags and the keys of its results are those of the branch `roofline-go-and-hypotheses`, as the guide to its calibration
and its recorded runs have them. There the last step of a request counts twice, so its figures bear the names of that;
an arm with the option `last_step: once` says that its binary counts it once, as later ones do.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Requests per second that no request outlasts, for one at a time.
ALONE_PER_S = 0.001
# Largest relative difference of two gaps that are the same: arrivals are whole microseconds.
SAME_GAP = 1e-3
SEED = 42
# In tokens: no limit is below it, so that answers of two tokens or more stay so.
SMALLEST_SPREAD = 2
# Its figures and what they are, by how often the last step of a request counts.
FIGURES = {
    "twice": {"e2e_mean_ms": ["e2e_last_step_twice"], "itl_mean_ms": ["itl_entries_last_step_twice"]},
    "once": {"e2e_mean_ms": ["e2e_mean"], "itl_mean_ms": ["itl_token_weighted", "itl_ratio_of_means"]},
}
PER_REQUEST = {"twice": "tpot_last_step_twice", "once": "tpot_request"}


class UnknownToItError(Exception):
    """Why a load point is none that the program knows."""


def answer(question: Mapping[str, Any], program: str, tables: Path) -> dict[str, Any]:
    """Return the answer to one load point."""
    last_step = question["options"].get("last_step", "twice")
    try:
        if last_step not in FIGURES:
            raise UnknownToItError(f"option last_step: allowed are {', '.join(FIGURES)}")
        with tempfile.TemporaryDirectory() as folder:
            found = _run([program, "run", *flags(question, Path(folder), tables)], Path(folder) / "results.json")
    except UnknownToItError as error:
        return {"id": question["id"], "status": "unsupported", "reason": str(error)}
    figures = {"ttft_mean": found["ttft_mean_ms"]}
    figures |= {name: found[key] for key, names in FIGURES[last_step].items() for name in names}
    if question["workload"]["output_tokens"]["min"] > 1 and found.get("requests"):
        figures[PER_REQUEST[last_step]] = statistics.fmean(one["itl_ms"] for one in found["requests"])
    return {"id": question["id"], "metrics": {name: {"value": ms, "unit": "ms"} for name, ms in figures.items()}}


def _run(command: Sequence[str], results: Path) -> Any:
    """Return what a run wrote; a run that fails ends this program, which costs the load point."""
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0 or not results.is_file():
        sys.exit(f"{command[0]} ended with code {done.returncode}: {done.stderr.strip()[-300:]}")
    return json.loads(results.read_text(encoding="utf-8"))


def flags(question: Mapping[str, Any], folder: Path, tables: Path) -> list[str]:
    """Return the flags of a run; the files they name are written into a folder."""
    config, gpu, server = question["model"]["config"], question["gpu"], question["server"]
    if config.get("num_local_experts") or config.get("quantization"):
        raise UnknownToItError("experts or quantized weights, which it does not price")
    hardware = gpu["id"].split("-")[0].upper()
    peaks = {"TFlopsPeak": gpu["dense_bf16_tflops"]["value"], "BwPeakTBs": gpu["memory_bandwidth_tbs"]["value"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "hardware.json").write_text(json.dumps({hardware: peaks}), encoding="utf-8")
    found = {
        "model": question["model"]["id"],
        "model-config-folder": folder,
        "hardware": hardware,
        "hardware-config": folder / "hardware.json",
        "bench-data-path": tables,
        "tp": question["parallelism"]["tensor_parallel"],
        "seed": SEED,
        "results-path": folder / "results.json",
        "max-num-running-reqs": server.get("max_running"),
        "max-num-scheduled-tokens": server.get("token_budget"),
        "total-kv-blocks": server.get("kv_blocks"),
        **_workload(question["workload"]),
    }
    return [text for name, value in found.items() if value is not None for text in (f"--{name}", str(value))]


def _workload(work: Mapping[str, Any]) -> dict[str, Any]:
    sent = [request for request in work["requests"] if not request["warm_up"]]
    shared = {(request["prefix_group"], request["prefix_tokens"]) for request in sent}
    if len(shared) > 1:
        raise UnknownToItError("prompts that do not all begin with the same tokens, or with none that are shared")
    prefix = shared.pop()[1]
    return {
        "workload": "distribution",
        "rate": _rate_per_s(work["arrivals"], [request["arrival_ms"] for request in sent]),
        "num-requests": len(sent),
        "prefix-tokens": prefix,
        **_lengths("prompt-tokens", [request["prompt_tokens"] - prefix for request in sent]),
        **_lengths("output-tokens", [request["output_tokens"] for request in sent]),
    }


def _rate_per_s(arrivals: Mapping[str, Any], sent_ms: Sequence[float]) -> float:
    if arrivals["kind"] == "closed_loop":
        if arrivals["concurrency"] > 1:
            raise UnknownToItError("clients that wait for each other: requests come at a constant interval alone")
        return ALONE_PER_S
    gaps_ms = [later - earlier for earlier, later in itertools.pairwise(sent_ms)]
    if not gaps_ms or min(gaps_ms) <= 0 or max(gaps_ms) > min(gaps_ms) * (1 + SAME_GAP):
        raise UnknownToItError("requests that do not come at a constant interval")
    return 1e3 / statistics.fmean(gaps_ms)


def _lengths(name: str, tokens: Sequence[int]) -> dict[str, int]:
    """Return mean, spread and limits of lengths; it refuses a spread below the lower limit."""
    mean, smallest, largest = round(statistics.fmean(tokens)), max(1, min(tokens)), max(1, *tokens)
    if smallest == largest:
        return {name: mean, f"{name}-stdev": mean, f"{name}-min": mean, f"{name}-max": mean}
    spread = min(largest, max(SMALLEST_SPREAD, math.floor(statistics.pstdev(tokens))))
    return {name: mean, f"{name}-stdev": spread, f"{name}-min": min(smallest, spread), f"{name}-max": largest}


def main(program: str, tables: str) -> None:
    """Say which binary it is, or answer every question."""
    path = shutil.which(program)
    if path is None:
        sys.exit(f"{program}: no such program on the PATH; build it from inference-sim/inference-sim")
    if "--version" in sys.argv:  # it names no version itself
        print(f"{program} {hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]}")
        return
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), path, Path(tables).absolute())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
