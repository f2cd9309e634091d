"""A trace is matched with its experiment, and refused where it is not of that run."""

from __future__ import annotations

import dataclasses

import pytest

from roofline_lab.ground_truth.requests import MeasuredRequest, requests_text
from roofline_lab.predict.recording import load_recordings
from simulator.errors import ConfigError
from tests.roofline_lab.report import replay_toy as toy
from tests.roofline_lab.report.replay_toy import requests, write_experiment, write_trace


def load(toy_run, *paths, experiment=None):
    return load_recordings(toy_run.root, paths or [toy_run.traces], experiment)


def refusal(toy_run, *paths, experiment=None):
    with pytest.raises(ConfigError) as caught:
        load(toy_run, *paths, experiment=experiment)
    return str(caught.value)


def test_requests_are_sent_as_recorded_from_time_0_on(toy_run):
    toy_run.measured(requests(begin_us=7_000_000))
    (recording,) = load(toy_run)
    sent = recording.replay.workload.requests
    assert [(request.arrival_us, request.prompt_tokens, request.output_tokens) for request in sent[:2]] == [
        (0, 500, 20),
        (500_000, 501, 20),
    ]
    assert recording.replay.workload.concurrency is None
    assert recording.replay.warm_up == 0


def test_the_name_up_to_two_underscores_is_the_experiment(toy_run):
    toy_run.measured(requests(), name=f"{toy.EXPERIMENT}__stage0_server.csv")
    assert load(toy_run)[0].experiment.id == toy.EXPERIMENT


def test_an_unknown_experiment_is_refused_with_the_nearest_one(toy_run):
    toy_run.measured(requests(), name="toy-rum.csv")
    told = refusal(toy_run)
    assert "unknown experiment 'toy-rum'; did you mean 'toy-run'?" in told
    assert "--experiment" in told


def test_a_file_of_any_name_is_read_when_its_experiment_is_given(toy_run):
    toy_run.measured(requests(), name="whatever.csv")
    assert load(toy_run, experiment=toy.EXPERIMENT)[0].source == "whatever.csv"


def test_the_stages_of_one_file_share_one_clock(toy_run):
    rows = requests() + requests(stage=1, first=12, begin_us=20_000_000)
    toy_run.measured(rows, stages=(0, 1))
    (recording,) = load(toy_run)
    assert [(stage.point.id, stage.begin, len(stage.requests)) for stage in recording.stages] == [
        ("stage_0", 0, 12),
        ("stage_1", 12, 12),
    ]
    assert recording.replay.workload.requests[12].arrival_us == 20_000_000


def test_a_stage_is_the_load_point_of_that_benchmark_index(toy_run):
    toy_run.measured(requests(stage=3), stages=(3,))
    assert load(toy_run)[0].stages[0].point.id == "stage_3"


def test_without_unique_indices_a_stage_is_the_place_of_its_load_point(toy_run):
    rows = requests() + requests(stage=1, first=12, begin_us=20_000_000)
    toy_run.measured(rows, stages=(0, 1), point={"benchmark_index": 0})
    assert [stage.point.id for stage in load(toy_run)[0].stages] == ["stage_0", "stage_1"]


def test_a_stage_the_experiment_has_not_is_refused_with_those_it_has(toy_run):
    toy_run.measured(requests())
    path = write_trace(toy_run.traces / f"{toy.EXPERIMENT}.csv.gz", requests(stage=4))
    assert "toy-run has no stage 4; allowed: 0 (stage_0)" in refusal(toy_run, path)


def test_a_trace_of_another_length_is_refused(toy_run):
    path = toy_run.measured(requests())
    write_trace(path, requests(count=11))
    told = refusal(toy_run)
    assert "stage_0: 11 completed requests, but toy-run states 12; is the trace complete, and of this run?" in told


