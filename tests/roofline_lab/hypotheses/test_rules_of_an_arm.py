"""An arm may vary one rule of its method: what is sent, how a metric is defined, what lies around the engine."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest

from roofline_lab.calibration.constants import FIXED, STEP_CONSTANTS, starts
from roofline_lab.client_overhead import client_time
from roofline_lab.ground_truth.reading import load_set
from roofline_lab.hypotheses.arms import differences, overlay
from roofline_lab.predict.arms import measured, replay_of, run_lines
from roofline_lab.project import Run
from roofline_lab.provenance import run_inputs
from roofline_lab.report.findings import render_report
from roofline_lab.report.results import build_report
from roofline_lab.run_files import error_rows
from roofline_lab.scoring.under_load import prediction_of
from roofline_lab.vocabulary import MEANS, Metric, RowStatus
from simulator.errors import ConfigError
from simulator.steptime.calibration import HOST_STEP
from simulator.steptime.options import parse_options
from tests.roofline_lab.builders import ROOT

DEFINITIONS = "h21_tpot_with_tpot"
# Where a fit started when the claims were fixed; what is fixed in advance does not follow later changes.
STARTS_THEN = {"sampling_us_per_kilotoken_request": 0.05}
ARRIVALS = "h22_synchronous_is_closed_loop"
CLIENT = "h24_client_time"
DEFINITIONS_FILE = f"hypotheses/{DEFINITIONS}/hypothesis.yaml"
METHOD = "as_measured"
CODE = "jan30-llama2-7b-tp1-codesweep"
SWEEP = "jan21-llama7b-train-1"


def arms_of(lab, hypothesis):
    return {arm.name: arm for arm in lab.arms(hypothesis, METHOD)}


# --- overlaid and checked ---------------------------------------------------------------------------


def test_mappings_are_joined_and_the_upper_value_wins():
    below = {"a": {"x": 1, "y": 2}, "b": 3}
    assert overlay(below, {"a": {"y": 5}, "c": 6}) == {"a": {"x": 1, "y": 5}, "b": 3, "c": 6}
    assert below == {"a": {"x": 1, "y": 2}, "b": 3}


def test_an_arm_varies_one_definition_and_keeps_every_other_rule(lab):
    arms = arms_of(lab, DEFINITIONS)
    assert differences(arms["unlike"], arms["both_with_first_token"]) == {
        "method.definitions.tpot_mean.predicted": ("itl_ratio_of_means", "tpot_guidellm")
    }
    assert differences(arms["unlike"], arms["both_between_tokens"]) == {
        "method.definitions.tpot_mean.measured": ("as_reported", "itl_from_means")
    }


def test_a_client_that_reports_no_request_latency_is_judged_by_the_time_per_token_it_reports(lab):
    """`as_measured` derives it from E2E, which closed loops do not state; a plain mean is compared with its like."""
    (experiment,) = [one for one in load_set(ROOT, "closed_loop") if one.id == "qwen3-32b-bf16-h100-tp8-1k-128"]
    figure = experiment.load_points[0].measured["tpot_mean"]
    run = SimpleNamespace(experiment=experiment)
    found = {
        method: measured(
            Metric.TPOT_MEAN, lab.methods[method].definitions[Metric.TPOT_MEAN], run, experiment.load_points[0]
        )
        for method in ("as_reported", "as_measured")
    }
    assert found["as_reported"]["measured"] == figure.value
    assert found["as_measured"]["measured"] is None
    predicted = lab.methods["as_reported"].definitions[Metric.TPOT_MEAN].predicted
    assert predicted == prediction_of("tpot_mean", figure.definition)


def test_arrivals_and_lengths_are_varied_one_at_a_time(lab):
    arms = arms_of(lab, ARRIVALS)
    found = {name: set(differences(arms["closed_loop"], arms[name])) for name in ("open_loop", "other_lengths")}
    assert found == {"open_loop": {"method.workload.arrivals"}, "other_lengths": {"method.workload.lengths"}}


def test_a_rule_that_varies_undeclared_is_refused(project):
    message = project.refusal(
        lambda spec: spec["varied"].remove("method.definitions.tpot_mean.measured"), DEFINITIONS_FILE
    )
    assert "'method.definitions.tpot_mean.measured' differs from unlike" in message
    assert "(rule ED-1)" in message


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"definitions": {"tpot_mean": {"predicted": "tpot_gidellm"}}}, "did you mean 'tpot_guidellm'"),
        ({"workload": {"arivals": "closed_loop"}}, "arms.unlike (method as_measured).method: workload.arivals"),
        ({"client": {"request_us": -1}}, "client.request_us"),
        ({"steptime": {"layer_us": 1}}, "steptime: unknown key"),
        ("closed_loop", "must be a mapping of rules of the method to values"),
    ],
)
def test_a_rule_that_is_not_there_or_not_possible_is_refused_with_its_place(project, rules, message):
    text = project.refusal(lambda spec: spec["arms"]["unlike"].update(method=rules), DEFINITIONS_FILE)
    assert message in text


def test_a_base_gives_what_a_method_leaves_open_and_a_method_overrides_it(project):
    definitions = {"tpot_mean": {"predicted": "tpot_guidellm"}}
    project.edit(lambda spec: spec["base"]["method"].update(definitions=definitions), DEFINITIONS_FILE)
    arm = arms_of(project.load(), DEFINITIONS)["unlike"]
    assert arm.rules.client.request_us == 6000
    assert arm.rules.definitions["tpot_mean"].predicted == "itl_ratio_of_means"


def test_an_option_that_is_stated_as_its_default_leaves_what_an_arm_is_known_by(lab):
    """So a new option, which every arm has at its default, changes no record of a committed report."""
    arm = lab.arms(DEFINITIONS, METHOD)[0]
    stated = dataclasses.replace(arm, own=parse_options(arm.steptime.model_dump(mode="json"), source="test"))
    assert stated.departures == arm.departures
    assert set(arm.departures) < set(arm.server_configuration)
    assert arm.departures["family"] == arm.steptime.family


def test_a_digest_changes_with_a_rule(lab):
    digests = lab.arm_digests(DEFINITIONS, METHOD)
    assert len(set(digests.values())) == len(digests)


def test_as_measured_is_the_method_of_every_load_point_without_its_step_time(lab):
    mine, theirs = (lab.methods[name].model_dump(exclude={"id", "title", "summary"}) for name in (METHOD, "multi_rate"))
    assert {key for key in mine if mine[key] != theirs[key]} == {"steptime"}
    assert mine["steptime"] == {}


def test_claims_about_the_physical_model_start_from_the_constants_a_fit_starts_from(lab):
    """None of them is tuned: what one leaves out is what it varies."""
    wanted = {
        constant.name: starts()[constant.name] for constant in STEP_CONSTANTS if constant.name != HOST_STEP
    } | dict(FIXED)
    wanted["step_us"] = starts()[HOST_STEP]
    wanted |= STARTS_THEN
    for name in (DEFINITIONS, ARRIVALS, CLIENT, "h20_lm_head_measured", "h23_cached_prompts", "h25_collectives"):
        spec = lab.hypotheses[name]
        assert spec.base["family"] == "calibrated_physics"
        other = {key for key in wanted if spec.base.get(key) != wanted[key]}
        assert other <= set(spec.varied), name


# --- sent -------------------------------------------------------------------------------------------


def sent(lab, arm, experiment=CODE):
    run = lab.run(ARRIVALS, METHOD, arm, experiment)
    return replay_of(lab, run, "synchronous").workload


def lengths(workload):
    return [(request.prompt_tokens, request.output_tokens) for request in workload.requests]


def test_arrivals_change_when_requests_are_sent_and_not_what_they_ask_for(lab):
    closed, opened = sent(lab, "closed_loop"), sent(lab, "open_loop")
    assert lengths(closed) == lengths(opened)
    assert (closed.concurrency, opened.concurrency) == (1, None)
    assert [request.arrival_us for request in opened.requests[:3]] == [0, 334444, 668888]


def test_lengths_change_what_requests_ask_for_and_not_when_they_are_sent(lab):
    own, other = sent(lab, "closed_loop"), sent(lab, "other_lengths")
    assert own.concurrency == other.concurrency == 1
    assert lengths(own) != lengths(other)
    assert lengths(other) == lengths(sent(lab, "open_loop_other_lengths"))


def test_recorded_inputs_of_another_method_are_inputs_of_the_run(lab):
    files = {path.relative_to(ROOT).as_posix() for path in run_inputs(lab, ARRIVALS, METHOD, CODE)}
    assert "configs/methods/as_published/request_lengths.csv" in files
    assert not any("as_published" in path.as_posix() for path in run_inputs(lab, CLIENT, METHOD, CODE))


def test_recorded_lengths_have_no_place_in_a_loop_that_was_not_closed(lab):
    arm = arms_of(lab, ARRIVALS)["other_lengths"]
    (sweep,) = (experiment for experiment in lab.experiments(CLIENT) if experiment.id == SWEEP)
    workload = sweep.workload.model_copy(update={"name": "codesweep"})
    run = Run(ARRIVALS, lab.methods[METHOD], arm, sweep.model_copy(update={"workload": workload}), "digest")
    rows = [json.loads(line) for line in run_lines(lab, run).splitlines()]
    status = {row["load_point"]: row["status"] for row in rows}
    assert status["synchronous"] == RowStatus.OK
    assert status["constant_0.407"] == RowStatus.UNSUPPORTED
    assert "was not measured in a closed loop" in next(row["reason"] for row in rows if row["reason"])


# --- around the engine ------------------------------------------------------------------------------


def metric_options(run, load_point):
    client = client_time(run.rules.client, run.experiment)
    return client.in_figures_of(run.experiment, load_point).metric_options()


def client_of(lab, arm, experiment):
    run = lab.run(CLIENT, METHOD, arm, experiment)
    return metric_options(run, "synchronous")


def test_the_clients_time_is_part_of_what_the_client_measured_alone(lab):
    at_client, at_server = (client_of(lab, "per_request_and_token", one) for one in (CODE, SWEEP))
    assert (at_client.client_offset_us, at_client.client_us_per_prompt_token) == (6000, 2.0)
    assert (at_server.client_offset_us, at_server.client_us_per_prompt_token) == (0, 0.0)


def test_a_control_can_add_it_where_it_must_not_be(lab):
    assert client_of(lab, "at_the_server_too", SWEEP).client_offset_us == 6000


def test_without_a_rule_the_constant_an_experiment_states_stands(lab):
    stated = "66-qwen2-5-7b-instruct-tp1-reasoning-lite-1-1"
    run = lab.run("h5b_mixed_batch_under_load", "multi_rate", "baseline", stated)
    assert metric_options(run, "stage_0").client_offset_us == 10_000


def test_a_definition_is_read_on_both_sides_of_the_arm_that_varies_it(lab):
    rows = {}
    for arm in ("unlike", "both_between_tokens", "both_with_first_token"):
        (line,) = run_lines(lab, lab.run(DEFINITIONS, METHOD, arm, CODE)).splitlines()
        rows[arm] = json.loads(line)["metrics"]["tpot_mean"]
    assert rows["unlike"]["predicted"] == rows["both_between_tokens"]["predicted"]
    assert rows["unlike"]["measured"] == rows["both_with_first_token"]["measured"] == 8.1
    assert rows["both_between_tokens"]["measured"] < 7 < rows["both_with_first_token"]["predicted"]


def test_an_unknown_place_of_recordings_is_an_error_that_names_the_file(lab):
    arm = arms_of(lab, ARRIVALS)["open_loop"]
    rules = arm.rules.model_copy(update={"workload": arm.rules.workload.model_copy(update={"recordings": "nowhere"})})
    run = lab.run(ARRIVALS, METHOD, "open_loop", CODE)
    lost = dataclasses.replace(run, arm=dataclasses.replace(arm, rules=rules))
    with pytest.raises(ConfigError, match=r"nowhere.arrival_intervals\.csv: cannot be read"):
        replay_of(lab, lost, "synchronous")


# --- on the page ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(lab):
    """Return the page of the claim about arrivals and of the one about definitions."""
    found = {}
    for name in (ARRIVALS, DEFINITIONS):
        rows = [json.loads(line) for run in lab.runs(name) for line in run_lines(lab, run).splitlines()]
        files = render_report(lab, build_report(lab, name, rows, None))
        found[name] = files["FINDINGS.md"] + files["DETAILS.md"]
    return found


def test_what_varies_is_not_called_controlled(pages):
    assert "The same for every arm: model, server settings, and the GPU's data sheet" in pages[ARRIVALS]
    assert "The same for every arm: model, workload, arrivals, server settings, and" in pages[DEFINITIONS]


def test_definitions_that_an_arm_varies_are_not_called_those_of_every_arm(pages):
    assert "`itl_ratio_of_means` / `itl_from_means`; E2E `e2e_mean` / `as_reported`, where no arm" in pages[DEFINITIONS]
    assert "where no arm varies them" not in pages[ARRIVALS]


# --- one phase alone ----------------------------------------------------------------------------

ALONE = "h33_prefill_decode_alone"


def run_alone(lab, arm):
    return lab.run(ALONE, "corrected", arm, CODE)


def test_prefill_alone_sends_the_same_prompts_and_takes_one_token_of_each_answer(lab):
    whole, alone = (replay_of(lab, run_alone(lab, arm), "synchronous").workload for arm in ("baseline", "prefill"))
    assert [r.prompt_tokens for r in alone.requests] == [r.prompt_tokens for r in whole.requests]
    assert {r.output_tokens for r in alone.requests} == {1}
    assert alone.concurrency == whole.concurrency == 1


def test_decode_alone_takes_the_same_answers_to_prompts_of_one_token_that_share_nothing(lab):
    whole, alone = (replay_of(lab, run_alone(lab, arm), "synchronous").workload for arm in ("baseline", "decode"))
    assert [r.output_tokens for r in alone.requests] == [r.output_tokens for r in whole.requests]
    assert {(r.prompt_tokens, r.prefix_group, r.prefix_tokens) for r in alone.requests} == {(1, None, 0)}


@pytest.mark.parametrize(
    ("arm", "scored", "reason"),
    [
        ("prefill", "ttft_mean", "only requests of prefill alone were sent"),
        ("decode", "tpot_mean", "only requests of decode alone were sent"),
        ("baseline", "ttft_mean tpot_mean e2e_mean", None),
    ],
)
def test_a_phase_alone_is_compared_in_its_own_metric_and_in_no_other(lab, arm, scored, reason):
    rows = [json.loads(line) for line in run_lines(lab, run_alone(lab, arm)).splitlines()]
    found = {row.metric: row for row in error_rows(rows, MEANS)}
    assert {metric.value for metric, row in found.items() if row.is_scored} == set(scored.split())
    others = {(row.status, row.reason) for row in found.values() if not row.is_scored}
    assert others == ({(RowStatus.NOT_COMPARABLE, reason)} if reason else set())
