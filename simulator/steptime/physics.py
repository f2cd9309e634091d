"""The calibrated physical model: one step is one pass over the weights plus what surrounds it.

    layers    = p-norm(weight bytes / bandwidth, GEMM FLOPs / peak), both over TP; routed experts likewise for
                themselves where they have efficiencies of their own
    head      = max(bytes of the LM head / bandwidth, its FLOPs / peak), over TP
    attention = KV bytes of the decodes / bandwidth
                + sum over prefill chunks of max(causal FLOPs / peak, KV bytes / bandwidth), over TP;
                KV bytes over no more GPUs than the model has KV heads; layers with a sliding window as far as it sees
    launches  = layers * layer_us, in proportion to the kernels of a layer; not divided by TP
    sampling  = vocabulary * (per step + per request), where the model cuts off unlikely tokens
    collectives = 2 * layers * (latency + bytes / link bandwidth), where TP > 1; as many between groups that share
                experts alone
    duration  = all of these + step_us + requests * request_us, in whole us, at least 1; with prefill beyond what is
                captured in CUDA graphs no less than layers * kernels * host_kernel_us, by a p-norm

Weights are loaded once for all tokens of a step, prefill and decode together; of a mixture of
experts, as many experts as those tokens are expected to visit. Attention follows the GEMMs, so the
two add up. Everything but attention depends on three counts and is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulator.hardware import Hardware
from simulator.model import Model
from simulator.parallelism import Parallelism, as_parallelism
from simulator.quantization import EIGHT_BIT_UNITS
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.cost import MICROSECONDS, Operation, StepCost, Term, whole_us
from simulator.steptime.gemm import gemm_peak, gemm_unit
from simulator.steptime.options import CalibratedPhysicsOptions, PhaseFactors
from simulator.steptime.overhead import collectives_of, collectives_us
from simulator.steptime.traffic import DynamicTraffic, GemmFlops, Weights, WorkCount
from simulator.steptime.window import Window, window_of

# Kernels of one layer as vLLM 0.11 to 0.15 launches them (its model definitions, fused by
# torch.compile). Dense BF16: two norms, QKV, rotation, cache write, attention, O, gate-and-up,
# activation, down.
DENSE_KERNELS = 10
# Routed experts on top of those, whose three feed-forward kernels become grouped ones: router, top-k,
# two to sort tokens by expert, one to undo it, the weighted sum.
ROUTED_EXTRA_KERNELS = 6
# Experts every token visits: gate-and-up, activation, down, and the sum with the routed ones.
SHARED_EXPERT_EXTRA_KERNELS = 4
# Multi-head latent attention: norms of both latents, queries from theirs, and in decode the products that absorb the
# projections of keys and of values (vLLM's `MLAModules` and `MLACommonImpl`).
LATENT_EXTRA_KERNELS = 5
# FP8 or INT8 weights with scales found at run time: activations are converted ahead of QKV, O, gate-and-up, down; for
# 4-bit floats ahead of those of the four whose weights are not kept in 16 bits.
EIGHT_BIT_EXTRA_KERNELS = 4

# Tokens up to which FP8 GEMMs with one scale per matrix keep the kernel for narrow batches on Hopper (vLLM,
# `csrc/quantization/w8a8/cutlass/scaled_mm_sm90_fp8_dispatch.cuh`: kernels for M up to 16, 64, 128 and above).
NARROW_BATCH_TOKENS = 16
# How soon the host hides behind the GPU, or the GPU behind the host: exponent of a p-norm. The two run side by side and
# either waits for the other, so that the longer one counts; 6 rounds the corner by at most 12 %.
HOST_SHARPNESS = 6.0

# Where 4-bit floats are multiplied as they are, one operation routes, sorts and sums (experts fused by FlashInfer):
# so many kernels fewer on the GPU, while the host prepares as much.
FUSED_EXPERT_KERNELS = 3

# A memory of durations beyond this is dropped, so that a long run cannot grow without bound.
MEMO_LIMIT = 200_000

KILO = 1000.0


def kernels_per_layer(model: Model, hardware: Hardware | None = None) -> int:
    """Count the kernels of one layer; 4-bit floats need more where the GPU multiplies them as they are."""
    routed = ROUTED_EXTRA_KERNELS if model.num_local_experts else 0
    shared = SHARED_EXPERT_EXTRA_KERNELS if model.n_shared_experts else 0
    experts = routed + shared
    if model.first_k_dense_replace:
        experts = round(experts * model.routed_layers / model.num_hidden_layers)
    latent = LATENT_EXTRA_KERNELS if model.latent else 0
    return DENSE_KERNELS + experts + latent + _conversions(model, hardware)


def _conversions(model: Model, hardware: Hardware | None) -> int:
    """Count the kernels of a layer that convert activations to the format of the weights."""
    if model.quantization in EIGHT_BIT_UNITS:
        return EIGHT_BIT_EXTRA_KERNELS
    if hardware is None or gemm_unit(model, hardware) == "bf16":
        return 0
    kept = model.unquantized_attention_layers
    output = kept if model.unquantized_output_layers is None else model.unquantized_output_layers
    return 2 + sum([layers < model.num_hidden_layers for layers in (kept, output)])


def rounded_corner(one_s: float, other_s: float, sharpness: float) -> float:
    """Join two times that overlap: the p-norm, between their maximum and their sum."""
    longer, shorter = (one_s, other_s) if one_s >= other_s else (other_s, one_s)
    if not longer:
        return 0.0
    return longer * (1.0 + (shorter / longer) ** sharpness) ** (1.0 / sharpness)


@dataclass(frozen=True, slots=True)
class AttentionRates:
    """Seconds of attention in all layers.

    Attributes
    ----------
    kv_token_s
        To read the keys and values of one token.
    pair_s, decode_pair_s
        To attend from a new token to another one, in prefill and in decode.
    expansion_s
        To make keys and values of a past token from its latent.
    """

    kv_token_s: float
    pair_s: float
    decode_pair_s: float
    expansion_s: float


class CalibratedPhysics:
    """The calibrated physical model of one model, GPU and way to spread it; see the module for its formula.

    Raises
    ------
    ConfigError
        If collectives are to be priced by bytes and the GPU's link bandwidth is not stated.
    UnsupportedError
        If the weights are FP8 and the GPU has no FP8 units.
    """

    def __init__(
        self,
        options: CalibratedPhysicsOptions,
        model: Model,
        hardware: Hardware,
        parallel: Parallelism,
        warnings: tuple[str, ...] = (),
    ) -> None:
        tp = parallel.tensor_parallel
        self.options = options
        self.model = model
        self._window = window_of(model)
        self.kv_breakpoints: tuple[int, ...] = self._window.breakpoints if self._window else ()
        self.parallel, self.tp = parallel, tp
        self.warnings = (*warnings, *_assumptions(options, model))
        self.peak_flops = gemm_peak(model, hardware)
        self.peak_bandwidth = hardware.peak_bandwidth
        self.work = unavoidable_work(model, parallel, lm_head=options.lm_head, breakpoints=self.kv_breakpoints)
        self._weights = Weights(model, parallel=parallel)
        self._weight_rate = hardware.peak_bandwidth * options.weight_bandwidth_efficiency * tp
        self._gemm_rate = self.peak_flops * options.gemm_efficiency * tp
        self._bind_experts(options, tp)
        self._head_rate = hardware.peak_flops * options.gemm_efficiency * tp
        self._gemm_flops = GemmFlops(model, self.peak_flops / hardware.peak_flops, parallel)
        self._head_elements = model.hidden_size * model.vocab_size
        self._bind_attention(options, model, hardware)
        self._kernels = kernels_per_layer(model, hardware)
        fused = FUSED_EXPERT_KERNELS if self._experts_apart and gemm_unit(model, hardware) == "fp4" else 0
        self._launch_us = model.num_hidden_layers * options.layer_us * (self._kernels - fused) / DENSE_KERNELS
        self._collective_us = collectives_us(options.all_reduce_us, options.link_efficiency, model, hardware, parallel)
        self._sampling_us = _sampling_us(options, model)
        self._host_us = model.num_hidden_layers * self._kernels * options.host_kernel_us
        self._memo: dict[tuple[int, int, int], float] = {}

    def _bind_experts(self, options: CalibratedPhysicsOptions, tp: int) -> None:
        """Set the rates of routed experts, and whether they are a term of their own."""
        own_bandwidth, own_gemm = options.expert_bandwidth_efficiency, options.expert_gemm_efficiency
        self._experts_apart = bool(self.model.num_local_experts) and not (own_bandwidth is None and own_gemm is None)
        self._expert_rate = self.peak_bandwidth * (own_bandwidth or options.weight_bandwidth_efficiency) * tp
        self._expert_gemm_rate = self.peak_flops * (own_gemm or options.gemm_efficiency) * tp

    def _bind_attention(self, options: CalibratedPhysicsOptions, model: Model, hardware: Hardware) -> None:
        """Set seconds per KV token read, and per FLOP-bearing pair of a new token and one it attends to."""
        kv_bytes = model.kv_bytes_per_token
        flops, layers = model.num_hidden_layers * model.pair_flops, model.num_hidden_layers
        # A GPU holds at least one whole KV head, so that beyond as many GPUs as KV heads nothing is saved; or a latent.
        holders = 1 if model.latent else min(self.tp, model.num_key_value_heads)
        self._kv_token_s = kv_bytes / (hardware.peak_bandwidth * options.kv_bandwidth_efficiency * holders)
        self._pair_s = flops / (hardware.peak_flops * options.attention_efficiency * self.tp)
        decode_pair_s = self._pair_s
        if model.latent:
            rate = hardware.peak_flops * options.attention_efficiency * self.tp
            decode_pair_s = layers * model.decode_pair_flops / rate
        self._decode_us_per_token = max(self._kv_token_s, decode_pair_s) * MICROSECONDS
        self._expansion_s = layers * model.expansion_flops / self._head_rate
        self.attention_rates = AttentionRates(self._kv_token_s, self._pair_s, decode_pair_s, self._expansion_s)

    def step_time_us(self, sums: BatchSums) -> int:
        """Return the step's duration in whole microseconds, at least 1."""
        duration_us = self.duration_us(sums)
        return int(duration_us + 0.5) if duration_us > 1.0 else 1

    def lone_decode_times_us(self, pasts: Iterable[int]) -> list[int]:
        """Return what `step_time_us` returns for steps of a single decode, by its past tokens."""
        known_us, window, us_per_token = self._memo.get((1, 1, 0)), self._window, self._decode_us_per_token
        beside_us = self._remember(1, 1, 0) if known_us is None else known_us
        reads = pasts if window is None else [window.past_of_one(past) for past in pasts]
        durations_us = [us_per_token * (read + 1) + beside_us for read in reads]
        return [int(duration_us + 0.5) if duration_us > 1.0 else 1 for duration_us in durations_us]

    def decode_times_us(self, sums: BatchSums, steps: int, limit_us: int) -> list[int]:
        """Return what `step_time_us` returns for the coming steps of the same decodes; see `GivesDecodeTimes`."""
        count, window, us_per_token = sums.decode_count, self._window, self._decode_us_per_token
        known_us = self._memo.get((count, count, sums.elsewhere))
        beside_us = self._remember(count, count, sums.elsewhere) if known_us is None else known_us
        # As floats, in which sums of tokens are exact.
        past, seen = float(sums.decode_past_tokens), 0.0 if window is None else float(window.seen(sums))
        share, still_seen = (0.0, 0.0) if window is None else (window.share, float(sums.counts[0]))
        times_us: list[int] = []
        elapsed_us = 0
        while len(times_us) < steps and elapsed_us < limit_us:
            duration_us = us_per_token * (past + share * (seen - past) + count) + beside_us
            time_us = int(duration_us + 0.5) if duration_us > 1.0 else 1
            times_us.append(time_us)
            elapsed_us += time_us
            past += count
            seen += still_seen
        return times_us

    def duration_us(self, sums: BatchSums) -> float:
        """Return the duration before rounding."""
        rows = tokens = sums.decode_count
        attention_us = self.decode_attention_us(sums)
        if sums.prefill:
            rows += len(sums.prefill)
            tokens += sum([new for _, new in sums.prefill])
            attention_us += self.prefill_attention_us(sums.prefill)
        beside_us = self._memo.get((tokens, rows, sums.elsewhere))
        if beside_us is None:
            beside_us = self._remember(tokens, rows, sums.elsewhere)
        return attention_us + beside_us + self._waiting_for_host_us(attention_us + beside_us, sums, tokens)

    def _waiting_for_host_us(self, gpu_us: float, sums: BatchSums, tokens: int) -> float:
        """Return how much longer a step takes because its kernels are launched one by one."""
        if not (self._host_us and sums.prefill and tokens > self.options.graph_tokens):
            return 0.0
        return rounded_corner(gpu_us, self._host_us, HOST_SHARPNESS) - gpu_us

    def decode_attention_us(self, sums: BatchSums) -> float:
        """Return microseconds of decode attention: every token a request attends to is read, its own included."""
        if self._window is None:
            return self._decode_us_per_token * (sums.decode_past_tokens + sums.decode_count)
        return self._decode_us_per_token * (self._window.past(sums) + sums.decode_count)

    def prefill_attention_us(self, chunks: Sequence[tuple[int, int]]) -> float:
        """Return microseconds of prefill attention; each chunk is bound by arithmetic or by reading its KV."""
        kv_s, pair_s, window = self._kv_token_s, self._pair_s, self._window
        if self._expansion_s:
            return MICROSECONDS * sum([self._latent_s(past, new) for past, new in chunks])
        if window is not None:
            return MICROSECONDS * sum([self._windowed_s(window, past, new) for past, new in chunks])
        return MICROSECONDS * sum([max(pair_s * new * (past + new / 2), kv_s * (past + new)) for past, new in chunks])

    def _latent_s(self, past: int, new: int) -> float:
        """Return seconds of a chunk whose past tokens' keys and values are made from their latents once more."""
        arithmetic_s = self._pair_s * new * (past + new / 2) + self._expansion_s * past
        return max(arithmetic_s, self._kv_token_s * (past + new))

    def _windowed_s(self, window: Window, past: int, new: int) -> float:
        pairs_s = self._pair_s * new * (past + new / 2) * window.pairs_share(past, new)
        return max(pairs_s, self._kv_token_s * (window.past_of_one(past) + new))

    def beside_attention(self, tokens: int, rows: int, elsewhere: int = 0) -> dict[str, float]:
        """Return microseconds of everything that depends on new tokens and requests alone, by name."""
        options = self.options
        if not tokens:
            return {"step": options.step_us}
        experts = {"experts": self.experts_us(tokens, elsewhere)} if self._experts_apart else {}
        return {
            "layers": self.layers_us(tokens, elsewhere),
            **experts,
            "head": self.head_us(rows),
            "launches": self._launch_us,
            "sampling": self._sampling_us[0] + self._sampling_us[1] * rows,
            "collectives": self._collective_us.of(tokens, elsewhere),
            "step": options.step_us,
            "requests": options.request_us * rows,
        }

    def layers_us(self, tokens: int, elsewhere: int = 0) -> float:
        """Return microseconds of all layers' GEMMs, routed experts left out where they are a term of their own."""
        weights, flops, sharpness = self._weights, self._gemm_flops, self.options.corner_sharpness
        slowdown = self.options.wide_batch_slowdown if tokens > NARROW_BATCH_TOKENS else 1.0
        if self._experts_apart:
            memory_s = weights.outside_experts * slowdown / self._weight_rate
            return rounded_corner(memory_s, flops.outside_experts(tokens) / self._gemm_rate, sharpness) * MICROSECONDS
        memory_s = weights.bytes(tokens, elsewhere) * slowdown / self._weight_rate
        return rounded_corner(memory_s, flops.of(tokens, elsewhere) / self._gemm_rate, sharpness) * MICROSECONDS

    def experts_us(self, tokens: int, elsewhere: int = 0) -> float:
        """Return microseconds of routed experts with efficiencies of their own."""
        memory_s = self._weights.of_experts(tokens, elsewhere) / self._expert_rate
        flops = self._gemm_flops.of_experts(tokens, elsewhere, self.options.expert_padding_tokens)
        corner_s = rounded_corner(memory_s, flops / self._expert_gemm_rate, self.options.corner_sharpness)
        return corner_s * MICROSECONDS

    def head_us(self, rows: int) -> float:
        """Return microseconds of the projection to the vocabulary, whose weights are never quantized."""
        if not self.options.lm_head:
            return 0.0
        memory_s = self._head_elements * self.model.activation_bytes / self._weight_rate
        return max(memory_s, 2 * self._head_elements * rows / self._head_rate) * MICROSECONDS

    def explain(self, batch: Batch) -> StepCost:
        """Return the same duration with everything it is made of."""
        sums = BatchSums.of(batch, self.kv_breakpoints)
        tokens = len(batch.decode) + sum([new for _, new in batch.prefill])
        rows = len(batch.decode) + len(batch.prefill)
        parts = {
            "decode attention": self.decode_attention_us(sums),
            "prefill attention": self.prefill_attention_us(batch.prefill),
            **self.beside_attention(tokens, rows, batch.elsewhere),
        }
        unrounded_us = self.duration_us(sums)
        waiting_us = self._waiting_for_host_us(sum(parts.values()), sums, tokens)
        if waiting_us:
            parts["host"] = waiting_us
        what = self._in_words(tokens, rows, sums)
        terms = [Term(name, us, what[name]) for name, us in parts.items()]
        return StepCost(
            family="calibrated_physics",
            total_us=whole_us(unrounded_us),
            unrounded_us=max(unrounded_us, 1.0),
            combined_s=sum([us for name, us in parts.items() if name in ON_THE_GPU]) / MICROSECONDS,
            branch="one_pass",
            communication_us=parts.get("collectives", 0.0),
            overhead_us=sum([us for name, us in parts.items() if name in BESIDE_THE_WORK]),
            notes=self.warnings,
            terms=tuple(sorted(terms, key=lambda term: (-term.us, term.name))),
        )

    def operations(self, batch: Batch) -> dict[str, list[Operation]]:
        """Return the terms of a step per layer where they are one; this model prices a layer's matrices as a whole."""
        layers = self.model.num_hidden_layers
        times = {
            **dict.fromkeys(("layers", "experts", "decode attention", "prefill attention"), layers),
            **dict.fromkeys(("launches", "host"), layers * self._kernels),
            "collectives": collectives_of(self.model, self.parallel),
        }
        terms = [term for term in self.explain(batch).terms if term.us]
        return {"step": [Operation(t.name, times.get(t.name, 1), t.us / times.get(t.name, 1)) for t in terms]}

    def _remember(self, tokens: int, rows: int, elsewhere: int) -> float:
        if len(self._memo) >= MEMO_LIMIT:
            self._memo.clear()
        beside_us = sum(self.beside_attention(tokens, rows, elsewhere).values())
        self._memo[tokens, rows, elsewhere] = beside_us
        return beside_us

    def _in_words(self, tokens: int, rows: int, sums: BatchSums) -> dict[str, str]:
        weights = self._weights
        read = weights.outside_experts if self._experts_apart else weights.bytes(tokens, sums.elsewhere)
        gigabytes = read / self.tp / 1e9
        apart = self._experts_apart or not sums.elsewhere
        more = "" if apart else f", {sums.elsewhere} more of other groups through the experts"
        layers, kernels = self.model.num_hidden_layers, self._kernels
        return {
            "layers": f"{tokens} tokens through {gigabytes:.2f} GB of weights per GPU{more}",
            "experts": f"{tokens + sums.elsewhere} tokens through the routed experts they visit",
            "host": f"launches of {layers * kernels} kernels outside a CUDA graph, as far as the GPU waits for them",
            "head": f"{rows} rows to {self.model.vocab_size} logits",
            "decode attention": f"{sums.decode_past_tokens} past tokens",
            "prefill attention": "chunks one by one",
            "launches": f"{layers} layers of {kernels} kernels, on every GPU",
            "sampling": f"{rows} requests",
            "collectives": f"{collectives_of(self.model, self.parallel)} over {self.parallel.gpus} GPUs",
            "step": "once",
            "requests": f"{rows} requests",
        }


