"""What of a benchmark's lists is a measurement: a time of 0, an answer without a token and a first chunk are none."""

from __future__ import annotations

import pytest

from roofline_lab.cli.main import EXIT_FAILURE, main
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.importers import vllm_bench
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import AsWritten, Sent, vllm_result, write_vllm

# Every request: 11 tokens, the first after 40 ms, the others 10 ms apart, so that it takes 140 ms.
REQUESTS = [Sent(float(second), 100, 11, 0.04, 0.01) for second in range(6)]
LATENCIES = {"ttft_mean": 40.0, "ttft_p50": 40.0, "tpot_mean": 10.0, "e2e_mean": 140.0}


def read(path):
    return AsWritten(vllm_bench.read(path))


def detailed(**changes):
    return vllm_result(REQUESTS, detailed=True, **changes)


def values(found):
    return {name: figure["value"] for name, figure in found.load_points[0]["measured"].items()}


def text(found, flag):
    return " ".join(one.text for one in found.quality if one.flag is flag)


def assert_right(found):
    figures = values(found)
    assert {name: figures[name] for name in LATENCIES} == pytest.approx(LATENCIES)


# --- a time of 0 ----------------------------------------------------------------------------------


def without_first_token(result, positions):
    for position in positions:
        result["ttfts"][position] = 0.0
        result["itls"][position] = [0.014] * 10
    return result


def test_a_first_token_time_of_zero_is_in_no_figure(tmp_path):
    result = without_first_token(detailed(mean_ttft_ms=26.7, mean_itl_ms=11.3, median_itl_ms=10.0), (1, 4))
    found = read(write_vllm(tmp_path, result))
    assert_right(found)
    assert [request.ttft_ms for request in found.requests].count(None) == 2
    assert all(request.e2e_ms == pytest.approx(140.0) for request in found.requests)
    assert "2 of 6 answers have no time to the first token, or one of 0" in text(found, Flag.PART_OF_THE_RUN)


def test_an_end_to_end_time_that_the_gaps_do_not_add_up_to_is_flagged(tmp_path):
    """Without a first-token time E2E is the sum of the gaps, which must have all of it."""
    result = without_first_token(detailed(mean_e2el_ms=140.0), (1, 4))
    result["itls"][1] = result["itls"][4] = [0.01] * 10
    found = read(write_vllm(tmp_path, result))
    assert "e2e_mean 140 and 126.667" in text(found, Flag.FIGURES_CONTRADICT)


def test_gaps_that_contain_the_first_token_are_in_no_mean_of_gaps(tmp_path):
    result = without_first_token(detailed(mean_itl_ms=11.3, median_itl_ms=10.0), (1, 4))
    figures = values(read(write_vllm(tmp_path, result)))
    assert figures["itl_mean"] == pytest.approx(10.0)
    assert "itl_p50" not in figures


def test_without_any_first_token_time_there_is_no_ttft_and_no_tpot(tmp_path):
    found = read(write_vllm(tmp_path, without_first_token(detailed(), range(6))))
    assert not [name for name in values(found) if name.startswith(("ttft", "tpot"))]
    assert values(found)["e2e_mean"] == pytest.approx(140.0)
    assert "there are no TTFT and no TPOT" in text(found, Flag.PART_OF_THE_RUN)


def test_a_median_of_zero_is_refused_as_the_mean_contains_zeros_too(tmp_path):
    with pytest.raises(ConfigError, match=r"ttft_p50: 0, which means not measured; .* give the single requests"):
        read(write_vllm(tmp_path, vllm_result(REQUESTS, median_ttft_ms=0.0)))


def test_a_latency_that_is_zero_throughout_is_left_out_and_said(tmp_path):
    zeros = {f"{rank}_ttft_ms": 0.0 for rank in ("mean", "median", "p99")}
    found = read(write_vllm(tmp_path, vllm_result(REQUESTS, **zeros)))
    assert not [name for name in values(found) if name.startswith("ttft")]
    assert any("Every TTFT is 0, which means that it was not measured" in one for one in found.conversions)


def test_zero_first_token_times_of_the_shared_case_are_left_out(shared_dir):
    found = read(shared_dir / "cases" / "04-vllm-zero-ttft")
    assert_right(found)
    assert [request.ttft_ms for request in found.requests] == [pytest.approx(40.0), None, pytest.approx(40.0), None]


