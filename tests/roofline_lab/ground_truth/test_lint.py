"""Each pitfall is found in the recording that has it, and not where it is absent."""

from __future__ import annotations

import csv
import gzip
import json
import random

import pytest

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.quality import MEANINGS, Flag, QualityFlag, flag_lines
from roofline_lab.importers.run_metadata import read_run_metadata
from simulator.workload.lengths import guidellm_draws

REPLAYS = (
    "20260217-155451-llama-2-7b-tp1-codegen",
    "20260217-162547-llama-2-7b-tp1-roleplay",
    "20260217-231439-llama-2-7b-tp1-general",
)
GUIDELLM = "formats/guidellm_jan20-codellama-prefill-1"
INFERENCE_PERF = "formats/inference-perf_20260217-155451-llama-2-7b-tp1-codegen"


def rows(shared_dir, name, stage=None):
    with gzip.open(shared_dir / "ground_truth" / "replay" / f"{name}.csv.gz", "rt", encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream) if stage is None or row["stage"] == stage]


def column(rows, name, kind=float):
    return [kind(row[name]) for row in rows]


def guidellm_means(shared_dir, index):
    path = shared_dir / "ground_truth" / GUIDELLM / "guidellm-results.trimmed.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))["benchmarks"][index]["metrics"]
    return {
        "ttft": metrics["time_to_first_token_ms"]["successful"]["mean"],
        "e2e": metrics["request_latency"]["successful"]["mean"],
        "tpot": metrics["time_per_output_token_ms"]["successful"]["mean"],
        "itl": metrics["inter_token_latency_ms"]["successful"]["mean"],
        "tokens": metrics["output_token_count"]["successful"]["mean"],
    }


def stage_latency(shared_dir, stage):
    path = shared_dir / "ground_truth" / INFERENCE_PERF / "results" / f"stage_{stage}_lifecycle_metrics.json"
    return json.loads(path.read_text(encoding="utf-8"))["successes"]


# --- definitions ------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1])
def test_guidellm_time_per_output_token_is_found_to_contain_ttft(shared_dir, index):
    means = guidellm_means(shared_dir, index)
    del means["itl"]
    means["e2e"] *= 1000
    found = lint.tpot_includes_ttft(**means)
    assert found.flag is Flag.TPOT_INCLUDES_TTFT
    assert found.value == pytest.approx(guidellm_means(shared_dir, index)["itl"], rel=0.001)


@pytest.mark.parametrize(
    ("tpot", "convention"),
    [(1000 / 50, "guidellm"), (600 / 49, "inter_token"), (600 / 50, "decode_per_token"), (600 / 101, "stream_lines")],
)
def test_every_definition_is_recognised_by_its_means(tpot, convention):
    assert lint.tpot_convention(ttft=400, e2e=1000, tpot=tpot, tokens=50) == convention


@pytest.mark.parametrize("tpot", [15.0, 3.0, 600 / 49.5])
def test_a_time_per_token_that_fits_no_definition_or_two_is_left_alone(tpot):
    assert lint.tpot_convention(ttft=400, e2e=1000, tpot=tpot, tokens=50) is None


@pytest.mark.parametrize("tokens", [1, 0])
def test_one_token_has_no_time_between_tokens(tokens):
    assert lint.tpot_convention(ttft=400, e2e=1000, tpot=20, tokens=tokens) is None


def test_the_time_between_tokens_is_not_mistaken_for_one_with_ttft():
    assert lint.tpot_includes_ttft(ttft=400, e2e=1000, tpot=600 / 49, tokens=50) is None
    assert lint.stream_lines_counted(ttft=400, e2e=1000, tpot=600 / 49, tokens=50) is None


@pytest.mark.parametrize("stage", [0, 1])
def test_counted_stream_lines_are_found_with_their_factor(shared_dir, stage):
    latency = stage_latency(shared_dir, stage)["latency"]
    found = lint.stream_lines_counted(
        ttft=latency["time_to_first_token"]["mean"],
        e2e=latency["request_latency"]["mean"],
        tpot=latency["time_per_output_token"]["mean"],
        tokens=247,
    )
    assert found.flag is Flag.STREAM_LINES_COUNTED
    assert found.value == pytest.approx((2 * 247 + 1) / (247 - 1))


def test_counted_stream_lines_show_in_the_gaps_too(shared_dir):
    gaps = stage_latency(shared_dir, 0)["latency"]["inter_token_latency"]
    assert lint.every_second_gap_is_empty(p50=gaps["median"], p75=gaps["p75"]) is not None
    assert lint.every_second_gap_is_empty(p50=7.1, p75=7.4) is None


def test_a_latency_in_seconds_beside_milliseconds_is_found(shared_dir):
    means = guidellm_means(shared_dir, 0)
    del means["tpot"]
    assert lint.seconds_among_milliseconds(**means).value == 1000
    means["e2e"] *= 1000
    assert lint.seconds_among_milliseconds(**means) is None


