"""Bounds that hold for any honest step time, whatever the calibration."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.kernels.analytic import load_analytic
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.observers import PeakObserver
from tests.simulator.steptime.support import H100, LLAMA_70B, model, step_time

lengths = st.integers(0, 20_000)
chunks = st.lists(st.tuples(lengths, st.integers(1, 4000)), max_size=3).map(tuple)
decodes = st.lists(lengths, max_size=40).map(tuple)
busy_batches = st.builds(Batch, chunks, decodes).filter(lambda batch: batch.prefill or batch.decode)

HONEST = {
    "constant_max": {},
    "constant_sum": {"phase_combination": "sum"},
    "constant_additive": {"phase_combination": "additive"},
    "components": {"per_component_roofline": True},
    "sustained": {"bandwidth_efficiency": 0.82},
    "lm_head": {"lm_head": True},
}


IN_SECONDS = {"mfu": {"kind": "kernels"}}
EMBEDDED = {
    "embedded_max": IN_SECONDS,
    "embedded_additive": {**IN_SECONDS, "phase_combination": "additive"},
    "embedded_sharded": {**IN_SECONDS, "tensor_parallel_gemm": "split_shape", "all_reduce_us": 10.0},
}


@pytest.fixture(scope="module")
def embedded(project_root: Path):
    return load_analytic(project_root / "configs" / "kernels" / "h100" / "analytic.yaml")


def price(built, batch: Batch) -> int:
    return built.step_time_us(BatchSums.of(batch, built.kv_breakpoints))


@pytest.mark.parametrize("name", HONEST)
@settings(max_examples=40, deadline=None)
@given(batch=busy_batches, tp=st.sampled_from([1, 2, 4, 8]))
def test_no_step_is_faster_than_loading_the_weights_at_peak_bandwidth(name, batch, tp):
    weights = 80 * 2 * (8192 * (8192 + 2 * 1024) + 8192 * 8192 + 3 * 8192 * 28672)
    floor_us = weights / tp / H100.peak_bandwidth * 1e6
    assert price(step_time(HONEST[name], of=LLAMA_70B, tp=tp), batch) >= floor_us - 0.5


@pytest.mark.parametrize("name", HONEST)
@settings(max_examples=40, deadline=None)
@given(batch=busy_batches, tp=st.sampled_from([1, 2, 4, 8]))
def test_no_step_is_faster_than_its_flops_at_peak(name, batch, tp):
    tokens = len(batch.decode) + sum(new for _, new in batch.prefill)
    per_token = 2 * 80 * (8192 * (8192 + 2 * 1024) + 8192 * 8192 + 3 * 8192 * 28672)
    context = sum(batch.decode) + sum(new * (past + new / 2) for past, new in batch.prefill)
    floor_us = (tokens * per_token + 4 * 8192 * 80 * context) / tp / H100.peak_flops * 1e6
    assert price(step_time(HONEST[name], of=LLAMA_70B, tp=tp), batch) >= floor_us - 0.5


def test_a_70b_model_decoding_one_long_context_on_four_gpus_is_memory_bound():
    cost = step_time({}, of=LLAMA_70B, tp=4).explain(Batch(decode=(8192,)))
    assert cost.decode.bottleneck == "memory"
    assert cost.bottleneck == "decode memory"
    assert cost.decode.weight_bytes > 100 * cost.decode.kv_bytes / 8


def test_a_long_prompt_is_compute_bound_and_takes_tens_of_milliseconds():
    llama_7b = model(
        hidden_size=4096,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        intermediate_size=11008,
    )
    cost = step_time({}, of=llama_7b).explain(Batch(((0, 2048),)))
    assert cost.prefill.bottleneck == "gemm"
    assert 30_000 < cost.total_us < 60_000


@settings(max_examples=60, deadline=None)
@given(batch=busy_batches, name=st.sampled_from(["constant_max", "constant_additive", "components"]))
def test_more_tokens_or_longer_contexts_never_make_a_step_cheaper(batch, name):
    built = step_time(HONEST[name], of=LLAMA_70B, tp=4)
    us = price(built, batch)
    longer = Batch(tuple((past + 100, new) for past, new in batch.prefill), tuple(past + 100 for past in batch.decode))
    wider = Batch((*batch.prefill, (0, 64)), (*batch.decode, 500))
    assert price(built, longer) >= us
    assert price(built, wider) >= us


@settings(max_examples=60, deadline=None)
@given(batch=busy_batches, tp=st.sampled_from([1, 2, 4, 8]))
def test_the_peak_observer_sees_no_rate_above_the_peak_in_an_honest_model(batch, tp):
    observer = PeakObserver(step_time({"phase_combination": "additive"}, of=LLAMA_70B, tp=tp))
    assert observer.step_time_us(BatchSums.of(batch)) == price(observer.step_time, batch)
    assert 0 < observer.compute_share <= 0.65 + 1e-9
    assert 0 < observer.bandwidth_share <= 1


def test_the_peak_observer_exposes_a_prefill_without_its_compute_term():
    observer = PeakObserver(step_time({"compute_term": False}, of=LLAMA_70B, tp=4))
    observer.step_time_us(BatchSums.of(Batch(((0, 2048),))))
    assert observer.compute_share > 3
    highest = observer.compute_share
    observer.step_time_us(BatchSums.of(Batch(decode=(10,))))
    assert observer.compute_share == highest


def test_the_peak_observer_is_the_step_time_it_observes():
    built = step_time({})
    observer = PeakObserver(built)
    batch = Batch(((0, 100),), (5, 6))
    assert observer.explain(batch) == built.explain(batch)
    assert observer.kv_breakpoints == built.kv_breakpoints
    assert observer.compute_share == 0.0


@pytest.mark.parametrize("name", EMBEDDED)
@settings(max_examples=60, deadline=None)
@given(batch=busy_batches, tp=st.sampled_from([1, 2, 4]))
def test_more_tokens_or_longer_contexts_never_make_a_step_cheaper_with_the_embedded_kernels(name, embedded, batch, tp):
    built = step_time(EMBEDDED[name], of=LLAMA_70B, tp=tp, kernels=embedded)
    us = price(built, batch)
    longer = Batch(tuple((past + 100, new) for past, new in batch.prefill), tuple(past + 100 for past in batch.decode))
    wider = Batch(tuple((past, new + 50) for past, new in batch.prefill), (*batch.decode, 500))
    assert price(built, longer) >= us
    assert price(built, wider) >= us


@pytest.mark.parametrize("name", EMBEDDED)
@settings(max_examples=60, deadline=None)
@given(batch=busy_batches, tp=st.sampled_from([1, 2, 4]))
def test_the_embedded_kernels_imply_no_rate_above_the_peak(name, embedded, batch, tp):
    observer = PeakObserver(step_time(EMBEDDED[name], of=LLAMA_70B, tp=tp, kernels=embedded))
    observer.step_time_us(BatchSums.of(batch))
    additive = name == "embedded_additive" or not (batch.prefill and batch.decode)
    assert observer.compute_share <= 1
    assert observer.bandwidth_share <= 1 or not additive


def test_a_70b_model_decoding_one_long_context_waits_for_memory_with_the_embedded_kernels(embedded):
    cost = step_time(IN_SECONDS, of=LLAMA_70B, tp=4, kernels=embedded).explain(Batch(decode=(8192,)))
    weights_s = cost.decode.weight_bytes / H100.peak_bandwidth
    assert cost.decode.gemm_s < 2 * weights_s
    assert weights_s < cost.decode.seconds < 2.5 * weights_s
