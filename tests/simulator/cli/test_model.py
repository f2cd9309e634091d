"""`model`: what a model weighs on each GPU, without a run."""

from __future__ import annotations

import pytest

from tests.simulator.cli.support import SMALL, invoke, refused

GIB = 2**30


def test_counts_bytes_and_memory_of_a_model_are_printed():
    report = invoke("model", "deepseek-r1", "--tp", 8, "--hardware", "h200-sxm").json
    assert (report["model"], report["weights"], report["hardware"]) == ("deepseek-r1", "fp8", "h200-sxm")
    assert (round(report["parameters"] / 1e9), round(report["active_parameters"] / 1e9, 1)) == (671, 36.6)
    assert report["weight_bytes_per_gpu"] / GIB == pytest.approx(79.27, abs=0.05)
    assert report["kv_bytes_per_token"] == report["kv_bytes_per_token_per_gpu"] == 61 * 576 * 2
    assert report["memory"]["weights_gib"] == pytest.approx(79.27, abs=0.05)
    assert report["memory"]["kv_blocks"] > 0


def test_without_a_gpu_nothing_is_said_of_memory_and_bytes_follow_from_the_spread():
    whole, split = (invoke("model", "qwen3-30b-a3b", *flags).json for flags in ([], ["--tp", 8]))
    assert "memory" not in whole
    assert whole["kv_bytes_per_token_per_gpu"] == whole["kv_bytes_per_token"]
    # Four KV heads over eight GPUs are held twice each.
    assert split["kv_bytes_per_token_per_gpu"] == whole["kv_bytes_per_token"] / 4
    grouped = invoke("model", "qwen3-30b-a3b", "--attention-data-parallel", 8, "--ep").json
    assert split["weight_bytes_per_gpu"] < grouped["weight_bytes_per_gpu"] < whole["weight_bytes_per_gpu"]


def test_a_run_counts_as_the_model_command_does():
    run, model = invoke(*SMALL).json["memory"], invoke("model", "llama-2-7b-hf").json
    for name in ("parameters", "active_parameters", "weight_bytes_per_gpu", "kv_bytes_per_token"):
        assert run[name] == model[name]


def test_an_eight_bit_cache_takes_half():
    wide, narrow = (invoke("model", "llama-3.1-8b", *flags).json for flags in ([], ["--kv-cache-dtype", "fp8"]))
    assert narrow["kv_bytes_per_token"] * 2 == wide["kv_bytes_per_token"]


def test_all_that_keeps_a_model_from_its_gpus_is_told_at_once():
    said = refused("model", "deepseek-r1", "--tp", 3, "--hardware", "h100-sxm")
    for reason in ("not divisible by tensor_parallel 3", "no room for a KV cache"):
        assert reason in said
    assert "links of l40s join 8" in refused("model", "qwen3-8b", "--tp", 16, "--hardware", "l40s")