def test_figures_of_one_thing_that_differ_are_found():
    one = {"tpot": 24.4, "e2e": 3.0}
    assert lint.figures_contradict(one, {"tpot": 30.5, "e2e": 3.01}, 0.05).value == 1
    assert lint.figures_contradict(one, {"tpot": 24.5, "ttft": 9.0}, 0.05) is None


def test_a_copy_of_another_run_is_found():
    codegen, roleplay = {"ttft": 25.0366, "e2e": 1810.3224}, {"ttft": 27.1288, "e2e": 2071.1203}
    again = {"ttft": 25.0366, "e2e": 1810.32, "tpot": 7.257}
    runs = {"codegen": codegen, "roleplay": roleplay, "general": again}
    assert lint.copy_of_another_run(runs) == [("codegen", "general")]
    assert lint.copy_of_another_run({"a": codegen, "b": codegen | {"e2e": 1811.0}, "c": {"ttft": 25.0366}}) == []


def test_a_root_mean_square_is_told_from_a_mean():
    assert lint.kind_of_average([10.0, 30.0], 20.0) == "mean"
    assert lint.kind_of_average([10.0, 30.0], 500**0.5) == "root_mean_square"
    assert lint.kind_of_average([10.0, 30.0], 28.0) is None
    assert lint.kind_of_average([10.0, 10.0], 10.0) is None


def test_two_recorded_times_per_token_are_counted_lines():
    found = lint.stream_events_counted([102] * 19 + [101], 50)
    assert found.flag is Flag.STREAM_LINES_COUNTED
    assert found.value == pytest.approx(101 / 49)
    assert lint.stream_events_counted([50] * 20, 50) is None
    assert lint.stream_events_counted([102] * 10 + [50] * 10, 50) is None
    assert lint.stream_events_counted([], 50) is None
    assert lint.stream_events_counted([2], 0) is None


# --- lengths ----------------------------------------------------------------------------------


def test_retokenised_output_lengths_are_found(shared_dir):
    reported = stage_latency(shared_dir, 0)["output_len"]["mean"]
    assert lint.output_retokenised(reported=reported, generated=247).flag is Flag.OUTPUT_RETOKENISED
    assert lint.output_retokenised(reported=247.0, generated=247) is None


@pytest.mark.parametrize("name", REPLAYS)
def test_output_lengths_without_effect_on_time_are_found(shared_dir, name):
    recorded = rows(shared_dir, name, "0")
    e2e = column(recorded, "e2e_ms")
    found = lint.lengths_unrelated_to_time(column(recorded, "output_tokens_client_retokenized"), e2e)
    assert found.flag is Flag.OUTPUT_RETOKENISED
    assert lint.lengths_unrelated_to_time(column(recorded, "output_tokens_true"), e2e) is None


def test_output_lengths_that_take_their_time_are_right():
    lengths = [(37 * position) % 490 + 10 for position in range(300)]
    assert lint.lengths_unrelated_to_time(lengths, [20 + 7.0 * tokens for tokens in lengths]) is None


@pytest.mark.parametrize("name", REPLAYS)
def test_prompts_are_found_to_repeat_after_a_hundred_requests(shared_dir, name):
    found = lint.prompts_repeat(column(rows(shared_dir, name), "input_tokens", int))
    assert (found.flag, found.value) == (Flag.PROMPTS_REPEAT, 100)


def test_prompts_are_found_to_repeat_in_the_first_two_hundred_requests(shared_dir):
    path = shared_dir / "ground_truth" / INFERENCE_PERF / "replay.first200.json"
    requests = json.loads(path.read_text(encoding="utf-8"))["requests"]
    assert lint.prompts_repeat([request["input_tokens"] for request in requests]).value == 100


def test_prompts_that_do_not_repeat_are_left_alone(shared_dir):
    sweep = [
        tokens
        for stage in range(12)
        for tokens in column(rows(shared_dir, f"jan21-llama7b-train-1__stage{stage}_server"), "input_tokens", int)
    ]
    assert lint.prompts_repeat(sweep) is None


@pytest.mark.parametrize("lengths", [[500] * 1000, [5, 6, 5, 6], [], [7]])
def test_lengths_that_say_nothing_about_repetition_find_nothing(lengths):
    assert lint.prompts_repeat(lengths) is None


def test_random_lengths_do_not_repeat():
    source = random.Random(7)
    assert lint.prompts_repeat([source.randint(580, 604) for _ in range(2000)]) is None


