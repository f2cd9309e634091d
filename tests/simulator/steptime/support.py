"""Models, GPUs and kernels the step-time tests share."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from simulator.hardware import GigabytesPerSecond, Hardware
from simulator.kernels.base import (
    AttentionMatch,
    AttentionShape,
    Lookup,
    PiecewiseLinear,
    causal_attention_flops,
    decode_attention_flops,
    gemm_flops,
)
from simulator.model import Model, model_from_config
from simulator.steptime.build import build_step_time
from simulator.steptime.options import parse_options

H100 = Hardware.from_peaks(989.5, 3.35, source="test H100")
LINKED = H100.model_copy(
    update={"link_bandwidth_gbs": GigabytesPerSecond(value=450.0, unit="GB/s", source="test NVLink")}
)


def model(**changes: object) -> Model:
    """Return a small grouped-query model (hidden 1024, 8 heads of 128, 2 KV heads), with `changes`."""
    config: dict[str, object] = {
        "id": "small",
        "source": "made up for tests",
        "hidden_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "intermediate_size": 2816,
        "vocab_size": 32000,
        "torch_dtype": "bfloat16",
    }
    config.update(changes)
    return model_from_config({k: v for k, v in config.items() if v is not None}, source="test model")


LLAMA_70B = model(
    id="llama-2-70b",
    hidden_size=8192,
    num_hidden_layers=80,
    num_attention_heads=64,
    num_key_value_heads=8,
    intermediate_size=28672,
)


def step_time(options: dict[str, object], *, of: Model | None = None, tp: int = 1, kernels=None, on: Hardware = H100):
    """Build a step-time model from plain options; the MFU roofline unless `family` says otherwise."""
    parsed = parse_options({"family": "mfu_roofline", **options}, source="test options")
    return build_step_time(parsed, of or model(), on, tp, kernels)


@dataclass(frozen=True)
class BentKernels:
    """Kernels whose decode MFU is piecewise linear in KV length, with one interval that is not.

    Prefill MFU rises with length, GEMM MFU with rows, so that every lookup coordinate matters.
    """

    name: str = "bent test kernels"
    peak: float = 989.5e12

    def gemm_mfu(self, m, k, n, *, dtype="bf16", phase="prefill"):
        return 0.7 * m / (m + 300)

    def gemm_seconds(self, m, k, n, *, dtype="bf16", phase="prefill"):
        return 4e-6 + gemm_flops(m, k, n) / (self.peak * 0.7)

    def gemm_lookup(self, m, k, n, *, dtype="bf16", phase="prefill"):
        rows = ((("m", 8.0), ("k", k), ("n", n), ("mfu", 0.02)),)
        return Lookup("gemm", self.gemm_mfu(m, k, n), "gemm.csv", (("m", m), ("k", k), ("n", n)), rows, abs(m - 8.0))

    def attention(self, shape, tp=1):
        used = AttentionShape(shape.heads, shape.kv_heads, 64) if shape.head_dim == 65 else shape
        return BentAttention(AttentionMatch(shape, tp, used, tp, 1.0 if used != shape else 0.0))


@dataclass(frozen=True)
class BentAttention:
    """`BentKernels` bound to a shape."""

    match: AttentionMatch
    kv_breakpoints: tuple[int, ...] = (512, 1024, 4096)
    peak: float = 989.5e12

    def decode_mfu_curve(self, batch):
        scale = 0.001 * (1 + batch / 64)
        linear = (True, False, True, True)
        return PiecewiseLinear(
            self.kv_breakpoints,
            (scale, 0.0, scale * 3, scale * 8),
            (0.0, 0.0, scale / 800, 0.0),
            linear,
        )

    def decode_mfu(self, batch, kv_len):
        interval = bisect_right(self.kv_breakpoints, kv_len)
        if interval == 1:
            return 0.001 * (1 + (kv_len / 1000) ** 2)
        return self.decode_mfu_curve(batch).at(kv_len)

    def prefill_mfu(self, seq_len):
        return 0.6 * seq_len / (seq_len + 800)

    def prefill_seconds(self, past_tokens, new_tokens):
        return 6e-6 + causal_attention_flops(self.match.asked_shape, past_tokens, new_tokens) / (self.peak * 0.6)

    def decode_seconds(self, batch, kv_sum):
        return 5e-6 + decode_attention_flops(self.match.asked_shape, kv_sum) / (self.peak * 0.01)

    def prefill_lookup(self, seq_len):
        row = ((("seq_len", 1024.0), ("mfu", 0.3)),)
        target = (("seq_len", seq_len),)
        return Lookup("prefill_attention", self.prefill_mfu(seq_len), "prefill.csv", target, row, abs(seq_len - 1024))

    def decode_lookup(self, batch, kv_len):
        return Lookup(
            "decode_attention",
            self.decode_mfu(batch, kv_len),
            "decode.csv",
            (("batch_size", batch), ("kv_len", kv_len)),
            extrapolated=kv_len > 8192,
            fallback=512 <= kv_len < 1024,
        )


V1_PARAMETERS: dict[str, object] = {
    "TFlopsPeak": 989.5,
    "BwPeakTBs": 3.35,
    "BwEffConstant": 0.72,
    "mfuPrefill": 0.65,
    "mfuDecode": 0.12,
}
