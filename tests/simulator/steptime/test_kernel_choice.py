"""Which kernels an options object asks for, and what happens when they are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.errors import ConfigError, UnsupportedError
from simulator.hardware import load_hardware
from simulator.kernels.analytic import load_analytic
from simulator.kernels.tabulated import tabulate
from simulator.steptime.batch import Batch
from simulator.steptime.kernel_choice import choose_kernels
from simulator.steptime.options import parse_options
from tests.simulator.steptime.support import V1_PARAMETERS, step_time


@pytest.fixture(scope="module")
def embedded(project_root: Path):
    return load_analytic(project_root / "configs" / "kernels" / "h100" / "analytic.yaml")


@pytest.fixture(scope="module")
def gpu(project_root: Path):
    return lambda name: load_hardware(project_root / "configs" / "hardware" / f"{name}.yaml")


def options(**mfu: object):
    return parse_options({"family": "mfu_roofline", "mfu": {"kind": "kernels", **mfu}}, source="arm")


@pytest.mark.parametrize(
    "data",
    [
        {"family": "mfu_roofline"},
        {"family": "mfu_roofline", "compute_term": False, "mfu": {"kind": "kernels", "source": "measured"}},
        {"family": "linear", "step_us": 1.0, "prefill_us_per_token": 1.0, "decode_us_per_token": 1.0},
        {"family": "calibrated_roofline", "parameters": V1_PARAMETERS},
    ],
)
def test_options_without_kernels_need_none(data, gpu):
    assert choose_kernels(parse_options(data, source="arm"), gpu("h100-sxm")) is None


def test_the_embedded_curves_answer_by_default(embedded, gpu):
    assert choose_kernels(options(), gpu("h100-sxm"), embedded=embedded) is embedded


def test_curves_are_carried_over_to_another_gpus_peaks_by_name(embedded, gpu):
    kernels = choose_kernels(options(), gpu("h200-sxm"), embedded=embedded)
    assert "h200-sxm" in kernels.name


def test_a_gpu_without_fp8_units_gets_the_curves_for_bf16_and_for_eight_bit_integers(embedded, gpu):
    kernels = choose_kernels(options(), gpu("a100-sxm"), embedded=embedded)
    assert kernels.gemm_seconds(4096, 4096, 4096) > 2 * 4096**3 / 312e12
    assert kernels.gemm_seconds(4096, 4096, 4096, dtype="fp8") > 2 * 4096**3 / 624e12


def test_embedded_gemms_read_their_weights_at_the_share_that_is_stated(embedded, gpu):
    """A GEMM of one row is nothing but its launch and its weights."""
    stated = parse_options(
        {
            "family": "mfu_roofline",
            "mfu": {"kind": "kernels", "bandwidth": "stated"},
            "bandwidth_efficiency": 0.8,
            "decode_bandwidth_efficiency": 0.4,
        },
        source="arm",
    )
    kernels = choose_kernels(stated, gpu("h100-sxm"), embedded=embedded)
    launch_s = embedded.curves.gemm.launch_us * 1e-6

    def reading_s(phase):
        return kernels.gemm_seconds(1, 8192, 8192, phase=phase) - launch_s

    assert reading_s("prefill") == pytest.approx(2 * 8192**2 / (0.8 * 3.35e12), rel=1e-3)
    assert reading_s("decode") == pytest.approx(2 * reading_s("prefill"), rel=1e-3)
    assert embedded.gemm_seconds(1, 8192, 8192) - launch_s > reading_s("prefill")


def test_a_stated_share_without_fitted_curves_is_a_contradiction():
    with pytest.raises(ConfigError, match="bandwidth 'stated' needs fitted curves"):
        options(source="tabulated", bandwidth="stated")


@pytest.mark.parametrize("lookup", ["nearest", "interpolated", "latency"])
def test_tables_answer_by_the_policy_that_was_asked_for(lookup, embedded, gpu):
    for source, given in (("tabulated", {"embedded": embedded}), ("measured", {"tables": tabulate(embedded)})):
        chosen = options(style="mfu", source=source, lookup=lookup)
        kernels = choose_kernels(chosen, gpu("h100-sxm"), **given)
        assert f"({lookup}," in kernels.name
        assert (
            step_time({"mfu": {"kind": "kernels", "style": "mfu"}}, kernels=kernels).explain(Batch(decode=(9,))).lookups
        )


def test_tabulated_seconds_of_one_gpu_are_refused_for_another(embedded, gpu):
    with pytest.raises(UnsupportedError, match="holds seconds of h100, not of h200-sxm"):
        choose_kernels(options(source="tabulated"), gpu("h200-sxm"), embedded=embedded)


def test_a_table_lookup_without_tables_is_refused(gpu):
    with pytest.raises(ConfigError, match="'measured' needs a folder of kernel tables, and none was given"):
        choose_kernels(options(source="measured"), gpu("h100-sxm"))
    with pytest.raises(ConfigError, match="'embedded' needs the fitted curves of a GPU, and none were given"):
        choose_kernels(options(), gpu("h100-sxm"))
    with pytest.raises(ConfigError, match="lookup needs a table"):
        options(lookup="nearest")