def test_first_token_times_of_zero_are_refused_where_nothing_lets_them_be_taken_out(tmp_path):
    result = without_first_token(detailed(), (1, 4))
    del result["itls"]
    with pytest.raises(ConfigError, match=r"ttfts: 2 of 6 are 0, which means not measured, and in the means; run the"):
        read(write_vllm(tmp_path, result))


def test_a_median_gap_of_zero_is_tokens_that_came_together_and_spoils_no_mean(tmp_path):
    figures = values(read(write_vllm(tmp_path, vllm_result(REQUESTS, median_itl_ms=0.0))))
    assert figures["itl_mean"] == pytest.approx(10.0)
    assert "itl_p50" not in figures


# --- answers without a token ----------------------------------------------------------------------


def without_output(result, positions):
    for position in positions:
        result["ttfts"][position], result["output_lens"][position], result["itls"][position] = 0.0, 0, []
    return result | {"total_output_tokens": sum(result["output_lens"]), "mean_ttft_ms": 26.67}


@pytest.mark.parametrize("counted", [True, False])
def test_answers_without_a_token_are_counted_and_left_out(tmp_path, counted):
    """Versions differ in whether they count them as completed."""
    result = without_output(detailed(), (1, 4))
    if not counted:
        result |= {"completed": 4, "request_throughput": 4 / result["duration"], "mean_ttft_ms": 40.0}
    found = read(write_vllm(tmp_path, result))
    (point,) = found.load_points
    assert_right(found)
    assert (point["requests"]["sent"], point["requests"]["completed"]) == (6, 4)
    assert point["requests"]["without_output"] == 2
    assert found.workload["output"]["tokens"] == 11
    assert values(found)["request_throughput"] == pytest.approx(4 / result["duration"], abs=1e-6)


def test_answers_without_a_token_are_shown_by_import_inspect_and_the_experiment(project, tmp_path, capsys):
    path, out = write_vllm(tmp_path / "in", without_output(detailed(), (1, 4))), project / "ground_truth" / "mine"
    said = "2 of 6 requests are in no figure: 2 without a token"
    assert main(["inspect", str(path)]) == 0
    header, _, row = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert row[header.index(next(cell for cell in header if cell.strip() == "without a token"))].strip() == "2"
    assert main(["import", "vllm-bench", str(path), "--out", str(out)]) == 0
    assert said in capsys.readouterr().out
    assert load_experiment(out).load_points[0].requests.without_output == 2


def test_failed_requests_and_answers_without_a_token_are_counted_apart(tmp_path):
    result = without_output(detailed(), (1,))
    result["errors"][3] = "timeout"
    result |= {"completed": 5, "request_throughput": 5 / result["duration"]}
    (point,) = read(write_vllm(tmp_path, result)).load_points
    counts = {name: point["requests"][name] for name in ("sent", "completed", "failed", "without_output")}
    assert counts == {"sent": 6, "completed": 4, "failed": 1, "without_output": 1}


def test_requests_that_failed_are_left_out_although_the_result_counts_them(tmp_path):
    result = detailed()
    result["errors"][3], result["ttfts"][3] = "timeout", 9.0
    result["itls"][3] = [1.0] * 10
    found = read(write_vllm(tmp_path, result))
    assert_right(found)
    counts = found.load_points[0]["requests"]
    assert (counts["sent"], counts["completed"], counts["failed"]) == (6, 5, 1)


def test_a_run_without_any_token_is_refused(tmp_path):
    result = without_output(detailed(), range(6)) | {"total_output_tokens": 1}
    with pytest.raises(ConfigError, match="no request was answered with a token, so nothing is measured"):
        read(write_vllm(tmp_path, result))


def test_means_over_answers_without_a_token_are_refused_where_they_cannot_be_taken_out(tmp_path):
    result = without_output(detailed(), (1, 4))
    del result["ttfts"], result["itls"]
    with pytest.raises(ConfigError, match=r"output_lens: 2 of 6 requests generated no token.*--save-detailed"):
        read(write_vllm(tmp_path, result))


def test_a_mean_that_only_empty_answers_explain_is_flagged_with_what_to_do(tmp_path):
    """Of scalars alone: every percentile is 40 ms, so a mean of 26.67 ms contains times of 0."""
    found = read(write_vllm(tmp_path, vllm_result(REQUESTS, mean_ttft_ms=26.67)))
    assert "about 2 of 6 requests had a TTFT of 0" in text(found, Flag.FIGURES_CONTRADICT)
    assert "--save-detailed" in text(found, Flag.FIGURES_CONTRADICT)


