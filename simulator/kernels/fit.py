"""Fits the efficiency curves to measured tables: `python -m simulator.kernels.fit TABLES OUT`.

Contract: `fit_tables(tables, peaks, source)` returns an `AnalyticFile`; the same tables give the same
file, byte for byte. Parameters minimise the sum over rows of |log(predicted / measured)|, which
weighs a microsecond kernel like a millisecond one and is not pulled by outliers. Launch-bound and
warm-up rows (see `audit`) are not fitted; the errors on launch-bound rows are reported apart.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from simulator.errors import RooflineLabError, TableError
from simulator.hardware import load_hardware
from simulator.kernels import curves
from simulator.kernels.analytic import AnalyticFile, decode_kind, peaks_of
from simulator.kernels.audit import (
    LaunchFloor,
    launch_bound_decode,
    launch_bound_prefill,
    launch_floor,
    percentile,
    warm_up_lines,
)
from simulator.kernels.base import H100_BF16_FLOPS, H100_FP8_FLOPS, AttentionShape
from simulator.kernels.conventions import MICRO, infer_convention
from simulator.kernels.curves import DecodeCurve, GemmCurve, Peaks, PrefillCurve
from simulator.kernels.tables import AnyTable, DecodeRow, KernelTables, load_tables

# Bytes/s; H100 SXM data sheet, 3.35 TB/s.
H100_BANDWIDTH = 3.35e12
H100_PEAKS = Peaks(H100_BF16_FLOPS, H100_FP8_FLOPS, H100_BANDWIDTH)
H100_PEAKS_SOURCE = "NVIDIA H100 SXM data sheet: 989.5 TFLOPS dense BF16, 1979 TFLOPS dense FP8, 3.35 TB/s"

# Starting points in the units of the curves: a few microseconds, most of the peak, a soft corner.
GEMM_START = (3.0, 0.75, 0.65, 3.0)
PREFILL_START = (20.0, 0.7)
DECODE_START = (15.0, 0.9)
# Digits of committed parameters; one more changes no prediction by more than a part in 10,000.
PARAMETER_DIGITS = 5
# Decimals of committed errors, percent.
ERROR_DECIMALS = 2

# The minimiser: edge of the first simplex and of each restart (parameters are logarithms, so about 25 %), steps
# per restart, and the spread of the objective (absolute plus relative) at which one ends early.
EDGES = (0.25, 0.05, 0.01)
STEPS = 400
SPREAD = 1e-8

Point = tuple[float, ...]
Objective = Callable[[Point], float]

DATA_SOURCE = "kernel tables of inference-sim/inference-sim, branch roofline-go-and-hypotheses, folder bench_data"
METHOD = (
    "least sum of |log(predicted/measured)| over rows that are neither launch-bound nor warm-up, "
    "Nelder-Mead on log parameters with fixed starts; one GEMM curve, one prefill curve, one decode curve "
    "each for shapes with and without grouped KV heads"
)


@dataclass(frozen=True, slots=True)
class _Sample:
    """One timed row: what a curve predicts from its parameters, and what was measured, both in seconds."""

    seconds: Callable[[Sequence[float]], float]
    measured: float


@dataclass(slots=True)
class _TableSamples:
    """One table's rows by class."""

    table: AnyTable
    curve: str
    fitted: list[_Sample] = field(default_factory=list)
    launch_bound: list[_Sample] = field(default_factory=list)
    warm_up: int = 0


def fit_tables(
    tables: KernelTables, peaks: Peaks, peaks_source: str, *, data_source: str = DATA_SOURCE
) -> AnalyticFile:
    """Fit every curve of one GPU.

    Raises
    ------
    TableError
        If a family of tables is missing or leaves no row to fit.
    """
    if tables.gemm is None or not tables.prefill or not tables.decode:
        raise TableError(f"{tables.root}: fitting needs GEMM, prefill and decode tables of GPU '{tables.gpu}'")
    floor = launch_floor(tables.decode)
    samples = [
        _gemm_samples(tables, peaks),
        *_prefill_samples(tables, peaks),
        *_decode_samples(tables, peaks, floor),
    ]
    starts = {"gemm": GEMM_START, "prefill_attention": PREFILL_START}
    parameters: dict[str, tuple[float, ...]] = {}
    for curve in sorted({entry.curve for entry in samples}):
        rows = [sample for entry in samples if entry.curve == curve for sample in entry.fitted]
        if not rows:
            raise TableError(f"{tables.root}: no row is left to fit the curve '{curve}'")
        parameters[curve] = _best_parameters(rows, starts.get(curve, DECODE_START))
    sources = (data_source, peaks_source)
    return _file(tables, peaks, sources, floor.latency_us, samples, parameters)


def _gemm_samples(tables: KernelTables, peaks: Peaks) -> _TableSamples:
    assert tables.gemm is not None  # checked by the caller
    samples = _TableSamples(tables.gemm, "gemm")
    dtype = infer_convention(tables).gemm_dtype
    for row in tables.gemm.rows:

        def seconds(p: Sequence[float], sizes: tuple[int, int, int] = row.key) -> float:
            return curves.gemm_seconds(_gemm_curve(p), peaks, *sizes, dtype)

        samples.fitted.append(_Sample(seconds, row.latency_us * MICRO))
    return samples


