"""The adapter of upstream's binary, on transcripts: what it is called with, and what becomes of what it wrote."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import stat
import sys
from pathlib import Path

import pytest

from roofline_lab.simulators.answers import read_answer
from roofline_lab.simulators.contract import Question
from roofline_lab.simulators.description import CommandSimulator, load_simulators
from roofline_lab.simulators.program import ask, version_of
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError
from simulator.hardware import load_hardware
from simulator.model_files import load_model
from simulator.validation import parse
from tests.paths import ROOT
from tests.roofline_lab.simulators.samples import question

ADAPTER = ROOT / "configs" / "simulators" / "ask_blis.py"
# What the binary writes at the end of a run, in its own keys; made up.
WRITTEN = {
    "ttft_mean_ms": 12.5,
    "e2e_mean_ms": 212.5,
    "itl_mean_ms": 9.5,
    "requests": [{"itl_ms": 9.0}, {"itl_ms": 11.0}],
}
# Stands for the binary: says what it was called with, and writes a transcript.
BINARY = f"""#!{sys.executable}
import json, pathlib, sys
flags = dict(zip(sys.argv[2::2], sys.argv[3::2]))
pathlib.Path({{log!r}}).write_text(json.dumps([sys.argv[1], flags]), encoding="utf-8")
if flags["--tp"] == "4":
    sys.exit("panic: no kernels")
