"""The accelerator a model runs on: peak rates from the data sheet, each with its source.

Contract: `load_hardware` reads `configs/hardware/<id>.yaml` and returns an immutable `Hardware`,
or raises `ConfigError` naming file, field and value. Efficiencies are not hardware facts; they
belong to a step-time model's options.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, Strict

from simulator.validation import Positive, StrictModel, parse, read_yaml

TERA = 1e12
GIGA = 1e9


class Quantity(StrictModel):
    """One figure of a data sheet."""

    value: Positive
    unit: str
    source: str


class Tflops(Quantity):
    """A compute peak; the range holds every data-centre GPU from 2016 on with two orders to spare."""

    value: Annotated[float, Strict(), Field(gt=0, le=1e5, allow_inf_nan=False)]
    unit: Literal["TFLOPS"]


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


class Hardware(StrictModel):
    """Peak rates of one GPU.

    Attributes
    ----------
    id
        Name used by experiments and command lines.
    dense_bf16_tflops
        Dense BF16 tensor-core peak, TFLOPS per GPU.
    dense_fp8_tflops
        Dense FP8 tensor-core peak, TFLOPS per GPU; absent where the GPU has no FP8 units.
    memory_bandwidth_tbs
        Peak HBM bandwidth, TB/s per GPU.
    memory_gib
        HBM capacity, GiB per GPU.
    link_bandwidth_gbs
        Peak of the links to the other GPUs of a server, GB/s per GPU and direction; absent where
        nobody stated it, which only collectives priced by bytes need.
    """

    id: str
    name: str
    dense_bf16_tflops: Tflops
    dense_fp8_tflops: Tflops | None = None
    memory_bandwidth_tbs: TerabytesPerSecond
    memory_gib: Gibibytes
    link_bandwidth_gbs: GigabytesPerSecond | None = None

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
    """Read one GPU description.

    Raises
    ------
    ConfigError
        If the file is unreadable, a field is missing, unknown, non-positive or not finite.
    """
    return parse(Hardware, read_yaml(path), source=str(path))
