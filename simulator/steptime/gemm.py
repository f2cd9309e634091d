"""Time of a phase's matrix multiplications on one GPU.

Per layer Q, K, V (or one fused QKV), O, gate, up and down, each priced on its own and multiplied by
the number of layers; beside them, where asked for, the LM head. One GEMM of M tokens by a k x n
weight takes 2*M*k*n / (peak * mfu), or what the kernels say in seconds, and with the memory floor
never less than its weights over the bandwidth. Routed experts: the touched experts each process an
equal share of the tokens, one GEMM each or, grouped, all in one launch: as a GEMM of that share of the
tokens by the columns of all touched experts, which has the same FLOPs and the same weights. Where GPUs hold whole
experts, those of the busiest GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import floor
from typing import Literal

from simulator.errors import UnsupportedError
from simulator.hardware import Hardware
from simulator.kernels.analytic import AnalyticKernels
from simulator.kernels.base import Dtype, Kernels, Lookup, Phase
from simulator.model import Model
from simulator.parallelism import Parallelism
from simulator.quantization import FOUR_BIT_FLOATS, WEIGHT_ONLY
from simulator.steptime.cost import MICROSECONDS, Operation
from simulator.steptime.experts import ExpertLoad
from simulator.steptime.matrices import OUTPUTS, Matrix, expert_matrices, layer_matrices
from simulator.steptime.options import (
    EfficiencyTensorParallel,
    ExponentTensorParallel,
    KernelMfuOptions,
    MfuRooflineOptions,
)

GemmSeconds = Callable[[int, int, int], float]
# Units that multiply matrices: kernels know eight bits as FP8, integers too.
Unit = Literal["bf16", "fp8", "int8", "fp4"]
# Formats of four bits, and those no kernel was timed on.
FOUR_BITS = frozenset({"int4", *FOUR_BIT_FLOATS.values()})
NARROW = FOUR_BITS | frozenset(WEIGHT_ONLY.values())


class PhaseGemm:
    """GEMM seconds of one phase, remembered per number of tokens.

    Parameters
    ----------
    options, model, hardware, parallel, kernels
        As given to the step-time model.
    phase
        Which phase's efficiencies apply.
    bandwidth
        Bytes/s at which the phase loads weights, for the memory floor.
    """

    __slots__ = (
        "_experts",
        "_four_bits",
        "_grouped",
        "_head",
        "_heads_memo",
        "_layers",
        "_load",
        "_memo",
        "_one",
        "_one_head",
        "_one_kept",
        "_scale",
        "_shared",
        "lookups",
    )

    def __init__(
        self,
        options: MfuRooflineOptions,
        model: Model,
        hardware: Hardware,
        parallel: Parallelism,
        kernels: Kernels,
        phase: Phase,
        bandwidth: float,
    ) -> None:
        tp = parallel.tensor_parallel
        split = options.tensor_parallel_gemm == "split_shape"
        shard, expert_shard = (tp, parallel.expert_shards) if split else (1, 1)
        self._load = ExpertLoad(model, parallel)
        self._shared = [m.shard(shard) for m in layer_matrices(model, fused_qkv=options.fused_qkv)]
        self._experts = [m.shard(expert_shard) for m in expert_matrices(model)]
        self._head = Matrix(model.hidden_size, model.vocab_size, 1, OUTPUTS).shard(shard) if options.lm_head else None
        self._grouped = options.experts == "grouped"
        self._layers = model.num_hidden_layers
        # Eight-bit models are priced at one rate, whatever layers they keep in 16 bits; a warning says so.
        self._four_bits = model.quantization in FOUR_BITS
        self._scale = shard / compute_speedup(options, tp, phase)
        self._one = _one_gemm(options, model, hardware, kernels, phase, bandwidth)
        in_16_bits = model.model_copy(update={"quantization": None})
        wide = model if options.lm_head_quantized else in_16_bits
        self._one_head = _one_gemm(options, wide, hardware, kernels, phase, bandwidth)
        self._memo: dict[tuple[int, int], float] = {}
        self._heads_memo: dict[int, float] = {}
        self._one_kept = _one_gemm(options, in_16_bits, hardware, kernels, phase, bandwidth)
        dtype = gemm_dtype(model, hardware)

        def lookups(tokens: int, elsewhere: int = 0) -> Iterator[Lookup]:
            for m, matrix in self._questions(tokens, elsewhere):
                yield kernels.gemm_lookup(m, matrix.inputs, matrix.outputs, dtype=dtype, phase=phase)

        self.lookups = lookups

    def layers(self, tokens: int, elsewhere: int = 0) -> float:
        """Return seconds of all layers for a phase of `tokens` new tokens, and in other groups `elsewhere`."""
        seconds = self._memo.get((tokens, elsewhere))
        if seconds is None:
            per_layer = sum([self._seconds(m, tokens) for m in self._shared])
            if self._experts:
                per_layer += self._routed(tokens + elsewhere, self._experts)
            seconds = self._memo[tokens, elsewhere] = per_layer * self._layers * self._scale
        return seconds

    def head(self, rows: int) -> float:
        """Return seconds of the projection to the vocabulary for `rows` sequences; 0 where not modelled."""
        if self._head is None or not rows:
            return 0.0
        seconds = self._heads_memo.get(rows)
        if seconds is None:
            seconds = self._one_head(rows, self._head.inputs, self._head.outputs) * self._scale
            self._heads_memo[rows] = seconds
        return seconds

    def operations(self, tokens: int, rows: int, elsewhere: int = 0) -> list[Operation]:
        """Return what `layers(tokens)` and `head(rows)` are the sum of, matrix by matrix."""
        scale_us = self._scale * MICROSECONDS
        found = [Operation(m.name, self._layers, self._seconds(m, tokens) * scale_us) for m in self._shared]
        everywhere = tokens + elsewhere
        found += [
            Operation(f"experts, {m.name}", self._layers, self._routed(everywhere, [m]) * scale_us)
            for m in self._experts
        ]
        return found if self._head is None else [*found, Operation("LM head", 1, self.head(rows) * MICROSECONDS)]

    def _seconds(self, matrix: Matrix, tokens: int) -> float:
        """Return seconds of a matrix in a layer, on average over all layers."""
        return matrix.count * self._gemm(matrix, tokens, matrix.outputs) * (matrix.layers / self._layers)

    def _gemm(self, matrix: Matrix, rows: int, columns: int) -> float:
        """Return seconds of one GEMM by a matrix, on average over the layers that have it."""
        seconds = self._one(rows, matrix.inputs, columns)
        if not (matrix.kept and self._four_bits):
            return seconds
        return seconds + matrix.kept / matrix.layers * (self._one_kept(rows, matrix.inputs, columns) - seconds)

    def _routed(self, tokens: int, experts: Sequence[Matrix]) -> float:
        """Return a layer's experts, on average over all layers: each touched one computes an equal share of the tokens.

        A fractional share is priced between its two whole neighbours, which keeps the FLOPs.
        """
        touched, share = self._expert_share(tokens)
        if not touched:
            return 0.0
        routed = experts[0].layers / self._layers
        if self._grouped:
            return sum([m.count * self._grouped_seconds(m, touched, share) for m in experts]) * routed
        low = max(floor(share), 1)
        weight = max(share - low, 0.0)
        seconds = 0.0
        for matrix in experts:
            at_low = self._gemm(matrix, low, matrix.outputs)
            at_high = self._gemm(matrix, low + 1, matrix.outputs) if weight else at_low
            seconds += matrix.count * (at_low + weight * (at_high - at_low))
        return touched * seconds * routed

    def _grouped_seconds(self, matrix: Matrix, touched: float, share: float) -> float:
        """Return one launch over `touched` experts of `share` tokens each, both priced between whole numbers."""
        experts, rows = floor(touched), max(floor(share), 1)
        more_experts, more_rows = touched - experts, max(share - rows, 0.0)
        fewer = self._between_rows(matrix, experts, rows, more_rows)
        if not more_experts:
            return fewer
        return fewer + more_experts * (self._between_rows(matrix, experts + 1, rows, more_rows) - fewer)

    def _between_rows(self, matrix: Matrix, experts: int, rows: int, more: float) -> float:
        columns = matrix.outputs * experts
        seconds = self._gemm(matrix, rows, columns)
        return seconds + more * (self._gemm(matrix, rows + 1, columns) - seconds) if more else seconds

    def _expert_share(self, tokens: int) -> tuple[float, float]:
        touched = self._load.touched(tokens)
        return touched, self._load.visits(tokens) / touched if touched else 0.0

    def _questions(self, tokens: int, elsewhere: int) -> Iterator[tuple[int, Matrix]]:
        for matrix in self._shared:
            yield tokens, matrix
        touched, share = self._expert_share(tokens + elsewhere) if self._experts else (0.0, 0.0)
        rows, together = max(floor(share), 1), floor(touched) if self._grouped else 1
        for matrix in self._experts:
            yield rows, Matrix(matrix.inputs, matrix.outputs * together, matrix.count, matrix.split)


def compute_speedup(options: MfuRooflineOptions, tp: int, phase: Phase) -> float:
    """Return by how much TP divides compute time."""
    rule = options.tensor_parallel
    if isinstance(rule, ExponentTensorParallel):
        return float(tp ** (rule.prefill if phase == "prefill" else rule.decode))
    if isinstance(rule, EfficiencyTensorParallel):
        return tp * rule.at(tp)
    return float(tp)


def gemm_unit(model: Model, hardware: Hardware) -> Unit:
    """Return the units a GPU multiplies the model's quantized weights on.

    4-bit floats need units that take them: NVFP4 is multiplied by NVFP4 activations there, MXFP4 by MXFP8 ones at the
    rate of eight bits. Elsewhere they are widened on the way and multiplied in 16 bits, as 4-bit integers are
    everywhere (vLLM's Marlin kernels).
    """
    kind = model.quantization
    if kind == "fp8" or (kind == "mxfp4" and hardware.peak_fp4_flops and hardware.peak_fp8_flops):
        return "fp8"
    if kind == "nvfp4" and hardware.peak_fp4_flops:
        return "fp4"
    return "int8" if kind == "int8" else "bf16"


def gemm_dtype(model: Model, hardware: Hardware) -> Dtype:
    """Return the tensor-core type the weights are multiplied in, as kernels know it."""
    unit = gemm_unit(model, hardware)
    return "fp8" if unit == "int8" else unit


def gemm_peak(model: Model, hardware: Hardware) -> float:
    """Return the peak FLOP/s of the model's GEMMs.

    Raises
    ------
    UnsupportedError
        If the weights are FP8 and the GPU has no FP8 units.
    """
    unit = gemm_unit(model, hardware)
    if unit == "bf16":
        return hardware.peak_flops
    if unit == "int8":
        return hardware.peak_int8_ops
    peak = hardware.peak_fp4_flops if unit == "fp4" else hardware.peak_fp8_flops
    if peak is None:
        raise UnsupportedError(
            f"model {model.id} has FP8 weights, but hardware {hardware.id} states no FP8 peak; "
            "give dense_fp8_tflops or choose another GPU"
        )
    return peak


def widening(model: Model, hardware: Hardware) -> tuple[str, ...]:
    """Say where a GPU has no units for the 4-bit floats a model is stored in."""
    if model.quantization not in FOUR_BIT_FLOATS.values() or hardware.peak_fp4_flops is not None:
        return ()
    what = "4-bit weights are read as they are and multiplied in 16 bits"
    return (f"{model.id}: {hardware.id} has no FP4 units; {what}",)


def _one_gemm(
    options: MfuRooflineOptions, model: Model, hardware: Hardware, kernels: Kernels, phase: Phase, bandwidth: float
) -> GemmSeconds:
    dtype, peak, weight_bytes = gemm_dtype(model, hardware), gemm_peak(model, hardware), model.weight_bytes

    def by_mfu(m: int, k: int, n: int) -> float:
        return 2.0 * m * k * n / (peak * kernels.gemm_mfu(m, k, n, dtype=dtype, phase=phase))

    def by_seconds(m: int, k: int, n: int) -> float:
        return kernels.gemm_seconds(m, k, n, dtype=dtype, phase=phase)

    def widened(m: int, k: int, n: int) -> float:
        return narrow.weight_only_gemm_seconds(m, k, n, weight_bytes, phase, dtype)

    if model.quantization in NARROW and options.compute_term and isinstance(options.mfu, KernelMfuOptions):
        narrow = _fitted(kernels, model)
        return widened
    in_seconds = isinstance(options.mfu, KernelMfuOptions) and options.mfu.style == "seconds"
    bare = by_seconds if in_seconds else by_mfu
    if not (options.gemm_memory_floor or options.per_component_roofline):
        return bare
    return lambda m, k, n: max(bare(m, k, n), k * n * weight_bytes / bandwidth)


def _fitted(kernels: Kernels, model: Model) -> AnalyticKernels:
    """Return kernels that know what weights of fewer bits than activations save.

    Raises
    ------
    UnsupportedError
        If the kernels are tables, which hold no such GEMM.
    """
    if not isinstance(kernels, AnalyticKernels):
        raise UnsupportedError(
            f"model {model.id} stores weights in fewer bits ({model.quantization}) than it multiplies them in, and no "
            "kernel table holds such a GEMM; use the fitted curves (mfu.source: embedded)"
        )
    return kernels
