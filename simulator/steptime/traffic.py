"""Bytes one step moves through HBM and the time that takes, and FLOPs it computes, counted over all GPUs together.

Counting rules (per step and phase): every weight of the layers once, expert weights as far as
experts are expected to be touched; per request KV writes of the new tokens, KV reads of the past
tokens, and one activation vector per layer and token. Embeddings, norms and router weights are
not counted; the LM head only where asked for. Counts are over the GPUs of one tensor-parallel group, which with
attention data parallelism has requests of its own and shares experts with the others (`Batch.elsewhere`); dividing
them by TP is the caller's business.

Time is bytes over TP over sustained bandwidth. Weights and activations stream at one efficiency, KV traffic at
its own where an option says so; the two times add up (rows R-002 to R-009 of the programme's feature table: peak,
sustained, per-phase and access-pattern efficiencies).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil

from simulator.hardware import Hardware
from simulator.kernels.base import AttentionShape
from simulator.model import Model
from simulator.parallelism import Parallelism, as_parallelism
from simulator.steptime.batch import BatchSums
from simulator.steptime.experts import ExpertLoad
from simulator.steptime.matrices import expert_matrices, layer_matrices, multiplied, stored_bytes
from simulator.steptime.options import ACTIVATION_FRACTIONS, KV_READ_FRACTIONS, MfuRooflineOptions, PhaseFactors
from simulator.steptime.window import Window

Chunks = Iterable[tuple[int, int]]
# Seconds by weight, KV and activation bytes, and number of requests.
PhaseMemory = Callable[[float, float, float, int], float]


class Weights:
    """Bytes of weights read by a phase.

    Parameters
    ----------
    model
        What is run.
    lm_head
        Whether the projection to the vocabulary is part of a step.
    parallel
        GPUs that work together: what none of them splits, each reads.
    """

    __slots__ = ("_dense", "_expert", "_load")

    def __init__(self, model: Model, *, lm_head: bool = False, parallel: Parallelism | int = 1) -> None:
        spread = as_parallelism(parallel)
        head = model.hidden_size * model.vocab_size if lm_head else 0
        dense = stored_bytes(model, layer_matrices(model), spread.tensor_parallel)
        self._dense = dense + head * model.activation_bytes
        self._expert = stored_bytes(model, expert_matrices(model)) * _held_by_a_group(spread)
        self._load = ExpertLoad(model, spread) if model.num_local_experts else None

    def bytes(self, new_tokens: int, elsewhere: int = 0) -> float:
        """Bytes read by a phase that computes `new_tokens` tokens, and in other groups `elsewhere`."""
        return self._dense + self.of_experts(new_tokens, elsewhere)

    @property
    def outside_experts(self) -> float:
        """Bytes of what every token visits."""
        return self._dense

    def of_experts(self, new_tokens: int, elsewhere: int = 0) -> float:
        """Bytes of the routed experts that these tokens are expected to visit."""
        return self._expert * self._load.touched(new_tokens + elsewhere) if self._load else 0.0


class GemmFlops:
    """FLOPs of all layers' matrix multiplications, those of a token's own experts alone.

    Parameters
    ----------
    slowness
        How often FLOPs count of layers whose weights stay in 16 bits; what the others run faster, to get a time.
    parallel
        GPUs that work together: what none of them splits, each computes.
    """

    __slots__ = ("_expert", "_load", "_per_token")

    def __init__(self, model: Model, slowness: float = 1.0, parallel: Parallelism | int = 1) -> None:
        spread = as_parallelism(parallel)
        self._expert = multiplied(expert_matrices(model), slowness) * _held_by_a_group(spread)
        self._load = ExpertLoad(model, spread) if model.num_local_experts else None
        self._per_token = multiplied(layer_matrices(model), slowness, spread.tensor_parallel)

    def of(self, new_tokens: int, elsewhere: int = 0) -> float:
        """FLOPs of a phase that computes `new_tokens` tokens, and in other groups `elsewhere`."""
        return self.outside_experts(new_tokens) + self.of_experts(new_tokens, elsewhere)

    def outside_experts(self, new_tokens: int) -> float:
        """FLOPs of the matrices that every token visits."""
        return self._per_token * new_tokens

    def of_experts(self, new_tokens: int, elsewhere: int = 0, padding_tokens: float = 0.0) -> float:
        """FLOPs of the routed experts, with `padding_tokens` more of them for each that is visited."""
        if self._load is None:
            return 0.0
        tokens = new_tokens + elsewhere
        padding = padding_tokens * self._load.touched(tokens) if padding_tokens else 0.0
        return self._expert * (self._load.visits(tokens) + padding)


class DynamicTraffic:
    """KV and activation bytes of a step's requests.

    One-token requests take the decode fractions, others the prefill fractions, whichever phase they
    are in: a one-token chunk reads its context as a decode does. KV heads that `tp` GPUs hold more than
    once are read, and written, as often.
    """

    __slots__ = ("_act_many", "_act_one", "_kv_read_many", "_kv_read_one", "_kv_write", "_window")

    def __init__(
        self,
        model: Model,
        kv_read: PhaseFactors = KV_READ_FRACTIONS,
        activation: PhaseFactors = ACTIVATION_FRACTIONS,
        tp: int = 1,
        window: Window | None = None,
    ) -> None:
        self._window = window
        kv_token = model.kv_bytes_per_token * model.kv_copies(tp)
        activation_token = model.num_hidden_layers * model.hidden_size * model.activation_bytes
        self._kv_write = kv_token
        self._kv_read_one = kv_token * kv_read.decode
        self._kv_read_many = kv_token * kv_read.prefill
        self._act_one = activation_token * activation.decode
        self._act_many = activation_token * activation.prefill

    @property
    def decode_kv_bytes_per_past_token(self) -> float:
        """KV bytes a decode request reads per past token."""
        return self._kv_read_one

    def decode(self, count: int, past_tokens: float) -> tuple[float, float]:
        """KV bytes and activation bytes of `count` requests that read `past_tokens` in all, on average over layers."""
        return self._kv_write * count + self._kv_read_one * past_tokens, self._act_one * count

    def prefill(self, chunks: Chunks) -> tuple[float, float]:
        """KV bytes and activation bytes of prefill chunks."""
        past_one = 0.0
        past_many = 0.0
        new_one = new_many = 0
        window = self._window
        for whole_past, new in chunks:
            past = whole_past if window is None else window.past_of_one(whole_past)
            if new == 1:
                past_one += past
                new_one += 1
            else:
                past_many += past
                new_many += new
        kv = self._kv_write * (new_one + new_many) + self._kv_read_one * past_one + self._kv_read_many * past_many
        return kv, self._act_one * new_one + self._act_many * new_many


def _held_by_a_group(parallel: Parallelism) -> float:
    """Return how much of an expert that a GPU works on a tensor-parallel group of such GPUs has."""
    return parallel.tensor_parallel / parallel.expert_shards


class WorkCount:
    """FLOPs and bytes per GPU that a step cannot avoid, for checks against the hardware's peaks.

    `window` says what layers with a sliding window leave out, `in_intervals` whether sums are kept for it.
    FLOPs are the useful ones (causal attention, active experts). Bytes are those the step-time
    model claims to move, its discounts included, with the weights read once per step.
    """

    __slots__ = (
        "_attention",
        "_decode_share",
        "_gemm_flops",
        "_head",
        "_read",
        "_tp",
        "_traffic",
        "_weights",
        "_window",
    )

    def __init__(
        self,
        model: Model,
        parallel: Parallelism,
        weights: Weights,
        traffic: DynamicTraffic,
        *,
        lm_head: bool,
        window: Window | None = None,
        in_intervals: bool = True,
    ) -> None:
        self._window = window
        self._read = _everything if window is None else window.past if in_intervals else window.past_of_each
        self._gemm_flops = GemmFlops(model, parallel=parallel)
        self._head = 2 * model.hidden_size * model.vocab_size if lm_head else 0
        self._attention = model.pair_flops * model.num_hidden_layers
        self._decode_share = model.decode_pair_flops / model.pair_flops
        self._tp = parallel.tensor_parallel
        self._weights = weights
        self._traffic = traffic

    def __call__(self, sums: BatchSums) -> tuple[float, float]:
        """Return (FLOPs, bytes) per GPU."""
        count, past = sums.decode_count, self._read(sums)
        kv, activations = self._traffic.decode(count, past)
        tokens, rows, context = count, count, past * self._decode_share
        if sums.prefill:
            kv_prefill, activations_prefill = self._traffic.prefill(sums.prefill)
            kv += kv_prefill
            activations += activations_prefill
            rows += len(sums.prefill)
            for past_tokens, new_tokens in sums.prefill:
                tokens += new_tokens
                pairs = new_tokens * (past_tokens + new_tokens / 2)
                context += pairs if self._window is None else pairs * self._window.pairs_share(past_tokens, new_tokens)
        if not tokens:
            return 0.0, 0.0
        elsewhere = sums.elsewhere
        flops = self._gemm_flops.of(tokens, elsewhere) + self._attention * context + self._head * rows
        return flops / self._tp, (self._weights.bytes(tokens, elsewhere) + kv + activations) / self._tp


def _everything(sums: BatchSums) -> float:
    return sums.decode_past_tokens


def gemm_flops_per_token(model: Model, tp: int = 1) -> float:
    """Return FLOPs of all layers' matrix multiplications for one token over `tp` GPUs (active experts only)."""
    return GemmFlops(model, parallel=tp).of(1)


