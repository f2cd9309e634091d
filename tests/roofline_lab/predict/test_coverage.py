"""What a calibration does not know: other identities, architectures and software, and servers that drown."""

from __future__ import annotations

import re

import pytest

from roofline_lab.calibration.record import load_calibration
from roofline_lab.ground_truth.assumed_server import require_room, with_assumed_server
from roofline_lab.ground_truth.reading import load_set
from roofline_lab.predict.coverage import architecture_of, coverage_of
from simulator.hardware import load_hardware
from simulator.model_files import load_model
from tests.roofline_lab.builders import ROOT
from tests.roofline_lab.predict.strangers import CALIBRATION, SEEN, STRANGE_MODEL, point, poisson, section

LLAMA_SHAPE = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32}
LLAMA = STRANGE_MODEL | LLAMA_SHAPE | {"intermediate_size": 11008, "vocab_size": 32016}
MIXTURE = STRANGE_MODEL | {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}
FP8 = STRANGE_MODEL | {"quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"}}
LIMITS = {"token_budget": 2048, "prefix_caching": True, "client_offset_ms": 0.0}


def software(text):
    """Return a server that states its software."""
    return {"known": {"software": text}, "assumed": LIMITS}


def drowned(state="not_saturated"):
    """Return an experiment whose simulated server, one request at a time, does not keep up with what is sent."""
    server = {"known": {"max_running": 1}, "assumed": LIMITS}
    return {"server": server, "load_points": [poisson("stage_1", per_s=200.0, requests=200, state=state)]}


def flags(row):
    return row["flags"].split(";")


def statement(stranger):
    return stranger.page.splitlines()[4]


# --- identity ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["llama-2-7b-hf", "a-copy"])
def test_a_wrong_family_does_not_put_a_model_into_its_own_fit(stranger, model):
    stranger.model("a-copy", LLAMA)
    for name, family in (("right", "Llama2-7B"), ("wrong", "Yi-34B")):
        stranger.add(name, family=family, model=model)
    assert stranger.evaluate() == 0
    right, wrong = (stranger.row("e2e_mean", experiment=name) for name in ("right", "wrong"))
    assert (wrong["holdout"], wrong["fitted_as"], wrong["predicted"]) == ("held out", "Llama2-7B", right["predicted"])
    assert "family_disagrees_with_model" in flags(wrong)
    assert "family_disagrees_with_model" not in flags(right)
    assert f"{model} is called Yi-34B, but by shape and name it is a model of Llama2-7B" in stranger.page


def test_a_family_of_the_fit_with_a_model_nobody_knows_is_flagged(stranger):
    stranger.add(family="Yi-34B")
    stranger.evaluate()
    row = stranger.row("e2e_mean")
    assert (row["holdout"], row["fitted_as"]) == ("held out", "Yi-34B")
    assert "family_disagrees_with_model" in flags(row)


def test_the_shape_of_a_model_outweighs_its_name(stranger):
    stranger.model("yi-34b", LLAMA)
    stranger.add(family="My-Own", model="yi-34b")
    stranger.evaluate()
    assert stranger.row("e2e_mean")["fitted_as"] == "Llama2-7B"
    assert "has the name of a model of Yi-34B, but the shape of Llama2-7B" in stranger.page


def test_a_family_under_another_name_is_one_family_in_means_and_folds(stranger):
    stranger.add("own", **SEEN)
    stranger.add("renamed", family="My-Own", model="llama-2-7b-hf")
    stranger.evaluate()
    (families,) = stranger.numbers(method="held_out", key="families", metric="e2e_mean", statistic="count")
    assert float(families["value"]) == 1.0
    assert "are of one model family" in section(stranger.page, "Residual analysis")
    assert {row["key"] for row in stranger.numbers(scope="family")} == {"Llama2-7B"}


@pytest.mark.parametrize(("vocabulary", "family"), [(32016, "Llama2-70B"), (128256, "Llama3.1-70B")])
def test_families_of_one_shape_are_told_apart_by_vocabulary(stranger, vocabulary, family):
    shape = {"hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8}
    stranger.model("my-70b", STRANGE_MODEL | shape | {"intermediate_size": 28672, "vocab_size": vocabulary})
    stranger.add(family="Mine", model="my-70b", tensor_parallel=4)
    stranger.evaluate()
    assert stranger.row("e2e_mean")["fitted_as"] == family


def test_no_experiment_of_the_fit_is_taken_for_another_family():
    calibration = load_calibration(ROOT / "configs" / "calibration" / f"{CALIBRATION}.yaml")
    coverage = coverage_of(calibration, ROOT)
    for name, family in calibration.trained_on.models.items():
        model = load_model(ROOT / "configs" / "models" / f"{name}.json")
        assert coverage.family_of(model, name) == family
        assert coverage.family_of(model, family) == family


# --- architecture and software ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (MIXTURE, "is mixture of experts; the fit has dense and mixture of experts, FP8 alone"),
        (FP8, "is dense, FP8; the fit has dense and mixture of experts, FP8 alone"),
        (STRANGE_MODEL, None),
    ],
)
def test_an_architecture_or_precision_that_was_not_fitted_to_is_flagged(stranger, config, words):
    stranger.model("other", config)
    stranger.add(model="other")
    assert stranger.evaluate() == 0
    assert ("architecture_not_calibrated" in flags(stranger.row("e2e_mean"))) is (words is not None)
    assert words is None or words in stranger.page


