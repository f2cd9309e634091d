"""What one engine step costs and why: the record behind every explanation.

`StepCost.total_us` is what `step_time_us` returns; everything else says where it comes from. All seconds
and bytes are those of one GPU. `text` answers "why is this step 4.8 ms?" in at most five lines.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

MICROSECONDS = 1e6
MAX_SHOWN_NOTES = 3
# What an answer rests on that no table row gave.
FORMULA = "formula"


def whole_us(duration_us: float) -> int:
    """Round half up to whole microseconds; no step is shorter than one."""
    return int(duration_us + 0.5) if duration_us > 1.0 else 1


@dataclass(frozen=True, slots=True)
class LookupUse:
    """One kernel efficiency and the table rows it rests on.

    Attributes
    ----------
    kernel, table
        Kind of kernel and the table or curve that answered.
    asked, used
        Coordinates asked for and coordinates of the rows used.
    value
        The MFU, or seconds where `unit` says so.
    distance
        Euclid from the target to the nearest row used, in raw coordinates.
    extrapolated, fallback
        The target lies outside the table; another row was taken because the answer was near zero.
    """

    kernel: str
    table: str
    asked: str
    used: str
    value: float
    distance: float = 0.0
    extrapolated: bool = False
    fallback: bool = False
    unit: str = "MFU"


@dataclass(frozen=True, slots=True)
class PrefillBucket:
    """Prefill chunks priced together because their context rounds to the same length."""

    bucket_tokens: int
    new_tokens: int
    gemm_s: float
    attention_s: float
    attention_mfu: float | None


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """One phase (prefill or decode) of one step, on one GPU.

    Attributes
    ----------
    requests, new_tokens, past_tokens
        Composition of the phase.
    gemm_s, attention_s, vector_s
        Compute seconds: matrix multiplications, attention, and work on the vector units (only the
        calibrated roofline prices it apart).
    memory_s
        Seconds to move all bytes at the modelled bandwidth.
    seconds
        What the phase contributes before phases are combined.
    weight_bytes, kv_bytes, activation_bytes
        Bytes moved, with the discounts the model applies.
    bottleneck
        The dominant component: `gemm`, `attention`, `vector`, `memory`.
    """

    requests: int
    new_tokens: int
    past_tokens: int
    gemm_s: float
    attention_s: float
    vector_s: float
    memory_s: float
    seconds: float
    weight_bytes: float
    kv_bytes: float
    activation_bytes: float
    bottleneck: str
    buckets: tuple[PrefillBucket, ...] = ()

    @property
    def compute_s(self) -> float:
        """Compute seconds of all kinds."""
        return self.gemm_s + self.attention_s + self.vector_s

    @property
    def bytes(self) -> float:
        """Bytes moved."""
        return self.weight_bytes + self.kv_bytes + self.activation_bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of kernel of a step: how often it runs, and how long once, on one GPU."""

    name: str
    times: int
    each_us: float

    @property
    def total_us(self) -> float:
        """All of them together."""
        return self.times * self.each_us


@dataclass(frozen=True, slots=True)
class Term:
    """One additive part of a step that is not split into phases: microseconds, and what they pay for."""

    name: str
    us: float
    what: str


