"""The adapter of aiconfigurator: what it asks, what it makes of answers, and what comes out where it is installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from types import SimpleNamespace

import pytest

from roofline_lab.predict.asking import asked
from roofline_lab.predict.outside import rows_of_arm
from roofline_lab.simulators.answers import read_answer
from roofline_lab.simulators.contract import Question
from roofline_lab.simulators.description import load_simulators
from roofline_lab.simulators.program import version_of
from roofline_lab.simulators.recording import recorded_text
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError
from simulator.model_files import load_model
from simulator.validation import parse
from tests.paths import ROOT
from tests.roofline_lab.simulators.samples import HYPOTHESIS, hypothesis, question, write_hypothesis

NAME = "aiconfigurator"
FOLDER = ROOT / "configs" / "simulators"
PROGRAM = ROOT / ".simulators" / NAME / "bin" / "python"
TABLES = {"h100_sxm": {"vllm": ["0.27.0", "0.24.0", "0.14.0"], "trtllm": ["1.0.0"]}}
ASKED = ("ttft_mean", "tpot_request", "e2e_mean")
installed = pytest.mark.skipif(not PROGRAM.exists(), reason="aiconfigurator is not installed: make simulators")


def adapter():
    spec = importlib.util.spec_from_file_location("ask_aiconfigurator", FOLDER / "ask_aiconfigurator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ADAPTER = adapter()


def about(model="llama-2-7b-hf", options=None, gpu="h100-sxm", work=None, **changes):
    """Return a question about a model of `configs/models`, 100 tokens answered with 11, 16 requests in flight."""
    asked_of = question(requests=32, asked=ASKED, options=options).model_dump(mode="json")
    config = load_model(ROOT / "configs" / "models" / f"{model}.json").model_dump(mode="json", exclude_none=True)
    asked_of |= {"model": {"id": model, "config": config}, "gpu": {"id": gpu}, "server": {"software": "vLLM 0.16.0"}}
    asked_of["workload"] |= {"arrivals": {"kind": "closed_loop", "concurrency": 16}} | (work or {})
    return {name: asked_of[name] | changes.get(name, {}) if name in changes else asked_of[name] for name in asked_of}


class Estimate:
    """Stands for `cli_estimate`: 50 ms to the first token, 10 ms and as much again per 100 requests for each other."""

    def __init__(self, warning=None, error=None):
        self.warning, self.error, self.calls = warning, error, []

    def __call__(self, *, batch_size, osl, kvcache_quant_mode=None, backend_version=None, **others):
        told = {"kvcache_quant_mode": kvcache_quant_mode, "backend_version": backend_version, **others}
        self.calls.append({"batch_size": batch_size, "osl": osl, **told})
        if self.error is not None:
            raise self.error
        return SimpleNamespace(ttft=50.0, tpot=10.0 + batch_size / 10, osl=osl, kv_cache_warning=self.warning)


@pytest.fixture
def ask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def answered(asked_of, **how):
        estimate = Estimate(**how)
        return ADAPTER.answer(asked_of, TABLES, estimate), estimate.calls

    return answered


def test_an_answer_is_in_the_contract_and_each_figure_has_the_name_of_its_definition(ask):
    answer, calls = ask(about())
    said = read_answer(answer, parse(Question, about(), source="question"))
    assert said.status is RowStatus.OK
    assert said.metrics == pytest.approx({"ttft_mean": 50.0, "tpot_request": 11.6, "e2e_mean": 50.0 + 10 * 11.6})
    assert (said.refused, said.saturated) == ({}, None)
    assert (calls[-1]["batch_size"], calls[-1]["isl"], calls[-1]["osl"]) == (16, 100, 11)


def test_the_tables_are_the_oldest_that_are_not_older_than_the_server_else_the_newest(ask):
    for software, version in (("vLLM 0.16.0", "0.24.0"), ("vLLM 0.30.1", "0.27.0"), ("vLLM 0.10.2", "0.14.0")):
        assert ask(about(server={"software": software}))[1][-1]["backend_version"] == version
    assert ask(about(options={"backend_version": "0.27.0"}))[1][-1]["backend_version"] == "0.27.0"


def test_what_the_server_holds_at_once_and_keeps_is_told(ask):
    sent = about()["workload"]["requests"]
    shared = [request | {"prefix_group": "a", "prefix_tokens": 40, "prompt_tokens": 100} for request in sent]
    server = {"prefix_caching": True, "token_budget": 64, "gpu_memory_utilization": 0.9}
    call = ask(about(server=server, work={"requests": shared}))[1][-1]
    assert (call["prefix"], call["ctx_tokens"], call["free_gpu_memory_fraction"]) == (38, 64, 0.9)
    assert ask(about(work={"requests": shared}))[1][-1]["prefix"] == 0, "a server without a prefix cache"


@pytest.mark.parametrize(
    ("whole_experts", "copies", "expected"), [(True, 1, (8, 1, 16)), (False, 1, (1, 8, 16)), (True, 2, (16, 1, 8))]
)
def test_experts_are_spread_as_on_the_server(ask, whole_experts, copies, expected):
    parallel = {"tensor_parallel": 8, "expert_parallel": whole_experts, "attention_data_parallel": copies}
    call = ask(about("minimax-m2.5", parallelism=parallel))[1][-1]
    assert (call["moe_ep_size"], call["moe_tp_size"], call["batch_size"]) == expected


def test_a_model_it_does_not_come_with_is_written_down_for_it(ask, tmp_path):
    assert ask(about("mistral-nemo-instruct-2407"))[1][-1]["model_path"] == "mistral-nemo-instruct-2407"
    config = json.loads((tmp_path / "mistral-nemo-instruct-2407" / "config.json").read_text(encoding="utf-8"))
    assert (config["architectures"], config["head_dim"]) == (["LlamaForCausalLM"], 128)
    call = ask(about("llama-4-scout-17b-16e-instruct-fp8"))[1][-1]
    assert (call["gemm_quant_mode"], call["moe_quant_mode"]) == ("fp8", "fp8")


@pytest.mark.parametrize(
    ("asked_of", "reason"),
    [
        (about(gpu="mi300x"), "no tables of vllm on mi300x"),
        (about("llama-3.3-70b-instruct-nvfp4"), "no configuration of its own says how"),
        (about(precision={"kv_cache": "fp8_e5m2"}), "no KV cache of type fp8_e5m2"),
        (about(work={"arrivals": {"kind": "poisson", "rate_per_s": 2.0}}), "no requests that arrive by themselves"),
        (about(server={"max_running": 8}), "more than 8 requests in flight, which the server does not run at once"),
        (about(options={"kv_quant": "fp8"}), "options kv_quant: allowed are"),
        (about(options={"lengths": "nominal"}), "options lengths: allowed are"),
    ],
)
def test_what_it_has_no_notion_of_is_unsupported_and_says_why(ask, asked_of, reason):
    answer, _ = ask(asked_of)
    assert (answer["status"], answer["id"]) == ("unsupported", asked_of["id"])
    assert reason in answer["reason"]


def test_its_own_refusals_are_told_without_where_it_is_installed(ask):
    answer, _ = ask(about(), error=RuntimeError("no data at /opt/core/systems/data/h100_sxm/vllm;\n try another"))
    assert answer["reason"] == "no data at h100_sxm/vllm; try another"


def test_its_warning_about_the_kv_cache_is_a_predicted_saturation(ask):
    assert ask(about(), warning="exceeds estimated KV cache capacity")[0]["saturated"] is True


def test_options_take_the_place_of_what_the_question_says(ask):
    options = {"lengths": "max", "kvcache_quant_mode": "fp8"}
    call = ask(about(options=options, work={"prompt_tokens": {"mean": 90, "min": 80, "max": 100}}))[1][-1]
    assert (call["isl"], call["kvcache_quant_mode"]) == (100, "fp8")


def test_under_littles_law_as_many_are_in_flight_as_answer_at_the_rate_of_arrival(ask):
    sent = [request | {"arrival_ms": 20.0 * place} for place, request in enumerate(about()["workload"]["requests"])]
    work = {"arrivals": {"kind": "constant_rate", "rate_per_s": 50.0}, "requests": sent}
    _, calls = ask(about(options={"open_loop": "littles_law"}, work=work))
    in_flight = calls[-1]["batch_size"]
    assert in_flight / (50.0 + 10 * (10.0 + in_flight / 10)) * 1e3 >= 50.0
    fewer = in_flight - 1
    assert fewer / (50.0 + 10 * (10.0 + fewer / 10)) * 1e3 < 50.0
    at_once = {"arrivals": {"kind": "burst"}}
    answer, _ = ask(about(options={"open_loop": "littles_law"}, work=at_once))
    assert "all requests arrive at once" in answer["reason"]


def test_where_it_is_not_installed_the_message_says_how_to_install_it(tmp_path):
    program = load_simulators(ROOT)[NAME].simulator
    expected = f"configs/simulators/{NAME}.yaml: simulator.version: '.simulators/{NAME}/bin/python' cannot be started: "
    with pytest.raises(ConfigError, match=f"^{expected}No such file or directory; install it: make simulators$"):
        version_of(program, tmp_path, f"configs/simulators/{NAME}.yaml")


# --- the program itself -------------------------------------------------------------------------------


@installed
def test_the_installed_version_is_the_one_that_is_pinned():
    pinned = (FOLDER / f"{NAME}.txt").read_text(encoding="utf-8")
    version = version_of(load_simulators(ROOT)[NAME].simulator, ROOT, "source")
    assert version.replace(" ", "==") in pinned.split("\n")


@installed
def test_every_checkpoint_it_is_asked_for_comes_with_it():
    code = "from aiconfigurator.sdk.common import DefaultHFModels; print('\\n'.join(map(str, DefaultHFModels)))"
    done = subprocess.run([PROGRAM, "-c", code], capture_output=True, text=True, check=True)
    assert set(ADAPTER.CHECKPOINTS.values()) <= set(done.stdout.split("\n"))


@installed
def test_its_errors_on_llama_in_closed_loop_are_those_that_were_measured_beside_it(bench):
    """As it was asked by hand, release 0.12.0: nominal lengths, a KV cache of 16 bits, weights in FP8 of one scale."""
    as_by_hand = {"lengths": "max", "kvcache_quant_mode": "bfloat16", "gemm_quant_mode": "fp8"}
    arms = {"by_hand": {"simulator": {"name": NAME, "options": as_by_hand}}}
    spec = hypothesis(arms, "as_measured", "closed_loop_llama_fp8_h100")
    write_hypothesis(bench.root, spec | {"base": {"family": "mfu_roofline", "compute_term": False}})
    (bench.root / ".simulators").symlink_to(ROOT / ".simulators")
    project = bench.load()
    text = recorded_text(asked(project, NAME, {}, anew=False, any_version=False).answers)
    figures = [row["load"]["figures"] for row in rows_of_arm(project, HYPOTHESIS, "as_measured", "by_hand", text, "")]
    errors = {
        name: [abs(one[name]["predicted"] / one[name]["measured"] - 1) for one in figures if one[name]["predicted"]]
        for name in ("ttft_mean", "tpot_mean")
    }
    assert (len(figures), len(errors["tpot_mean"])) == (45, 41)
    assert round(100 * sum(errors["tpot_mean"]) / 41, 1) == 5.1
    # 49 by hand: the longest prompt that four clients drew has 1016 tokens, where the tables have a step before 1024.
    assert round(100 * sum(errors["ttft_mean"]) / 41) == 46