def _prefill_samples(tables: KernelTables, peaks: Peaks) -> list[_TableSamples]:
    found = []
    for shape, table in tables.prefill.items():
        samples = _TableSamples(table, "prefill_attention")
        bound = launch_bound_prefill(shape, table)
        for row in table.rows:

            def seconds(p: Sequence[float], shape: AttentionShape = shape, length: int = row.seq_len) -> float:
                return curves.prefill_seconds(_prefill_curve(p), peaks, shape, 1, 0, length)

            group = samples.launch_bound if row.line in bound else samples.fitted
            group.append(_Sample(seconds, row.latency_us * MICRO))
        found.append(samples)
    return found


def _decode_samples(tables: KernelTables, peaks: Peaks, floor: LaunchFloor) -> list[_TableSamples]:
    found = []
    for (shape, tp), table in tables.decode.items():
        samples = _TableSamples(table, decode_kind(shape))
        bound, warm_up = launch_bound_decode(shape, tp, table, floor), warm_up_lines(shape, tp, table, floor)
        samples.warm_up = len(warm_up)
        for row in table.rows:
            if row.line not in warm_up:
                group = samples.launch_bound if row.line in bound else samples.fitted
                group.append(_decode_sample(row, shape, tp, peaks, floor.latency_us, eager=row.line in bound))
        found.append(samples)
    return found


def _decode_sample(
    row: DecodeRow, shape: AttentionShape, tp: int, peaks: Peaks, floor_us: float, *, eager: bool
) -> _Sample:
    tokens = row.batch_size * row.kv_len

    def seconds(p: Sequence[float]) -> float:
        return curves.decode_seconds(_decode_curve(p, floor_us), peaks, shape, tp, tokens, eager=eager)

    return _Sample(seconds, row.latency_us * MICRO)


def _gemm_curve(p: Sequence[float]) -> GemmCurve:
    return GemmCurve.model_construct(launch_us=p[0], bandwidth_efficiency=p[1], compute_efficiency=p[2], sharpness=p[3])


def _prefill_curve(p: Sequence[float]) -> PrefillCurve:
    return PrefillCurve.model_construct(fixed_us=p[0], compute_efficiency=p[1])


def _decode_curve(p: Sequence[float], floor_us: float) -> DecodeCurve:
    return DecodeCurve.model_construct(fixed_us=p[0], bandwidth_efficiency=p[1], launch_floor_us=floor_us)


def _best_parameters(samples: Sequence[_Sample], start: Sequence[float]) -> tuple[float, ...]:
    """Minimise over logarithms, so that parameters stay positive; round to the committed digits."""

    def objective(logarithms: tuple[float, ...]) -> float:
        parameters = [math.exp(x) for x in logarithms]
        return sum(abs(math.log(sample.seconds(parameters) / sample.measured)) for sample in samples)

    found = minimise(objective, [math.log(x) for x in start])
    return tuple(float(f"{math.exp(x):.{PARAMETER_DIGITS}g}") for x in found)


def minimise(objective: Objective, start: Sequence[float]) -> Point:
    """Return the best point that Nelder-Mead finds in three restarts with shrinking simplexes.

    Deterministic to the bit, and here so that no optimiser has to be a dependency. The objective may have
    kinks; it must be finite around the start.
    """
    best = tuple(start)
    for edge in EDGES:
        best = _descend(objective, best, edge)
    return best


def _descend(objective: Objective, start: Point, edge: float) -> Point:
    corners = [start] + [
        tuple(x + edge * (axis == place) for place, x in enumerate(start)) for axis in range(len(start))
    ]
    simplex = sorted((objective(corner), corner) for corner in corners)
    for _ in range(STEPS):
        if simplex[-1][0] - simplex[0][0] <= SPREAD * (1.0 + abs(simplex[0][0])):
            break
        simplex = sorted(_improved(objective, simplex))
    return simplex[0][1]


def _improved(objective: Objective, simplex: list[tuple[float, Point]]) -> list[tuple[float, Point]]:
    """Replace the worst corner by reflection, expansion or contraction, else shrink towards the best."""
    *kept, (worst_value, worst) = simplex
    centre = tuple(sum(xs) / len(kept) for xs in zip(*(point for _, point in kept), strict=True))

    def along(factor: float) -> tuple[float, Point]:
        point = tuple(c + factor * (c - w) for c, w in zip(centre, worst, strict=True))
        return objective(point), point

    reflected = along(1.0)
    if reflected[0] < simplex[0][0]:
        return [*kept, min(along(2.0), reflected)]
    if reflected[0] < kept[-1][0]:
        return [*kept, reflected]
    contracted = along(0.5 if reflected[0] < worst_value else -0.5)
    if contracted[0] < min(worst_value, reflected[0]):
        return [*kept, contracted]
    best = simplex[0][1]
    shrunk = [tuple(b + 0.5 * (x - b) for b, x in zip(best, point, strict=True)) for _, point in simplex[1:]]
    return [simplex[0], *((objective(point), point) for point in shrunk)]


