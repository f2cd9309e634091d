"""The constants a calibration may determine: meaning, unit, range and where a fit starts.

Contract: `CONSTANTS` lists every one in the order of the parameter vector. A range is physical (no
efficiency above 1, no negative cost) and wide enough that an answer inside it comes from the data; a fit
that ends on one of its ends is a finding. Starts are rules of thumb from outside the data; a constant
that no data of a fold speaks about keeps its start.

Efficiencies are searched by their inverse, because times are linear in that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from roofline_lab.client_overhead import ClientTime
from roofline_lab.ground_truth.experiment import Tool
from simulator.model import Model
from simulator.steptime.calibration import calibrated_options
from simulator.steptime.options import CalibratedPhysicsOptions
from simulator.steptime.physics import DENSE_KERNELS, kernels_per_layer

Where = Literal["step", "client"]
Vector = NDArray[np.float64]
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Constant:
    """One constant of the model.

    Attributes
    ----------
    where
        `step`: an option of the step-time model; `client`: time outside the engine.
    low, high
        Range of the search.
    start, spread
        First value of a fit, and how far it is trusted: the fit treats the start as one more
        observation with this standard deviation, which only matters where the data say little.
    inverse
        Whether times grow with 1 / value.
    """

    name: str
    where: Where
    unit: str
    low: float
    high: float
    start: float
    spread: float
    meaning: str
    start_source: str
    inverse: bool = False

    def at(self, position: float) -> float:
        """Return the value at a position in [-1, 1] of the range."""
        low, high = (1 / self.high, 1 / self.low) if self.inverse else (self.low, self.high)
        value = low + (position + 1) / 2 * (high - low)
        return 1 / value if self.inverse else value

    def position(self, value: float) -> float:
        """Return the position of a value; the inverse of `at`."""
        low, high = (1 / self.high, 1 / self.low) if self.inverse else (self.low, self.high)
        return 2 * ((1 / value if self.inverse else value) - low) / (high - low) - 1


def _cost(name: str, high: float, start: float, spread: float, meaning: str, why: str) -> Constant:
    return Constant(name, "step", "us", 0.0, high, start, spread, meaning, why)


def _efficiency(name: str, low: float, high: float, start: float, spread: float, meaning: str, why: str) -> Constant:
    return Constant(name, "step", "1", low, high, start, spread, meaning, why, inverse=True)


def _client(name: str, high: float, start: float, spread: float, meaning: str, why: str) -> Constant:
    return Constant(name, "client", "us", 0.0, high, start, spread, meaning, why)


# One thread block cuts off the tokens of one request, and as many of them run at once as an H100 has streaming
# multiprocessors (data sheet, SXM): a request more costs one block's time over their number, and is known as well.
SAMPLING_BLOCK_US, SAMPLING_BLOCK_SPREAD_US = 2.0, 3.0
BLOCKS_AT_ONCE = 132

CONSTANTS: tuple[Constant, ...] = (
    _efficiency(
        "weight_bandwidth_efficiency",
        *(0.8, 1.0, 0.9, 0.05),
        "sustained over peak HBM bandwidth while weights are read",
        "copy benchmarks reach about nine tenths of peak",
    ),
    _efficiency(
        "kv_bandwidth_efficiency",
        *(0.7, 1.0, 0.93, 0.05),
        "sustained over peak HBM bandwidth while the KV cache is read",
        "decode-attention kernel tables, multi-head curve",
    ),
    _efficiency(
        "gemm_efficiency",
        *(0.45, 1.0, 0.64, 0.06),
        "sustained over peak FLOP/s in large GEMMs",
        "GEMM kernel table, fitted curve",
    ),
    _cost(
        "layer_us",
        *(100.0, 50.0, 20.0),
        "launches and tails of the kernels of one dense BF16 layer, on every GPU",
        "ten kernels of about 5 us",
    ),
    _cost(
        "host_step_us",
        *(1500.0, 50.0, 200.0),
        "host time between two steps, which a server that schedules ahead hides behind the step that runs",
        "upstream's calibration guide for the H100",
    ),
    _cost("request_us", 30.0, 5.0, 5.0, "cost of each request in a step", "some us of bookkeeping"),
    _cost("all_reduce_us", 15.0, 5.0, 3.0, "latency of one all-reduce beside its bytes", "one kernel"),
    _efficiency(
        "link_efficiency",
        *(0.12, 1.0, 0.5, 0.2),
        "sustained over peak link bandwidth in all-reduces",
        "half the data sheet, as collectives of megabytes reach",
    ),
    _cost(
        "sampling_us_per_kilotoken",
        *(12.0, SAMPLING_BLOCK_US, SAMPLING_BLOCK_SPREAD_US),
        "cutting off unlikely tokens: per step and 1000 vocabulary entries",
        "a few passes of one thread block over 1000 logits",
    ),
    _cost(
        "sampling_us_per_kilotoken_request",
        *(0.3, SAMPLING_BLOCK_US / BLOCKS_AT_ONCE, SAMPLING_BLOCK_SPREAD_US / BLOCKS_AT_ONCE),
        "the same, added by each request in the step",
        "start and trust of the row above over the 132 thread blocks that run at once",
    ),
    _client(
        "guidellm_request_us",
        *(20_000.0, 6000.0, 3000.0),
        "API and GuideLLM client, per request",
        "about 10 ms, client minus server of a recorded run of CodeLlama-34B, less 2 us per token of its prompts",
    ),
    _client(
        "inference_perf_request_us",
        *(20_000.0, 6000.0, 3000.0),
        "API and inference-perf client, per request",
        "as for GuideLLM",
    ),
    _client(
        "client_us_per_prompt_token",
        *(20.0, 2.0, 3.0),
        "tokenising and transferring a prompt, per token",
        "half a million tokens per second",
    ),
)


@dataclass(frozen=True, slots=True)
class Site:
    """Where load points were measured, with which tool, and the constant of the time its client takes per request."""

    name: str
    tool: Tool
    constant: str


SITES: tuple[Site, ...] = (
    Site("inference-sim/guidellm/H100-80GB-SXM", "guidellm", "guidellm_request_us"),
    Site("inference-sim/inference-perf/H100-80GB-SXM", "inference-perf", "inference_perf_request_us"),
)
PER_PROMPT_TOKEN = "client_us_per_prompt_token"

# Not searched, because step times hardly tell it from the GEMMs: the prefill-attention curve fitted to
# kernel tables (configs/kernels/h100/analytic.yaml).
FIXED: Mapping[str, float] = {"attention_efficiency": 0.72}
FIXED_SOURCE = "prefill-attention curve of configs/kernels/h100/analytic.yaml"

BY_NAME: Mapping[str, Constant] = {constant.name: constant for constant in CONSTANTS}
STEP_CONSTANTS: tuple[Constant, ...] = tuple(constant for constant in CONSTANTS if constant.where == "step")


def starts() -> dict[str, float]:
    """Return where a fit begins."""
    return {constant.name: constant.start for constant in CONSTANTS}


def at(positions: Vector) -> dict[str, float]:
    """Return the constants at positions in [-1, 1], shape (constants,)."""
    return {constant.name: constant.at(float(place)) for constant, place in zip(CONSTANTS, positions, strict=True)}


_INVERSE = np.array([constant.inverse for constant in CONSTANTS])
_ENDS = np.array(
    [
        (1 / constant.high, 1 / constant.low) if constant.inverse else (constant.low, constant.high)
        for constant in CONSTANTS
    ]
).T


def vector_at(positions: Vector) -> Vector:
    """Return what `at` returns as a vector, shape (constants,)."""
    low, high = _ENDS
    values = low + (positions + 1) / 2 * (high - low)
    values[_INVERSE] = 1 / values[_INVERSE]
    return values


def positions(values: Values) -> Vector:
    """Return the positions of constants, shape (constants,); the inverse of `at`."""
    return np.array([constant.position(values[constant.name]) for constant in CONSTANTS])


def spreads() -> Vector:
    """Return the spread of every start in positions, shape (constants,)."""
    up = (
        constant.position(min(constant.start + constant.spread, constant.high)) - constant.position(constant.start)
        for constant in CONSTANTS
    )
    return np.abs(np.array([step if step else 1.0 for step in up]))


def options_of(values: Values, *, schedule_ahead: bool, lm_head: bool = True) -> CalibratedPhysicsOptions:
    """Return the step-time options that a set of constants means on a server.

    A server that composes the next step while one runs (`EngineOptions.schedule_ahead`) spends its
    host time then; any other lets the GPU wait for it.
    """
    return calibrated_options({**values, **FIXED}, schedule_ahead=schedule_ahead, lm_head=lm_head)


def request_constants(tool: Tool, site: str | None) -> tuple[str, ...]:
    """Return the constants whose mean a client takes per request: its site's, else those of its tool, else all."""
    own = [known.constant for known in SITES if known.name == site]
    alike = [known.constant for known in SITES if known.tool == tool]
    return tuple(own or alike or [known.constant for known in SITES])


def calibrated_client(values: Values, tool: Tool, site: str | None = None) -> ClientTime:
    """Return the time outside the engine that constants give a client."""
    known = [values[name] for name in request_constants(tool, site)]
    return ClientTime(math.fsum(known) / len(known), values[PER_PROMPT_TOKEN])


def data_sheet() -> dict[str, float]:
    """Return the constants of an uncalibrated prediction: peak rates, no cost beside the work."""
    return {constant.name: 1.0 if constant.inverse else 0.0 for constant in CONSTANTS}


# Variant -> share of the extra kernels that is counted.
EXTRA_KERNELS: Mapping[str, float] = {"half_the_extra_kernels": 0.5, "half_more_extra_kernels": 1.5}


def with_extra_kernels(values: Values, model: Model, share: float) -> dict[str, float]:
    """Return constants that price `model` as if `share` of its extra kernels were launched."""
    counted = kernels_per_layer(model)
    wanted = DENSE_KERNELS + share * (counted - DENSE_KERNELS)
    return {**values, "layer_us": values["layer_us"] * wanted / counted}