@pytest.mark.parametrize("stage", range(12))
def test_recorded_lengths_are_recognised_as_the_clients_draws(shared_dir, stage):
    recorded = rows(shared_dir, f"jan21-llama7b-train-1__stage{stage}_server")
    prompts = guidellm_draws(42 + stage, 25, mean=1700, stdev=1200, minimum=2, maximum=3500)
    outputs = guidellm_draws(43 + stage, 25, mean=800, stdev=500, minimum=1, maximum=500)
    for name, draws in (("input_tokens", prompts), ("output_tokens_true", outputs)):
        assert lint.lengths_from_seed(column(recorded, name, int), draws).value == 0
    other_seed = guidellm_draws(1042 + stage, 25, mean=1700, stdev=1200, minimum=2, maximum=3500)
    assert lint.lengths_from_seed(column(recorded, "input_tokens", int), other_seed) is None


def test_a_constant_shift_of_the_draws_is_measured():
    draws = guidellm_draws(42, 50, mean=70, stdev=35, minimum=2, maximum=200)
    assert lint.lengths_from_seed([tokens - 2 for tokens in draws[5:]], draws).value == -2
    assert lint.lengths_from_seed([tokens - 9 for tokens in draws], draws) is None
    assert lint.lengths_from_seed([], draws) is None
    assert lint.lengths_from_seed([*draws, 70], draws) is None


# --- time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPLAYS)
def test_arrivals_called_constant_are_found_to_be_exponential(shared_dir, name):
    found = lint.constant_is_poisson(column(rows(shared_dir, name, "0"), "arrival_time_us", int))
    assert found.flag is Flag.CONSTANT_IS_POISSON
    assert found.value == pytest.approx(1.0, abs=0.03)


def test_evenly_spaced_bursty_or_few_arrivals_are_not_exponential():
    assert lint.constant_is_poisson(list(range(0, 400_000, 1000))) is None
    assert lint.constant_is_poisson([0] * 300) is None
    bursts = [burst * 1_000_000 + position for burst in range(30) for position in range(10)]
    assert lint.constant_is_poisson(bursts) is None
    source = random.Random(3)
    assert lint.constant_is_poisson(sorted(source.randint(0, 10**9) for _ in range(50))) is None


@pytest.mark.parametrize("name", REPLAYS)
def test_cold_first_requests_are_found_in_the_first_stage_only(shared_dir, name):
    ttft = column(rows(shared_dir, name, "0"), "ttft_ms")
    assert lint.cold_start(ttft).flag is Flag.COLD_START_INCLUDED
    assert lint.cold_start(ttft[1000:]) is None
    later = rows(shared_dir, name, "1")
    assert not later or lint.cold_start(column(later, "ttft_ms")) is None


def test_a_cold_first_request_is_found_in_a_short_run(shared_dir):
    ttft = column(rows(shared_dir, "jan21-llama7b-train-1__stage0_server"), "ttft_ms")
    assert lint.cold_start(ttft).value == 1
    assert lint.cold_start(ttft[1:]) is None


def test_cold_requests_show_in_summaries_too(shared_dir):
    def tail(stage):
        ttft = stage_latency(shared_dir, stage)["latency"]["time_to_first_token"]
        return lint.cold_tail(largest=ttft["max"], p99_9=ttft["p99.9"], requests=3000)

    assert tail(0) is not None
    assert tail(1) is None
    assert lint.cold_tail(largest=130.0, p99_9=67.0, requests=40) is None


def test_a_first_request_that_is_the_slowest_is_cold():
    assert lint.first_is_slowest(first=1353.1, largest=1353.1, p90=1099.0).value == 1
    assert lint.first_is_slowest(first=1100.0, largest=1100.0, p90=1099.0) is None
    assert lint.first_is_slowest(first=900.0, largest=1353.1, p90=700.0) is None


def test_a_tail_longer_than_that_of_a_busier_stage_is_cold():
    found = lint.cold_first_stage(p90=(63.9, 74.6), p99=(138.6, 79.8), later="stage_1")
    assert found.value == pytest.approx(138.6 / 79.8)
    assert lint.cold_first_stage(p90=(28.4, 34.1), p99=(46.0, 50.8), later="stage_1") is None
    # A first stage that is slower altogether is something else.
    assert lint.cold_first_stage(p90=(90.0, 74.6), p99=(138.6, 79.8), later="stage_1") is None


def test_stages_that_overlap_are_found(shared_dir):
    recorded = rows(shared_dir, REPLAYS[0])
    stages = []
    for stage in ("0", "1"):
        part = [row for row in recorded if row["stage"] == stage]
        arrivals, e2e = column(part, "arrival_time_us"), column(part, "e2e_ms")
        stages.append((arrivals[0] / 1e6, max(a / 1e6 + b / 1e3 for a, b in zip(arrivals, e2e, strict=True))))
    assert lint.stages_overlap(stages) is None
    assert lint.stages_overlap([(0, 601.6), (600.0, 1200.0)]).value == pytest.approx(1.6)


