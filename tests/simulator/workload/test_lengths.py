"""Lengths: regenerated client draws, clipping, rounding, independence and bounds."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from statistics import fmean, pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import ConfigError
from simulator.validation import parse
from simulator.workload.lengths import (
    ConstantLengths,
    EmpiricalLengths,
    GaussianLengths,
    GuideLlmLengths,
    UniformLengths,
    draw_lengths,
    expected_tokens,
    guidellm_draws,
)


def guidellm(mean, stdev, low, high, **more):
    return GuideLlmLengths(
        kind="guidellm", mean_tokens=mean, stdev_tokens=stdev, min_tokens=low, max_tokens=high, **more
    )


def gaussian(mean, stdev, low, high):
    return GaussianLengths(kind="gaussian", mean_tokens=mean, stdev_tokens=stdev, min_tokens=low, max_tokens=high)


@pytest.mark.parametrize(
    ("profile", "count", "mean"),
    [
        ((215, 80, 1, 512), 50, 207.32),
        ((28, 60, 6, 200), 50, 40.36),
        ((28, 60, 6, 200), 49, 41.0),
        ((512, 150, 10, 2048), 40, 500.225),
    ],
    ids=["chat", "code", "code-49-completed", "summarization"],
)
def test_regenerated_outputs_have_the_mean_length_that_the_measurements_imply(profile, count, mean):
    outputs = draw_lengths(guidellm(*profile), count, "output", seed=0)

    assert sum(outputs) / count == mean


def test_guidellm_prompts_use_the_seed_and_outputs_the_next_one():
    spec = guidellm(70, 35, 2, 200, adjustment_tokens=0)
    limits = {"mean": 70, "stdev": 35, "minimum": 2, "maximum": 200}

    assert draw_lengths(spec, 9, "prompt", seed=5) == guidellm_draws(42, 9, **limits)
    assert draw_lengths(spec, 9, "output", seed=5) == guidellm_draws(43, 9, **limits)


def test_a_later_benchmark_of_the_client_shifts_both_seeds():
    first, third = guidellm(70, 35, 2, 200), guidellm(70, 35, 2, 200, benchmark_index=2)

    assert draw_lengths(third, 5, "prompt", 0) == draw_lengths(guidellm(70, 35, 2, 200, random_seed=44), 5, "prompt", 0)
    assert draw_lengths(third, 5, "prompt", 0) != draw_lengths(first, 5, "prompt", 0)


def test_guidellm_prompts_lose_two_tokens_and_outputs_none_unless_told_otherwise():
    fixed = guidellm(100, 0, 1, 200)

    assert draw_lengths(fixed, 2, "prompt", 0) == [98, 98]
    assert draw_lengths(fixed, 2, "output", 0) == [100, 100]
    assert draw_lengths(guidellm(100, 0, 1, 200, adjustment_tokens=3), 2, "prompt", 0) == [103, 103]


def test_guidellm_rounds_halves_to_even_as_its_client_does():
    assert guidellm_draws(1, 2, mean=2.5, stdev=0, minimum=1, maximum=9) == [2, 2]
    assert guidellm_draws(1, 2, mean=3.5, stdev=0, minimum=1, maximum=9) == [4, 4]


def test_gaussian_rounds_halves_away_from_zero():
    assert draw_lengths(gaussian(2.5, 0, 1, 9), 2, "prompt", 0) == [3, 3]


def recorded_benchmarks(shared_dir):
    folder = shared_dir / "ground_truth" / "formats" / "guidellm_jan20-codellama-prefill-1"
    if not folder.is_dir():
        pytest.skip("the recorded GuideLLM sample is not among the reference data")
    return folder, json.loads((folder / "guidellm-results.trimmed.json").read_text())["benchmarks"]


def sample_lengths(run_index):
    """Regenerate prompts (with the sample's prefix of 1024 tokens) and outputs of one of its load points."""
    prompts = draw_lengths(guidellm(2048, 500, 100, 4096, benchmark_index=run_index), 40, "prompt", 0)
    return [1024 + prompt for prompt in prompts], draw_lengths(
        guidellm(32, 16, 1, 64, benchmark_index=run_index), 40, "output", 0
    )


def test_regenerated_lengths_equal_a_recorded_client_file_in_total_and_extremes(shared_dir):
    _, benchmarks = recorded_benchmarks(shared_dir)
    for benchmark in benchmarks:
        sides = zip(
            ("prompt_token_count", "output_token_count"),
            sample_lengths(benchmark["config"]["run_index"]),
            strict=True,
        )
        for name, regenerated in sides:
            recorded = benchmark["metrics"][name]["successful"]
            assert len(regenerated) == recorded["count"]
            assert sum(regenerated) == round(recorded["total_sum"])
            assert (min(regenerated), max(regenerated)) == (recorded["min"], recorded["max"])
            assert set(recorded["percentiles"].values()) <= set(regenerated)


def test_regenerated_lengths_equal_recorded_requests_one_by_one(shared_dir):
    folder, benchmarks = recorded_benchmarks(shared_dir)
    pairs = list(zip(*sample_lengths(0), strict=True))
    synchronous = benchmarks[0]["requests"]["successful"]

    assert [(row["prompt_tokens"], row["output_tokens"]) for row in synchronous] == pairs[: len(synchronous)]
    spans = server_spans(folder)
    assert len(spans) >= 5
    assert spans == pairs[: len(spans)]


def server_spans(folder):
    """Return (prompt, output) tokens of the recorded server spans, in order of time."""
    found = []
    for line in (folder / "traces.head5.jsonl").read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    values = {attribute["key"]: attribute["value"].get("intValue") for attribute in span["attributes"]}
                    if "gen_ai.usage.prompt_tokens" in values:
                        pair = (
                            int(values["gen_ai.usage.prompt_tokens"]),
                            int(values["gen_ai.usage.completion_tokens"]),
                        )
                        found.append((int(span["startTimeUnixNano"]), pair))
    return [pair for _, pair in sorted(found)]


def test_a_recorded_sweep_without_prefix_sent_prompts_of_exactly_the_drawn_length(shared_dir):
    """All 12 load points, 282 requests: nothing is lost where no prefix is joined to the prompt."""
    files = sorted((shared_dir / "ground_truth" / "replay").glob("jan21-llama7b-train-1__stage*_server.csv.gz"))
    if not files:
        pytest.skip("the recorded sweep is not among the reference data")
    for path in files:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        index = int(rows[0]["stage"])
        prompts = draw_lengths(
            guidellm(1700, 1200, 2, 3500, benchmark_index=index, adjustment_tokens=0), 25, "prompt", 0
        )
        outputs = draw_lengths(guidellm(800, 500, 1, 500, benchmark_index=index), 25, "output", 0)
        drawn = Counter(zip(prompts, outputs, strict=True))
        sent = Counter((int(row["input_tokens"]), int(row["output_tokens_true"])) for row in rows)
        assert sent <= drawn, path.name


@settings(max_examples=60, deadline=None)
@given(
    mean=st.floats(0, 5000),
    stdev=st.floats(0, 5000),
    low=st.integers(1, 3000),
    extra=st.integers(0, 3000),
    seed=st.integers(0, 2**32),
)
def test_clipped_draws_stay_within_their_limits_and_repeat(mean, stdev, low, extra, seed):
    for spec in (gaussian(mean, stdev, low, low + extra), guidellm(mean, stdev, low, low + extra)):
        drawn = draw_lengths(spec, 30, "output", seed)
        assert all(low <= tokens <= low + extra for tokens in drawn)
        assert draw_lengths(spec, 30, "output", seed) == drawn


def test_gaussian_draws_have_about_the_mean_and_spread_asked_for():
    drawn = draw_lengths(gaussian(1000, 100, 1, 9999), 4000, "prompt", 7)
    mean = sum(drawn) / len(drawn)
    spread = (sum((length - mean) ** 2 for length in drawn) / len(drawn)) ** 0.5

    assert mean == pytest.approx(1000, abs=8)  # five standard errors
    assert spread == pytest.approx(100, abs=6)


def test_prompts_and_outputs_of_the_same_distribution_are_different_draws():
    spec = gaussian(1000, 300, 1, 9999)

    assert draw_lengths(spec, 20, "prompt", 3) != draw_lengths(spec, 20, "output", 3)
    assert draw_lengths(spec, 20, "prompt", 3) != draw_lengths(spec, 20, "prompt", 4)


def test_drawing_fewer_lengths_keeps_the_ones_drawn():
    spec = gaussian(1000, 300, 1, 9999)

    assert draw_lengths(spec, 20, "prompt", 3)[:7] == draw_lengths(spec, 7, "prompt", 3)


def test_constant_and_recorded_lengths_come_back_as_given():
    recorded = EmpiricalLengths(kind="empirical", tokens=(5, 3, 8))

    assert draw_lengths(ConstantLengths(kind="constant", tokens=12), 3, "prompt", 0) == [12, 12, 12]
    assert draw_lengths(recorded, 2, "prompt", 0) == [5, 3]


def test_resampled_lengths_are_recorded_ones():
    resampled = EmpiricalLengths(kind="empirical", tokens=(5, 3, 8), order="resampled")

    drawn = draw_lengths(resampled, 200, "prompt", 1)
    assert set(drawn) == {3, 5, 8}


def test_too_few_recorded_lengths_are_refused():
    with pytest.raises(ConfigError, match=r"prompt\.tokens: 2 recorded lengths for 3 requests"):
        draw_lengths(EmpiricalLengths(kind="empirical", tokens=(5, 3)), 3, "prompt", 0)


def test_limits_in_the_wrong_order_are_refused():
    data = {"kind": "gaussian", "mean_tokens": 5, "stdev_tokens": 1, "min_tokens": 9, "max_tokens": 3}
    with pytest.raises(ConfigError, match="min_tokens 9 is above max_tokens 3"):
        parse(GaussianLengths, data, source="workload.yaml")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1, "70", True])