def test_fp8_weights_are_evaluated_on_a_gpu_without_fp8_units_as_the_simulator_runs_them(stranger):
    stranger.model("eight", FP8)
    stranger.add("a100", model="eight", hardware="a100-sxm")
    stranger.add("sixteen", hardware="a100-sxm")
    assert stranger.evaluate() == 0
    eight, sixteen = (float(stranger.row("e2e_mean", experiment=name)["predicted"]) for name in ("a100", "sixteen"))
    assert 0.5 < eight / sixteen < 1
    assert "a100-sxm has no FP8 units; FP8 weights are read as they are" in stranger.page


def test_the_only_mixture_of_the_fit_is_flagged_where_it_is_held_out():
    calibration = load_calibration(ROOT / "configs" / "calibration" / f"{CALIBRATION}.yaml")
    coverage = coverage_of(calibration, ROOT)
    scout = load_model(ROOT / "configs" / "models" / "llama-4-scout-17b-16e-instruct-fp8.json")
    assert architecture_of(scout) in coverage.without(None)
    assert architecture_of(scout) not in coverage.without("Llama4-Scout")


def test_the_estimate_of_kv_blocks_is_said_and_follows_the_share_of_memory(stranger):
    stranger.add("default", load_points=[poisson()])
    stranger.add("half", load_points=[poisson()], server={"known": {"gpu_memory_utilization": 0.5}, "assumed": LIMITS})
    stranger.evaluate()
    lines = [one for one in stranger.page.splitlines() if "KV blocks are not stated: estimated from GPU memory" in one]
    blocks = {
        line.split("|")[3].strip(): int(re.search(r"weights, ([\d,]+)", line)[1].replace(",", "")) for line in lines
    }
    assert 0.4 < blocks["half"] / blocks["default"] < 0.6


def test_the_cache_a_server_is_said_to_have_decides_its_blocks_and_one_nobody_knows_is_refused(stranger):
    for name, dtype in (
        ("sixteen", "auto"),
        ("eight", "fp8"),
        ("bf16", "bf16"),
        ("capital", "FP8"),
        ("other", "nvfp4"),
    ):
        stranger.add(name, load_points=[poisson()], server={"known": {"kv_cache_dtype": dtype}, "assumed": LIMITS})
    assert stranger.evaluate() == 1
    assert "kv_cache_dtype: 'nvfp4' is not modelled" in section(stranger.page, "What could not be evaluated")
    latency = [float(stranger.row("e2e_mean", experiment=name)["predicted"]) for name in ("sixteen", "eight")]
    assert latency[1] < latency[0]
    words = [float(stranger.row("e2e_mean", experiment=name)["predicted"]) for name in ("bf16", "capital")]
    assert words == latency


@pytest.mark.parametrize(
    ("text", "flagged"),
    [
        ("SGLang 0.4.6", True),
        ("TensorRT-LLM 0.20", True),
        ("vLLM 0.5.4", True),
        ("vLLM 0.19.0", True),
        ("vLLM 0.11.0", False),
        ("vLLM 0.13.0", False),
        ("vLLM 0.15.1", False),
    ],
)
def test_software_that_was_not_calibrated_on_is_flagged(stranger, text, flagged):
    stranger.add(server=software(text))
    assert stranger.evaluate() == 0
    assert ("software_not_calibrated" in flags(stranger.row("e2e_mean"))) is flagged
    assert (f"{text} was not calibrated on (vLLM 0.11 to 0.15 was)" in stranger.page) is flagged


def test_software_that_was_not_calibrated_on_has_a_line_of_its_own(stranger, capsys):
    stranger.add("known", server=software("vLLM 0.15.1"))
    stranger.add("other", server=software("SGLang 0.4.6"), load_points=[point(measured=point()["measured"])])
    stranger.evaluate()
    known = stranger.row("e2e_mean", experiment="known")
    assert f"E2E {abs(float(known['signed_error_pct'])):.1f} %" in statement(stranger)
    assert "over 1 experiment on models not in the fit (" in statement(stranger)
    assert "1 load point (software not calibrated)" in statement(stranger)
    assert "| never seen, software not calibrated" in section(stranger.page, "Result")
    assert "never seen, software not calibrated (1 experiment)" in capsys.readouterr().out
    assert stranger.numbers(method="never_seen_software_not_calibrated", scope="overall", statistic="mape")


