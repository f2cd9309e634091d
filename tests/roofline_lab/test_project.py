"""Files that do not fit together are refused before any run; files that do become a run matrix."""

from __future__ import annotations

import pytest
import yaml

from roofline_lab.hypotheses.arms import differences
from roofline_lab.project import engine_options
from simulator.errors import ConfigError
from tests.roofline_lab.builders import HYPOTHESIS, replace_text

SOURCE = f"hypotheses/{HYPOTHESIS}/hypothesis.yaml"
METHOD = "configs/methods/corrected.yaml"
HARDWARE = "configs/hardware/h100-sxm.yaml"
CODE = "ground_truth/jan30-llama2-7b-tp1-codesweep/experiment.yaml"


def measured(experiment):
    return experiment["load_points"][0]["measured"]


# --- the matrix -------------------------------------------------------------------------------------


def test_the_matrix_is_methods_by_arms_by_experiments_each_once(lab):
    runs = [run for run in lab.runs(HYPOTHESIS) if run.method.id in lab.hypotheses[HYPOTHESIS].methods]
    names = [(run.method.id, run.arm.name, run.experiment.id) for run in runs]
    assert len(names) == len(set(names)) == 2 * 2 * 13
    assert [name[:2] for name in names[::13]] == [
        ("as_published", "baseline"),
        ("as_published", "treatment"),
        ("corrected", "baseline"),
        ("corrected", "treatment"),
    ]


def test_a_run_is_found_by_name_and_a_wrong_name_is_an_error(lab):
    run = lab.run(HYPOTHESIS, "corrected", "treatment", "jan30-llama2-7b-tp1-codesweep")
    assert run.arm.configuration["bandwidth_efficiency"] == 0.82
    with pytest.raises(ConfigError, match="no run corrected/control/"):
        lab.run(HYPOTHESIS, "corrected", "control", "jan30-llama2-7b-tp1-codesweep")


def test_the_arms_of_h1_differ_in_bandwidth_efficiency_alone_under_every_method(lab):
    for method in ("as_published", "corrected"):
        baseline, treatment = lab.arms(HYPOTHESIS, method)
        assert differences(baseline, treatment) == {"bandwidth_efficiency": (None, 0.82)}


def test_a_method_overrides_the_base_and_an_arm_overrides_both(project):
    project.edit(lambda spec: spec["base"].update(phase_combination="sum", lm_head=True))
    project.edit(lambda spec: spec["arms"]["treatment"].update(phase_combination="additive"))
    project.edit(lambda spec: spec["varied"].append("phase_combination"))
    baseline, treatment = project.load().arms(HYPOTHESIS, "corrected")
    assert baseline.configuration["phase_combination"] == "max"
    assert treatment.configuration["phase_combination"] == "additive"
    assert baseline.configuration["lm_head"] is True


def test_the_server_of_an_experiment_is_used_unless_a_method_says_otherwise(lab, project):
    published = lab.run(HYPOTHESIS, "as_published", "baseline", "jan30-llama2-7b-tp1-codesweep")
    options = engine_options(published.arm, published.experiment, "test")
    assert (options.token_budget, options.prefix_caching) == (2048, True)
    assert (options.idle_until, options.cached_prefix_context) == ("step_start", "ignored")
    project.edit(lambda method: method.update(engine={"token_budget": 512}), METHOD)
    corrected = project.load().run(HYPOTHESIS, "corrected", "baseline", "jan30-llama2-7b-tp1-codesweep")
    assert engine_options(corrected.arm, corrected.experiment, "test").token_budget == 512


def test_a_digest_changes_with_the_configuration_and_with_nothing_else(lab, project):
    before = lab.arm_digests(HYPOTHESIS, "corrected")
    project.edit(lambda spec: spec["arms"]["treatment"].update(bandwidth_efficiency=0.8))
    project.edit(lambda spec: spec.update(title="Another title"))
    after = project.load().arm_digests(HYPOTHESIS, "corrected")
    assert after["baseline"] == before["baseline"]
    assert after["treatment"] != before["treatment"]