ON_THE_GPU = ("layers", "experts", "head", "decode attention", "prefill attention")
BESIDE_THE_WORK = ("launches", "host", "sampling", "step", "requests")


def _assumptions(options: CalibratedPhysicsOptions, model: Model) -> tuple[str, ...]:
    prices_sampling = options.sampling_us_per_kilotoken or options.sampling_us_per_kilotoken_request
    if model.generation_config is None and prices_sampling:
        return (f"{model.id}: generation_config is not stated; sampling is priced as if no token were cut off",)
    return ()


def unavoidable_work(
    model: Model, parallelism: Parallelism | int, *, lm_head: bool = True, breakpoints: tuple[int, ...]
) -> WorkCount:
    """Count the work no server can avoid: weights once, every KV byte that is attended to, no activations.

    `breakpoints` are those of the intervals that sums are kept for.
    """
    window, parallel = window_of(model), as_parallelism(parallelism)
    whole, none = PhaseFactors(prefill=1.0, decode=1.0), PhaseFactors(prefill=0.0, decode=0.0)
    weights = Weights(model, lm_head=lm_head, parallel=parallel)
    traffic = DynamicTraffic(model, whole, none, parallel.tensor_parallel, window)
    in_intervals = window is not None and breakpoints == window.breakpoints
    return WorkCount(model, parallel, weights, traffic, lm_head=lm_head, window=window, in_intervals=in_intervals)


def _sampling_us(options: CalibratedPhysicsOptions, model: Model) -> tuple[float, float]:
    """Microseconds of cutting off unlikely tokens: per step, and per request in it."""
    if model.generation_config is None or not model.generation_config.truncates:
        return 0.0, 0.0
    thousands = model.vocab_size / KILO
    return (
        options.sampling_us_per_kilotoken * thousands,
        options.sampling_us_per_kilotoken_request * thousands,
    )