def test_where_all_software_is_unknown_the_headline_says_so(stranger):
    stranger.add(server=software("SGLang 0.4.6"))
    stranger.evaluate()
    assert "over 1 experiment on models not in the fit, software not calibrated" in statement(stranger)


# --- sampling ---------------------------------------------------------------------------------


def test_sampling_that_is_priced_and_not_stated_is_flagged_with_its_size(stranger):
    stranger.model("cut", STRANGE_MODEL | {"generation_config": {"top_p": 0.9, "source": "made up"}})
    stranger.add("cuts", model="cut")
    stranger.add("plain")
    stranger.evaluate()
    constants = load_calibration(ROOT / "configs" / "calibration" / f"{CALIBRATION}.yaml").values
    assert "sampling_unknown" in flags(stranger.row("e2e_mean", experiment="cuts"))
    assert "sampling_unknown" not in flags(stranger.row("e2e_mean", experiment="plain"))
    step = constants["sampling_us_per_kilotoken"] * STRANGE_MODEL["vocab_size"] / 1000
    assert f"are priced, {step:.0f} us per step" in stranger.page


# --- servers that drown, and models that do not fit -----------------------------------------------


@pytest.mark.parametrize("state", ["not_saturated", None])
def test_saturation_that_only_the_simulation_has_is_in_no_headline(stranger, capsys, state):
    stranger.add("calm")
    stranger.add("drowned", **drowned(state))
    assert stranger.evaluate() == 0
    calm, drowning = (stranger.row("ttft_mean", experiment=name) for name in ("calm", "drowned"))
    assert float(drowning["signed_error_pct"]) > 500
    assert f"**TTFT {abs(float(calm['signed_error_pct'])):.1f} %" in statement(stranger)
    assert "Not in it, but on lines of their own below: 1 load point (saturated in the simulation alone)" in statement(
        stranger
    )
    assert "| never seen, predicted saturated" in section(stranger.page, "Result")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("never seen")] == [
        "never seen (1 experiment)",
        "never seen, predicted saturated (1 experiment)",
    ]
    assert "saturated in the simulation alone" in section(stranger.page, "Residual analysis")


def test_saturation_that_only_the_simulation_has_counts_as_wrong(stranger):
    stranger.add("calm", load_points=[poisson()])
    stranger.add("drowned", **drowned())
    stranger.evaluate()
    text = section(stranger.page, "Saturation")
    (line,) = [one for one in text.splitlines() if one.startswith("| not saturated")]
    assert [cell.strip() for cell in line.split("|")[3:-1]] == ["2", "1", "1", "1"]


def test_the_median_stands_beside_the_mean(stranger):
    stranger.add("near")
    for name, factor in (("far", 4), ("further", 9)):
        slow = {key: figure | {"value": figure["value"] / factor} for key, figure in point()["measured"].items()}
        stranger.add(name, load_points=[point(measured=slow)])
    stranger.evaluate()
    errors = sorted(abs(float(row["signed_error_pct"])) for row in stranger.rows("e2e_mean"))
    (found,) = stranger.numbers(method="never_seen", key="experiments", metric="e2e_mean", statistic="median")
    assert float(found["value"]) == pytest.approx(errors[1], abs=1e-5)
    assert f"median {errors[1]:.1f} %" in section(stranger.page, "Result")


def test_counts_of_experiments_are_those_that_were_scored(stranger, capsys):
    stranger.add("scored")
    stranger.add("beyond", **drowned("saturated"))
    stranger.evaluate()
    assert "never seen (1 experiment): " in capsys.readouterr().out
    assert "over 1 experiment on" in statement(stranger)


@pytest.mark.parametrize("points", [[point()], [poisson()]])
def test_a_model_that_does_not_fit_on_its_gpus_is_not_predicted(stranger, points):
    stranger.model("huge", STRANGE_MODEL | {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80})
    stranger.add("fits")
    stranger.add("huge", model="huge", load_points=points)
    assert stranger.evaluate() == 1
    assert {row["status"] for row in stranger.rows(experiment="huge")} == {"unsupported"}
    assert "huge: its weights leave no room for a KV cache in nine tenths of the memory of 1 x h100-sxm" in section(
        stranger.page, "What could not be evaluated"
    )
    assert "over 1 experiment on" in statement(stranger)


def test_every_server_of_the_project_has_room_for_its_model():
    for experiment in (*load_set(ROOT, "all_client"), *load_set(ROOT, "multi_rate")):
        model = load_model(ROOT / "configs" / "models" / f"{experiment.model}.json")
        hardware = load_hardware(ROOT / "configs" / "hardware" / f"{experiment.hardware}.yaml")
        filled, _ = with_assumed_server(experiment, model, hardware)
        require_room(filled, model, hardware)
