"""What an arm can say about one point: quantities of a priced step, or of a kernel look-up.

Seconds become microseconds, bytes and FLOPs are those of one GPU. A phase that does not occur has
quantities of 0. `QUANTITIES` and `LOOKUP_QUANTITIES` are what a column's formula may name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simulator.kernels.base import Lookup, decode_attention_flops
from simulator.model import Model
from simulator.steptime.batch import Batch
from simulator.steptime.cost import StepCost
from simulator.steptime.options import MfuRooflineOptions, StepTimeOptions
from simulator.steptime.traffic import attention_shape

MICROSECONDS = 1e6
GIGA = 1e9


@dataclass(frozen=True, slots=True)
class Priced:
    """One batch, what prices it, and what it costs."""

    options: StepTimeOptions
    model: Model
    tensor_parallel: int
    batch: Batch
    cost: StepCost


_PHASE_SECONDS = {
    "us": "seconds",
    "compute_us": "compute_s",
    "gemm_us": "gemm_s",
    "attention_us": "attention_s",
    "memory_us": "memory_s",
}
_PHASE_BYTES = {"weight_gb": "weight_bytes", "kv_gb": "kv_bytes", "activation_gb": "activation_bytes", "gb": "bytes"}
_PHASE_COUNTS = {"requests": "requests", "new_tokens": "new_tokens", "past_tokens": "past_tokens"}


def _phase(name: str, attribute: str, scale: float) -> Callable[[Priced], float]:
    def quantity(priced: Priced) -> float:
        phase = priced.cost.prefill if name == "prefill" else priced.cost.decode
        return 0.0 if phase is None else getattr(phase, attribute) * scale

    return quantity


def _phases() -> dict[str, Callable[[Priced], float]]:
    scaled = ((_PHASE_SECONDS, MICROSECONDS), (_PHASE_BYTES, 1 / GIGA), (_PHASE_COUNTS, 1))
    return {
        f"{phase}_{name}": _phase(phase, attribute, scale)
        for phase in ("prefill", "decode")
        for attributes, scale in scaled
        for name, attribute in attributes.items()
    }


def _decode_attention_gflop(priced: Priced) -> float:
    """FLOPs of QK^T and PV as the arm counts them: padded to the longest KV under `max_kv`."""
    lengths = priced.batch.decode
    padded = isinstance(priced.options, MfuRooflineOptions) and priced.options.decode_attention == "max_kv"
    context = len(lengths) * max(lengths, default=0) if padded else sum(lengths)
    flops = decode_attention_flops(attention_shape(priced.model), context) * priced.model.num_hidden_layers
    return flops / priced.tensor_parallel / GIGA


QUANTITIES: Mapping[str, Callable[[Priced], float]] = {
    "step_us": lambda priced: priced.cost.total_us,
    "unrounded_us": lambda priced: priced.cost.unrounded_us,
    "combined_us": lambda priced: priced.cost.combined_s * MICROSECONDS,
    "overhead_us": lambda priced: priced.cost.overhead_us,
    "communication_us": lambda priced: priced.cost.communication_us,
    "lookups_outside": lambda priced: sum(use.extrapolated for use in priced.cost.lookups),
    "lookups_borrowed": lambda priced: sum(use.fallback for use in priced.cost.lookups),
    "decode_attention_gflop": _decode_attention_gflop,
    **_phases(),
}


def _row_mfus(lookup: Lookup) -> list[float]:
    return [row[-1][1] for row in lookup.rows] or [lookup.value]


LOOKUP_QUANTITIES: Mapping[str, Callable[[Lookup], float]] = {
    "mfu": lambda lookup: lookup.value,
    "lowest_row": lambda lookup: min(_row_mfus(lookup)),
    "highest_row": lambda lookup: max(_row_mfus(lookup)),
    "rows": lambda lookup: len(lookup.rows),
    "outside": lambda lookup: int(lookup.extrapolated),
    "borrowed": lambda lookup: int(lookup.fallback),
}