def test_a_digest_changes_with_the_definition_of_a_metric(lab, project):
    project.edit(lambda method: method["definitions"]["e2e_mean"].update(predicted="e2e_last_step_twice"), METHOD)
    after = project.load().arm_digests(HYPOTHESIS, "corrected")
    assert after["baseline"] != lab.arm_digests(HYPOTHESIS, "corrected")["baseline"]


# --- names nothing answers to -----------------------------------------------------------------------


def test_an_unknown_set_of_experiments_names_the_sets_and_who_asked(project):
    message = project.refusal(lambda spec: spec["ground_truth"].update(set="synchronous_31"))
    assert "unknown set 'synchronous_31'; did you mean 'synchronous_13'?" in message
    assert SOURCE in message


def test_an_unknown_experiment_in_a_set_is_refused(project):
    def change(sets):
        sets["sets"]["synchronous_13"]["experiments"][0] = "jan30-llama2-7b-tp1-chat"

    message = project.refusal(change, "ground_truth/sets.yaml")
    assert "unknown experiment 'jan30-llama2-7b-tp1-chat'; did you mean 'jan30-llama2-7b-tp1-chatsweep'?" in message


@pytest.mark.parametrize(
    ("key", "wrong", "right"), [("model", "llama-2-7b", "llama-2-7b-hf"), ("hardware", "h100-smx", "h100-sxm")]
)
def test_an_unknown_model_or_gpu_is_refused_with_the_nearest_known_one(project, key, wrong, right):
    message = project.refusal(lambda experiment: experiment.update({key: wrong}), CODE)
    assert f"{key}: unknown {key} '{wrong}'; did you mean '{right}'?" in message
    assert CODE in message


def test_an_unknown_method_is_refused(project):
    message = project.refusal(lambda spec: spec.update(methods=["as_publised", "corrected"]))
    assert f"{SOURCE}: methods: unknown method 'as_publised'; did you mean 'as_published'?" in message


def test_an_unknown_reference_to_another_hypothesis_is_refused(project):
    assert "references: unknown hypothesis 'h7'" in project.refusal(lambda spec: spec.update(references=["h7"]))


def test_an_unknown_metric_definition_is_refused_on_either_side(project):
    def predicted(method):
        method["definitions"]["e2e_mean"]["predicted"] = "e2e_maen"

    assert "definitions.e2e_mean.predicted: unknown definition 'e2e_maen'; did you mean 'e2e_mean'?" in (
        project.refusal(predicted, METHOD)
    )
    replace_text(project.root / METHOD, "e2e_maen", "e2e_mean")
    message = project.refusal(lambda method: method["definitions"]["e2e_mean"].update(measured="as_told"), METHOD)
    assert "definitions.e2e_mean.measured" in message
    assert "as_reported" in message


def test_a_method_without_a_definition_of_every_metric_is_refused(project):
    message = project.refusal(lambda method: method["definitions"].pop("tpot_mean"), METHOD)
    assert "definitions: missing for tpot_mean" in message


def test_a_method_whose_id_is_not_its_file_name_is_refused(project):
    """Otherwise it would silently take the place of the method of that id."""
    message = project.refusal(lambda method: method.update(id="as_published"), METHOD)
    assert "configs/methods/corrected.yaml: id: must be the file's name 'corrected' (got 'as_published')" in message


def test_a_criterion_on_a_group_no_experiment_belongs_to_is_refused(project):
    """It could never be measured, so a misspelt word would pass for missing evidence."""
    message = project.refusal(lambda spec: spec["criteria"][1].update(groups=["chatswep", "codesweep"]))
    assert "unknown workload 'chatswep'; did you mean 'chatsweep'?" in message


def test_a_criterion_on_a_gpu_nobody_describes_is_refused(project):
    message = project.refusal(lambda spec: spec["criteria"][0].update(where={"hardware": ["h100-smx"]}))
    assert "unknown hardware 'h100-smx'; did you mean 'h100-sxm'?" in message


