"""The terms a step-time model might lack: what each costs, in what unit, and where it acts.

Contract: `TERMS` lists every candidate. A term says how much a unit of its constant adds to one decode
step and to the way to the first token, in us; what that does to a mean follows for all alike:

    ITL   = steps between two tokens * decode step
    TTFT  = way to the first token
    E2E   = TTFT + (N - 1) * ITL

These are first-order effects: that longer steps also make batches grow is left out.

A cost is in us and cannot be negative. A rate is a multiple of the time at the data sheet's peak, and all a model
spends on it cannot fall below 1, the peak itself, nor rise above `LARGEST_MULTIPLE`: time beyond that is not spent on
those bytes or FLOPs. What the prediction already spends is `Residual.priced`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from roofline_lab.residuals.record import Residual

Amount = Callable[[Residual], float | None]
Kind = Literal["cost", "rate"]

US = 1e6
US_PER_MS = 1000.0
KILO = 1000.0
ALL_REDUCES_PER_LAYER = 2
# Most that a rate may come out at, as a multiple of the time at the data sheet's peak: a quarter of the peak. A limit
# of plausibility, not of physics: what runs slower than that waits for something else, which is another term.
LARGEST_MULTIPLE = 4.0


@dataclass(frozen=True, slots=True)
class Term:
    """One candidate.

    Attributes
    ----------
    label, formula
        Name for people, and what is added in words.
    unit
        Of the constant; of a rate, what a multiple of 1 means.
    decode_us, first_us
        Microseconds that one unit adds to a decode step, and to the way to the first token; None: not known.
    """

    name: str
    label: str
    formula: str
    unit: str
    kind: Kind
    decode_us: Amount
    first_us: Amount

    def column_ms(self, residual: Residual, metric: str) -> float | None:
        """Return the ms that one unit of the constant adds to a mean; None where a driver is not known."""
        first = self.first_us(residual) if metric != "itl" else 0.0
        decode = self.decode_us(residual) if metric != "ttft" else 0.0
        further = 0.0 if metric == "ttft" else 1.0 if metric == "itl" else _minus_one(residual.output_tokens)
        if first is None or decode is None or further is None:
            return None
        return (first + further * residual.steps_between_tokens * decode) / US_PER_MS

    def least(self, residual: Residual) -> float:
        """Return the lowest constant beside 0 that physics allows: nothing below no cost, or below the peak's time.

        Where it is not known what the prediction already spends, a term can only add.
        """
        spent = residual.priced.get(self.name)
        if spent is None:
            return 0.0
        return (1.0 if self.kind == "rate" else 0.0) - spent

    def most(self, residual: Residual) -> float:
        """Return the highest plausible constant; only a rate has one, `LARGEST_MULTIPLE` with what is spent already."""
        if self.kind != "rate":
            return math.inf
        return max(LARGEST_MULTIPLE - residual.priced.get(self.name, 0.0), 0.0)


def _minus_one(tokens: float | None) -> float | None:
    return None if tokens is None else max(tokens - 1.0, 0.0)


def steps_to_first(residual: Residual) -> float | None:
    """Return the steps a first token waits for: the running ones of the queue, and those of its prompt."""
    predicted, queue, own = residual.itl.predicted_ms, residual.queue_ms, residual.prefill_steps
    if own is None or queue is None:
        return None
    return own + (queue / predicted if predicted else 0.0)


def _each_step(name: str, label: str, formula: str, unit: str, amount: Amount, kind: Kind = "cost") -> Term:
    """Return a term that every step pays alike, whatever is in it."""

    def first(residual: Residual) -> float | None:
        return _times(amount(residual), steps_to_first(residual))

    return Term(name, label, formula, unit, kind, amount, first)


def _outside(name: str, label: str, formula: str, unit: str, first: Amount) -> Term:
    """Return a term that only the first token pays, outside the engine or in its queue."""
    return Term(name, label, formula, unit, "cost", lambda residual: 0.0, first)


def _times(*factors: float | None) -> float | None:
    product = 1.0
    for factor in factors:
        if factor is None:
            return None
        product *= factor
    return product


def _plus(one: float | None, other: float) -> float | None:
    return None if one is None else one + other


def _link_us(residual: Residual, tokens: float | None) -> float | None:
    """Return a ring's time at peak for all-reducing `tokens` activations in every layer."""
    if residual.tensor_parallel == 1:
        return 0.0
    if residual.link_bandwidth is None or tokens is None:
        return None
    share = 2 * (residual.tensor_parallel - 1) / residual.tensor_parallel
    message = residual.hidden_size * residual.activation_bytes * share / residual.link_bandwidth * US
    return ALL_REDUCES_PER_LAYER * residual.layers * message * tokens