@pytest.mark.parametrize("column", ["ttft_ms", "e2e_ms"])
def test_latencies_of_another_run_or_unit_are_refused(toy_run, column):
    path = toy_run.measured(requests())
    write_trace(path, [request | {column: request[column] * 1.02} for request in requests()])
    told = refusal(toy_run)
    assert f"stage_0: {column.removesuffix('_ms')}_mean of the trace is" in told
    assert "another run, on another side or in another unit" in told


def test_the_same_load_point_in_two_files_is_refused(toy_run):
    path = toy_run.measured(requests())
    write_trace(path.with_name(f"{toy.EXPERIMENT}__again.csv"), requests())
    assert "give each load point once" in refusal(toy_run)


def test_a_prompt_pool_is_recognised_by_place_and_length(toy_run):
    rows = [request | {"input_tokens": 600 + place % 4} for place, request in enumerate(requests())]
    toy_run.measured(rows, workload=pooled())
    (recording,) = load(toy_run)
    groups = [request.prefix_group for request in recording.replay.workload.requests]
    assert groups == [f"prompt_{place % 4}" for place in range(12)]
    assert all(request.prefix_tokens == request.prompt_tokens for request in recording.replay.workload.requests)


def test_prompts_of_an_earlier_stage_that_is_not_in_the_file_are_warmed_up(toy_run):
    rows = [request | {"input_tokens": 600 + place % 4} for place, request in enumerate(requests())]
    toy_run.measured(rows, workload=pooled(), point={"prompts_seen_before": True})
    (recording,) = load(toy_run)
    assert recording.replay.warm_up == 4
    assert len(recording.replay.workload.requests) == 16


def test_a_shared_prefix_is_shared_by_all(toy_run):
    workload = toy.experiment([])["workload"] | {"prefix": {"kind": "shared", "tokens": 100, "counted": "included"}}
    toy_run.measured(requests(), workload=workload)
    sent = load(toy_run)[0].replay.workload.requests
    assert {(request.prefix_group, request.prefix_tokens) for request in sent} == {("shared", 100)}


def test_a_closed_loop_is_replayed_as_one(toy_run):
    toy_run.measured(requests(), point={"arrivals": {"kind": "closed_loop", "concurrency": 1}, "rate": None})
    assert load(toy_run)[0].replay.workload.concurrency == 1


def test_a_closed_loop_that_shares_a_clock_is_refused(toy_run):
    rows = requests() + requests(stage=1, first=12, begin_us=20_000_000)
    closed = toy.load_point(rows, 1, arrivals={"kind": "closed_loop", "concurrency": 1}, rate=None)
    write_experiment(toy_run.root, toy.experiment([toy.load_point(rows, 0), closed]))
    write_trace(toy_run.traces / f"{toy.EXPERIMENT}.csv", rows)
    assert "load point stage_1 is a closed loop and cannot share a clock" in refusal(toy_run)


# --- what is left out -------------------------------------------------------------------------


def test_failed_requests_are_not_replayed_and_told_of(toy_run):
    rows = requests()
    rows[4] |= {"has_error": 1, "ttft_ms": "", "e2e_ms": ""}
    toy_run.measured(rows)
    (recording,) = load(toy_run)
    (exclusion,) = recording.stages[0].exclusions
    assert (exclusion.count, exclusion.replayed) == (1, False)
    assert "failed" in exclusion.reason
    assert "4" not in [request.id for request in recording.replay.workload.requests]


def test_a_cold_first_request_is_left_out_but_replayed(toy_run):
    rows = requests()
    rows[0] |= {"ttft_ms": 150.0, "e2e_ms": 350.0}
    toy_run.measured(rows)
    (recording,) = load(toy_run)
    (exclusion,) = recording.stages[0].exclusions
    assert (exclusion.count, exclusion.replayed, recording.stages[0].cold) == (1, True, 1)
    assert "TTFT up to 150.0 ms, of all later ones up to 31.1 ms" in exclusion.reason
    assert len(recording.replay.workload.requests) == 12


