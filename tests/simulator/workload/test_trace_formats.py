"""Traces of others: recognised by their columns, read in their units, and simulated with what their prompts share."""

from __future__ import annotations

import gzip
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


# --- what people ask about traces -------------------------------------------------------------

FAST = "arrived_at,num_prefill_tokens,num_decode_tokens\n" + "".join(
    f"0.{place:06d},{10 + place},5\n" for place in range(30)
)


def test_times_of_other_time_zones_and_days_are_one_clock(tmp_path):
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
        f"{when},{tokens},5\n"
        for when, tokens in (
            ("2024-05-10T23:59:59.5Z", 10),
            ("2024-05-11 02:00:01+02:00", 11),
            ("2024-05-10 19:00:02-0500", 12),
            ("2024-05-12 00:00:00", 13),
        )
    )
    found = read_trace(given(tmp_path, text))
    assert [request.arrival_us for request in found.requests] == [0, 1_500_000, 2_500_000, 86_400_500_000]
    assert found.notes == ()


def test_times_counted_from_1970_begin_at_the_first_request(tmp_path):
    text = VIDUR.replace("0.25", "1700000000.25").replace("4.314579", "1700000004.5")
    assert [request.arrival_us for request in load_trace(given(tmp_path, text))] == [0, 4_250_000]


def test_rows_out_of_order_are_sorted_and_that_is_said(tmp_path):
    head, first, second = VIDUR.splitlines()
    found = read_trace(given(tmp_path, "\n".join((head, second, first)) + "\n"))
    assert [request.arrival_us for request in found.requests] == [250_000, 4_314_579]
    assert found.notes == (
        "rows are not in order of time (1 are earlier than the row above); requests are sent in that order",
    )


@pytest.mark.parametrize(("cell", "expected"), [("374.0", 374), ("374", 374)])
def test_whole_numbers_may_be_written_as_decimals(tmp_path, cell, expected):
    assert load_trace(given(tmp_path, VIDUR.replace("374", cell)))[0].prompt_tokens == expected


def test_small_times_may_be_written_with_an_exponent(tmp_path):
    assert load_trace(given(tmp_path, VIDUR.replace("0.25", "9.5e-05")))[0].arrival_us == 95


@pytest.mark.parametrize("answer", ["0", "0.0"])
def test_no_answer_is_no_answer_however_it_is_written(tmp_path, answer):
    found = read_trace(given(tmp_path, BURST_GPT.replace("417,0,", f"417,{answer},")))
    assert (len(found.requests), len(found.notes)) == (2, 1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("374", "-374"), "line 2: column 'num_prefill_tokens': must be a whole number, 0 or greater, got '-374'"),
        (("374", "374.5"), "line 2: column 'num_prefill_tokens': must be a whole number, 0 or greater, got '374.5'"),
        (("44", ""), "line 2: column 'num_decode_tokens': must be a whole number, 0 or greater, got ''"),
        (("4.314579", "-0.5"), "line 3: column 'arrived_at': must be s, 0 or greater, got '-0.5'"),
        (("0.25", "18:15:46"), "line 2: column 'arrived_at': must be s, 0 or greater, got '18:15:46'"),
    ],
)
def test_a_number_that_cannot_be_is_one_message_with_line_and_column(tmp_path, change, expected):
    with pytest.raises(ConfigError) as caught:
        load_trace(given(tmp_path, VIDUR.replace(*change, 1)))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FAST, "column 'arrived_at' is read as s, so that 30 requests come within 2.9e-05 s; if that is another unit"),
        (
            lines({"timestamp": 1000 * 10**6 * place, "input_length": 9, "output_length": 2} for place in range(25)),
            "column 'timestamp' is read as ms, so that 25 requests come within 2.4e+07 s; if that is another unit",
        ),
    ],
)
def test_a_unit_that_gives_a_rate_nobody_sends_is_doubted(tmp_path, text, told):
    assert any(told in note for note in read_trace(given(tmp_path, text)).notes)


def test_rows_that_are_there_twice_are_counted(tmp_path):
    (note,) = read_trace(given(tmp_path, VIDUR + "".join(VIDUR.splitlines(keepends=True)[1:]))).notes[1:]
    assert note == "2 of 4 rows say the same as another one, time and lengths alike; all are sent"


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (
            [7],
            "'hash_ids' of 1 of 4 prompts does not cover the prompt in blocks of 512 tokens (1 for 1100 tokens)",
        ),
        (list(range(69)), "(69 for 1100 tokens); what is beyond the list is taken to be shared with none"),
        ([7, 8, 9], ""),
        ([7, 8], ""),
    ],
)
def test_block_ids_that_do_not_cover_their_prompt_are_told(tmp_path, ids, told):
    notes = read_trace(given(tmp_path, lines([MOONCAKE[0] | {"hash_ids": ids}, *MOONCAKE[1:]]))).notes
    assert any(told in note for note in notes) if told else not any("hash_ids" in note for note in notes)


def test_images_of_prompts_are_told_as_what_is_not_simulated(tmp_path):
    text = (
        "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2024-10-01 00:00:00,2,900,5\n2024-10-01 00:00:01,0,80,5\n"
    )
    (note,) = read_trace(given(tmp_path, text)).notes
    assert note == "1 of 2 prompts hold images (NumImages); what encoding them costs is not simulated"


def test_a_compressed_trace_is_read_whatever_its_name_and_a_cut_one_is_refused(tmp_path):
    packed = gzip.compress(AZURE_2023.encode())
    for name in ("trace.csv.gz", "trace"):
        (tmp_path / name).write_bytes(packed)
        assert trace_format(tmp_path / name) == "Azure LLM inference trace"
        assert len(load_trace(tmp_path / name)) == 2
    (tmp_path / "cut.gz").write_bytes(packed[:-12])
    with pytest.raises(ConfigError, match=r"cannot be read: .*is the file complete"):
        load_trace(tmp_path / "cut.gz")


def test_a_recorded_run_of_a_published_trace_is_served_and_its_gaps_are_told(tmp_path):
    """`replay` serves what is beside a `case.json`; a row without an answer is not dropped without a word."""
    (tmp_path / "case.json").write_text('{"steptime": "linear alpha/beta", "beta_coeffs": "1000,10,20"}')
    given(tmp_path, BURST_GPT, "requests.csv")
    told = invoke("replay", tmp_path, "--out", tmp_path / "out.csv")
    assert told.json["requests"]["completed"] == 2
    assert "1 of 3 rows have no prompt or no answer (0 tokens) and are left out" in told.err