def _per_prompt_token(name: str, label: str, formula: str, unit: str, each: Amount, kind: Kind = "cost") -> Term:
    """Return a term that every computed prompt token pays, in its own step and between others' tokens."""
    return Term(
        name,
        label,
        formula,
        unit,
        kind,
        lambda residual: _times(each(residual), residual.prefill_tokens_per_gap),
        lambda residual: _times(each(residual), residual.computed_tokens),
    )


TERMS: tuple[Term, ...] = (
    _each_step("step", "fixed time per step", "1 per step", "us", lambda one: 1.0),
    _each_step("layer", "time per layer", "layers per step", "us", lambda residual: residual.layers),
    _each_step(
        "layer_over_tp",
        "time per layer, divided by TP",
        "layers / TP per step",
        "us",
        lambda residual: residual.layers / residual.tensor_parallel,
    ),
    _each_step(
        "routed_layer",
        "time per layer that routes to experts",
        "layers of a mixture of experts per step",
        "us",
        lambda residual: residual.layers if residual.routed else 0.0,
    ),
    Term(
        "request_in_step",
        "time per request in the step",
        "requests per step",
        "us",
        "cost",
        lambda residual: residual.batch,
        lambda residual: _times(_plus(residual.decodes_beside_prefill, 1.0), steps_to_first(residual)),
    ),
    _each_step(
        "vocabulary",
        "sampling per step",
        "thousands of vocabulary entries per step",
        "us per 1000 entries",
        lambda residual: residual.vocab_size / KILO,
    ),
    Term(
        "vocabulary_request",
        "sampling per request in the step",
        "thousands of vocabulary entries x requests per step",
        "us per 1000 entries",
        "cost",
        lambda residual: _times(residual.vocab_size / KILO, residual.batch),
        lambda residual: _times(
            residual.vocab_size / KILO, _plus(residual.decodes_beside_prefill, 1.0), steps_to_first(residual)
        ),
    ),
    _each_step(
        "lm_head",
        "LM head",
        "bytes of the LM head / peak bandwidth / TP per step",
        "times its time at peak",
        lambda residual: residual.head_weight_bytes / residual.peak_bandwidth * US,
        "rate",
    ),
    _each_step(
        "weights",
        "reading of the layers' weights",
        "bytes of all layers / peak bandwidth / TP per step",
        "times their time at peak",
        lambda residual: residual.layer_weight_bytes / residual.peak_bandwidth * US,
        "rate",
    ),
    Term(
        "kv_bytes",
        "reading of the KV cache",
        "KV bytes in the step / peak bandwidth / TP",
        "times their time at peak",
        "rate",
        lambda residual: _times(residual.kv_tokens, residual.kv_bytes_per_token / residual.peak_bandwidth * US),
        lambda one: 0.0,
    ),
    Term(
        "kv_token",
        "time per KV token read",
        "thousands of KV tokens in the step",
        "us per 1000 tokens",
        "cost",
        lambda residual: _times(residual.kv_tokens, 1.0 / KILO),
        lambda one: 0.0,
    ),
    _each_step(
        "all_reduce",
        "latency of an all-reduce",
        "2 x layers per step where TP > 1",
        "us",
        lambda residual: ALL_REDUCES_PER_LAYER * residual.layers if residual.tensor_parallel > 1 else 0.0,
    ),
    Term(
        "all_reduce_bytes",
        "bytes of all-reduces",
        "2 x layers x ring bytes of all new tokens / peak link bandwidth",
        "times their time at peak",
        "rate",
        lambda residual: _link_us(residual, residual.batch),
        lambda residual: _link_us(residual, residual.computed_tokens),
    ),
    Term(
        "mixed_prompt",
        "time per prompt that shares a step with decodes",
        "prompts between two tokens",
        "us",
        "cost",
        lambda residual: residual.prefills_per_gap,
        lambda one: 0.0,
    ),
    _per_prompt_token(
        "computed_token", "time per computed prompt token", "computed prompt tokens", "us", lambda one: 1.0
    ),
    _per_prompt_token(
        "computed_token_layer",
        "time per computed prompt token and layer",
        "computed prompt tokens x layers",
        "us",
        lambda residual: residual.layers,
    ),
    _per_prompt_token(
        "prefill_flops",
        "GEMMs of prompts",
        "GEMM FLOPs of computed prompt tokens / peak FLOP/s / TP",
        "times their time at peak",
        lambda residual: residual.flops_per_token / residual.peak_flops * US,
        "rate",
    ),
    _outside("request", "time per request outside the engine", "1 per request", "us", lambda one: 1.0),
    _outside(
        "prompt_token",
        "time per prompt token outside the engine",
        "prompt tokens, cached ones included",
        "us",
        lambda residual: residual.prompt_tokens,
    ),
    _outside(
        "queue",
        "wait for admission",
        "predicted wait",
        "times the predicted wait",
        lambda residual: _times(residual.queue_ms, US_PER_MS),
    ),
)
BY_NAME: Mapping[str, Term] = {term.name: term for term in TERMS}
