"""A trace without latencies is predicted request by request on a described server, and nothing of it is measured."""

from __future__ import annotations

import csv
import io
import json

import pytest

from roofline_lab.cli.main import main
from roofline_lab.config import RandomArrivals
from roofline_lab.predict.choose import load_option_sets
from roofline_lab.predict.published import Choice, predict, read_sent, served_by
from roofline_lab.report.replay import NUMBERS, PAGE, PROVENANCE, report_files
from simulator.errors import ConfigError, UnsupportedError
from tests.roofline_lab.builders import INPUTS, ROOT, copy_project
from tests.roofline_lab.conftest import Toy
from tests.roofline_lab.report.replay_toy import EXPERIMENT, requests, write_trace

ARRIVALS = RandomArrivals(seeds=(1, 2, 3), requests=60)
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2024-05-10 23:59:{place:02d}.500000+00:00,{500 + place},{20 + place % 3}\n" for place in range(30)
)
MOONCAKE = [
    {"timestamp": 2000 * place, "input_length": 1100, "output_length": 10, "hash_ids": [7, 8, 9 + place]}
    for place in range(6)
]
LENGTHS = json.dumps([{"prompt_len": 300 + place, "output_len": 16} for place in range(20)])


def azure(folder, name="conv.csv"):
    path = folder / name
    path.write_text(AZURE, encoding="utf-8")
    return path


