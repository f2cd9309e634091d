"""No step is faster than its GPU's peaks without being noticed, however the engine asks for its duration."""

from __future__ import annotations

import pytest

from simulator.hardware import Hardware, load_hardware, with_sustained
from simulator.kernels.analytic import load_analytic
from simulator.model_files import load_model
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import build_step_time
from simulator.steptime.kernel_choice import choose_kernels
from simulator.steptime.named import roofline
from simulator.steptime.options import parse_options
from simulator.steptime.roofline_check import RooflineObserver
from tests.paths import ROOT
from tests.simulator.steptime.support import H100, LINKED, LLAMA_70B, BentKernels, model, step_time

CONFIGS = ROOT / "configs"
MIXTURE = model(num_local_experts=8, num_experts_per_tok=2)
BATCHES = [
    Batch(((0, 2000),)),
    Batch(decode=(100, 4000, 90)),
    Batch(((500, 300), (0, 7)), (1000,) * 20),
    Batch(decode=(7,)),
]


def observed(options=None, *, of=None, tp=1, on=LINKED):
    shape = of or model()
    built = step_time({"family": "calibrated_physics", **(options or {})}, of=shape, tp=tp, on=on)
    return RooflineObserver(built, shape, on, tp)


@pytest.mark.parametrize("of", [model(), MIXTURE, LLAMA_70B, model(quantization="fp8")])
@pytest.mark.parametrize("tp", [1, 2, 8])
def test_a_model_at_the_peaks_is_at_its_bound_and_never_beyond(of, tp):
    on = LINKED if of.quantization is None else LINKED.model_copy(update={"dense_fp8_tflops": LINKED.dense_bf16_tflops})
    watched = observed(of=of, tp=tp, on=on)
    for batch in BATCHES:
        watched.step_time_us(BatchSums.of(batch))
    assert watched.fastest >= 1
    assert watched.compute_share <= 1
    assert watched.bandwidth_share <= 1


def test_a_long_decode_at_the_peaks_is_exactly_its_bound():
    watched = observed({"corner_sharpness": 100.0}, of=LLAMA_70B)
    watched.step_time_us(BatchSums.of(Batch(decode=(4000,) * 32)))
    assert watched.fastest == pytest.approx(1, abs=1e-3)
    assert watched.fastest_batch == (0, 32, 32 * 4000)
    assert watched.total_us / watched.bound_us == pytest.approx(1, abs=1e-3)


def test_what_is_faster_than_the_peaks_is_noticed_by_every_way_to_ask():
    slow = Hardware.from_peaks(100.0, 0.3, source="slow GPU")
    options = {"family": "mfu_roofline", "mfu": {"kind": "constant", "prefill": 1.0, "decode": 1.0}}
    fast = step_time(options, of=LLAMA_70B, on=H100)

    def watcher():
        return RooflineObserver(fast, LLAMA_70B, slow, 1)

    by_sums, together, alone = watcher(), watcher(), watcher()
    by_sums.step_time_us(BatchSums.of(Batch(decode=(50,) * 4)))
    together.decode_times_us(BatchSums.of(Batch(decode=(50,) * 4)), 1, 1)
    alone.lone_decode_times_us([50])
    assert by_sums.fastest == pytest.approx(together.fastest)
    assert {watched.fastest < 0.5 for watched in (by_sums, together, alone)} == {True}


def test_discounts_of_a_model_do_not_lower_the_bound():
    """Upstream leaves out a fifth of the KV cache and the projection to the vocabulary; the hardware does not."""
    upstream = step_time({"compute_term": False}, of=LLAMA_70B)
    watched = RooflineObserver(upstream, LLAMA_70B, H100, 1)
    watched.step_time_us(BatchSums.of(Batch(decode=(8000,) * 64)))
    assert watched.fastest < 0.95


def test_watching_changes_no_duration_and_offers_what_the_model_offers():
    kernels = BentKernels()
    seconds = step_time({"mfu": {"kind": "kernels"}}, kernels=kernels)
    watched = RooflineObserver(seconds, model(), H100, 1)
    sums = BatchSums.of(Batch(decode=(500, 7, 90)))
    assert watched.decode_times_us(sums, 9, 9) is None
    assert watched.lone_decode_times_us(range(40)) == seconds.lone_decode_times_us(range(40))
    physics = step_time({"family": "calibrated_physics"})
    watched = RooflineObserver(physics, model(), H100, 1)
    assert watched.decode_times_us(sums, 9, 10**6) == physics.decode_times_us(sums, 9, 10**6)
    assert watched.lone_decode_times_us(range(40)) == physics.lone_decode_times_us(range(40))


def test_a_step_without_requests_has_no_bound_to_be_compared_with():
    watched = observed({"step_us": 5.0})
    watched.step_time_us(BatchSums(1))
    assert (watched.fastest, watched.bound_us, watched.total_us) == (float("inf"), 0.0, 5)


@pytest.mark.parametrize("gpu", [path.stem for path in sorted((CONFIGS / "hardware").glob("*.yaml"))])
def test_the_roofline_of_every_shipped_model_and_gpu_lies_between_its_peaks_and_ten_times_that(gpu):
    """Small mixtures of experts on many fast GPUs wait for launches; nothing else comes near the upper end."""
    path = CONFIGS / "hardware" / f"{gpu}.yaml"
    hardware, known = with_sustained(load_hardware(path), path), load_analytic(CONFIGS / "kernels/h100/analytic.yaml")
    batches = (Batch(decode=(900,) * 32), Batch(((0, 2048),)), Batch(((512, 1024),), (3000,) * 16))
    for file in sorted((CONFIGS / "models").glob("*.json")):
        shape = load_model(file)
        if shape.quantization == "fp8" and hardware.peak_fp8_flops is None:
            continue
        for tp in (1, 2):
            options = parse_options(roofline(shape, hardware), source="test")
            kernels = choose_kernels(options, hardware, embedded=known)
            watched = RooflineObserver(build_step_time(options, shape, hardware, tp, kernels), shape, hardware, tp)
            for batch in batches:
                watched.step_time_us(BatchSums.of(batch, watched.kv_breakpoints))
            assert 1 <= watched.fastest <= watched.total_us / watched.bound_us < 10, (shape.id, tp)