# --- options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["base", "arms"])
def test_an_option_that_does_not_exist_is_refused_with_the_nearest_one(project, where):
    def change(spec):
        target = spec["base"] if where == "base" else spec["arms"]["treatment"]
        target["bandwith_efficiency"] = 0.8

    message = project.refusal(change)
    assert "bandwith_efficiency: unknown key; did you mean 'bandwidth_efficiency'?" in message
    assert SOURCE in message


@pytest.mark.parametrize("value", [1.2, -0.5, ".nan", ".inf", "0.82", True])
def test_an_efficiency_outside_zero_to_one_is_refused_with_its_value(project, value):
    given = yaml.safe_load(str(value)) if str(value).startswith(".") else value
    message = project.refusal(lambda spec: spec["arms"]["treatment"].update(bandwidth_efficiency=given))
    assert "arms.treatment" in message
    assert "bandwidth_efficiency: " in message
    assert f"(got {value!r})" in message


def test_an_efficiency_of_exactly_one_is_allowed(project):
    project.edit(lambda spec: spec["arms"]["treatment"].update(bandwidth_efficiency=1.0))
    assert project.load().arms(HYPOTHESIS, "corrected")[1].configuration["bandwidth_efficiency"] == 1.0


def test_an_unknown_step_time_family_is_refused(project):
    assert "unknown step-time model 'roofline'" in project.refusal(lambda spec: spec["base"].update(family="roofline"))


def test_an_unknown_engine_option_is_refused_with_arm_and_method(project):
    message = project.refusal(lambda spec: spec["base"].update(engine={"token_bugdet": 1}))
    assert "engine: token_bugdet: unknown key; did you mean 'token_budget'?" in message


# --- rule ED-1 --------------------------------------------------------------------------------------


def test_an_arm_that_varies_something_undeclared_is_refused_with_both_values(project):
    message = project.refusal(lambda spec: spec["arms"]["treatment"].update(lm_head=True))
    assert "arms.treatment: 'lm_head' differs from baseline (False -> True" in message
    assert "rule ED-1" in message
    assert "but is not in varied [bandwidth_efficiency]" in message


def test_an_undeclared_difference_in_the_engine_is_a_breach_too(project):
    message = project.refusal(lambda spec: spec["arms"]["treatment"].update(engine={"max_running": 8}))
    assert "'engine.max_running' differs from baseline" in message


def test_a_declared_option_that_no_arm_varies_is_refused(project):
    message = project.refusal(lambda spec: spec["varied"].append("lm_head"))
    assert "varied: 'lm_head' differs between no two arms" in message


def test_declaring_a_record_covers_every_option_inside_it(project):
    def change(spec):
        spec["arms"]["treatment"] = {"overhead": {"kind": "fixed", "us": 5.0}}
        spec["varied"] = ["overhead"]

    project.edit(change)
    differing = differences(*project.load().arms(HYPOTHESIS, "corrected"))
    assert set(differing) == {"overhead.kind", "overhead.us"}


def test_a_name_that_merely_begins_like_a_declared_one_is_not_covered(project):
    def change(spec):
        spec["arms"]["treatment"]["prefill_bandwidth_efficiency"] = 0.5
        spec["varied"] = ["bandwidth_efficiency", "prefill"]

    message = project.refusal(change)
    assert "'prefill_bandwidth_efficiency' differs from baseline" in message
    assert "varied: 'prefill' differs between no two arms" in message


# --- hardware and ground truth ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -3.35, float("nan"), float("inf"), "3.35", None])
def test_a_hardware_value_that_is_no_positive_number_is_refused_with_field_and_value(project, value):
    message = project.refusal(lambda gpu: gpu["memory_bandwidth_tbs"].update(value=value), HARDWARE)
    assert HARDWARE in message
    assert "memory_bandwidth_tbs.value: " in message
    written = f".{value}" if value in (float("inf"),) or value != value else value
    assert f"(got {written!r})" in message


@pytest.mark.parametrize("field", ["dense_bf16_tflops", "memory_bandwidth_tbs", "memory_gib"])
def test_a_missing_hardware_value_is_refused_by_name(project, field):
    assert f"{field}: missing" in project.refusal(lambda gpu: gpu.pop(field), HARDWARE)