def test_scalars_alone_say_that_empty_answers_may_be_in_them(tmp_path):
    found = read(write_vllm(tmp_path, vllm_result(REQUESTS)))
    assert "Whether answers without a token are in the means is not recorded" in text(found, Flag.LENGTHS_UNKNOWN)
    assert Flag.FIGURES_CONTRADICT not in [flag.flag for flag in found.quality]


def test_answers_of_one_token_are_in_no_time_per_token(tmp_path):
    requests = [*REQUESTS[:3], *(Sent(float(second), 100, 1, 0.04, 0.01) for second in range(3, 6))]
    result = vllm_result(requests, detailed=True, mean_tpot_ms=5.0, median_tpot_ms=5.0)
    assert values(read(write_vllm(tmp_path, result)))["tpot_mean"] == pytest.approx(10.0)


def test_empty_answers_of_the_shared_case_are_left_out_and_its_scalars_flagged(shared_dir):
    folder = shared_dir / "cases" / "05-zero-output-completed"
    found = read(folder / "detailed.json")
    assert_right(found)
    assert found.load_points[0]["requests"]["without_output"] == 2
    assert "about 2 of 6 requests" in text(read(folder / "scalars.json"), Flag.FIGURES_CONTRADICT)


# --- a first chunk that is no token ---------------------------------------------------------------


def with_role_chunk(result, role_s=0.005, behind_s=0.045):
    result["ttfts"] = [role_s] * 6
    result["itls"] = [[behind_s, *([0.01] * 9)] for _ in range(6)]
    return result | {"mean_ttft_ms": role_s * 1000, "median_ttft_ms": role_s * 1000, "mean_itl_ms": 13.5}


def test_a_role_chunk_is_no_first_token(tmp_path):
    """5 ms to the role, 45 ms to the second chunk, which brings two tokens 10 ms apart: the first came after 40 ms."""
    found = read(write_vllm(tmp_path, with_role_chunk(detailed())))
    assert_right(found)
    assert values(found)["itl_mean"] == pytest.approx(10.0)
    (flag,) = [one for one in found.quality if one.flag is Flag.STREAM_LINES_COUNTED]
    assert flag.treatment == "corrected"


def test_a_role_chunk_before_every_token_moves_the_first_by_the_whole_gap(tmp_path):
    result = with_role_chunk(detailed(), behind_s=0.035)
    result["itls"] = [[*gaps, 0.01] for gaps in result["itls"]]
    assert_right(read(write_vllm(tmp_path, result)))


def test_a_long_gap_in_some_requests_is_no_role_chunk(tmp_path):
    result = with_role_chunk(detailed())
    result["ttfts"][:3] = [0.04] * 3
    result["itls"][:3] = [[0.01] * 10] * 3
    found = read(write_vllm(tmp_path, result))
    assert Flag.STREAM_LINES_COUNTED not in [flag.flag for flag in found.quality]
    assert values(found)["ttft_mean"] == pytest.approx(22.5)


def test_a_long_first_gap_behind_a_slow_first_chunk_is_noted_and_left_as_it_is(tmp_path):
    found = read(write_vllm(tmp_path, with_role_chunk(detailed(), role_s=0.05)))
    (flag,) = [one for one in found.quality if one.flag is Flag.STREAM_LINES_COUNTED]
    assert (flag.treatment, values(found)["ttft_mean"]) == ("noted", pytest.approx(50.0))
    assert "the first gap, 45.0 ms, is 4.5 times the others" in flag.text


def test_the_role_chunk_of_the_shared_case_is_taken_off(shared_dir):
    assert_right(read(shared_dir / "cases" / "22-role-chunk-is-no-token"))


def test_lists_that_do_not_have_what_is_counted_are_refused_with_what_they_have(project, tmp_path, capsys):
    result = detailed()
    result |= {"completed": 3, "request_throughput": 3 / result["duration"]}
    path = write_vllm(tmp_path / "in", result)
    assert main(["import", "vllm-bench", str(path), "--out", str(project / "ground_truth" / "mine")]) == EXIT_FAILURE
    assert "completed: 3, but the lists have 6 answered requests, 0 without a token and 0 failed" in (
        capsys.readouterr().err
    )
