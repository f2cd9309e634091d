"""Traces of others: recognised by their columns, read in their units, and simulated with what their prompts share."""

from __future__ import annotations

import json
import random

import pytest

from simulator.errors import ConfigError
from simulator.workload.trace import load_trace, read_trace, trace_format
from simulator.workload.trace_formats import shared_prefixes
from tests.simulator.cli.support import invoke

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 23:59:59.500000+00:00,2162,5
2024-05-11 00:00:00.009930+00:00,2399,6
"""
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.25,374,44\n4.314579,396,109\n"
BURST_GPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45.5,GPT-4,1087,230,1317,Conversation log
118,ChatGPT,417,0,417,Conversation log
"""
MOONCAKE = [
    {"timestamp": 0, "input_length": 1100, "output_length": 52, "hash_ids": [7, 8, 9]},
    {"timestamp": 1500, "input_length": 1700, "output_length": 26, "hash_ids": [7, 8, 10, 11]},
    {"timestamp": 1500, "input_length": 40, "output_length": 3, "hash_ids": [12]},
    {"timestamp": 2000, "input_length": 2000, "output_length": 4, "hash_ids": [7, 8, 10, 13]},
]
SERVING_SIM = [
    {"input_toks": 3, "output_toks": 70, "arrival_time_ns": 46926808, "input_tok_ids": [1, 2, 3]},
    {"input_toks": 4, "output_toks": 104, "arrival_time_ns": 347938952, "input_tok_ids": [1, 2, 3, 9]},
]


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def given(folder, text, name="trace"):
    """Write a trace under a name that says nothing."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "format_", "expected"),
    [
        (AZURE_2023, "Azure LLM inference trace", [(0, 374, 44), (4_314_579, 396, 109)]),
        (AZURE_2024, "Azure LLM inference trace", [(0, 2162, 5), (509_930, 2399, 6)]),
        (VIDUR, "Vidur or Splitwise trace", [(250_000, 374, 44), (4_314_579, 396, 109)]),
        (BURST_GPT, "BurstGPT trace", [(5_000_000, 472, 18), (45_500_000, 1087, 230)]),
        (lines(MOONCAKE[:2]), "Mooncake trace", [(0, 1100, 52), (1_500_000, 1700, 26)]),
        (lines(SERVING_SIM), "LLMServingSim trace", [(46_926, 3, 70), (347_938, 4, 104)]),
        (json.dumps(SERVING_SIM, indent=1), "LLMServingSim trace", [(46_926, 3, 70), (347_938, 4, 104)]),
    ],
)
def test_a_trace_is_known_by_its_content_and_read_in_its_units(tmp_path, text, format_, expected):
    path = given(tmp_path, text)
    assert trace_format(path) == format_
    found = load_trace(path)
    assert [(request.arrival_us, request.prompt_tokens, request.output_tokens) for request in found] == expected


@pytest.mark.parametrize(
    ("name", "format_", "requests", "first"),
    [
        ("azure.csv", "Azure LLM inference trace", 20, (0, 374, 44)),
        ("splitwise_conv.csv", "Vidur or Splitwise trace", 19_366, (0, 374, 44)),
        ("mooncake_synthetic.jsonl", "Mooncake trace", 300, (0, 40_160, 6)),
        ("llmservingsim.jsonl", "LLMServingSim trace", 10, (46_926, 10, 70)),
    ],
)
def test_published_traces_are_read(shared_dir, name, format_, requests, first):
    path = shared_dir / "formats" / "request_traces" / name
    found = read_trace(path)
    begin = found.requests[0]
    assert (found.format, len(found.requests)) == (format_, requests)
    assert (begin.arrival_us, begin.prompt_tokens, begin.output_tokens) == first


def test_rows_without_an_answer_are_left_out_and_counted(tmp_path):
    (note,) = read_trace(given(tmp_path, BURST_GPT)).notes
    assert note == "1 of 3 rows have no prompt or no answer (0 tokens) and are left out"


def test_rows_of_one_model_can_be_chosen(tmp_path):
    (only,) = load_trace(given(tmp_path, BURST_GPT), where={"Model": "GPT-4"})
    assert only.prompt_tokens == 1087


def test_prompts_whose_blocks_are_the_same_share_their_beginning(tmp_path):
    found = load_trace(given(tmp_path, lines(MOONCAKE)))
    shared = [(request.prefix_group, request.prefix_tokens) for request in found]
    # Three have two blocks in common; the third block of two of them would cost one of the others both.
    assert shared == [("shared_0", 1100), ("shared_0", 1024), (None, 0), ("shared_0", 1024)]


def test_prompts_whose_tokens_are_the_same_share_their_beginning(tmp_path):
    found = load_trace(given(tmp_path, lines(SERVING_SIM)))
    assert [(request.prefix_group, request.prefix_tokens) for request in found] == [("shared_0", 3), ("shared_0", 4)]


def test_a_conversation_that_goes_on_shares_all_of_it():
    turns = [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]
    found = shared_prefixes(turns)
    assert found.groups == tuple(("shared_0", length) for length in (1, 2, 3, 4))
    assert (found.known, found.kept) == (6, 6)


def test_conversations_behind_one_system_prompt_keep_what_is_longer_in_common():
    turns = [[0, 1, 2], [0, 5, 6], [0, 1, 2, 3, 4], [0, 5, 6, 7, 8]]
    found = shared_prefixes(turns)
    assert [group for group, _ in found.groups] == ["shared_0", "shared_1", "shared_0", "shared_1"]
    assert (found.known, found.kept) == (7, 6)


def test_what_prompts_share_is_found_in_the_prefix_cache_of_the_server(tmp_path):
    path = given(tmp_path, lines(MOONCAKE))
    report = invoke("run", "--model", "llama-2-7b-hf", "--request-trace", path).json
    assert report["requests"]["completed"] == 4
    assert report["counters"]["cached_tokens"] == 2 * 1024
    assert any("conversations branch: 80.0% of what prompts" in warning for warning in report["warnings"])


def test_lengths_without_times_need_an_arrival_process(tmp_path):
    path = given(tmp_path, json.dumps([{"prompt_len": 12, "output_len": 8}, {"prompt_len": 13, "output_len": 9}]))
    assert [request.prompt_tokens for request in load_trace(path, times_required=False)] == [12, 13]
    with pytest.raises(ConfigError, match="a list of lengths without times; say when requests arrive"):
        load_trace(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (AZURE_2023.replace("2023-11-16 18:15:50.9951690", "18:15"), "line 3: column 'TIMESTAMP': must be a date"),
        (AZURE_2023.replace("11-16 18:15:50.9951690", "13-45 18:15:50"), "must be a date and time of the calendar"),
        (VIDUR.replace("0.25", "-1"), "column 'arrived_at': must be s, 0 or greater, got '-1'"),
        (VIDUR.replace("396", "many"), "line 3: column 'num_prefill_tokens': must be a whole number"),
        (lines([MOONCAKE[0] | {"hash_ids": [[1]]}]), "column 'hash_ids': must be a list of whole numbers"),
        (lines([MOONCAKE[0]]) + "[1]\n", "trace:2: must be a record of one request"),
        (lines([MOONCAKE[0]]) + '{"timestamp": 1\n', "trace:2"),
        (json.dumps([{"id": "a", "conversations": [{"from": "human", "value": "hi"}]}]), "count them with the model's"),
    ],
)
def test_a_trace_that_cannot_be_read_names_line_and_column(tmp_path, text, expected):
    with pytest.raises(ConfigError) as caught:
        load_trace(given(tmp_path, text))
    assert expected in str(caught.value)


BITS = [
    b"nan",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"\0",
    b"\xff\xfe",
    b'"',
    b"{",
    b"[",
    b"]]]",
    b"null",
    b"[[[[" * 50,
    b",",
    b"\n",
    b"",
]


@pytest.mark.parametrize("text", [AZURE_2023, VIDUR, BURST_GPT, lines(MOONCAKE), lines(SERVING_SIM)])
def test_a_damaged_trace_is_read_or_refused_and_nothing_else(tmp_path, text):
    source, refused = random.Random(7), 0
    for _ in range(60):
        content = bytearray(text.encode())
        begin = source.randrange(len(content))
        content[begin : begin + source.choice([0, 1, 3, 8])] = source.choice(BITS)
        (tmp_path / "trace").write_bytes(content)
        try:
            read_trace(tmp_path / "trace")
        except ConfigError:
            refused += 1
    assert refused > 20
