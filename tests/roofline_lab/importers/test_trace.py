"""Request traces: read as strictly as requests.csv, and put where they belong, so that runs are replayed exactly."""

from __future__ import annotations

import csv
import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roofline_lab.cli.import_measurements import add_import_command
from roofline_lab.cli.main import EXIT_FAILURE, main
from roofline_lab.ground_truth import requests as requests_module
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.ground_truth.requests import LOOKED_AT, OF_OTHER_TOOLS
from roofline_lab.ground_truth.requests import read_trace as read_for_replay
from roofline_lab.importers import import_experiment
from simulator.errors import ConfigError
from tests.paths import ROOT
from tests.roofline_lab.importers.samples import (
    guidellm_benchmark,
    guidellm_report,
    inference_perf_stage,
    pooled,
    sent,
    write_guidellm,
    write_inference_perf,
)

HEADER = ("index", "stage", "arrival_time_us", "input_tokens", "output_tokens_true", "has_error", "ttft_ms", "e2e_ms")
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_trace(path, layout=OF_OTHER_TOOLS):
    return read_for_replay(path, layout).requests


def row(position, one, stage=0):
    values = (one.start_s * 1e6, one.prompt, one.output)
    return [position, stage, *(round(value) for value in values), 0, one.ttft_s * 1000, one.e2e_s * 1000]


def trace(path, rows=None, header=HEADER):
    content = rows if rows is not None else [row(position, request) for position, request in enumerate(sent())]
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *content])
    return path


def test_a_trace_is_read_in_order_with_its_units(tmp_path):
    requests = sent()
    found = read_trace(trace(tmp_path / "t.csv"))
    assert [request.arrival_us for request in found] == [1_000_000 * position for position in range(20)]
    assert [request.output_tokens for request in found] == [request.output for request in requests]
    assert found[4].e2e_ms == pytest.approx(requests[4].e2e_s * 1000)
    assert all(request.completed for request in found)


def test_csv_json_and_compressed_traces_are_the_same(tmp_path):
    plain = trace(tmp_path / "t.csv")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    with plain.open(encoding="utf-8") as stream:
        rows = [{name: json.loads(value) for name, value in row.items()} for row in csv.DictReader(stream)]
    (tmp_path / "t.json").write_text(json.dumps({"experiment": "x", "requests": rows}), encoding="utf-8")
    assert read_trace(plain) == read_trace(tmp_path / "t.csv.gz") == read_trace(tmp_path / "t.json")


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(tmp_path):
    plain = trace(tmp_path / "t.csv")
    other = tmp_path / "u.csv"
    other.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert read_trace(plain) == read_trace(other)


@pytest.mark.parametrize(
    ("column", "text", "expected"),
    [
        (2, "-5", "line 3: column 'arrival_us or arrival_time_us': must be a whole number"),
        (2, "1.5", "must be a whole number"),
        (3, "0", "column 'prompt_tokens or input_tokens': must be a whole number, 1 or greater"),
        (4, "many", "must be a whole number, 1 or greater, got 'many'"),
        (4, "0", "line 3: column 'output_tokens_true or output_tokens': must be a whole number, 1 or greater, got '0'"),
        (6, "0", "line 3: column 'ttft_ms': must be above 0"),
        (5, "perhaps", "column 'has_error': must be 0, 1, true or false"),
        (6, "nan", "column 'ttft_ms': must be milliseconds"),
        (6, "-1", "column 'ttft_ms': must be milliseconds"),
        (6, "inf", "column 'ttft_ms': must be milliseconds"),
        (6, "99999", "column 'ttft_ms': 99999 is above e2e_ms"),
        (
            0,
            "0",
            "line 3: column 'id or request_id or index': '0' is already used on line 2; ids are unique in a stage",
        ),
    ],
)
def test_a_bad_cell_is_refused_with_line_and_column(tmp_path, column, text, expected):
    rows = [row(position, request) for position, request in enumerate(sent())]
    rows[1][column] = text
    with pytest.raises(ConfigError) as caught:
        read_trace(trace(tmp_path / "t.csv", rows))
    assert "t.csv" in str(caught.value)
    assert expected in str(caught.value)