def attention_shape(model: Model) -> AttentionShape:
    """Return the shape kernels know a model by; in decode, where all heads share a latent.

    A latent is one KV head whose key and value together have its width.
    """
    if model.latent:
        width = (model.kv_lora_rank or 0) + (model.qk_rope_head_dim or 0)
        return AttentionShape(model.num_attention_heads, 1, ceil(width / 2))
    return AttentionShape(model.num_attention_heads, model.num_key_value_heads, model.head_elements)


def prefill_shape(model: Model) -> AttentionShape:
    """Return the same of prefill, where a latent is expanded: heads of the mean width of keys and values."""
    if model.latent:
        heads = model.num_attention_heads
        return AttentionShape(heads, heads, ceil(model.pair_flops / 4 / heads))
    return attention_shape(model)


def bandwidth_shares(options: MfuRooflineOptions) -> tuple[float, float]:
    """Sustained over peak bandwidth of weights and activations in the prefill and in the decode phase."""
    common = options.bandwidth_efficiency or 1.0
    return options.prefill_bandwidth_efficiency or common, options.decode_bandwidth_efficiency or common


def weight_bandwidths(options: MfuRooflineOptions, hardware: Hardware) -> tuple[float, float]:
    """Bytes/s of weights and activations in the prefill and in the decode phase."""
    prefill, decode = bandwidth_shares(options)
    return hardware.peak_bandwidth * prefill, hardware.peak_bandwidth * decode


def kv_bandwidth(options: MfuRooflineOptions, hardware: Hardware) -> Callable[[int], float] | None:
    """Bytes/s of KV traffic by number of requests in the phase; None where it moves as the rest."""
    growth = options.kv_bandwidth_growth
    if growth is not None:
        peak, base, gain, full = hardware.peak_bandwidth, growth.base, growth.gain, growth.saturation_batch
        return lambda requests: peak * (base + gain * min(requests / full, 1.0))
    if options.kv_bandwidth_efficiency is not None:
        constant = hardware.peak_bandwidth * options.kv_bandwidth_efficiency
        return lambda requests: constant
    return None


def phase_memory(bandwidth: float, kv: Callable[[int], float] | None, tp: int) -> PhaseMemory:
    """Return seconds as a function of (weight bytes, KV bytes, activation bytes, requests)."""
    if kv is None:

        def at_one_rate(weights: float, kv_bytes: float, activations: float, requests: int) -> float:
            return (weights + kv_bytes + activations) / tp / bandwidth

        return at_one_rate

    def at_two_rates(weights: float, kv_bytes: float, activations: float, requests: int) -> float:
        return (weights + activations) / tp / bandwidth + kv_bytes / tp / kv(requests)

    return at_two_rates