@dataclass(frozen=True, slots=True)
class StepCost:
    """One engine step, explained.

    Attributes
    ----------
    family
        Step-time model that answered.
    total_us, unrounded_us
        Duration in whole microseconds, and before rounding.
    combined_s
        Seconds of both phases together.
    branch
        Which rule combined the phases.
    communication_us, overhead_us
        All-reduce time and CPU overhead.
    lookups
        Kernel efficiencies used.
    notes
        Extrapolations, substitutions and other things a reader should know.
    terms
        For a model without phases: all parts of the duration before rounding, largest first.
    """

    family: str
    total_us: int
    unrounded_us: float
    prefill: PhaseCost | None = None
    decode: PhaseCost | None = None
    combined_s: float = 0.0
    branch: str = "none"
    communication_us: float = 0.0
    overhead_us: float = 0.0
    lookups: tuple[LookupUse, ...] = ()
    notes: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()

    @property
    def bottleneck(self) -> str:
        """The phase and component that dominate, or `overhead`; the largest term where there are terms."""
        if self.terms:
            return self.terms[0].name
        beside_us = self.communication_us + self.overhead_us
        if beside_us >= self.combined_s * MICROSECONDS:
            return "overhead" if self.overhead_us >= self.communication_us else "communication"
        phases = [(p.seconds, f"{name} {p.bottleneck}") for name, p in self.phases()]
        return max(phases)[1] if phases else self.family

    def bound_by(self, flop_s: float, byte_s: float) -> str:
        """Return what keeps the step from being shorter: `compute`, `memory`, `communication` or `overhead`.

        A kernel's time says nothing about that: matrix multiplications of a small batch wait for their weights.
        So work on the GPU is bound by the longer of the times that the GPU's peaks allow it.

        Parameters
        ----------
        flop_s, byte_s
            Seconds of the step's FLOPs and of its bytes at the peaks of one GPU.
        """
        if self.communication_us + self.overhead_us >= self.combined_s * MICROSECONDS:
            return "overhead" if self.overhead_us >= self.communication_us else "communication"
        return "memory" if byte_s >= flop_s else "compute"

    def phases(self) -> tuple[tuple[str, PhaseCost], ...]:
        """Name and cost of the phases that occur."""
        both = (("prefill", self.prefill), ("decode", self.decode))
        return tuple((name, phase) for name, phase in both if phase is not None)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**asdict(self), "bottleneck": self.bottleneck}

    def text(self) -> str:
        """Explain the duration in at most five lines."""
        lines = [self._headline()]
        lines += [_phase_line(name, phase) for name, phase in self.phases()]
        if self.terms:
            shown = ", ".join(f"{term.name} {term.us / 1e3:.3f} ms ({term.what})" for term in self.terms if term.us)
            lines.append(f"  terms: {shown}")
        if self.lookups:
            lines.append(_lookup_line(self.lookups))
        if self.notes:
            more = len(self.notes) - MAX_SHOWN_NOTES
            shown = "; ".join(self.notes[:MAX_SHOWN_NOTES]) + (f"; and {more} more" if more > 0 else "")
            lines.append(f"  note: {shown}")
        return "\n".join(lines)

    def _headline(self) -> str:
        parts = [f"{self.combined_s * 1e3:.3f} ms {self.branch.replace('_', ' ')}"]
        if self.communication_us:
            parts.append(f"{self.communication_us / 1e3:.3f} ms all-reduce")
        if self.overhead_us:
            parts.append(f"{self.overhead_us / 1e3:.3f} ms overhead")
        return f"step {self.total_us / 1e3:.3f} ms = {' + '.join(parts)}; dominated by {self.bottleneck}"


def _phase_line(name: str, phase: PhaseCost) -> str:
    compute = f"GEMM {phase.gemm_s * 1e3:.3f} + attention {phase.attention_s * 1e3:.3f}"
    if phase.vector_s:
        compute += f" + vector {phase.vector_s * 1e3:.3f}"
    rate = f"{phase.bytes / phase.memory_s / 1e12:.2f} TB/s" if phase.memory_s else "no rate"
    volume = (
        f"weights {_gigabytes(phase.weight_bytes)}, KV {_gigabytes(phase.kv_bytes)}, "
        f"activations {_gigabytes(phase.activation_bytes)}"
    )
    return (
        f"  {name}: {phase.requests} request(s), {phase.new_tokens} new and {phase.past_tokens} past tokens: "
        f"{phase.seconds * 1e3:.3f} ms, most of it {phase.bottleneck}: "
        f"compute {phase.compute_s * 1e3:.3f} ms ({compute}), memory {phase.memory_s * 1e3:.3f} ms ({volume} at {rate} "
        "per GPU)"
    )


def _lookup_line(lookups: tuple[LookupUse, ...]) -> str:
    farthest = max(lookups, key=lambda use: use.distance)
    outside = sum([use.extrapolated for use in lookups])
    borrowed = sum([use.fallback for use in lookups])
    where = f"; farthest {farthest.kernel} {farthest.asked} from {farthest.used}" if farthest.distance else ""
    return f"  kernels: {len(lookups)} look-ups, {outside} outside the table, {borrowed} borrowed{where}"


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.3f} GB"