def test_client_minus_server_is_about_ten_milliseconds(shared_dir):
    folder = shared_dir / "ground_truth" / GUIDELLM
    report = json.loads((folder / "guidellm-results.trimmed.json").read_text(encoding="utf-8"))
    client = {
        f"{one['response_id']}-0": (one["time_to_first_token_ms"], one["request_latency"] * 1000)
        for benchmark in report["benchmarks"]
        for one in benchmark["requests"]["successful"]
    }
    found = lint.client_time_included(client, read_run_metadata(folder).spans)
    assert found.value == pytest.approx(10.0, abs=0.2)
    first = dict([next(iter(client.items()))])
    assert lint.client_time_included(first, read_run_metadata(folder).spans) is None


def test_the_cold_first_request_alone_measures_no_client_time():
    client = {"first": (60.0, 600.0), "second": (20.0, 500.0)}
    assert lint.client_time_included(client, {"first": (20.0, 560.0)}) is None
    assert lint.client_time_included(client, {"second": (10.0, 490.0)}).value == pytest.approx(10.0)


def test_without_shared_requests_or_a_slower_client_no_client_time_is_measured():
    assert lint.client_time_included({"a": (5, 50)}, {"b": (4, 40)}) is None
    assert lint.client_time_included({"a": (5, 50), "b": (5, 50)}, {"a": (6, 60), "b": (6, 60)}) is None


# --- load -------------------------------------------------------------------------------------


def test_a_server_that_fails_is_overloaded():
    assert lint.too_many_failed(sent=100, failed=20).value == pytest.approx(0.2)
    assert lint.too_many_failed(sent=100, failed=5) is None
    assert lint.too_many_failed(sent=0, failed=0) is None


@pytest.mark.parametrize("name", REPLAYS)
def test_waiting_does_not_grow_in_the_recorded_runs(shared_dir, name):
    for stage in ("0", "1"):
        assert lint.queue_grows(column(rows(shared_dir, name, stage), "ttft_ms")) is None


def test_waiting_that_grows_is_found():
    assert lint.queue_grows([50.0 + 10 * position for position in range(200)]).flag is Flag.OVERLOADED
    assert lint.queue_grows([50.0, 900.0]) is None


def test_more_completed_than_requested_means_irregular_arrivals():
    assert lint.arrivals_irregular(requested_per_s=0.537729, completed_per_s=0.63578) is not None
    assert lint.arrivals_irregular(requested_per_s=0.493518, completed_per_s=0.501518) is None
    assert lint.arrivals_irregular(requested_per_s=None, completed_per_s=3.0) is None


def test_figures_for_a_part_of_the_answers_are_found():
    assert lint.part_of_the_run(counted=300, sent=5100).value == pytest.approx(300 / 5100)
    assert lint.part_of_the_run(counted=4990, sent=5100, failed=100) is None


GAPS = {"ttft": [5.0] * 4, "first_gap": [45.0] * 4, "typical_gap": [10.0] * 4}


def test_a_first_chunk_without_a_token_is_found_by_the_gap_behind_it():
    assert lint.first_chunk_is_no_token(**GAPS).value == pytest.approx(4.5)


@pytest.mark.parametrize(
    "change",
    [
        {"first_gap": [10.0] * 4},  # nothing special
        {"first_gap": [45.0, 10.0, 10.0, 45.0]},  # other prompts were computed between two tokens
        {"ttft": [60.0] * 4},  # the first token took longer than the gap: the prompt was computed before it
        {"ttft": [5.0] * 2, "first_gap": [45.0] * 2, "typical_gap": [10.0] * 2},  # too few to tell
    ],
)
def test_a_long_first_gap_alone_is_no_chunk_without_a_token(change):
    assert lint.first_chunk_is_no_token(**{**GAPS, **change}) is None


# --- flags ------------------------------------------------------------------------------------


def test_every_flag_has_a_meaning_and_is_documented(project_root):
    assert set(MEANINGS) == set(Flag)
    text = (project_root / "docs" / "importing.md").read_text(encoding="utf-8")
    assert [flag for flag in Flag if f"\n| `{flag}` |" not in text] == []


def test_reports_print_each_text_once_with_its_experiments():
    class Measured:
        def __init__(self, identifier, *quality):
            self.id = identifier
            self.quality = quality

    client = QualityFlag(flag="client_time_included", treatment="noted", text="At the client.")
    tpot = QualityFlag(flag="tpot_includes_ttft", treatment="corrected", text="Contains TTFT.", load_points=("sync",))
    assert flag_lines([Measured("a", client, tpot), Measured("b", client)]) == (
        "`tpot_includes_ttft` (corrected): Contains TTFT. - a [sync]",
        "`client_time_included` (noted): At the client. - a, b",
    )