def test_arrivals_that_go_backwards_are_refused_with_their_request(tmp_path):
    rows = [row(position, request) for position, request in enumerate(sent())]
    rows[7][2] = 3
    with pytest.raises(ConfigError, match=r"line 9: column '.*arrival_time_us': 3 is before the row above .*sort the"):
        read_trace(trace(tmp_path / "t.csv", rows))


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        (("a", "b"), [[1, 2]], "column 'arrival_us' \\(or arrival_time_us\\): missing; is this a request trace?"),
        (HEADER, [], "no requests below the header; is this a trace?"),
        (HEADER, [[1, 2]], "line 2: 2 cells, but the header names 8 columns"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path, header, rows, expected):
    with pytest.raises(ConfigError, match=expected):
        read_trace(trace(tmp_path / "t.csv", rows, header))


def test_a_compressed_trace_that_breaks_off_is_refused(tmp_path):
    whole = gzip.compress(trace(tmp_path / "t.csv").read_bytes())
    (tmp_path / "t.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_trace(tmp_path / "t.csv.gz")


def test_more_requests_than_any_run_has_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(requests_module, "MAX_RECORDED", 5)
    with pytest.raises(ConfigError, match=r"t\.csv: more than 5 single requests; import the run in parts"):
        read_trace(trace(tmp_path / "t.csv"))


@given(column=st.integers(0, 7), text=st.text(max_size=12) | st.sampled_from(["-1", "0", "1e999", "9" * 40, "nan"]))
@EXAMPLES
def test_a_trace_with_one_wrong_cell_is_read_or_refused(tmp_path, column, text):
    rows = [row(position, request) for position, request in enumerate(sent(3))]
    rows[1][column] = text
    try:
        assert len(read_trace(trace(tmp_path / "t.csv", rows))) == 3
    except ConfigError as error:
        assert "t.csv" in str(error)  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.json"])
@given(content=st.binary(max_size=120) | st.text(max_size=120).map(str.encode))
@EXAMPLES
def test_bytes_that_are_no_trace_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError):
        read_trace(tmp_path / name)


# --- exact replay -----------------------------------------------------------------------------


def partly_recorded(folder):
    return write_guidellm(folder, guidellm_report([guidellm_benchmark(sent(), {"type_": "synchronous"}, recorded=2)]))


def test_a_trace_makes_a_partly_recorded_report_replayable(project, tmp_path):
    source, out = partly_recorded(tmp_path / "r"), project / "ground_truth" / "mine"
    experiment = import_experiment("guidellm", source, out, traces=[trace(tmp_path / "t.csv")]).experiment
    (point,) = experiment.load_points
    assert [request.prompt_tokens for request in experiment.measured_requests(point.id)] == [
        request.prompt for request in sent()
    ]
    assert Flag.LENGTHS_UNKNOWN not in {flag.flag for flag in experiment.quality}
    assert load_experiment(out) == experiment
    assert "trace t.csv" in experiment.source.document


