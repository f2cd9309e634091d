"""Step times that the synthetic hypotheses published, each from the variant it needs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from simulator.hardware import Hardware
from simulator.kernels.measured import MeasuredKernels
from simulator.kernels.tables import load_tables
from simulator.model_files import load_model
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import build_step_time
from simulator.steptime.options import parse_options

# The synthetic hypotheses ran with this peak (TFLOPS), the recorded runs with 989.5.
SYNTHETIC_PEAK = Hardware.from_peaks(989.0, 3.35, source="synthetic hypotheses")

EARLY_ERA = {
    "family": "mfu_roofline",
    "mfu": {"kind": "kernels", "style": "mfu"},
    "prefill_mfu_at": "bucket",
    "prefill_context": "bucket",
    "prefill_gemm": "per_bucket",
    "causal_divisor": 1.8,
}
EFFICIENT = {"bandwidth_efficiency": 0.82, "overhead": {"kind": "per_layer_over_tp", "us": 100.0}}
FINAL_ERA = {
    **EARLY_ERA,
    **EFFICIENT,
    "prefill_context": "actual",
    "gemm_memory_floor": True,
    "decode_attention": "flops_weighted",
}
CONFIG_OF = {
    "llama-2-7b": "llama-2-7b-hf",
    "llama-2-70b": "llama-2-70b-hf",
    "codellama-34b": "codellama-34b-instruct-hf",
    "qwen2.5-7b": "qwen2.5-7b-instruct",
}


@pytest.fixture(scope="module")
def price(shared_dir: Path, project_root: Path):
    kernels = MeasuredKernels(load_tables(shared_dir / "bench_data"), "interpolated")

    def priced(options: dict, batch: Batch, *, tp: int = 1, model: str = "llama-3.1-8b") -> int:
        config = project_root / "configs" / "models" / f"{CONFIG_OF.get(model, model)}.json"
        parsed = parse_options(options, source="variant")
        built = build_step_time(parsed, load_model(config), SYNTHETIC_PEAK, tp, kernels)
        return built.step_time_us(BatchSums.of(batch, built.kv_breakpoints))

    return priced


def rows(shared_dir: Path, name: str) -> list[dict[str, str]]:
    with (shared_dir / "published" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split())


def test_mixed_batches_cost_the_published_maximum_and_weighted_average(shared_dir, price):
    options = {**EARLY_ERA, **EFFICIENT, "decode_attention": "max_kv"}
    for row in rows(shared_dir, "extra_h7_cases.csv"):
        tp = int(row["tp"])
        chunks, decode = tuple((0, new) for new in numbers(row["prefill_tokens"])), numbers(row["decode_kv"])
        expected = {
            ("max", Batch(chunks)): row["prefill_only_us"],
            ("max", Batch((), decode)): row["decode_only_us"],
            ("max", Batch(chunks, decode)): row["max_us"],
            ("weighted_average", Batch(chunks, decode)): row["wa_us"],
        }
        for (rule, batch), published in expected.items():
            assert price({**options, "phase_combination": rule}, batch, tp=tp) == int(published), row["case"]


def test_decode_attention_at_the_longest_kv_costs_what_was_published(shared_dir, price):
    for row in rows(shared_dir, "extra_h8_steps.csv"):
        size = int(row["batch_size"])
        longest = 4096 if row["batch"] == "heterogeneous" else 64
        batch = Batch(decode=(longest, *[64] * (size - 1)))
        variants = {"max_kv": row["refmodel_maxkv_us"], "sum_at_max_kv": row["refmodel_sumflops_us"]}
        for rule, expected in variants.items():
            assert price({**EARLY_ERA, **EFFICIENT, "decode_attention": rule}, batch) == int(expected)


def test_prefill_context_by_bucket_or_by_length_costs_what_was_published(shared_dir, price):
    for row in rows(shared_dir, "extra_h9_sweep.csv"):
        batch = Batch(((0, int(row["seq_len"])),))
        for context, column in (("bucket", "refmodel_bucketed_us"), ("actual", "refmodel_actual_len_us")):
            assert price({**EARLY_ERA, "prefill_context": context}, batch) == int(row[column]), row["seq_len"]


def test_decode_steps_under_the_activation_discount_cost_what_was_published(shared_dir, price):
    options = {**EARLY_ERA, **EFFICIENT, "decode_attention": "sum_at_max_kv"}
    for row in rows(shared_dir, "extra_h12_steps.csv"):
        batch = Batch(decode=(int(row["kv"]),) * int(row["bs"]))
        assert price(options, batch) == int(row["published_us"])


def test_the_lm_head_adds_what_the_reference_says(shared_dir, price):
    for row in rows(shared_dir, "extra_h15_reference_unpublished.csv"):
        size, kv, tp = (int(part.lstrip("bskvtp")) for part in row["scenario"].split("-"))
        batch = Batch(decode=(kv,) * size)
        for head, column in ((False, "baseline_us"), (True, "with_lm_head_us")):
            us = price({**FINAL_ERA, "lm_head": head}, batch, tp=tp, model=row["model"])
            assert us == pytest.approx(float(row[column]), abs=0.56), row


@pytest.mark.parametrize(
    ("scenario", "decode"),
    [
        ("homo_4x128", (128,) * 4),
        ("homo_4x1024", (1024,) * 4),
        ("homo_4x4096", (4096,) * 4),
        ("pathological_1long_7short", (8192, *[128] * 7)),
        ("pathological_1long_15short", (8192, *[128] * 15)),
    ],
)
def test_one_mfu_for_the_batch_against_one_per_request_gives_the_published_ratio(
    shared_dir, project_root, scenario, decode
):
    kernels = MeasuredKernels(load_tables(shared_dir / "bench_data"), "interpolated")
    model = load_model(project_root / "configs" / "models" / "llama-3.1-8b.json")
    seconds = {}
    for rule in ("sum_at_max_kv", "per_request"):
        options = parse_options({**EARLY_ERA, **EFFICIENT, "decode_attention": rule}, source="variant")
        cost = build_step_time(options, model, SYNTHETIC_PEAK, 1, kernels).explain(Batch(decode=decode))
        seconds[rule] = cost.decode.attention_s
    published = {row["scenario"]: float(row["ratio"]) for row in rows(shared_dir, "extra_h10_ratios.csv")}
    assert seconds["sum_at_max_kv"] / seconds["per_request"] == pytest.approx(published[scenario], abs=1e-6)
