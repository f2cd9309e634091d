"""Requests that LLMServingSim recorded are replayed one by one, with the server's latencies and its facts."""

from __future__ import annotations

import pytest

from roofline_lab.cli.main import main
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers import import_experiment, llmservingsim
from roofline_lab.importers.inspection import kind_of
from roofline_lab.importers.overrides import Overrides
from roofline_lab.importers.tools import read_results
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import AsWritten, llmservingsim_row, sent, write_llmservingsim

SHARED = "formats/llmservingsim"


def rows(**changes):
    return [{**llmservingsim_row(*entry), **changes} for entry in enumerate(sent())]


def read(path):
    return AsWritten(llmservingsim.read(path))


def values(found):
    return {name: figure["value"] for name, figure in found.load_points[0]["measured"].items()}


def flags(found):
    return {flag.flag: flag for flag in found.quality}


def test_every_request_is_replayed_with_the_latencies_of_the_server(tmp_path):
    requests, found = sent(), read(write_llmservingsim(tmp_path, rows()))
    assert [one.arrival_us for one in found.requests] == [1_000_000 * place for place in range(20)]
    assert [one.ttft_ms for one in found.requests] == pytest.approx([1000 * one.ttft_s for one in requests])
    assert [one.e2e_ms for one in found.requests] == pytest.approx([1000 * one.e2e_s for one in requests])
    assert found.side == "server"
    assert (values(found)["tpot_mean"], values(found)["queue_time_mean"]) == (pytest.approx(10.0), pytest.approx(1.0))
    assert found.load_points[0]["arrivals"]["kind"] == "recorded"


def test_the_order_of_lines_is_no_matter(tmp_path):
    shuffled = read(write_llmservingsim(tmp_path / "a", rows()[::-1]))
    assert shuffled.requests == read(write_llmservingsim(tmp_path / "b", rows())).requests


def test_meta_beside_the_requests_states_the_server(tmp_path):
    found = AsWritten(read_results("llmservingsim", write_llmservingsim(tmp_path, rows()).parent))
    assert (found.model_name, found.tensor_parallel) == ("meta-llama/Llama-2-7b-hf", 1)
    assert found.known["prefix_caching"] is False
    assert (found.known["kv_blocks"], found.known["max_running"]) == (5000, 64)
    assert found.known["software"] == "vLLM 0.11.0"


def test_requests_that_never_ended_are_sent_and_in_no_figure(tmp_path):
    lines = rows()
    lines[3] |= {"last_token_ts": None}
    lines[4] |= {"first_token_ts": None, "last_token_ts": None, "scheduled_ts": None}
    found = read(write_llmservingsim(tmp_path, lines))
    counts = found.load_points[0]["requests"]
    assert (counts["sent"], counts["completed"], counts["cancelled"]) == (20, 18, 2)
    assert [one.completed for one in found.requests].count(False) == 2


def test_an_answer_without_a_token_is_none(tmp_path):
    lines = rows()
    lines[0] |= {"output_toks": 0}
    assert read(write_llmservingsim(tmp_path, lines)).load_points[0]["requests"]["completed"] == 19


def test_fewer_requests_than_meta_tells_of_are_a_part_of_the_run(tmp_path):
    path = write_llmservingsim(tmp_path, rows(), {"engine_kwargs": {}, "num_requests": 300})
    assert "meta.json says that 300 requests were sent, the file has 20" in flags(read(path))[Flag.PART_OF_THE_RUN].text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"first_token_ts": 1.0}, "request 1: queued_ts, scheduled_ts, .* go backwards"),
        ({"input_toks": 0}, "request 1: input_toks: 0; a prompt has at least one token"),
        ({"output_toks": "many"}, "request 1: output_toks"),
        ({"first_token_ts": None}, "without an answer nothing is measured"),
        ({"arrival_time": 5.0}, "arrival_time: 5 is not a time since 2020"),
        ({"request_id": "same"}, "same"),
    ],
)
def test_requests_that_cannot_be_are_refused_with_their_place(tmp_path, change, expected):
    with pytest.raises(ConfigError, match=expected):
        read(write_llmservingsim(tmp_path, rows(**change)))


def test_inspect_names_the_tool_and_finds_it_by_content(tmp_path, capsys):
    path = write_llmservingsim(tmp_path, rows())
    assert kind_of(path) == kind_of(tmp_path) == "llmservingsim"
    assert main(["inspect", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("LLMServingSim requests requests.jsonl with meta.json")


def test_the_recorded_requests_have_their_latencies(shared_dir):
    """By hand: means over 20 rows of first_token_ts, last_token_ts and scheduled_ts, each less queued_ts."""
    found = read(shared_dir / SHARED)
    shown = values(found)
    assert shown["ttft_mean"] == pytest.approx(513.986, abs=0.001)
    assert shown["e2e_mean"] == pytest.approx(21953.354, abs=0.001)
    assert shown["queue_time_mean"] == pytest.approx(93.962, abs=0.001)
    first, second = found.requests[:2]
    assert (first.prompt_tokens, first.output_tokens, second.arrival_us) == (2358, 531, 386_902)
    assert first.ttft_ms == pytest.approx(689.435, abs=0.001)
    assert str(found.date) == "2026-08-20"
    assert "the file has 20" in flags(found)[Flag.PART_OF_THE_RUN].text


def test_the_recorded_run_is_imported_with_the_facts_of_its_server(shared_dir, project):
    said = Overrides(model="llama-3.1-8b", family="Llama3.1-8B", hardware="h100-sxm")
    experiment = import_experiment(
        "llmservingsim", shared_dir / SHARED, project / "ground_truth" / "mine", said
    ).experiment
    assert experiment.server.known.kv_blocks == 2588
    assert experiment.server.known.software == "vLLM 0.19.0"
    assert len(experiment.recorded()) == 20
