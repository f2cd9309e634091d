"""Random garbage for every command and every file it reads: only clean errors, never a traceback.

A command either succeeds (exit code 0) or refuses with a message (2). Any other exception, a bug, would
reach the test as itself.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulator.cli.support import LINEAR_CASE, REQUESTS, SMALL, STEP, Outcome, invoke

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

NUMBERS = st.one_of(
    st.integers(-5, 5),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, -0.0, 1e-300, 1e300, 2**63, 10**400, True]),
)
SCALARS = st.one_of(st.none(), NUMBERS, st.text(max_size=12))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)

# Sizes are kept small where a large one is legal but slow.
ENGINE = ("token_budget", "max_running", "block_tokens", "kv_blocks", "scheduler", "horizon_us", "prefix_caching")
STEP_TIME = ("family", "bandwidth_efficiency", "mfu", "overhead", "lm_head", "phase_combination", "decode_attention")
RUN_KEYS = ("model", "hardware", "tensor_parallel", "steptime", "tables", "engine", "workload", "metrics", "seed")
CASE_KEYS = (
    "tp",
    "model",
    "steptime",
    "hardware",
    "hardware_config",
    "alpha_coeffs",
    "beta_coeffs",
    "scheduler",
    "total_kv_blocks",
    "block_size_in_tokens",
    "max_num_running_reqs",
    "max_num_scheduled_tokens",
    "long_prefill_token_threshold",
    "num_instances",
)


def clean(outcome: Outcome) -> None:
    assert outcome.code in (0, 2), outcome
    assert "Traceback" not in outcome.err
    assert (outcome.code == 2) <= bool(outcome.err.strip())


def changed(base: dict, keys: tuple[str, ...]) -> st.SearchStrategy[dict]:
    """Return `base` with some of `keys` replaced by anything."""
    return st.dictionaries(st.sampled_from(keys), VALUES, min_size=1, max_size=2).map(
        lambda changes: {**base, **changes}
    )


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("garbage")


@FEW
@given(st.lists(WORDS, max_size=5))
def test_any_arguments(arguments):
    clean(invoke(*arguments))


@FEW
@given(st.sampled_from(["run", "price", "lookup", "replay", "audit"]), st.lists(WORDS, max_size=4))
def test_any_arguments_of_a_command(command, arguments):
    clean(invoke(command, *arguments))


@FEW
@given(
    st.sampled_from(
        ["--rate", "--poisson", "--bandwidth-efficiency", "--prompt-tokens", "--output-tokens", "--request-trace"]
    ),
    st.one_of(WORDS, NUMBERS.filter(lambda value: value != 10**400).map(repr)),
)
def test_any_value_of_a_flag(flag, value):
    clean(invoke(*SMALL, f"{flag}={value}", "--horizon-us=100000"))


@FEW
@given(st.sampled_from([f"engine.{key}" for key in ENGINE] + [f"steptime.{key}" for key in STEP_TIME]), VALUES)
def test_any_value_of_an_option(key, value):
    clean(invoke(*SMALL, "--horizon-us=100000", "--set", f"{key}={json.dumps(value)}"))


@FEW
@given(st.one_of(st.binary(max_size=60), WORDS.map(str.encode), VALUES.map(lambda value: json.dumps(value).encode())))
def test_any_run_file(scratch, content):
    (scratch / "run.yaml").write_bytes(content)
    clean(invoke("run", "--config", scratch / "run.yaml"))


@FEW
@given(changed({"model": "llama-2-7b-hf", "engine": {"horizon_us": 100_000}}, RUN_KEYS))
def test_any_value_in_a_run_file(scratch, content):
    (scratch / "run.yaml").write_text(json.dumps(content))
    clean(invoke("run", "--config", scratch / "run.yaml", *SMALL[3:]))


@FEW
@given(
    st.sampled_from(["--model", "--hardware"]),
    st.one_of(st.binary(max_size=60), VALUES.map(json.dumps).map(str.encode)),
)
def test_any_model_or_gpu_file(scratch, flag, content):
    (scratch / "described.json").write_bytes(content)
    clean(invoke(*SMALL, flag, scratch / "described.json"))


@FEW
@given(st.one_of(st.binary(max_size=80), WORDS.map(str.encode)))
def test_any_standard_input(tables, content):
    clean(invoke("price", "--kernels", tables, stdin=content))
    clean(invoke("lookup", "--kernels", tables, stdin=content))


@FEW
@given(changed(STEP, tuple(STEP)))
def test_any_value_in_a_step(tables, record):
    clean(invoke("price", "--kernels", tables, stdin=json.dumps(record)))


@FEW
@given(
    st.sampled_from(["gemm", "attn_prefill", "attn_decode"]),
    st.dictionaries(st.sampled_from(["m", "k", "n", "model", "seq_len", "tp", "bs", "kv"]), VALUES, max_size=3),
)
def test_any_value_in_a_question(tables, kind, changes):
    sound = {"m": 8, "k": 64, "n": 64, "model": "llama-2-7b-hf", "seq_len": 9, "tp": 1, "bs": 1, "kv": 100}
    clean(invoke("lookup", "--kernels", tables, stdin=json.dumps({"fn": kind, **sound, **changes})))


@FEW
@given(changed({**LINEAR_CASE, "horizon": 100_000}, CASE_KEYS))
def test_any_value_in_a_recorded_case(scratch, tables, config):
    folder = scratch / "case"
    folder.mkdir(exist_ok=True)
    (folder / "case.json").write_text(json.dumps(config))
    (folder / "requests.csv").write_text(REQUESTS + "a,0,10,3,0,0\nb,5,20,2,0,4\n")
    clean(invoke("replay", folder, "--kernels", tables, "--out", scratch / "o.csv"))


@FEW
@given(st.one_of(st.binary(max_size=60), WORDS.map(str.encode)), st.booleans())
def test_any_file_of_a_recorded_case(scratch, content, is_config):
    folder = scratch / "odd"
    folder.mkdir(exist_ok=True)
    (folder / "case.json").write_bytes(content if is_config else json.dumps(LINEAR_CASE).encode())
    (folder / "requests.csv").write_bytes(REQUESTS.encode() + (b"a,0,10,3,0,0\n" if is_config else content))
    clean(invoke("replay", folder, "--out", scratch / "o.csv"))


@FEW
@given(
    st.one_of(st.binary(max_size=60), WORDS.map(str.encode)),
    st.sampled_from(["gemm/x/data.csv", "mha/prefill/x/32-8-128.csv"]),
)
def test_any_kernel_table(scratch, content, name):
    header = b"m,k,n,latency_us,mfu\n" if name.startswith("gemm") else b"dtype,seq_len,latency_us,mfu\n"
    root = scratch / "tables" / name.split("/")[0]
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + content)
    clean(invoke("audit", root))
    clean(invoke("price", "--kernels", root, stdin=json.dumps(STEP)))
