"""`lookup`: single kernel questions in, the same records with the MFU out."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from simulator.cli.catalogue import configs_folder, find_tables
from simulator.cli.price import Answer, answer_lines
from simulator.cli.upstream import ModelName, TensorParallel, Tokens, known_part, upstream_model
from simulator.errors import ConfigError
from simulator.kernels.base import Kernels, Lookup
from simulator.kernels.measured import MeasuredKernels
from simulator.steptime.traffic import attention_shape
from simulator.validation import StrictModel, suggest

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


QUESTIONS = {"gemm": GemmQuestion, "attn_prefill": PrefillQuestion, "attn_decode": DecodeQuestion}


def command(arguments: Namespace) -> int:
    """Answer every line of standard input; stop at the first that has no answer."""
    kernels = MeasuredKernels(find_tables(arguments.kernels, arguments.gpu), arguments.policy)
    return answer_lines(asker(kernels, configs_folder(arguments.configs), origin=arguments.origin))


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
