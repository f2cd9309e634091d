"""The measuring script: its plan without PyTorch, and a tiny CPU run where PyTorch is installed."""

from __future__ import annotations

import importlib.util
import json
import math
import sys

import pytest

from simulator.kernels.audit import audit_tables
from simulator.kernels.conventions import CAUSAL_HALF, ONE_GPU
from tests.paths import ROOT

SCRIPT = ROOT / "benchmarks" / "measure_kernels.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("measure_kernels", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


LLAMA_8B = {
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}


def test_the_plan_holds_every_weight_shape_whole_and_sharded(script):
    shapes = set(script.gemm_shapes(LLAMA_8B, (1, 2)))
    assert {(4096, 4096), (4096, 1024), (4096, 6144), (4096, 14336), (14336, 4096), (4096, 128256)} <= shapes
    assert {(4096, 2048), (2048, 4096), (4096, 7168), (7168, 4096), (4096, 3072)} <= shapes


def test_a_tp_degree_that_does_not_divide_the_heads_is_left_out(script):
    qwen = LLAMA_8B | {"num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584}
    assert list(script.gemm_shapes(qwen, (8,))) == []


def test_the_head_dimension_comes_from_the_description_where_it_is_given(script):
    assert script.attention_shape(LLAMA_8B) == (32, 8, 128)
    assert script.attention_shape(LLAMA_8B | {"hidden_size": 5120, "head_dim": 128}) == (32, 8, 128)


def test_the_plan_of_the_shipped_models_has_their_attention_shapes(script):
    plan = script.make_plan(script.read_models(ROOT / "configs" / "models"), tiny=False)
    assert {(32, 32, 128), (64, 8, 128), (28, 4, 128)} <= set(plan.attention)
    assert len(plan.gemm) == len(set(plan.gemm))


@pytest.mark.parametrize(
    ("size", "cache", "free", "copies"),
    [(10, 100, math.inf, 20), (1000, 100, math.inf, 1), (10, 100, 55, 5), (10, 100, 5, 0), (1, 10**9, math.inf, 256)],
)
def test_inputs_rotate_through_twice_the_cache_within_memory(script, size, cache, free, copies):
    assert script.copies_needed(size, cache, free) == copies


def test_tables_are_never_written_over_others(script, tmp_path):
    (tmp_path / "precious.csv").touch()
    with pytest.raises(SystemExit, match="is not empty"):
        script.main(["--out", str(tmp_path), "--gpu", "cpu", "--peak-tflops", "1"])


def test_a_peak_of_nothing_is_refused(script, tmp_path):
    with pytest.raises(SystemExit, match="above 0"):
        script.main(["--out", str(tmp_path / "new"), "--gpu", "cpu", "--peak-tflops", "nan"])


def test_a_tiny_cpu_run_writes_tables_that_pass_the_audit(script, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed; the measuring script cannot be run")
    out = tmp_path / "measured"
    arguments = [
        "--out",
        str(out),
        "--gpu",
        "cpu",
        "--peak-tflops",
        "0.01",
        "--device",
        "cpu",
        "--tiny",
    ]
    assert script.main(arguments) == 0
    report = audit_tables(out)
    assert [family.rows for family in report.families] == [4, 4, 16]
    for family in report.families:
        assert family.count("disagreeing") == 0
    low_high = [(f.denominator.chosen.low_tflops, f.denominator.chosen.high_tflops) for f in report.families]
    assert all(low <= 0.01 <= high for low, high in low_high[:1])
    assert report.family("prefill_attention").denominator.chosen.counting == CAUSAL_HALF
    assert report.family("decode_attention").denominator.chosen.counting == ONE_GPU
    notes = json.loads((out / "metadata.json").read_text())
    assert notes["timer"] == "wall time on the CPU"
    assert notes["decode_kernel"].startswith("scaled_dot_product_attention")
    assert notes["peak_tflops"] == 0.01
