"""Results of SGLang's `bench_serving`: JSON lines, one for each run that was appended to the file.

Contract: `read` accepts a file with one result or several, or a folder of such files; each result is a load point. The
format is that of vLLM's benchmark (`serving_benchmark`) with other names for E2E and without the number sent. Lengths
of the data set `random` are drawn again from the client's seed, and used only if their sums are those of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from roofline_lab.ground_truth.requests import MAX_RECORDED
from roofline_lab.importers.common import Foreign, Measurement, WholeNumber
from roofline_lab.importers.server_facts import is_known, name_of
from roofline_lab.importers.serving_benchmark import STATISTICS, Dialect, Said, results_of
from roofline_lab.importers.several import one_experiment, result_files
from simulator.errors import ConfigError
from simulator.validation import parse
from simulator.workload.lengths import MAX_TOKENS

TOOL = "sglang-bench"
MARKS = frozenset({"total_output_tokens_retokenized", "mean_e2e_latency_ms", "median_e2e_latency_ms"})

PATTERNS = ("*.jsonl", "*.jsonl.gz", "*.json", "*.json.gz")
IGNORED = ("profile.json", "traces*")

# The client's default (`--seed`), and the data set whose lengths follow from it.
SEED = 1
RANDOM = "random"

# The result of this data set says neither how many groups there are nor how long their common beginning is.
GROUPS_UNKNOWN = (
    "Prompts of the data set generated-shared-prefix begin alike in groups, which the result does not describe; every "
    "prompt is simulated as new, so that with prefix caching on the predicted TTFT is too long. Write the prefix into "
    "experiment.yaml (workload.prefix)."
)

# Facts of `server_info` that are said otherwise here.
_OTHERWISE = ("model", "software", "date")


class _RandomData(Foreign):
    """A result whose lengths the client drew."""

    dataset_name: Literal["random"]
    completed: Annotated[int, Field(ge=1, le=MAX_RECORDED)]
    random_input_len: Annotated[int, Field(ge=1, le=MAX_TOKENS)]
    random_output_len: Annotated[int, Field(ge=1, le=MAX_TOKENS)]
    random_range_ratio: Annotated[float, Field(ge=0, le=1)]
    total_input_tokens: WholeNumber
    total_output_tokens: WholeNumber


def read(path: Path) -> Measurement:
    """Read one result, or several as load points of one experiment.

    Raises
    ------
    ConfigError
        If a file is not what SGLang's benchmark writes, is damaged, or has no successful request, or if results do not
        belong together.
    """
    files, left_out = result_files(path, TOOL, PATTERNS, "a result of SGLang's bench_serving (JSON lines)", IGNORED)
    found = [result for file in files for result in results_of(file, DIALECT)]
    return one_experiment(found, str(path if len(files) > 1 else files[0]), left_out)


def _said(values: Mapping[str, Any]) -> Said:
    info = values.get("server_info")
    info = info if isinstance(info, Mapping) else {}
    server = {
        key: value for key, value in info.items() if is_known(str(key)) and name_of(str(key))[0] not in _OTHERWISE
    }
    if isinstance(info.get("chunked_prefill_size"), int) and info["chunked_prefill_size"] > 0:
        server["token_budget"] = info["chunked_prefill_size"]
    accepted = values.get("accept_length")
    if isinstance(accepted, int | float) and accepted > 1:
        server["speculative_config"] = f"accept_length {accepted:g}"
    if str(values.get("backend", "")).startswith("sglang"):
        server["software"] = f"SGLang {info.get('version') or ''}".strip()
    model = info.get("model_path")
    named = model if isinstance(model, str) else None
    remark = GROUPS_UNKNOWN if values.get("dataset_name") == "generated-shared-prefix" else ""
    return Said(model_name=named, server=server, lengths=_lengths(values), remark=remark)


def _lengths(values: Mapping[str, Any]) -> tuple[Sequence[int], Sequence[int]] | None:
    """Return the lengths the client drew, if their sums are those of the result.

    Source: `sample_random_requests` of SGLang, which draws all prompts before all answers; versions differ in whether
    an answer may be drawn with 0 tokens.
    """
    try:
        data = parse(_RandomData, values, source=RANDOM)
    except ConfigError:
        return None
    from numpy.random import RandomState

    least_prompt, least_output = (
        int(longest * data.random_range_ratio) for longest in (data.random_input_len, data.random_output_len)
    )
    for least in (least_output, max(1, least_output)):
        source = RandomState(SEED)
        prompts = source.randint(max(1, least_prompt), data.random_input_len + 1, size=data.completed)
        outputs = source.randint(least, data.random_output_len + 1, size=data.completed)
        if (int(prompts.sum()), int(outputs.sum())) == (data.total_input_tokens, data.total_output_tokens):
            return prompts.tolist(), [max(1, tokens) for tokens in outputs.tolist()]
    return None


DIALECT = Dialect(
    tool=TOOL,
    title="SGLang bench_serving result",
    wanted=(
        MARKS,
        "no total_output_tokens_retokenized and no E2E; is this a result that SGLang's bench_serving wrote with "
        "--output-file?",
    ),
    all_metrics="take a newer version of the benchmark, which writes means and percentiles of all",
    detailed="run the benchmark with --output-details, which records every request",
    renamed={f"{rank}_e2e_latency_ms": f"{rank}_e2el_ms" for rank in STATISTICS.values()},
    said=_said,
)
