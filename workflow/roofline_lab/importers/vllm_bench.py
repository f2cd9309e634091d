"""Results of vLLM's `benchmark_serving.py` and `vllm bench serve`, alone or as a sweep.

Contract: `read` accepts a file with one result or with several that runs appended to it (`--append-result`), or a
folder of such files, as `vllm bench sweep serve` leaves them. Each result is a load point, read by `serving_benchmark`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roofline_lab.importers.common import Measurement
from roofline_lab.importers.server_facts import is_known, name_of
from roofline_lab.importers.serving_benchmark import ALL_METRICS, Dialect, Said, results_of
from roofline_lab.importers.several import one_experiment, result_files

TOOL = "vllm-bench"
MARKS = frozenset({"num_prompts", "endpoint_type", "tokenizer_id"})
WEAK_MARKS = frozenset({"request_throughput", "backend", "duration", "median_ttft_ms", "mean_ttft_ms"})

PATTERNS = ("*.json", "*.json.gz", "*.jsonl", "*.jsonl.gz")
# Beside results: profiles of clients, copies for a dashboard, and what a sweep repeats in one file.
IGNORED = ("profile.json", "*.pytorch.json", "summary.json", "traces*")

# Facts that the result has for itself, beside those of a server.
_OF_THE_RESULT = ("model", "date")
# Servers other than vLLM that the client speaks to (`--backend`); with an API they share it does not say which.
OTHER_SERVERS = ("tgi", "deepspeed-mii", "tensorrt-llm", "lmdeploy", "scalellm", "sglang", "llama.cpp")


def read(path: Path) -> Measurement:
    """Read one result, or several as load points of one experiment.

    Raises
    ------
    ConfigError
        If a file is not what vLLM's serving benchmark writes, is damaged, or has no successful request, or if results
        do not belong together.
    """
    wanted = "a result of vllm bench serve (JSON)"
    files, left_out = result_files(path, TOOL, PATTERNS, wanted, IGNORED)
    found = [result for file in files for result in results_of(file, DIALECT)]
    return one_experiment(found, str(path if len(files) > 1 else files[0]), left_out)


def _said(values: Mapping[str, Any]) -> Said:
    """Return the server options that a sweep writes into its results, and what `--metadata` states."""
    options = {key: value for key, value in values.items() if is_known(key) and name_of(key)[0] not in _OF_THE_RESULT}
    if values.get("backend") in OTHER_SERVERS:
        options.setdefault("software", values["backend"])
    if isinstance(values.get("spec_decode_num_drafts"), int) and values["spec_decode_num_drafts"] > 0:
        options["speculative_config"] = f"acceptance length {values.get('spec_decode_acceptance_length')}"
    return Said(server=options)


DIALECT = Dialect(
    tool=TOOL,
    title="vLLM serving benchmark result",
    wanted=(
        frozenset({"num_prompts", "request_throughput", "median_ttft_ms", "mean_ttft_ms"}),
        "no num_prompts and no request_throughput; is this a result that vllm bench serve wrote with --save-result?",
    ),
    all_metrics=f"run the benchmark with --percentile-metrics {ALL_METRICS}",
    detailed="run the benchmark with --save-detailed, which records every request",
    renamed={},
    said=_said,
)