def test_only_the_first_stage_of_a_run_can_be_cold(toy_run):
    rows = requests() + requests(stage=1, first=12, begin_us=20_000_000)
    rows[12] |= {"ttft_ms": 150.0, "e2e_ms": 350.0}
    toy_run.measured(rows, stages=(0, 1))
    assert [stage.cold for stage in load(toy_run)[0].stages] == [0, 0]


def test_a_cold_first_hundred_is_left_out(toy_run):
    rows = [request | {"ttft_ms": 60.0 if place < 100 else 30.0} for place, request in enumerate(requests(500))]
    toy_run.measured(rows)
    assert load(toy_run)[0].stages[0].cold == 100


def test_the_first_round_of_a_prompt_pool_stays_as_it_is_simulated(toy_run):
    rows = [
        request | {"ttft_ms": 60.0 if place < 100 else 30.0, "input_tokens": 600 + place % 100}
        for place, request in enumerate(requests(500))
    ]
    toy_run.measured(rows, workload=pooled(100))
    assert load(toy_run)[0].stages[0].cold == 0


# --- requests.csv -----------------------------------------------------------------------------


def own_file(toy_run, stages=(0,), unrecorded=()):
    """Write an experiment whose single requests are recorded beside it."""
    rows = [request for stage in stages for request in requests(stage=stage)]
    points = [toy.load_point(rows, stage) for stage in stages]
    folder = write_experiment(toy_run.root, toy.experiment(points, requests_file="requests.csv"))
    recorded = [
        MeasuredRequest(
            load_point=f"stage_{row['stage']}",
            id=row["index"],
            arrival_us=row["arrival_time_us"],
            prompt_tokens=row["input_tokens"],
            output_tokens=row["output_tokens_true"],
            ttft_ms=None if row["index"] in unrecorded else row["ttft_ms"],
            e2e_ms=row["e2e_ms"],
        )
        for row in rows
    ]
    (folder / "requests.csv").write_text(requests_text(recorded), encoding="utf-8")
    return folder / "requests.csv"


def test_the_load_points_of_a_requests_file_have_a_clock_each(toy_run):
    path = own_file(toy_run, stages=(0, 1))
    found = load(toy_run, path)
    assert [recording.stages[0].point.id for recording in found] == ["stage_0", "stage_1"]
    assert {recording.replay.workload.requests[0].arrival_us for recording in found} == {0}
    assert found[0].source == "toy-run/requests.csv"


def test_requests_without_a_recorded_latency_are_replayed_but_left_out(toy_run):
    (recording,) = load(toy_run, own_file(toy_run, unrecorded=("3", "7")))
    (exclusion,) = recording.stages[0].exclusions
    assert (exclusion.count, exclusion.replayed) == (2, True)
    assert "recorded no TTFT or no E2E" in exclusion.reason
    assert len(recording.replay.workload.requests) == 12


def test_a_requests_file_elsewhere_is_refused(toy_run):
    path = own_file(toy_run)
    elsewhere = toy_run.traces / "requests.csv"
    elsewhere.write_bytes(path.read_bytes())
    assert "is read where it belongs" in refusal(toy_run, elsewhere)


def test_a_requests_file_the_experiment_does_not_name_is_refused(toy_run):
    path = own_file(toy_run)
    write_experiment(toy_run.root, toy.experiment([toy.load_point(requests(), 0)]))
    assert "say `requests_file: requests.csv`" in refusal(toy_run, path)


def test_a_requests_file_belongs_to_its_folder(toy_run):
    assert "belongs to toy-run, not to 'other'" in refusal(toy_run, own_file(toy_run), experiment="other")


def test_recordings_are_records(toy_run):
    toy_run.measured(requests())
    (recording,) = load(toy_run)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recording.source = "other"


def pooled(prompts=4):
    """Return a workload that sends so many prompts in turn."""
    return toy.experiment([])["workload"] | {"prefix": {"kind": "prompt_pool", "prompts": prompts}}