def _file(
    tables: KernelTables,
    peaks: Peaks,
    sources: tuple[str, str],
    floor_us: float,
    samples: Sequence[_TableSamples],
    parameters: dict[str, tuple[float, ...]],
) -> AnalyticFile:
    gqa = parameters.get("decode_attention_gqa") or parameters["decode_attention_mha"]
    mha = parameters.get("decode_attention_mha") or gqa
    fitted = {
        "gemm": _gemm_curve(parameters["gemm"]),
        "prefill_attention": _prefill_curve(parameters["prefill_attention"]),
        "decode_attention_mha": _decode_curve(mha, floor_us),
        "decode_attention_gqa": _decode_curve(gqa, floor_us),
    }
    content = {
        "gpu": tables.gpu,
        "peaks": {
            "bf16_flops": peaks.bf16_flops,
            "fp8_flops": peaks.fp8_flops,
            "bandwidth_bytes_per_s": peaks.bandwidth,
            "source": sources[1],
        },
        "provenance": {
            "data": f"{sum(len(table.rows) for table in tables.tables())} timed rows; {sources[0]}",
            "tables_sha256": tables.sha256,
            "gemm_dtype": infer_convention(tables).gemm_dtype,
            "method": METHOD,
            "launch_floor_us": floor_us,
        },
        "curves": {name: curve.model_dump() for name, curve in fitted.items()},
        "spans": _spans(tables),
        "curve_fits": {
            curve: _errors([sample for entry in samples if entry.curve == curve for sample in entry.fitted], found)
            for curve, found in sorted(parameters.items())
        },
        "table_fits": tuple(_table_fit(entry, parameters[entry.curve]) for entry in samples),
    }
    return AnalyticFile.model_validate(content)


def _table_fit(entry: _TableSamples, parameters: Sequence[float]) -> dict[str, object]:
    return {
        "table": entry.table.path,
        "sha256": entry.table.sha256,
        "curve": entry.curve,
        "fitted": _errors(entry.fitted, parameters),
        "launch_bound": _errors(entry.launch_bound, parameters),
        "warm_up_rows": entry.warm_up,
    }


def _errors(samples: Sequence[_Sample], parameters: Sequence[float]) -> dict[str, float] | None:
    """Return median, 95th percentile (linear interpolation) and maximum of the relative error, percent."""
    if not samples:
        return None
    errors = sorted(100 * abs(sample.seconds(parameters) / sample.measured - 1) for sample in samples)
    return {
        "rows": len(errors),
        "median_pct": round(median(errors), ERROR_DECIMALS),
        "p95_pct": round(percentile(errors, 0.95), ERROR_DECIMALS),
        "max_pct": round(errors[-1], ERROR_DECIMALS),
    }


def _spans(tables: KernelTables) -> dict[str, dict[str, dict[str, int]]]:
    assert tables.gemm is not None  # checked by the caller
    decode = [row for table in tables.decode.values() for row in table.rows]
    return {
        "gemm": {axis: _span(getattr(row, axis) for row in tables.gemm.rows) for axis in ("m", "k", "n")},
        "prefill_attention": {"seq_len": _span(row.seq_len for table in tables.prefill.values() for row in table.rows)},
        "decode_attention": {axis: _span(getattr(row, axis) for row in decode) for axis in ("batch_size", "kv_len")},
    }


def _span(sizes: Iterable[int]) -> dict[str, int]:
    known = sorted(sizes)
    return {"low": known[0], "high": known[-1]}


def render_file(fit: AnalyticFile) -> str:
    """Return the YAML text of a fit, with a comment that says how to make it again."""
    import yaml

    head = (
        "# Efficiency curves of GPU kernels. Generated by `python -m simulator.kernels.fit TABLES OUT`;\n"
        "# formulas and meaning of the parameters: simulator/kernels/curves.py. Errors are percent of latency.\n"
    )
    return head + yaml.safe_dump(fit.model_dump(mode="json"), sort_keys=False, width=120)


def _peaks(path: Path | None) -> tuple[Peaks, str]:
    if path is None:
        return H100_PEAKS, H100_PEAKS_SOURCE
    hardware = load_hardware(path)
    return peaks_of(hardware), f"data sheet of {hardware.name}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m simulator.kernels.fit", description="Fit efficiency curves to kernel tables."
    )
    parser.add_argument("tables", type=Path, help="folder with gemm/<gpu> and mha/{prefill,decode}/<gpu>")
    parser.add_argument("out", type=Path, help="YAML file to write, for instance configs/kernels/h100/analytic.yaml")
    parser.add_argument("--gpu", help="name of the GPU folders, where there are several")
    parser.add_argument("--hardware", type=Path, help="GPU description with the peaks (default: those of H100 SXM)")
    parser.add_argument("--source", default=DATA_SOURCE, help="where the tables come from, for the record")
    options = parser.parse_args(arguments)
    try:
        tables = load_tables(options.tables, options.gpu)
        peaks, peaks_source = _peaks(options.hardware)
        fit = fit_tables(tables, peaks, peaks_source, data_source=options.source)
    except RooflineLabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(render_file(fit), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
