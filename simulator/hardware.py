"""The accelerator a model runs on: peak rates from the data sheet, each with its source.

Contract: `load_hardware` reads `configs/hardware/<id>.yaml` and returns an immutable `Hardware`,
or raises `ConfigError` naming file, field and value. What a kernel sustains is no fact of the GPU but an
option of a step-time model; what is documented about it is a starting value, kept apart in
`configs/hardware/sustained/<id>.yaml`, or under the key `sustained` of a file of one's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, Strict

from simulator.validation import Count, Efficiency, NonNegative, Positive, StrictModel, parse, read_yaml

SUSTAINED_FOLDER = "sustained"
# Files are called by ids, and no common file system has longer names than 255 bytes.
LONGEST_ID = 200

TERA = 1e12
GIGA = 1e9
GIB = 2**30
# Share of the capacity that CUDA reports as a GPU's total memory, dimensionless: 79.2 of 80 GiB on A100 and H100, 139.8
# of 141 on H200 (the total in PyTorch's out-of-memory messages).
USABLE_SHARE = 0.99
# Dense INT8 over dense BF16 operations, dimensionless: the data sheets of A100 (624 / 312), L40S, H100 and H200.
INT8_OVER_BF16 = 2.0


class OtherFigure(StrictModel):
    """What another source says of the same figure, in the same unit; it is not used."""

    value: Positive
    source: str


class Quantity(StrictModel):
    """One figure of a data sheet: the value used, and under `others` what sources that disagree say."""

    value: Positive
    unit: str
    source: str
    others: tuple[OtherFigure, ...] = ()


class Tflops(Quantity):
    """A compute peak; the range holds every data-centre GPU from 2016 on with two orders to spare."""

    value: Annotated[float, Strict(), Field(gt=0, le=1e5, allow_inf_nan=False)]
    unit: Literal["TFLOPS"]


class Tops(Quantity):
    """A peak of integer operations, in the range of `Tflops`."""

    value: Annotated[float, Strict(), Field(gt=0, le=1e5, allow_inf_nan=False)]
    unit: Literal["TOPS"]


class TerabytesPerSecond(Quantity):
    """A memory bandwidth; beyond 100 TB/s a figure is in another unit."""

    value: Annotated[float, Strict(), Field(gt=0, le=100, allow_inf_nan=False)]
    unit: Literal["TB/s"]


class Gibibytes(Quantity):
    """A memory size; beyond 10,000 GiB a figure is in another unit."""

    value: Annotated[float, Strict(), Field(gt=0, le=1e4, allow_inf_nan=False)]
    unit: Literal["GiB"]


class GigabytesPerSecond(Quantity):
    """A link bandwidth; beyond 100,000 GB/s a figure is in another unit."""

    value: Annotated[float, Strict(), Field(gt=0, le=1e5, allow_inf_nan=False)]
    unit: Literal["GB/s"]


class StatedShare(StrictModel):
    """A documented starting value between 0 and 1, the range it may lie in, and who says so; 0: none applies."""

    value: Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
    low: NonNegative
    high: Efficiency
    source: str


class StatedDivisor(StrictModel):
    """Dense over causal FLOPs of prefill attention: the value used, the range it may lie in, and who says so."""

    value: Positive
    low: Positive
    high: Positive
    source: str


class StatedLatency(StrictModel):
    """A documented starting value in microseconds, the range it may lie in, and who says so."""

    value_us: NonNegative
    low_us: NonNegative
    high_us: NonNegative
    source: str


class LinkDomain(StrictModel):
    """How many GPUs the links of `link_bandwidth_gbs` join."""

    value: Count
    source: str


class Sustained(StrictModel):
    """What is documented about runs on one GPU, as starting values where no calibration covers it.

    Attributes
    ----------
    bandwidth_efficiency
        Sustained over peak HBM bandwidth, fraction; absent or 0: the peak itself.
    causal_divisor
        Dense over causal FLOPs of prefill attention in upstream's MFU roofline, dimensionless.
    all_reduce, link_efficiency
        Latency of one all-reduce beside its bytes, and sustained over peak link bandwidth in it, fraction.
    linked_gpus
        GPUs that tensor parallelism may span.
    v1
        The calibrated roofline's parameters, under the names of its calibration guide.
    """

    bandwidth_efficiency: StatedShare | None = None
    causal_divisor: StatedDivisor | None = None
    all_reduce: StatedLatency | None = None
    link_efficiency: StatedShare | None = None
    linked_gpus: LinkDomain | None = None
    v1: dict[str, float] | None = None


class Hardware(StrictModel):
    """Peak rates of one GPU.

    Attributes
    ----------
    id
        Name used by experiments and command lines.
    dense_bf16_tflops
        Dense BF16 tensor-core peak, TFLOPS per GPU.
    dense_fp8_tflops, dense_fp4_tflops
        Dense FP8 and FP4 tensor-core peaks, TFLOPS per GPU; absent where the GPU has no such units.
    dense_int8_tops
        Dense INT8 tensor-core peak, TOPS per GPU; absent: `INT8_OVER_BF16` times the BF16 peak.
    memory_bandwidth_tbs
        Peak HBM bandwidth, TB/s per GPU.
    memory_gib
        HBM capacity, GiB per GPU.
    usable_memory_gib
        What the driver leaves of it to programs, GiB per GPU; absent: `USABLE_SHARE` of the capacity.
    link_bandwidth_gbs
        Peak of the links to the other GPUs of a server, GB/s per GPU and direction; absent where
        nobody stated it, which only collectives priced by bytes need.
    sustained
        Documented starting values of runs; empty where nobody stated any.
    """

    id: str = Field(max_length=LONGEST_ID)
    name: str
    dense_bf16_tflops: Tflops
    dense_fp8_tflops: Tflops | None = None
    dense_fp4_tflops: Tflops | None = None
    dense_int8_tops: Tops | None = None
    memory_bandwidth_tbs: TerabytesPerSecond
    memory_gib: Gibibytes
    usable_memory_gib: Gibibytes | None = None
    link_bandwidth_gbs: GigabytesPerSecond | None = None
    sustained: Sustained = Sustained()

    @property
    def link_bandwidth(self) -> float | None:
        """Peak bytes/s to other GPUs, per GPU and direction, or None."""
        return self.link_bandwidth_gbs.value * GIGA if self.link_bandwidth_gbs else None

    @property
    def peak_flops(self) -> float:
        """Dense BF16 peak, FLOP/s per GPU."""
        return self.dense_bf16_tflops.value * TERA

    @property
    def peak_fp8_flops(self) -> float | None:
        """Dense FP8 peak, FLOP/s per GPU, or None."""
        return self.dense_fp8_tflops.value * TERA if self.dense_fp8_tflops else None

    @property
    def peak_fp4_flops(self) -> float | None:
        """Dense FP4 peak, FLOP/s per GPU, or None."""
        return self.dense_fp4_tflops.value * TERA if self.dense_fp4_tflops else None

    @property
    def usable_memory(self) -> float:
        """Bytes programs can use, per GPU."""
        stated = self.usable_memory_gib
        return (stated.value if stated else USABLE_SHARE * self.memory_gib.value) * GIB

    @property
    def peak_int8_ops(self) -> float:
        """Dense INT8 peak, operations/s per GPU."""
        stated = self.dense_int8_tops
        return stated.value * TERA if stated else INT8_OVER_BF16 * self.peak_flops

    @property
    def peak_bandwidth(self) -> float:
        """Peak HBM bandwidth, bytes/s per GPU."""
        return self.memory_bandwidth_tbs.value * TERA

    @classmethod
    def from_peaks(cls, tflops: float, bandwidth_tbs: float, *, source: str, memory_gib: float = 80.0) -> Hardware:
        """Build a GPU from two peak rates, for recorded steps and what-if runs.

        Raises
        ------
        ConfigError
            If a rate is zero, negative or not finite.
        """
        quantities = {
            "dense_bf16_tflops": {"value": tflops, "unit": "TFLOPS", "source": source},
            "memory_bandwidth_tbs": {"value": bandwidth_tbs, "unit": "TB/s", "source": source},
            "memory_gib": {"value": memory_gib, "unit": "GiB", "source": source},
        }
        return parse(cls, {"id": "custom", "name": source, **quantities}, source=source)


def load_hardware(path: Path) -> Hardware:
    """Read one GPU description; what is documented about it beside the data sheet is not read.

    Raises
    ------
    ConfigError
        If the file is unreadable, a field is missing, unknown, non-positive or not finite.
    """
    return parse(Hardware, read_yaml(path), source=str(path))


def with_sustained(hardware: Hardware, path: Path) -> Hardware:
    """Add what `sustained/` beside a GPU's file documents about it; the file's own statements win.

    Raises
    ------
    ConfigError
        If that file is unreadable, or a field is missing, unknown or out of range.
    """
    beside = path.parent / SUSTAINED_FOLDER / path.name
    if hardware.sustained != Sustained() or not beside.is_file():
        return hardware
    return hardware.model_copy(update={"sustained": parse(Sustained, read_yaml(beside), source=str(beside))})