def published(path):
    """Write the requests of `sent()` as a published trace, with the blocks of their prompts: all begin alike."""
    records = [
        {
            "timestamp": round(one.start_s * 1000),
            "input_length": one.prompt,
            "output_length": one.output,
            "hash_ids": [0, *([position + 1] if one.prompt > 512 else [])],
        }
        for position, one in enumerate(sent())
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_a_published_trace_beside_results_is_replayed_with_what_its_prompts_share(project, tmp_path):
    source, out = partly_recorded(tmp_path / "r"), project / "ground_truth" / "mine"
    written = import_experiment("guidellm", source, out, traces=[published(tmp_path / "t.jsonl")])
    (point,) = written.experiment.load_points
    recorded = written.experiment.measured_requests(point.id)
    assert [request.prompt_tokens for request in recorded] == [request.prompt for request in sent()]
    assert {request.prefix_group for request in recorded} == {"shared_0"}
    assert "Requests of t.jsonl, a Mooncake trace, are replayed one by one." in written.sentences


def test_a_published_trace_is_inspected_and_has_no_latency_to_compare_with(tmp_path, capsys):
    path = published(tmp_path / "t.jsonl")
    assert main(["inspect", str(path)]) == 0
    assert "t.jsonl: Mooncake trace of 20 requests" in capsys.readouterr().out
    assert main(["replay", str(path), "--root", str(ROOT)]) == EXIT_FAILURE
    told = capsys.readouterr().err
    assert "a Mooncake trace, which records no latencies" in told
    assert "say what serves it: --model and --hardware" in told


def test_a_trace_of_a_pool_knows_which_prompts_are_the_same(project, tmp_path):
    requests = pooled()
    source = write_inference_perf(tmp_path / "r", [inference_perf_stage(requests, 40)])
    path = trace(tmp_path / "t.csv", [row(position, request) for position, request in enumerate(requests)])
    experiment = import_experiment(
        "inference-perf", source, project / "ground_truth" / "mine", traces=[path]
    ).experiment
    recorded = experiment.measured_requests("stage_0")
    assert recorded[13].prefix_group == recorded[3].prefix_group != recorded[4].prefix_group
    assert recorded[13].prefix_tokens == recorded[13].prompt_tokens


def test_a_table_and_its_traces_become_one_experiment_by_one_command(project, shared_dir):
    import argparse

    parser = argparse.ArgumentParser()
    add_import_command(parser.add_subparsers())
    folder, name, out = shared_dir / "ground_truth", "jan21-llama7b-train-1", project / "ground_truth" / "mine"
    arguments = ["import", "--from-csv", folder / "measured_runs.csv", "--experiment", name, "--year", "2026"]
    for stage in range(12):
        arguments += ["--trace", folder / "replay" / f"{name}__stage{stage}_server.csv.gz"]
    parsed = parser.parse_args([str(one) for one in (*arguments, "--out", out)])
    assert parsed.run(parsed) == 0
    experiment = load_experiment(out)
    assert [len(experiment.measured_requests(point.id)) for point in experiment.load_points] == [
        point.requests.completed for point in experiment.load_points
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(0, sent()[0])], "1 answered requests of stage 0, but load point '00-synchronous' has 20"),
        ([row(0, sent()[0], stage=3)], "stage 3 has no load point; there are stages 0"),
    ],
)
def test_a_trace_of_another_run_is_refused_and_nothing_is_written(project, tmp_path, rows, expected):
    out = project / "ground_truth" / "mine"
    with pytest.raises(ConfigError, match=expected):
        import_experiment("guidellm", partly_recorded(tmp_path / "r"), out, traces=[trace(tmp_path / "t.csv", rows)])
    assert not out.exists()


def test_requests_are_recorded_once(project, tmp_path):
    source, path = write_guidellm(tmp_path / "r"), trace(tmp_path / "t.csv")
    with pytest.raises(ConfigError, match="recorded already; leave one of the sources out"):
        import_experiment("guidellm", source, project / "ground_truth" / "mine", traces=[path])


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({}, None),
        ({"output_tokens_true": "0"}, "column 'output_tokens_true"),
        ({"output_tokens_true": "0", "has_error": "1"}, None),
        ({"ttft_ms": "0"}, "column 'ttft_ms': must be above 0"),
        ({"ttft_ms": "99999"}, "column 'ttft_ms': 99999 is above e2e_ms"),
        ({"index": "0"}, "'0' is already used on line 2; ids are unique in a stage"),
        ({"index": "0", "stage": "1"}, None),
        ({"arrival_time_us": "0"}, None),
    ],
)
def test_both_readers_of_traces_ask_the_same_of_a_row(tmp_path, cells, expected):
    rows = [dict(zip(HEADER, row(position, request), strict=True)) for position, request in enumerate(sent(count=2))]
    rows[1] |= cells
    path = trace(tmp_path / "t.csv", [[one[name] for name in HEADER] for one in rows])
    told = []
    for read in (read_trace, read_for_replay):
        try:
            read(path)
        except ConfigError as error:
            told.append(str(error))
    assert len(told) == (0 if expected is None else 2)
    assert all(expected in text for text in told)


def test_a_trace_whose_client_counted_no_token_may_be_looked_at(tmp_path):
    rows = [row(position, request) for position, request in enumerate(sent())]
    rows[1][4] = 0
    path = trace(tmp_path / "t.csv", rows)
    assert read_trace(path, LOOKED_AT)[1].output_tokens == 0
