"""What tables of kernels say: `price` recorded steps, `lookup` single efficiencies, `audit` the tables themselves.

Contract: `price` and `lookup` read one JSON object per line of standard input and write the same record back
with its answer.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from simulator.cli.catalog import configs_folder, find_tables
from simulator.cli.files import Answer, answer_lines, checked_path, say
from simulator.cli.upstream import (
    BandwidthShare,
    ModelName,
    OverheadUs,
    Rate,
    TensorParallel,
    Tokens,
    known_part,
    upstream_bandwidth_efficiency,
    upstream_model,
)
from simulator.errors import ConfigError
from simulator.hardware import Hardware
from simulator.kernels.audit import audit_tables, render
from simulator.kernels.base import Kernels, Lookup
from simulator.kernels.measured import MeasuredKernels
from simulator.steptime.batch import Batch
from simulator.steptime.build import BuiltStepTime, build_step_time
from simulator.steptime.cost import StepCost
from simulator.steptime.options import upstream_options
from simulator.steptime.traffic import attention_shape
from simulator.validation import StrictModel, suggest

# Past tokens, new tokens.
Entry = Annotated[tuple[Tokens, Tokens], Field(strict=False)]
# More requests than any server batches; keeps one line from filling the memory.
MAX_REQUESTS = 100_000
Entries = Annotated[tuple[Entry, ...], Field(max_length=MAX_REQUESTS)]

BUILT_MODELS = 256

# From a record and the name of its line to the record with its answer.


class StepInput(ModelName):
    """The keys of a recorded step that determine its duration.

    Attributes
    ----------
    tflops_peak, bw_peak_tbs
        Peaks of the GPU, TFLOPS and TB/s.
    bw_eff
        Sustained over peak bandwidth; 0 means that none applies.
    per_layer_overhead
        us per layer, divided by TP.
    prefill, decode
        (past tokens, new tokens) of every request; a decode computes one token whatever its entry says.
    """

    tp: TensorParallel = 1
    tflops_peak: Rate
    bw_peak_tbs: Rate
    bw_eff: BandwidthShare = 0.0
    per_layer_overhead: OverheadUs = 0.0
    prefill: Entries = ()
    decode: Entries = ()


Size = Annotated[int, Strict(), Field(ge=1, le=10**12)]


class GemmQuestion(StrictModel):
    """(m x k) @ (k x n)."""

    fn: Literal["gemm"]
    m: Size
    k: Size
    n: Size


class PrefillQuestion(ModelName):
    """Causal attention over one sequence."""

    fn: Literal["attn_prefill"]
    seq_len: Tokens


class DecodeQuestion(ModelName):
    """Decode attention of `bs` requests with `kv` KV tokens each."""

    fn: Literal["attn_decode"]
    tp: TensorParallel
    bs: Tokens
    kv: Tokens


QUESTIONS: dict[str, type[GemmQuestion | PrefillQuestion | DecodeQuestion]] = {
    "gemm": GemmQuestion,
    "attn_prefill": PrefillQuestion,
    "attn_decode": DecodeQuestion,
}


def price_command(arguments: Namespace) -> int:
    """Price every line of standard input; stop at the first that cannot be priced."""
    return answer_lines(pricer(_tables(arguments), configs_folder(arguments.configs)))


def lookup_command(arguments: Namespace) -> int:
    """Answer every line of standard input; stop at the first that has no answer."""
    return answer_lines(asker(_tables(arguments), configs_folder(arguments.configs), origin=arguments.origin))


def audit_command(arguments: Namespace) -> int:
    """Audit a folder of tables, print what was found."""
    report = audit_tables(checked_path(arguments.tables, "TABLES"), arguments.gpu)
    sys.stdout.write(render(report, "json" if arguments.json else "text"))
    return 0


def _tables(arguments: Namespace) -> MeasuredKernels:
    return MeasuredKernels(find_tables(arguments.kernels, arguments.gpu), arguments.policy)


def pricer(kernels: Kernels, configs: Path) -> Answer:
    """Return the function that answers one record; step-time models are built once and remembered."""
    warned: set[str] = set()

    @lru_cache(maxsize=BUILT_MODELS)
    def built(
        name: str, tp: int, tflops: float, bandwidth_tbs: float, efficiency: float | None, overhead: float
    ) -> Any:
        hardware = Hardware.from_peaks(tflops, bandwidth_tbs, source="recorded step")
        options = upstream_options(efficiency, overhead)
        return build_step_time(options, upstream_model(name, configs), hardware, tp, kernels)

    def price(record: Mapping[str, Any], source: str) -> dict[str, Any]:
        step = known_part(StepInput, record, source=source)
        efficiency = upstream_bandwidth_efficiency(step.bw_eff, source=source)
        peaks = (step.tflops_peak, step.bw_peak_tbs, efficiency, step.per_layer_overhead)
        step_time: BuiltStepTime = built(step.model, step.tp, *peaks)
        for warning in step_time.warnings:
            if warning not in warned:
                warned.add(warning)
                say(f"warning: {source}: {warning}")
        if any(new != 1 for _, new in step.decode):
            say(f"warning: {source}: decode: a decode computes one token; the second number of its entry is not used")
        batch = Batch(prefill=step.prefill, decode=tuple(past for past, _ in step.decode))
        return {**record, **components(step_time.explain(batch))}

    return price


def components(cost: StepCost) -> dict[str, Any]:
    """Return a step's duration and its parts under the names that recorded steps use."""
    prefill, decode = cost.prefill, cost.decode
    found: dict[str, Any] = {
        "step_us": cost.total_us,
        "unrounded_us": cost.unrounded_us,
        "decode_compute_s": decode.compute_s if decode else 0,
        "decode_gemm_s": decode.gemm_s if decode else 0,
        "decode_attn_s": decode.attention_s if decode else 0,
        "decode_memory_s": decode.memory_s if decode else 0,
        "prefill_compute_s": prefill.compute_s if prefill else 0,
        "prefill_memory_s": prefill.memory_s if prefill else 0,
        "overhead_us": cost.overhead_us,
    }
    if prefill:
        found["prefill_buckets"] = [
            {
                "bucket": bucket.bucket_tokens,
                "tokens": bucket.new_tokens,
                "gemm_s": bucket.gemm_s,
                "attn_s": bucket.attention_s,
                "attn_mfu": bucket.attention_mfu,
            }
            for bucket in prefill.buckets
        ]
    outside = sorted({f"{use.kernel} at {use.asked}" for use in cost.lookups if use.extrapolated})
    return {**found, "outside_tables": outside} if outside else found


def asker(kernels: Kernels, configs: Path, *, origin: bool = False) -> Answer:
    """Return the function that answers one record."""

    def ask(record: Mapping[str, Any], source: str) -> dict[str, Any]:
        found = _lookup(record, source, kernels, configs)
        return {**record, "mfu": found.value} | ({"lookup": asdict(found)} if origin else {})

    return ask


def _lookup(record: Mapping[str, Any], source: str, kernels: Kernels, configs: Path) -> Lookup:
    kind = record.get("fn")
    if not isinstance(kind, str) or kind not in QUESTIONS:
        raise ConfigError(f"{source}: fn: unknown question {kind!r}; {suggest(str(kind), QUESTIONS)}")
    question = known_part(QUESTIONS[kind], record, source=source)
    if isinstance(question, GemmQuestion):
        return kernels.gemm_lookup(question.m, question.k, question.n)
    shape = attention_shape(upstream_model(question.model, configs, f"{source}: model"))
    if isinstance(question, PrefillQuestion):
        return kernels.attention(shape).prefill_lookup(question.seq_len)
    return kernels.attention(shape, question.tp).decode_lookup(question.bs, question.kv)