def mooncake(folder, name="chats.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(record) + "\n" for record in MOONCAKE), encoding="utf-8")
    return path


def lengths(folder):
    path = folder / "sharegpt.json"
    path.write_text(LENGTHS, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def server():
    return served_by(ROOT, "llama-3.1-8b", "H100", 1, [])


@pytest.fixture(scope="module")
def calibrated(lab):
    return [options for options in load_option_sets(lab) if options.id == "calibrated"]


def run(capsys, *arguments):
    code = main(["replay", *(str(argument) for argument in arguments), "--root", str(ROOT)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


SERVER = ("--model", "llama-3.1-8b", "--hardware", "h100-sxm")


# --- what is predicted ------------------------------------------------------------------------


def test_every_request_is_sent_as_recorded_and_completes(tmp_path, server, calibrated):
    sent = read_sent(azure(tmp_path), Choice(), ARRIVALS)
    assert [request.arrival_us for request in sent.requests[:3]] == [0, 1_000_000, 2_000_000]
    assert [request.prompt_tokens for request in sent.requests[:3]] == [500, 501, 502]
    (found,) = predict([sent], server, calibrated)
    assert [len(draw.requests) for draw in found.prediction.draws] == [30]
    assert (found.unfinished, found.failure) == (0, "")


def test_a_prediction_is_that_of_one_request_at_a_time_where_none_meets_another(tmp_path, server, calibrated):
    """One a second on a server that needs 0.2 s: a tenth of the rate changes no latency."""
    (alone,) = predict([read_sent(azure(tmp_path), Choice(), ARRIVALS)], server, calibrated)
    slow = tmp_path / "slow.csv"
    slow.write_text(
        "arrival_s,prompt_tokens,output_tokens\n"
        + "".join(f"{10 * place},{500 + place},{20 + place % 3}\n" for place in range(30)),
        encoding="utf-8",
    )
    (slower,) = predict([read_sent(slow, Choice(), ARRIVALS)], server, calibrated)
    for latency in ("ttft", "tpot", "e2e"):
        for statistic in ("mean", "p50", "p90", "p99"):
            assert slower.figure(latency, statistic) == pytest.approx(alone.figure(latency, statistic), rel=1e-6)
    assert alone.figure("e2e", "mean") > alone.figure("ttft", "mean") > 0
    assert alone.rate("request_throughput") == pytest.approx(30 / 29, rel=0.02)
    assert not alone.prediction.saturated


def test_what_prompts_share_is_served_from_the_cache_unless_it_is_said_to_be_off(tmp_path, server, calibrated):
    sent = read_sent(mooncake(tmp_path), Choice(), ARRIVALS)
    assert sent.shared == 1.0
    off = served_by(ROOT, "llama-3.1-8b", "H100", 1, ["prefix_caching=off"])
    (cached,), (computed,) = (predict([sent], where, calibrated) for where in (server, off))
    assert [found.prediction.counters.cached_tokens for found in (cached, computed)] == [5 * 1024, 0]
    assert cached.figure("ttft", "mean") < 0.7 * computed.figure("ttft", "mean")


def test_more_load_than_a_server_serves_is_predicted_as_saturated(tmp_path, server, calibrated):
    path = tmp_path / "t.csv"
    path.write_text(
        "arrival_us,prompt_tokens,output_tokens\n" + "".join(f"{place * 1000},4000,50\n" for place in range(100)),
        encoding="utf-8",
    )
    (found,) = predict([read_sent(path, Choice(), ARRIVALS)], server, calibrated)
    assert found.prediction.saturated
    page = report_files((), (), calibrated, predicted_of(found, server))[PAGE]
    assert "†" in page


def predicted_of(found, server):
    from roofline_lab.report.replay import Predicted

    return Predicted((found.trace,), server, (found,))


# --- which requests ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "count", "first_tokens", "begin_us", "note"),
    [
        (Choice(first=4), 4, 500, 0, "26 of 30 requests are left out: --first 4"),
        (Choice(window_s=(10, 15)), 5, 510, 0, "25 of 30 requests are left out: --window 10-15"),
        (
            Choice(window_s=(9.5, 15), first=2),
            2,
            510,
            500_000,
            "28 of 30 requests are left out: --window 9.5-15 --first 2",
        ),
    ],
)
def test_a_part_of_a_trace_is_sent_and_what_is_left_out_is_said(tmp_path, choice, count, first_tokens, begin_us, note):
    sent = read_sent(azure(tmp_path), choice, ARRIVALS)
    assert (len(sent.requests), sent.requests[0].prompt_tokens, sent.requests[0].arrival_us) == (
        count,
        first_tokens,
        begin_us,
    )
    assert sent.notes == (note,)


def test_a_row_without_an_answer_is_left_out_of_our_own_columns_too(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("arrival_us,prompt_tokens,output_tokens\n0,10,5\n9,10,0\n", encoding="utf-8")
    sent = read_sent(path, Choice(), ARRIVALS)
    assert len(sent.requests) == 1
    assert sent.notes == ("1 of 2 rows have no prompt or no answer (0 tokens) and are left out",)


def test_lengths_without_times_are_sent_at_a_stated_rate_in_several_sequences(tmp_path):
    sent = read_sent(lengths(tmp_path), Choice(poisson_per_s=4.0), ARRIVALS)
    assert len(sent.replays) == 3
    first, second = (replay.workload.requests for replay in sent.replays[:2])
    assert [one.prompt_tokens for one in first] == [one.prompt_tokens for one in second] == list(range(300, 320))
    assert [one.arrival_us for one in first] != [one.arrival_us for one in second]
    assert sent.notes == ("sent at random, 4 per second on average, since no times are recorded",)
    with pytest.raises(ConfigError, match="say when requests arrive, for instance with --poisson"):
        read_sent(lengths(tmp_path), Choice(), ARRIVALS)


def test_recorded_times_may_be_replaced_and_that_is_said(tmp_path):
    (note,) = read_sent(azure(tmp_path), Choice(poisson_per_s=2.0), ARRIVALS).notes
    assert note == "sent at random, 2 per second on average, instead of when they were recorded"


# --- the page ---------------------------------------------------------------------------------


def test_a_published_trace_becomes_a_page_that_says_that_nothing_was_measured(tmp_path, capsys):
    out = tmp_path / "out"
    code, told, err = run(capsys, azure(tmp_path), *SERVER, "--out", out)
    assert code == 0
    assert err.splitlines()[-1].startswith("5 of 5 replays: conv.csv with ")
    assert "conv.csv, calibrated, family held out: predicted mean TTFT" in told
    assert {path.name for path in out.iterdir()} == {PAGE, NUMBERS, PROVENANCE}
    page = (out / PAGE).read_text(encoding="utf-8")
    assert "**Nothing here was measured.**" in page.split("## ")[0]
    for word in ("Measured", "signed error", "%)", " nan", "None"):
        assert word not in page
    rows = list(csv.DictReader(io.StringIO((out / NUMBERS).read_text(encoding="utf-8"))))
    assert {row["statistic"] for row in rows} == {"sent", "predicted"}
    assert {row["metric"] for row in rows} >= {"ttft_p99", "tpot_mean", "e2e_p90", "request_throughput", "saturated"}
    assert all(float(row["value"]) > 0 for row in rows if row["unit"] in ("ms", "per_s", "tok/s"))


def test_the_same_trace_gives_the_same_bytes(tmp_path, capsys):
    path, pages = azure(tmp_path), []
    for name in ("a", "b"):
        assert run(capsys, path, *SERVER, "--poisson", "3", "--out", tmp_path / name)[0] == 0
        pages.append([(tmp_path / name / file).read_bytes() for file in (PAGE, NUMBERS, PROVENANCE)])
    assert pages[0] == pages[1]


def test_in_a_folder_recorded_traces_are_scored_and_published_ones_predicted(tmp_path, capsys):
    toy_run = Toy(copy_project(tmp_path / "project", (*INPUTS, "simulator", "workflow")))
    toy_run.measured(requests())
    azure(toy_run.traces)
    mooncake(toy_run.traces)
    out = toy_run.root / "out"
    assert main(["replay", str(toy_run.traces), *SERVER, "--out", str(out), "--root", str(toy_run.root)]) == 0
    told = capsys.readouterr().out
    assert "calibrated, family held out: mean error TTFT" in told
    assert "conv.csv, calibrated, family held out: predicted mean" in told
    page = (out / PAGE).read_text(encoding="utf-8")
    assert "12 recorded requests of 1 load point (1 trace)" in page
    assert "## Predicted for conv.csv" in page
    assert "**Nothing from here on was measured.**" in page
    rows = list(csv.DictReader(io.StringIO((out / NUMBERS).read_text(encoding="utf-8"))))
    kinds = {scope: {row["statistic"] for row in rows if row["scope"] == scope} for scope in ("experiment", "trace")}
    assert "measured" in kinds["experiment"]
    assert kinds["trace"] == {"sent", "predicted"}
    assert {row["key"] for row in rows if row["scope"] == "experiment"} == {EXPERIMENT}


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "an Azure LLM inference trace, which records no latencies: nothing can be compared, but it can be"),
        (("--model", "llama-3.1-8b"), "say what serves it: --hardware "),
        (("--model", "llama-9", "--hardware", "h100-sxm"), "--model: unknown model 'llama-9'"),
        (("--model", "llama-3.1-8b", "--hardware", "h1000"), "--hardware: unknown GPU 'h1000'"),
        ((*SERVER, "--server", "kv_blocks=-3"), "kv_blocks"),
        ((*SERVER, "--server", "model=other"), "every experiment names its own"),
        ((*SERVER, "--tensor-parallel", "0"), "tensor_parallel"),
        ((*SERVER, "--tensor-parallel", "3"), "3"),
        ((*SERVER, "--first", "0"), "--first 0: must be 1 or greater"),
        ((*SERVER, "--window", "5"), "--window 5: must be BEGIN-END in seconds"),
        ((*SERVER, "--window", "9-3"), "--window 9-3: must be BEGIN-END in seconds"),
        ((*SERVER, "--window", "900-1000"), "no request was sent then; the trace lasts 29 s"),
        ((*SERVER, "--poisson", "0"), "--poisson"),
        ((*SERVER, "--poisson", "nan"), "--poisson"),
    ],
)
def test_what_cannot_be_predicted_is_one_message_and_nothing_is_written(tmp_path, capsys, arguments, told):
    out = tmp_path / "out"
    code, printed, err = run(capsys, azure(tmp_path), *arguments, "--out", out)
    assert (code, printed) == (2, "")
    assert told in err
    assert err.count("error:") == 1
    assert not out.exists()


def test_a_server_is_not_described_for_traces_that_have_one(tmp_path, capsys):
    path = write_trace(tmp_path / f"{EXPERIMENT}.csv", requests())
    code, _, err = run(capsys, path, *SERVER, "--first", "3")
    assert code == 2
    assert "--model, --hardware, --first: every trace given has latencies" in err


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("gone.csv", None, "no such file or folder"),
        (
            "chats.json",
            '[{"conversations": [{"from": "human", "value": "hi"}]}]',
            "count them with the model's tokenizer",
        ),
        (
            "lengths.json",
            LENGTHS,
            "a list of lengths without times; say when requests arrive, for instance with --poisson",
        ),
        (
            "t.csv",
            AZURE.replace(",500,", ",-500,"),
            "line 2: column 'ContextTokens': must be a whole number, 0 or greater",
        ),
    ],
)
def test_a_trace_that_cannot_be_predicted_says_why(tmp_path, capsys, name, text, told):
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    code, _, err = run(capsys, tmp_path / name, *SERVER, "--out", tmp_path / "out")
    assert code == 2
    assert told in err
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_name_are_not_mixed_up(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    paths = [azure(tmp_path / name) for name in ("a", "b")]
    code, _, err = run(capsys, *paths, *SERVER)
    assert code == 2
    assert "give one of them another name, or each on its own" in err


def test_both_a_wrong_model_and_a_wrong_gpu_are_named(tmp_path):
    with pytest.raises(ConfigError) as caught:
        served_by(ROOT, "llama-9", "h1000", 1, ["nonsense"])
    assert all(word in str(caught.value) for word in ("llama-9", "h1000", "nonsense"))


def test_a_model_that_does_not_fit_is_refused_before_anything_runs():
    with pytest.raises(UnsupportedError, match=r"llama-3\.1-70b-instruct"):
        served_by(ROOT, "llama-3.1-70b-instruct", "h100-sxm", 1, [])


def test_requests_beyond_what_the_model_takes_are_counted(tmp_path, calibrated):
    small = served_by(ROOT, "llama-2-7b-hf", "h100-sxm", 1, ["max_model_len=510"])
    (found,) = predict([read_sent(azure(tmp_path), Choice(), ARRIVALS)], small, calibrated)
    page = report_files((), (), calibrated, predicted_of(found, small))[PAGE]
    assert "requests exceed the 510 tokens the server is said to take (max_model_len)" in page