@pytest.mark.parametrize("part", ["value", "unit", "source"])
def test_a_hardware_value_needs_number_unit_and_source(project, part):
    message = project.refusal(lambda gpu: gpu["dense_bf16_tflops"].pop(part), HARDWARE)
    assert f"dense_bf16_tflops.{part}: missing" in message


def test_ground_truth_without_a_source_is_refused(project):
    message = project.refusal(lambda experiment: experiment.pop("source"), CODE)
    assert message.startswith(f"{CODE}: source: missing")


@pytest.mark.parametrize("metric", ["ttft_mean", "tpot_mean", "e2e_mean"])
def test_seconds_where_milliseconds_are_meant_are_refused(project, metric):
    def change(experiment):
        measured(experiment)[metric]["value"] /= 1000

    message = project.refusal(change, CODE)
    assert f"{metric}.value" in message
    assert "seconds" in message


def test_a_unit_other_than_milliseconds_is_refused(project):
    message = project.refusal(lambda experiment: measured(experiment)["ttft_mean"].update(unit="s"), CODE)
    assert "ttft_mean.unit" in message
    assert "'ms'" in message


# --- published tables -------------------------------------------------------------------------------

PUBLISHED = f"hypotheses/{HYPOTHESIS}/published"


def test_a_published_table_of_a_method_the_hypothesis_does_not_run_is_refused(project):
    message = project.refusal(lambda source: source.update(method="as_reported"), f"{PUBLISHED}/source.yaml")
    assert f"{PUBLISHED}/source.yaml" in message
    assert "method: unknown method 'as_reported'" in message


@pytest.mark.parametrize(
    ("metric", "value"), [("ttft", "3.9"), ("ttft_mean", "x")], ids=["unknown metric", "no number"]
)
def test_a_published_cell_that_cannot_be_read_is_refused_before_any_run(project, metric, value):
    replace_text(project.root / PUBLISHED / "absolute.csv", "ttft_mean,predicted,3.9", f"{metric},predicted,{value}")
    message = project.refusal()
    assert "absolute.csv:3: " in message


def test_a_published_cell_of_an_unknown_arm_is_refused(project):
    replace_text(
        project.root / PUBLISHED / "absolute.csv",
        "absolute,baseline,experiment,jan30-llama2-7b-tp1-chatsweep,ttft_mean,predicted",
        "absolute,basline,experiment,jan30-llama2-7b-tp1-chatsweep,ttft_mean,predicted",
    )
    assert "unknown arm 'basline'; did you mean 'baseline'?" in project.refusal()


# --- settings ---------------------------------------------------------------------------------------


def test_a_wrong_setting_of_the_laboratory_is_refused_by_key(project):
    message = project.refusal(lambda settings: settings["bootstrap"].update(level_pct=0.95), "configs/lab.yaml")
    assert "configs/lab.yaml: bootstrap.level_pct" in message


def test_a_negative_or_missing_tolerance_is_refused(project):
    message = project.refusal(lambda settings: settings["check"]["tolerance"].update(ms=-1.0), "configs/lab.yaml")
    assert "check.tolerance.ms" in message


def test_a_project_without_hypotheses_says_where_one_would_go(project):
    for folder in (project.root / "hypotheses").iterdir():
        folder.rename(project.root / folder.name)
    assert "hypotheses/: no */hypothesis.yaml found" in project.refusal()


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("bootstrap.resamples", lambda settings: settings["bootstrap"].update(resamples=10**9)),
        ("testing.permutations", lambda settings: settings["testing"].update(permutations=10**12)),
        ("arrivals.requests", lambda settings: settings["arrivals"].update(requests=10**8)),
        ("arrivals.seeds", lambda settings: settings["arrivals"].update(seeds=list(range(5000)))),
    ],
)
def test_statistics_that_would_not_end_are_refused(project, key, change):
    message = project.refusal(change, "configs/lab.yaml")
    assert f"configs/lab.yaml: {key}: " in message
    assert "1000" in message