def test_a_mean_that_is_not_a_finite_non_negative_number_is_refused(bad):
    data = {"kind": "guidellm", "mean_tokens": bad, "stdev_tokens": 1, "min_tokens": 1, "max_tokens": 3}
    with pytest.raises(ConfigError, match="mean_tokens"):
        parse(GuideLlmLengths, data, source="workload.yaml")


def test_a_range_gives_every_whole_number_in_it_and_no_other():
    spec = UniformLengths(kind="uniform", min_tokens=5, max_tokens=9)
    assert set(draw_lengths(spec, 500, "output", 3)) == {5, 6, 7, 8, 9}


def test_a_range_whose_ends_are_swapped_is_refused():
    with pytest.raises(ConfigError, match="min_tokens 9 is above max_tokens 5"):
        parse(UniformLengths, {"kind": "uniform", "min_tokens": 9, "max_tokens": 5}, source="x")


@pytest.mark.parametrize(
    "spec",
    [
        UniformLengths(kind="uniform", min_tokens=819, max_tokens=1024),
        gaussian(1700, 1974, 2, 3500),
        gaussian(2500, 1000, 1, 3000),
        gaussian(100, 5, 1, 1000),
        gaussian(100, 0, 1, 60),
    ],
)
def test_mean_and_deviation_of_a_distribution_are_those_of_its_draws(spec):
    drawn = draw_lengths(spec, 40_000, "prompt", 1)
    mean, deviation = expected_tokens(spec)
    assert fmean(drawn) == pytest.approx(mean, rel=0.01)
    assert pstdev(drawn) == pytest.approx(deviation, rel=0.03, abs=0.4)
