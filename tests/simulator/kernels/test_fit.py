"""The fit: bounds its committed errors keep, that it repeats exactly, and the minimiser under it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from simulator.errors import TableError
from simulator.kernels.analytic import AnalyticFile, load_analytic
from simulator.kernels.audit import launch_bound_decode, launch_bound_prefill, launch_floor, warm_up_lines
from simulator.kernels.base import AttentionShape
from simulator.kernels.conventions import gemm_row_flops
from simulator.kernels.fit import H100_PEAKS, H100_PEAKS_SOURCE, fit_tables, main, minimise
from simulator.kernels.tables import DecodeRow, GemmRow, PrefillRow, Table, load_tables
from simulator.kernels.tabulated import tabulate, write_tables
from simulator.validation import parse, read_yaml
from tests.paths import ROOT
from tests.simulator.kernels.folder import write_folder

FIT = ROOT / "configs" / "kernels" / "h100" / "analytic.yaml"
COMMITTED: AnalyticFile = parse(AnalyticFile, read_yaml(FIT), source="analytic.yaml")

# Percent of latency, and parameters per curve: what the curves promise.
MEDIAN_BOUND = 3.0
P95_BOUND = 12.0
PARAMETER_BOUND = 4


@pytest.mark.parametrize("curve", sorted(COMMITTED.curve_fits))
def test_every_curve_keeps_its_error_bounds(curve):
    assert COMMITTED.curve_fits[curve].median_pct <= MEDIAN_BOUND
    assert COMMITTED.curve_fits[curve].p95_pct <= P95_BOUND


@pytest.mark.parametrize("fit", COMMITTED.table_fits, ids=lambda fit: fit.table)
def test_every_table_keeps_the_error_bounds_too(fit):
    assert fit.fitted.median_pct <= MEDIAN_BOUND
    assert fit.fitted.p95_pct <= P95_BOUND


def test_no_curve_has_more_than_four_parameters():
    for name in type(COMMITTED.curves).model_fields:
        assert len(type(getattr(COMMITTED.curves, name)).model_fields) <= PARAMETER_BOUND


def test_every_row_is_either_fitted_or_reported_apart():
    counted = sum(
        fit.fitted.rows + (fit.launch_bound.rows if fit.launch_bound else 0) + fit.warm_up_rows
        for fit in COMMITTED.table_fits
    )
    assert counted == 897
    assert sum(fit.warm_up_rows for fit in COMMITTED.table_fits) == 18


def test_the_committed_file_is_what_the_reference_tables_give(shared_dir):
    again = fit_tables(load_tables(shared_dir / "bench_data"), H100_PEAKS, H100_PEAKS_SOURCE)
    for name, curve in again.curves.model_dump().items():
        assert curve == pytest.approx(getattr(COMMITTED.curves, name).model_dump(), rel=1e-3)
    assert again.provenance == COMMITTED.provenance
    assert again.curve_fits.keys() == COMMITTED.curve_fits.keys()
    for new, old in zip(again.table_fits, COMMITTED.table_fits, strict=True):
        assert (new.table, new.sha256, new.curve, new.fitted.rows) == (
            old.table,
            old.sha256,
            old.curve,
            old.fitted.rows,
        )
        assert new.fitted.model_dump() == pytest.approx(old.fitted.model_dump(), abs=0.1)


def test_the_fit_recovers_the_curves_its_tables_were_sampled_from():
    kernels = load_analytic(FIT)
    again = fit_tables(tabulate(kernels), H100_PEAKS, H100_PEAKS_SOURCE)
    assert again.curves.gemm.model_dump() == pytest.approx(kernels.curves.gemm.model_dump(), rel=0.01)
    assert again.curves.prefill_attention.model_dump() == pytest.approx(
        kernels.curves.prefill_attention.model_dump(), rel=0.01
    )
    assert again.curves.decode_attention_gqa.model_dump() == pytest.approx(
        kernels.curves.decode_attention_gqa.model_dump(), rel=0.01
    )


def test_the_command_writes_a_file_that_loads_and_repeats_byte_for_byte(tmp_path):
    write_tables(tabulate(load_analytic(FIT)), tmp_path / "tables")
    assert main([str(tmp_path / "tables"), str(tmp_path / "a" / "fit.yaml"), "--source", "a test"]) == 0
    assert main([str(tmp_path / "tables"), str(tmp_path / "b.yaml"), "--source", "a test"]) == 0
    assert (tmp_path / "a" / "fit.yaml").read_bytes() == (tmp_path / "b.yaml").read_bytes()
    assert load_analytic(tmp_path / "b.yaml").fit.provenance.data.endswith("a test")


def test_bf16_tables_are_fitted_as_bf16_on_the_peaks_of_their_gpu(tmp_path):
    kernels = load_analytic(FIT)
    sampled = tabulate(kernels)
    rows = []
    for row in sampled.gemm.rows:
        latency_us = kernels.gemm_seconds(*row.key) * 1e6
        rows.append(GemmRow(*row.key, latency_us, round(gemm_row_flops(row) / (latency_us * 989.5e6), 6), row.line))
    tables = replace(sampled, gemm=replace(sampled.gemm, rows=tuple(rows)))
    write_tables(tables, tmp_path / "tables")
    hardware = ROOT / "configs" / "hardware" / "h100-sxm.yaml"
    assert main([str(tmp_path / "tables"), str(tmp_path / "fit.yaml"), "--hardware", str(hardware)]) == 0
    again = load_analytic(tmp_path / "fit.yaml")
    assert again.fit.provenance.gemm_dtype == "bf16"
    assert again.curves.gemm.model_dump() == pytest.approx(kernels.curves.gemm.model_dump(), rel=0.01)


def test_the_command_reports_bad_tables_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path / "out.yaml")]) == 1
    assert "has no kernel tables" in capsys.readouterr().err
    assert not (tmp_path / "out.yaml").exists()


def test_fitting_needs_all_three_families(tmp_path):
    folder = write_folder(tmp_path)
    (folder / "gemm/toy/data.csv").unlink()
    with pytest.raises(TableError, match="fitting needs GEMM, prefill and decode"):
        fit_tables(load_tables(folder), H100_PEAKS, H100_PEAKS_SOURCE)


def test_the_minimiser_finds_smooth_and_kinked_minima_and_repeats():
    def bowl(p):
        return (p[0] - 1.5) ** 2 + 10 * (p[1] + 2.0) ** 2

    def kinked(p):
        return abs(p[0] - 1.5) + 3 * abs(p[0] + p[1])

    assert minimise(bowl, (0.0, 0.0)) == pytest.approx((1.5, -2.0), abs=1e-4)
    assert minimise(kinked, (0.0, 0.0)) == pytest.approx((1.5, -1.5), abs=1e-3)
    assert minimise(kinked, (0.0, 0.0)) == minimise(kinked, (0.0, 0.0))


# Row classes -------------------------------------------------------------------------------------

SHAPE = AttentionShape(32, 8, 128)


def _decode(*cells):
    return Table(
        "d.csv",
        "0",
        tuple(DecodeRow("bf16", "bf16", b, kv, us, 0.1, line) for line, (b, kv, us) in enumerate(cells, 2)),
    )


def test_a_slow_first_row_with_little_kv_is_a_warm_up_and_short_rows_are_launch_bound():
    table = _decode((1, 1024, 38.0), (1, 4096, 23.0), (1, 8192, 24.0), (16, 1024, 36.0), (16, 8192, 182.0))
    floor = launch_floor({(SHAPE, 1): table})
    assert floor.latency_us == 23.0
    assert warm_up_lines(SHAPE, 1, table, floor) == {2}
    assert launch_bound_decode(SHAPE, 1, table, floor) == {3, 4, 5}


def test_a_first_row_on_the_floor_or_with_much_kv_is_no_warm_up():
    on_floor = _decode((1, 1024, 24.0), (1, 4096, 23.0))
    big = _decode((512, 8192, 5452.0), (1, 4096, 23.0))
    for table in (on_floor, big):
        assert warm_up_lines(SHAPE, 1, table, launch_floor({(SHAPE, 1): table})) == frozenset()


def test_prefill_rows_far_below_the_best_efficiency_are_launch_bound():
    rows = tuple(
        PrefillRow("bf16", s, us, 0.1, line)
        for line, (s, us) in enumerate([(1024, 38.0), (4096, 217.0), (8192, 760.0)], 2)
    )
    assert launch_bound_prefill(SHAPE, Table("p.csv", "0", rows)) == {2}


def test_classes_are_empty_without_tables():
    assert launch_floor({}).latency_us == 0.0
    assert math.isfinite(launch_floor({}).kv_bytes)
