"""Whole workloads: drawn and recorded, shared prefixes, prompt pools, and clear refusals."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import ConfigError, RooflineLabError
from simulator.validation import parse
from simulator.workload.build import WorkloadSpec, at_rate, build_workload
from simulator.workload.prefixes import SharedPrefix, share

GAUSSIAN = {"kind": "gaussian", "mean_tokens": 300, "stdev_tokens": 90, "min_tokens": 2, "max_tokens": 700}
POISSON = {"kind": "poisson", "rate_per_s": 10}
KEYS = st.sampled_from(
    [
        "kind",
        "requests",
        "arrivals",
        "prompt",
        "output",
        "prefix",
        "trace",
        "tokens",
        "file",
        "where",
        "mean_tokens",
        "stdev_tokens",
        "min_tokens",
        "max_tokens",
        "rate_per_s",
        "concurrency",
        "prompts",
        "cv",
        "unknown",
    ]
)


def build(seed=0, base=None, **changes):
    data = {
        "requests": 6,
        "arrivals": {"kind": "constant_interval", "interval_us": 100},
        "prompt": {"kind": "constant", "tokens": 40},
        "output": {"kind": "constant", "tokens": 8},
        **changes,
    }
    spec = parse(WorkloadSpec, {key: value for key, value in data.items() if value is not None}, source="workload.yaml")
    return build_workload(spec, seed) if base is None else build_workload(spec, seed, base=base)


def replay(folder, **changes):
    recorded = {"requests": None, "arrivals": None, "prompt": None, "output": None, "trace": {"file": "trace.csv"}}
    return build(base=folder, **{**recorded, **changes})


def arrivals(workload):
    return [request.arrival_us for request in workload.requests]


def prompts(workload):
    return [(request.prompt_tokens, request.prefix_group, request.prefix_tokens) for request in workload.requests]


def test_requests_are_named_in_order_of_arrival():
    workload = build()

    assert [request.id for request in workload.requests] == [f"request_{position}" for position in range(6)]
    assert arrivals(workload) == [0, 100, 200, 300, 400, 500]
    assert workload.concurrency is None
    assert prompts(workload) == [(40, None, 0)] * 6


def test_a_closed_loop_is_a_concurrency_for_the_engine():
    workload = build(arrivals={"kind": "closed_loop", "concurrency": 3})

    assert workload.concurrency == 3
    assert arrivals(workload) == [0] * 6


def test_a_shared_prefix_comes_on_top_of_the_drawn_prompt():
    assert prompts(build(prefix={"kind": "shared", "tokens": 284})) == [(324, "shared", 284)] * 6


def test_a_shared_prefix_may_be_included_in_recorded_prompts():
    recorded = {"kind": "empirical", "tokens": [414, 381, 354, 365, 284, 300]}
    workload = build(prompt=recorded, prefix={"kind": "shared", "tokens": 284, "counted": "included"})

    assert [request.prompt_tokens for request in workload.requests] == recorded["tokens"]
    assert {request.prefix_tokens for request in workload.requests} == {284}


def test_a_prompt_shorter_than_the_prefix_it_includes_is_refused():
    with pytest.raises(ConfigError, match="request 0 has 40 prompt tokens, fewer than the 284 of the prefix"):
        build(prefix={"kind": "shared", "tokens": 284, "counted": "included"})


def test_a_prompt_pool_repeats_whole_prompts_in_turn():
    workload = build(
        prompt={"kind": "empirical", "tokens": [50, 60, 70, 80]}, prefix={"kind": "prompt_pool", "prompts": 4}
    )
    four = [(50, "prompt_0", 50), (60, "prompt_1", 60), (70, "prompt_2", 70), (80, "prompt_3", 80)]

    assert prompts(workload) == [*four, *four[:2]]


def test_a_guidellm_prompt_keeps_at_least_one_token():
    clipped = {"kind": "guidellm", "mean_tokens": 0, "stdev_tokens": 0, "min_tokens": 2, "max_tokens": 9}

    assert prompts(build(prompt=clipped)) == [(1, None, 0)] * 6
    assert prompts(build(prompt=clipped, prefix={"kind": "shared", "tokens": 30})) == [(30, "shared", 30)] * 6


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), mean=st.floats(1, 900))
def test_changing_one_side_leaves_the_other_streams_alone(seed, mean):
    base = build(seed, requests=20, arrivals=POISSON, prompt=GAUSSIAN, output=GAUSSIAN)
    longer = build(seed, requests=20, arrivals=POISSON, prompt={**GAUSSIAN, "mean_tokens": mean}, output=GAUSSIAN)
    constant = build(seed, requests=20, prompt={"kind": "constant", "tokens": 9}, output=GAUSSIAN)

    assert arrivals(longer) == arrivals(base)
    outputs = [request.output_tokens for request in base.requests]
    assert [request.output_tokens for request in longer.requests] == outputs
    assert [request.output_tokens for request in constant.requests] == outputs


def test_the_same_seed_gives_the_same_workload_and_another_a_different_one():
    one, again, other = (
        build(seed, arrivals=POISSON, prompt=GAUSSIAN, output=GAUSSIAN, requests=50) for seed in (3, 3, 4)
    )

    assert one == again
    assert arrivals(one) != arrivals(other)
    assert prompts(one) != prompts(other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": None, "arrivals": None}, "missing: arrivals, output; give them, or a 'trace'"),
        ({"requests": 0}, "requests: Input should be greater than or equal to 1"),
        ({"requests": 10**12}, "requests: Input should be less than or equal to"),
        ({"trace": {"file": "x.csv"}}, "a trace already has lengths; remove prompt and output"),
        ({"arrivals": {"kind": "poison", "rate_per_s": 3}}, "'poisson'"),
        ({"prompt": {**GAUSSIAN, "mean_token": 4}}, "did you mean 'mean_tokens'"),
        ({"prefix": {"kind": "prompt_pool", "prompts": 0}}, r"prefix\.prompts"),
        ({"reqests": 4}, "did you mean 'requests'"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_with_its_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(**changes)


def test_a_trace_is_replayed_in_order_of_arrival(tmp_path):
    (tmp_path / "trace.csv").write_text("arrival_us,input_tokens,output_tokens\n900,70,7\n20,50,5\n900,60,6\n")

    workload = replay(tmp_path)
    assert [(request.id, request.arrival_us, request.prompt_tokens) for request in workload.requests] == [
        ("request_1", 20, 50),
        ("request_0", 900, 70),
        ("request_2", 900, 60),
    ]


def test_a_trace_may_get_other_arrivals_and_be_shortened(tmp_path):
    (tmp_path / "trace.csv").write_text("input_tokens,output_tokens\n70,7\n50,5\n60,6\n")
    every_100 = {"kind": "constant_interval", "interval_us": 100}

    workload = replay(tmp_path, arrivals=every_100, requests=2)
    assert [(request.arrival_us, request.prompt_tokens) for request in workload.requests] == [(0, 70), (100, 50)]
    with pytest.raises(ConfigError, match="has 3 requests, but 'requests' asks for 4"):
        replay(tmp_path, arrivals=every_100, requests=4)


def test_a_trace_without_arrival_times_needs_an_arrival_process(tmp_path):
    (tmp_path / "trace.csv").write_text("input_tokens,output_tokens\n70,7\n")

    with pytest.raises(ConfigError, match="arrival: no such column; allowed names: arrival_us"):
        replay(tmp_path)


def test_a_trace_does_not_take_a_second_shared_prefix(tmp_path):
    with pytest.raises(ConfigError, match="a trace names its shared prefixes in its own columns"):
        replay(tmp_path, prefix={"kind": "shared", "tokens": 5})


def test_a_recorded_prompt_pool_is_recognised_even_where_two_prompts_changed_places(tmp_path):
    lengths = [50, 60, 70, 50, 70, 60, 50, 60, 99]
    rows = "".join(f"{position},{tokens},5\n" for position, tokens in enumerate(lengths))
    (tmp_path / "trace.csv").write_text("arrival_us,input_tokens,output_tokens\n" + rows)

    workload = replay(tmp_path, prefix={"kind": "prompt_pool", "prompts": 3})
    groups = ["prompt_0", "prompt_1", "prompt_2", "prompt_0", "prompt_2", "prompt_1", "prompt_0", "prompt_1", None]
    assert [request.prefix_group for request in workload.requests] == groups
    assert [request.prefix_tokens for request in workload.requests] == [*lengths[:-1], 0]


def test_every_recorded_run_cycles_through_a_hundred_prompts(shared_dir):
    files = sorted((shared_dir / "ground_truth" / "replay").glob("2026*.csv.gz"))
    if not files:
        pytest.skip("the recorded replays are not among the reference data")
    for path in files:
        workload = replay(path.parent, trace={"file": path.name}, prefix={"kind": "prompt_pool", "prompts": 100})
        in_turn = [request.prefix_group == f"prompt_{place % 100}" for place, request in enumerate(workload.requests)]
        assert sum(in_turn) / len(in_turn) > 0.97
        assert all(request.prefix_group for request in workload.requests)


JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 30),
        st.floats(),
        st.sampled_from(["poisson", "constant", "gaussian", "closed_loop", "trace", "\x00", "nan"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, JUNK, max_size=8))
def test_garbage_gives_a_workload_or_a_clean_error(data):
    sensible = {"requests": 3, "arrivals": POISSON, "prompt": GAUSSIAN, "output": GAUSSIAN}
    for description in (data, {**sensible, **data}):
        with contextlib.suppress(RooflineLabError):
            workload = build_workload(parse(WorkloadSpec, description, source="workload.yaml"), 1)
            assert all(request.prompt_tokens >= max(1, request.prefix_tokens) for request in workload.requests)


def test_importing_the_package_does_not_import_numpy():
    program = "import sys, simulator.workload.build; sys.exit('numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_requests_of_a_warm_up_come_before_those_that_count():
    loop = {"kind": "closed_loop", "concurrency": 2, "ramp_s": 1.5, "warm_up_requests": 3}
    workload = build(arrivals=loop)
    assert (len(workload.requests), workload.warm_up, workload.ramp_us) == (9, 3, 1_500_000)
    assert [request.id for request in workload.requests[2:4]] == ["loop_warm_up_2", "request_0"]


def test_a_warm_up_that_leaves_nothing_of_a_trace_is_refused(tmp_path):
    (tmp_path / "trace.csv").write_text("prompt_tokens,output_tokens\n5,5\n5,5\n")
    loop = {"kind": "closed_loop", "concurrency": 1, "warm_up_requests": 2}
    with pytest.raises(ConfigError, match="2 of 2 requests warm up, so none is left to measure"):
        replay(tmp_path, arrivals=loop)


def test_prompts_of_a_pool_in_groups_begin_alike_within_their_group():
    prefix = {"kind": "prompt_pool", "prompts": 4, "groups": 2, "shared_tokens": 30}
    requests = build(requests=6, prompt={"kind": "constant", "tokens": 50}, prefix=prefix).requests
    assert [request.prefix_group for request in requests] == [f"prompt_{entry}" for entry in (0, 1, 2, 3, 0, 1)]
    assert [request.outer_group for request in requests] == [f"shared_{group}" for group in (0, 0, 1, 1, 0, 0)]
    assert {request.outer_tokens for request in requests} == {30}


def test_a_pool_goes_on_where_requests_before_it_ended():
    prefix = {"kind": "prompt_pool", "prompts": 4}
    found = build(requests=3, prompt={"kind": "constant", "tokens": 50}, prefix=prefix, sent_before=6).requests
    assert [request.prefix_group for request in found] == ["prompt_2", "prompt_3", "prompt_0"]


def test_groups_of_a_pool_are_of_one_size():
    with pytest.raises(ConfigError, match="prompts 5 cannot be split into 2 groups of one size"):
        build(prefix={"kind": "prompt_pool", "prompts": 5, "groups": 2, "shared_tokens": 3})


def test_prefixes_of_several_groups_are_sent_in_turn():
    spec = SharedPrefix(kind="shared", tokens=400, groups=3)
    prompts = share(spec, [100] * 4, 4, 0)
    assert [prompt.prefix_group for prompt in prompts] == ["shared_0", "shared_1", "shared_2", "shared_0"]
    assert {(prompt.tokens, prompt.prefix_tokens) for prompt in prompts} == {(500, 400)}


def test_a_workload_at_another_rate_has_the_same_requests_in_the_same_pattern():
    spec = parse(
        WorkloadSpec, {"requests": 50, "arrivals": POISSON, "prompt": GAUSSIAN, "output": GAUSSIAN}, source="here"
    )

    slow, fast = (build_workload(at_rate(spec, rate), 5).requests for rate in (10, 20))

    assert slow == build_workload(spec, 5).requests
    assert [request.arrival_us for request in fast] == pytest.approx([one.arrival_us / 2 for one in slow], abs=1)
    assert [(one.prompt_tokens, one.output_tokens) for one in fast] == [
        (one.prompt_tokens, one.output_tokens) for one in slow
    ]


def test_a_trace_at_another_rate_keeps_its_pattern(tmp_path):
    (tmp_path / "trace.csv").write_text("arrival_us,prompt_tokens,output_tokens\n5,10,1\n15,20,2\n45,30,3\n")
    spec = parse(WorkloadSpec, {"trace": {"file": "trace.csv"}}, source="here")

    requests = build_workload(at_rate(spec, 4), 0, base=tmp_path).requests

    assert [(one.arrival_us, one.prompt_tokens) for one in requests] == [(5, 10), (125_005, 20), (500_005, 30)]


def test_a_trace_is_replayed_faster(tmp_path):
    (tmp_path / "trace.csv").write_text("arrival_us,prompt_tokens,output_tokens\n5,10,1\n15,20,2\n45,30,3\n")

    requests = replay(tmp_path, arrivals={"kind": "replayed", "speed": 2.5}).requests

    assert [request.arrival_us for request in requests] == [5, 9, 21]


def test_replayed_arrivals_need_times_or_a_trace():
    with pytest.raises(ConfigError, match="replayed arrivals without arrival_us are those of a trace"):
        build(arrivals={"kind": "replayed", "speed": 2.0})


ROWS = "arrival_us,prompt_tokens,output_tokens\n5,10,1\n15,20,2\n45,30,3\n"
RESAMPLED = {"file": "trace.csv", "order": "resampled"}


def test_a_resampled_trace_keeps_prompt_and_answer_of_a_row_together(tmp_path):
    (tmp_path / "trace.csv").write_text(ROWS)

    requests = replay(tmp_path, requests=3000, arrivals=POISSON, trace=RESAMPLED).requests

    lengths = [(one.prompt_tokens, one.output_tokens) for one in requests]
    assert set(lengths) == {(10, 1), (20, 2), (30, 3)}
    assert lengths.count((20, 2)) == pytest.approx(1000, abs=130)
    assert lengths != [
        (one.prompt_tokens, one.output_tokens)
        for one in replay(tmp_path, requests=3000, arrivals=POISSON, trace=RESAMPLED, seed=1).requests
    ]
    assert [one.arrival_us for one in requests] == [
        one.arrival_us for one in build(requests=3000, arrivals=POISSON).requests
    ]


def test_resampled_rows_come_at_the_recorded_times_where_these_are_replayed(tmp_path):
    (tmp_path / "trace.csv").write_text(ROWS)

    requests = replay(tmp_path, requests=3, arrivals={"kind": "replayed"}, trace=RESAMPLED).requests

    assert [one.arrival_us for one in requests] == [5, 15, 45]
    with pytest.raises(ConfigError, match="3 recorded times for 4 requests"):
        replay(tmp_path, requests=4, arrivals={"kind": "replayed"}, trace=RESAMPLED)


def test_a_resampled_trace_needs_a_number_of_requests_and_arrivals(tmp_path):
    (tmp_path / "trace.csv").write_text(ROWS)

    with pytest.raises(ConfigError, match="missing: requests, arrivals; a resampled trace does not say how many"):
        replay(tmp_path, trace=RESAMPLED)


def test_prefixes_are_drawn_as_often_as_zipf_says():
    drawn = {"kind": "drawn", "tokens": 7, "groups": 4, "exponent": 2.0}

    groups = [one.prefix_group for one in build(requests=10_000, prefix=drawn).requests]

    total = 1 + 1 / 4 + 1 / 9 + 1 / 16
    for rank in range(4):
        assert groups.count(f"shared_{rank}") == pytest.approx(10_000 / (rank + 1) ** 2 / total, rel=0.15)
    assert {one.prompt_tokens for one in build(prefix=drawn).requests} == {47}
    assert groups != [one.prefix_group for one in build(requests=10_000, prefix=drawn, seed=1).requests]
