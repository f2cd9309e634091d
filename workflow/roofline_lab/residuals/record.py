"""One scored load point under one arm, with everything its error may depend on.

Contract: a `Residual` is a plain frozen record. A figure without a number carries the reason; a driver
that is not known is None, never 0. Times are ms unless a name says otherwise; bytes and FLOPs are per GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from roofline_lab.scoring.errors import relative_difference

METRICS = ("ttft", "itl", "e2e")
LABELS: Mapping[str, str] = MappingProxyType({"ttft": "TTFT", "itl": "ITL", "e2e": "E2E"})


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured mean beside its prediction, in ms; `reason` says why it cannot be scored, or is empty."""

    measured_ms: float | None
    predicted_ms: float | None
    reason: str = ""

    @property
    def is_scored(self) -> bool:
        """Whether there is an error to explain."""
        return not self.reason and bool(self.measured_ms) and self.predicted_ms is not None

    @property
    def relative(self) -> float:
        """(predicted - measured) / measured; negative: predicted too fast. Only for a scored figure."""
        assert self.measured_ms, "only scored figures have a residual"
        assert self.predicted_ms is not None, "only scored figures have a residual"
        return relative_difference(self.predicted_ms, self.measured_ms)


NOTHING_PRICED: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Residual:
    """One load point under one arm.

    Attributes
    ----------
    layer_weight_bytes, head_weight_bytes
        Weights of all layers that a decode step of this batch reads, and those of the LM head; bytes per GPU.
    kv_bytes_per_token
        KV cache of one token, all layers; bytes per GPU.
    flops_per_token
        GEMMs of all layers for one token; FLOP per GPU.
    routed
        Whether layers route tokens to experts.
    peak_bandwidth, peak_flops, link_bandwidth
        Data sheet, bytes/s and FLOP/s per GPU; bytes/s per GPU and direction, or None where not stated.
    prompt_tokens, computed_tokens, output_tokens
        Means per request: prompt, the part not found in the prefix cache, generated tokens.
    batch, kv_tokens
        Requests that decode, and their KV tokens, in the step of a token after the first.
    prefills_per_gap, prefill_tokens_per_gap
        Prompts, and computed prompt tokens, that fall between two tokens of a request.
    decodes_beside_prefill
        Requests that decode in the step that completes a prompt.
    prefill_steps
        Steps a prompt takes, at least 1.
    mixed_share
        Steps that hold both phases, of all steps.
    queue_ms
        Predicted wait for admission.
    rate_per_s
        Requests per second; None where clients wait for answers.
    priced
        What the prediction already spends on a candidate term, by the term's name and in its unit; 0 where it is
        known to spend nothing, absent where it is not known.
    """

    experiment: str
    load_point: str
    family: str
    model: str
    hardware: str
    tensor_parallel: int
    layers: int
    hidden_size: int
    vocab_size: int
    activation_bytes: int
    layer_weight_bytes: float
    head_weight_bytes: float
    kv_bytes_per_token: float
    flops_per_token: float
    routed: bool
    peak_bandwidth: float
    peak_flops: float
    link_bandwidth: float | None
    prompt_tokens: float | None
    computed_tokens: float | None
    output_tokens: float | None
    batch: float | None
    kv_tokens: float | None
    prefills_per_gap: float | None
    prefill_tokens_per_gap: float | None
    decodes_beside_prefill: float | None
    prefill_steps: float | None
    mixed_share: float | None
    queue_ms: float | None
    rate_per_s: float | None
    ttft: Figure
    itl: Figure
    e2e: Figure
    steps_between_tokens: float = 1.0
    priced: Mapping[str, float] = field(default_factory=lambda: NOTHING_PRICED)

    def figure(self, metric: str) -> Figure:
        """Return one of the three figures by name."""
        return {"ttft": self.ttft, "itl": self.itl, "e2e": self.e2e}[metric]


def scored(residuals: Iterable[Residual], metric: str) -> tuple[Residual, ...]:
    """Return the residuals that have an error in `metric`, sorted by experiment and load point."""
    found = [residual for residual in residuals if residual.figure(metric).is_scored]
    return tuple(sorted(found, key=lambda residual: (residual.experiment, residual.load_point)))


def unscored(residuals: Iterable[Residual], metric: str) -> dict[str, int]:
    """Return why load points have no error in `metric`, with how many there are of each reason."""
    found: dict[str, int] = {}
    for residual in residuals:
        figure = residual.figure(metric)
        if not figure.is_scored:
            reason = figure.reason or (
                "no measured figure" if not figure.measured_ms else "the prediction has no such figure"
            )
            found[reason] = found.get(reason, 0) + 1
    return dict(sorted(found.items()))
