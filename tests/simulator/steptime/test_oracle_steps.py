"""Every recorded step of the upstream program, repriced: same microseconds, same components."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

import pytest

from simulator.hardware import Hardware
from simulator.kernels.measured import MeasuredKernels
from simulator.kernels.tables import load_tables
from simulator.model_files import load_model
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import build_step_time
from simulator.steptime.options import upstream_options

CLOSE = 1e-9


@pytest.fixture(scope="module")
def records(shared_dir: Path) -> list[dict]:
    with gzip.open(shared_dir / "oracle" / "step_times.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def build(shared_dir: Path, project_root: Path):
    kernels = MeasuredKernels(load_tables(shared_dir / "bench_data"), "interpolated")

    @cache
    def built(model: str, tp: int, tflops: float, bandwidth: float, efficiency: float, overhead: float):
        return build_step_time(
            upstream_options(efficiency or None, overhead),
            load_model(project_root / "configs" / "models" / f"{model}.json"),
            Hardware.from_peaks(tflops, bandwidth, source="recorded step"),
            tp,
            kernels,
        )

    def of(record: dict):
        keys = ("model", "tp", "tflops_peak", "bw_peak_tbs", "bw_eff", "per_layer_overhead")
        return built(*(record[key] for key in keys))

    return of


def batch_of(record: dict) -> Batch:
    return Batch(
        prefill=tuple((past, new) for past, new in record["prefill"]),
        decode=tuple(past for past, _ in record["decode"]),
    )


def test_every_recorded_step_costs_the_recorded_microseconds(records, build):
    wrong = []
    for record in records:
        step_time, batch = build(record), batch_of(record)
        priced = step_time.step_time_us(BatchSums.of(batch, step_time.kv_breakpoints))
        if priced != record["step_us"]:
            wrong.append((record["case"], record["model"], record["tp"], priced, record["step_us"]))
    assert len(records) > 2000
    assert not wrong


def test_every_recorded_component_is_explained_to_nine_digits(records, build):
    for record in records:
        cost = build(record).explain(batch_of(record))
        decode, prefill = cost.decode, cost.prefill
        explained = {
            "unrounded_us": cost.unrounded_us,
            "overhead_us": cost.overhead_us,
            "decode_gemm_s": decode.gemm_s if decode else 0.0,
            "decode_attn_s": decode.attention_s if decode else 0.0,
            "decode_compute_s": decode.compute_s if decode else 0.0,
            "decode_memory_s": decode.memory_s if decode else 0.0,
            "prefill_compute_s": prefill.compute_s if prefill else 0.0,
            "prefill_memory_s": prefill.memory_s if prefill else 0.0,
        }
        recorded = {key: record[key] for key in explained}
        assert cost.total_us == record["step_us"]
        assert explained == pytest.approx(recorded, rel=CLOSE), record["case"]


def test_every_recorded_prefill_bucket_is_explained_to_nine_digits(records, build):
    seen = 0
    for record in (r for r in records if r["prefill"]):
        buckets = build(record).explain(batch_of(record)).prefill.buckets
        explained = [(b.bucket_tokens, b.new_tokens, b.gemm_s, b.attention_s, b.attention_mfu) for b in buckets]
        keys = ("bucket", "tokens", "gemm_s", "attn_s", "attn_mfu")
        recorded = [tuple(b[key] for key in keys) for b in record["prefill_buckets"]]
        assert len(explained) == len(recorded)
        for ours, theirs in zip(explained, recorded, strict=True):
            assert ours == pytest.approx(theirs, rel=CLOSE)
        seen += len(buckets)
    assert seen > 1000