pathlib.Path(flags["--results-path"]).write_text(json.dumps({{written!r}}), encoding="utf-8")
"""
ASKED = ("ttft_mean", "tpot_last_step_twice", "e2e_last_step_twice")
AS_MAIN = ("ttft_mean", "tpot_request", "itl_ratio_of_means", "e2e_mean")


def module():
    spec = importlib.util.spec_from_file_location("ask_blis", ADAPTER)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


class Installed:
    """A transcript under the name of the binary, and the adapter that is told to call it."""

    def __init__(self, folder, written=WRITTEN):
        self.log, binary = folder / "flags.json", folder / "simulation_worker"
        binary.write_text(BINARY.format(log=str(self.log), written=written), encoding="utf-8")
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
        words = (sys.executable, str(ADAPTER), str(binary), str(folder))
        self.program = CommandSimulator(kind="command", run=words, version=(*words, "--version"))

    def answer(self, asked_of):
        heard = ask(self.program, ROOT, [asked_of])[asked_of.id]
        return read_answer(heard.answers[0], asked_of) if heard.answers else heard.failure

    @property
    def flags(self):
        return json.loads(self.log.read_text(encoding="utf-8"))[1]


def about(sent, arrivals, asked=ASKED, model="llama-2-7b-hf", options=None, tensor_parallel=1, **server):
    """Return a question of so many requests as (arrival in us, prompt, answer, shared prefix)."""
    data = question(requests=len(sent), asked=asked, options=options).model_dump(mode="json")
    data["model"]["config"] = load_model(ROOT / f"configs/models/{model}.json").model_dump(mode="json")
    data["gpu"] = load_hardware(ROOT / "configs/hardware/h100-sxm.yaml").model_dump(mode="json", exclude_none=True)
    data["parallelism"]["tensor_parallel"] = tensor_parallel
    data["server"], data["workload"]["arrivals"] = server, arrivals
    for request, (arrival_us, prompt, output, prefix) in zip(data["workload"]["requests"], sent, strict=True):
        request |= {"arrival_ms": arrival_us / 1e3, "prompt_tokens": prompt, "output_tokens": output}
        request |= {"prefix_tokens": prefix, "prefix_group": "0" if prefix else None}
    outputs = [output for _, _, output, _ in sent]
    data["workload"]["output_tokens"] = {"mean": sum(outputs) / len(sent), "min": min(outputs), "max": max(outputs)}
    return parse(Question, data, source="question")


def apart(*arrival_us):
    return {"kind": "recorded", "arrival_us": list(arrival_us)}


ALONE = {"kind": "closed_loop", "concurrency": 1}
TWO = [(0, 300, 10, 200), (500_000, 340, 12, 200)]


@pytest.fixture(scope="module")
def blis(tmp_path_factory):
    return Installed(tmp_path_factory.mktemp("blis"))


def test_requests_at_a_constant_interval_are_asked_with_their_rate_and_lengths(blis):
    said = blis.answer(about(TWO, apart(0, 500_000), kv_blocks=5000, token_budget=2048, max_running=256))
    assert said.status is RowStatus.OK
    assert said.metrics == {"ttft_mean": 12.5, "e2e_last_step_twice": 212.5, "tpot_last_step_twice": 10.0}
    given = {name.removeprefix("--"): value for name, value in blis.flags.items()}
    expected = {"rate": "2.0", "num-requests": "2", "prefix-tokens": "200", "prompt-tokens": "120", "tp": "1"}
    expected |= {"prompt-tokens-min": "20", "prompt-tokens-stdev": "20", "prompt-tokens-max": "140", "hardware": "H100"}
    expected |= {"total-kv-blocks": "5000", "max-num-scheduled-tokens": "2048", "max-num-running-reqs": "256"}
    assert given | expected == given


def test_one_request_at_a_time_is_asked_so_far_apart_that_none_waits(blis):
    assert blis.answer(about(TWO, ALONE)).status is RowStatus.OK
    assert float(blis.flags["--rate"]) <= 0.001


def test_its_figures_have_the_names_of_a_last_step_that_counts_twice_unless_the_arm_says_once(blis):
    refused = blis.answer(about(TWO, ALONE, asked=("ttft_mean", "e2e_mean"))).refused
    assert refused["e2e_mean"][0] is RowStatus.NOT_COMPARABLE
    said = blis.answer(about(TWO, ALONE, asked=AS_MAIN, options={"last_step": "once"}))
    assert said.metrics == {"ttft_mean": 12.5, "e2e_mean": 212.5, "itl_ratio_of_means": 9.5, "tpot_request": 10.0}


@pytest.mark.parametrize(
    ("asked_of", "reason"),
    [
        (about(TWO, {"kind": "closed_loop", "concurrency": 2}), "clients that wait for each other"),
        (about([*TWO, (600_000, 300, 10, 200)], apart(0, 500_000, 600_000)), "do not come at a constant interval"),
        (about([TWO[0], (500_000, 340, 12, 0)], ALONE), "prompts that do not all begin with the same tokens"),
        (about(TWO, ALONE, model="mixtral-8x7b-v0.1"), "experts or quantized weights"),
        (about(TWO, ALONE, options={"last_step": "thrice"}), "option last_step: allowed are twice, once"),
    ],
)
def test_what_it_has_no_flags_for_is_unsupported_and_says_why(blis, asked_of, reason):
    said = blis.answer(asked_of)
    assert (said.status, reason in said.reason) == (RowStatus.UNSUPPORTED, True)


def test_a_run_that_fails_costs_its_load_point_with_its_last_words(blis):
    assert "simulation_worker ended with code 1: panic: no kernels" in blis.answer(about(TWO, ALONE, tensor_parallel=4))


def test_its_version_is_told_by_its_content_and_without_it_the_message_says_so(blis, monkeypatch):
    version = version_of(blis.program, ROOT, "source")
    assert len(version.rsplit(" ", 1)[1]) == 12
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    described = load_simulators(ROOT)["blis"].simulator
    with pytest.raises(ConfigError, match="simulation_worker: no such program on the PATH"):
        version_of(described, ROOT, "configs/simulators/blis.yaml")


@pytest.mark.parametrize("case", ["01_chat_7b_tp1_idle_bl", "03_chat_7b_tp1_r10_full", "11_summ_qwen7b_tp1_r1"])
def test_a_recorded_run_of_upstream_comes_back_under_the_names_of_its_definitions(shared_dir, tmp_path, case):
    folder = shared_dir / "oracle" / "engine" / case
    record = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    with gzip.open(folder / "requests.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = ("arrival_us", "input_tokens", "output_tokens", "shared_prefix_tokens")
    sent = [tuple(int(row[name]) for name in names) for row in rows]
    transcript = Installed(tmp_path, record["upstream_summary"])
    asked = ("ttft_mean", "e2e_last_step_twice", "itl_entries_last_step_twice")
    said = transcript.answer(about(sent, apart(*(each[0] for each in sent)), asked, model=record["model"]))
    keys = ("ttft_mean_ms", "e2e_mean_ms", "itl_mean_ms")
    assert [said.metrics[name] for name in asked] == [record["upstream_summary"][key] for key in keys]
    assert float(transcript.flags["--rate"]) == pytest.approx(record["rate"], rel=1e-4)
    assert int(transcript.flags["--prefix-tokens"]) == record["prefix_tokens"]
    assert int(transcript.flags["--prompt-tokens"]) == pytest.approx(record["prompt_tokens"], rel=0.1)
    assert int(transcript.flags["--num-requests"]) == record["num_requests"]
