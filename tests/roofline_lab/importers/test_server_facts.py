"""What is stated of a server is kept as it was stated, wherever it stands; contradictions name both sources."""

from __future__ import annotations

import datetime as dt
import json
import os

import pytest
import yaml

from roofline_lab.cli.main import main
from roofline_lab.importers.overrides import Overrides
from roofline_lab.importers.server_facts import agreed, stated_by
from roofline_lab.importers.server_sources import stated_beside, stated_by_option, stated_in
from roofline_lab.importers.table import import_table
from roofline_lab.importers.table import read as read_table
from roofline_lab.importers.tools import read_results
from roofline_lab.importers.vllm_command import commands_in
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import sent, vllm_result, write_inference_perf, write_vllm
from tests.roofline_lab.importers.test_table import ROW, table

LOG_V1 = (
    "INFO 12-06 07:00:01 [core.py:93] Initializing a V1 LLM engine (v0.12.0) with config: model='demo', "
    "max_seq_len=8192, tensor_parallel_size=2, quantization=None, enforce_eager=False, kv_cache_dtype=fp8, "
    "enable_prefix_caching=False, chunked_prefill_enabled=True\n"
    "INFO 12-06 07:00:30 [kv_cache_utils.py:1229] GPU KV cache size: 476,000 tokens\n"
)
LOG_V0 = (
    "INFO 03-02 10:00:00 llm_engine.py:237] Initializing a V0 LLM engine (v0.6.3) with config: model='demo', "
    "tensor_parallel_size=4, max_seq_len=4096, enable_prefix_caching=True, chunked_prefill_enabled=False\n"
    "INFO 03-02 10:00:40 gpu_executor.py:122] # GPU blocks: 27896, # CPU blocks: 0\n"
)


def facts_of(folder):
    return {name: fact.value for name, fact in agreed(stated_beside(folder).facts).items()}


def facts_in(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return facts_of(tmp_path)


# --- logs -------------------------------------------------------------------------------------


def test_a_setting_that_the_log_says_is_off_is_off(tmp_path):
    found = facts_in(tmp_path, "vllm.log", LOG_V1)
    assert found["prefix_caching"] is False
    assert found["kv_blocks"] == 476_000 // 16 == 29_750
    assert found["software"] == "vLLM 0.12.0"
    assert (found["tensor_parallel"], found["max_model_len_tokens"]) == (2, 8192)
    assert (found["kv_cache_dtype"], found["chunked_prefill"]) == ("fp8", True)


def test_a_log_of_the_first_engine_gives_its_blocks_also_those_that_are_none(tmp_path):
    found = facts_in(tmp_path, "server.log", LOG_V0)
    assert (found["kv_blocks"], found["cpu_kv_blocks"], found["chunked_prefill"]) == (27896, 0, False)
    assert found["software"] == "vLLM 0.6.3"


def test_arguments_that_are_none_in_a_log_state_nothing(tmp_path):
    text = (
        "INFO vLLM API server version 0.10.2\n"
        "INFO non-default args: {'model': 'x', 'max_num_seqs': 64, 'enable_prefix_caching': None, "
        "'gpu_memory_utilization': 0.85, 'async_scheduling': True}\n"
    )
    assert facts_in(tmp_path, "vllm.log", text) == {
        "software": "vLLM 0.10.2",
        "max_running": 64,
        "gpu_memory_utilization": 0.85,
        "schedule_ahead": True,
    }


def test_gpus_of_one_server_that_have_room_for_different_numbers_give_the_least(tmp_path):
    text = "INFO GPU KV cache size: 32,000 tokens\nINFO GPU KV cache size: 31,984 tokens\n"
    assert facts_in(tmp_path, "vllm.log", text)["kv_blocks"] == 1999


def test_a_block_size_that_is_stated_divides_the_tokens_of_the_cache(tmp_path):
    (tmp_path / "server.yaml").write_text("block_size: 32\n", encoding="utf-8")
    assert facts_in(tmp_path, "vllm.log", "GPU KV cache size: 64,000 tokens\n")["kv_blocks"] == 2000


def test_two_starts_in_one_log_contradict_each_other(tmp_path):
    text = LOG_V1 + LOG_V1.replace("enable_prefix_caching=False", "enable_prefix_caching=True")
    with pytest.raises(ConfigError, match=r"prefix_caching: .*=False and .*=True contradict each other"):
        facts_in(tmp_path, "vllm.log", text)


# --- command lines ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--no-enable-prefix-caching", {"prefix_caching": False}),
        ("--enable-prefix-caching=False", {"prefix_caching": False}),
        ("--enable_prefix_caching false", {"prefix_caching": False}),
        ("--enable-prefix-caching --port 8000", {"prefix_caching": True}),
        ("--no_enable_chunked_prefill", {"chunked_prefill": False}),
        ("--no-async-scheduling", {"schedule_ahead": False}),
        ("-tp 2 --max-num-seqs=128", {"tensor_parallel": 2, "max_running": 128}),
        ("-tp=4", {"tensor_parallel": 4}),
        ('--max-num-batched-tokens "8192"', {"token_budget": 8192}),
        ("--max-model-len 32K --max-num-batched-tokens 8k", {"max_model_len_tokens": 32768, "token_budget": 8000}),
        ("--max-model-len auto", {}),
        ("--gpu-memory-utilization 0.95", {"gpu_memory_utilization": 0.95}),
        ("--kv-cache-dtype fp8 --block-size 32", {"kv_cache_dtype": "fp8", "block_tokens": 32}),
        ("--num-gpu-blocks-override=512", {"kv_blocks": 512}),
    ],
)
def test_every_spelling_of_an_option_is_read(tmp_path, options, expected):
    found = facts_in(tmp_path, "serve.sh", f"#!/bin/sh\nvllm serve org/model {options}\n")
    assert found == {"model": "org/model", **expected}


@pytest.mark.parametrize(
    "text",
    [
        "VLLM_USE_V1=1 vllm serve org/model \\\n  --max-num-seqs 7 \\\n  --no-enable-prefix-caching &\n",
        "python3 -m vllm.entrypoints.openai.api_server --model org/model --max_num_seqs=7 --no-enable-prefix-caching",
        "docker run --gpus all -p 8000:8000 vllm/vllm-openai:v0.11.0 --model org/model --max-num-seqs 7 "
        "--enable-prefix-caching=False",
        'N=7\nexport M="org/model"\nvllm serve "$M" --max-num-seqs ${N} --no-enable-prefix-caching > log 2>&1',
        "set -e; vllm serve org/model --max-num-seqs ${N:-7} --no-enable-prefix-caching; sleep 1 # --max-num-seqs 9",
        'vllm serve org/model --compilation-config \'{"a": 3,\n "x": 1}\' --max-num-seqs 7 --no-enable-prefix-caching',
    ],
)
def test_a_server_is_found_however_it_is_started(tmp_path, text):
    found = facts_in(tmp_path, "run.sh", text)
    assert (found["model"], found["max_running"], found["prefix_caching"]) == ("org/model", 7, False)


def test_a_client_is_no_server(tmp_path):
    assert list(commands_in("vllm bench serve --model org/model --max-concurrency 3")) == []
    assert facts_in(tmp_path, "run.sh", "vllm bench serve --model org/model --tp 3\n") == {}


def test_a_value_that_only_the_shell_knows_is_named_and_not_guessed(tmp_path):
    (tmp_path / "run.sh").write_text("vllm serve org/model -tp $TP --port 80\n", encoding="utf-8")
    found = stated_beside(tmp_path)
    assert "tensor_parallel" not in {fact.name for fact in found.facts}
    assert list(found.unused.values()) == [("port", "tensor_parallel_size=$TP")]


def test_what_a_server_does_that_is_not_simulated_is_named(tmp_path):
    text = 'vllm serve m/m -pp 2 --speculative-config \'{"method": "eagle"}\' -dp 1 --enforce-eager\n'
    (tmp_path / "run.sh").write_text(text, encoding="utf-8")
    said = " ".join(stated_beside(tmp_path).not_simulated)
    assert "pipeline_parallel_size 2" in said
    assert "speculative_config" in said
    assert "enforce_eager True" in said
    assert "data_parallel" not in said


# --- manifests --------------------------------------------------------------------------------

MANIFEST = """apiVersion: v1
kind: Service
metadata: {name: vllm}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: vllm}
spec:
  replicas: 1
  template:
    spec:
      nodeSelector: {nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3}
      containers:
      - name: vllm
        image: vllm/vllm-openai:v0.11.0
        %s
"""


@pytest.mark.parametrize(
    "container",
    [
        'args: ["--model", "org/model", "--no-enable-prefix-caching", "--max-num-seqs=128"]',
        'command: ["vllm", "serve", "org/model"]\n        args: ["--enable-prefix-caching=0", "--max-num-seqs", "128"]',
        'command: ["/bin/sh", "-c"]\n        args:\n        - |\n          vllm serve org/model \\\n'
        "            --no-enable-prefix-caching --max-num-seqs 128",
        'command: ["python3", "-m", "vllm.entrypoints.openai.api_server"]\n'
        '        args: ["--model=org/model", "--no-enable-prefix-caching", "--max_num_seqs", "128"]',
    ],
)
def test_a_kubernetes_manifest_states_its_server_and_version(tmp_path, container):
    assert facts_in(tmp_path, "manifests.yaml", MANIFEST % container) == {
        "software": "vLLM 0.11.0",
        "prefix_caching": False,
        "max_running": 128,
        "model": "org/model",
        "hardware": "NVIDIA-H100-80GB-HBM3",
    }


def test_a_compose_file_states_its_server_and_version(tmp_path):
    text = (
        "services:\n  db: {image: 'redis:7'}\n  llm:\n    image: vllm/vllm-openai:v0.9.2\n"
        "    command: --model org/model --tensor-parallel-size 2 --no-enable-prefix-caching\n"
    )
    found = facts_in(tmp_path, "docker-compose.yml", text)
    assert (found["software"], found["tensor_parallel"], found["prefix_caching"]) == ("vLLM 0.9.2", 2, False)


def test_several_replicas_are_named_as_not_simulated(tmp_path):
    text = (MANIFEST % 'args: ["--model", "org/model"]').replace("replicas: 1", "replicas: 3")
    (tmp_path / "deploy.yaml").write_text(text, encoding="utf-8")
    assert any("replicas 3" in said for said in stated_beside(tmp_path).not_simulated)


# --- server.yaml, run descriptions, options ---------------------------------------------------


def test_the_file_of_server_facts_takes_everything_an_experiment_knows(tmp_path):
    text = (
        "prefix_caching: off\nsoftware: vLLM 0.11.0\ndate: 2025-11-05\nkv_blocks: 2000\nmax_num_batched_tokens: 8192\n"
        "max_num_seqs: 128\nmax_model_len: 4096\ngpu: h100-sxm\ntp: 2\nkv_cache_dtype: fp8\nblock_size: 32\n"
        "chunked_prefill: no\ngpu_memory_utilization: 0.95\nasync_scheduling: false\nclient_offset_ms: 0\n"
        "cpu_kv_blocks: 0\n"
    )
    assert facts_in(tmp_path, "server.yaml", text) == {
        "prefix_caching": False,
        "software": "vLLM 0.11.0",
        "date": dt.date(2025, 11, 5),
        "kv_blocks": 2000,
        "token_budget": 8192,
        "max_running": 128,
        "max_model_len_tokens": 4096,
        "hardware": "h100-sxm",
        "tensor_parallel": 2,
        "kv_cache_dtype": "fp8",
        "block_tokens": 32,
        "chunked_prefill": False,
        "gpu_memory_utilization": 0.95,
        "schedule_ahead": False,
        "client_offset_ms": 0.0,
        "cpu_kv_blocks": 0,
    }


@pytest.mark.parametrize("word", ["off", "Off", "false", "False", "no", "0", "none", "disabled"])
def test_every_word_for_off_is_off(word):
    (fact,) = stated_by_option(f"prefix_caching={word}").facts
    assert fact.value is False


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("prefx_caching=off", "did you mean 'prefix_caching'"),
        ("prefix_caching=maybe", "must be on or off"),
        ("prefix_caching=", "no value"),
        ("max_num_seqs=0", "must be a whole number of at least 1, got 0; leave it out if it is not known"),
        ("kv_blocks=none", "must be a whole number"),
        ("date=yesterday", "must be a day such as 2025-11-05"),
        ("gpu_memory_utilization=90", "at most 1"),
        ("nothing.yaml", "no such file"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(option, expected):
    with pytest.raises(ConfigError) as caught:
        stated_by_option(option)
    assert expected in str(caught.value)


def test_a_version_that_yaml_reads_as_a_number_is_not_guessed(tmp_path):
    with pytest.raises(ConfigError, match=r"may have been 0\.10"):
        facts_in(tmp_path, "server.yaml", "vllm_version: 0.10\n")


def test_an_unknown_key_is_refused_in_our_file_and_named_in_others(tmp_path):
    with pytest.raises(ConfigError, match="prefixcaching: unknown; did you mean 'prefix_caching'"):
        facts_in(tmp_path, "server.yaml", "prefixcaching: off\n")
    (tmp_path / "server.yaml").unlink()
    (tmp_path / "exp-config.yaml").write_text("app: chat\nmax_num_seqs: 3\n", encoding="utf-8")
    assert list(stated_beside(tmp_path).unused.values()) == [("app",)]


def test_two_sources_that_contradict_each_other_are_both_named(tmp_path):
    (tmp_path / "vllm.log").write_text(LOG_V1, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        facts_in(tmp_path, "server.yaml", "enable_prefix_caching: true\n")
    text = str(caught.value)
    assert "server.yaml: enable_prefix_caching=True" in text
    assert "vllm.log: enable_prefix_caching=False contradict each other" in text


def test_a_shorter_version_is_the_same_version():
    shorter, longer = (stated_by(name, {"vllm_version": text}) for name, text in (("a", "0.11"), ("b", "0.11.0")))
    assert agreed((*shorter.facts, *longer.facts))["software"].value == "vLLM 0.11.0"


def test_the_description_of_llmservingsim_states_its_server(tmp_path):
    content = {
        "vllm_version": "0.19.0",
        "started_at": "2026-08-20T23:19:39.992496Z",
        "engine_kwargs": {"tensor_parallel_size": 1, "max_num_seqs": 256, "enable_expert_parallel": False},
        "kv_cache": {"num_gpu_blocks": 2588, "num_cpu_blocks": None, "block_size": 16, "enable_prefix_caching": False},
        "hardware": {"device_name": "NVIDIA GeForce RTX 4090"},
        "resolved_config": {"scheduler_config": {"async_scheduling": False, "max_num_batched_tokens": 2048}},
    }
    found = facts_in(tmp_path, "meta.json", json.dumps(content))
    assert (found["software"], found["date"]) == ("vLLM 0.19.0", dt.date(2026, 8, 20))
    assert (found["kv_blocks"], found["prefix_caching"], found["schedule_ahead"]) == (2588, False, False)


# --- in an experiment -------------------------------------------------------------------------


def test_the_time_of_a_file_is_no_date(tmp_path):
    folder = write_inference_perf(tmp_path / "run")
    for file in folder.rglob("*"):
        os.utime(file, (1_700_000_000, 1_700_000_000))
    experiment = read_results("inference-perf", folder).experiment
    assert experiment.date is None
    assert experiment.source.date is None
    assert "nothing states it" in experiment.date_basis


def test_options_state_day_software_and_settings(tmp_path):
    folder = write_inference_perf(tmp_path / "run")
    options = ("date=2025-11-05", "software=vLLM 0.11.0", "prefix_caching=off", "tp=2", "hardware=h100-sxm")
    experiment = read_results("inference-perf", folder, options).experiment
    assert experiment.date == dt.date(2025, 11, 5)
    assert (experiment.server.known.software, experiment.server.known.prefix_caching) == ("vLLM 0.11.0", False)
    assert experiment.server.assumed.prefix_caching is None
    assert (experiment.hardware, experiment.tensor_parallel) == ("h100-sxm", 2)


def test_an_option_may_name_a_file_of_facts(tmp_path):
    (tmp_path / "elsewhere.txt").write_text("vllm serve org/m --no-enable-prefix-caching\n", encoding="utf-8")
    folder = write_inference_perf(tmp_path / "run")
    experiment = read_results("inference-perf", folder, (str(tmp_path / "elsewhere.txt"),)).experiment
    assert experiment.server.known.prefix_caching is False


def test_the_shared_case_of_a_log_that_says_off(shared_dir):
    folder = shared_dir / "cases" / "01-log-prefix-caching-off"
    experiment = read_results("guidellm", folder).experiment
    assert experiment.server.known.prefix_caching is False
    assert experiment.server.assumed.prefix_caching is None
    assert experiment.server.known.kv_blocks == 29_750


def test_the_shared_case_of_a_run_description_that_says_off(shared_dir):
    folder = shared_dir / "cases" / "27-settings-nobody-can-state"
    experiment = read_results("inference-perf", folder).experiment
    known = experiment.server.known
    assert (known.prefix_caching, known.software, known.max_running) == (False, "vLLM 0.11.0", 128)
    assert experiment.date == dt.date(2025, 11, 5)


def test_the_shared_case_whose_only_date_is_that_of_the_download(shared_dir):
    experiment = read_results("inference-perf", shared_dir / "cases" / "12-date-is-the-download").experiment
    assert experiment.date is None


def test_what_a_server_made_of_its_arguments_decides(tmp_path):
    text = "INFO non-default args: {'enable_prefix_caching': True, 'max_num_seqs': 64}\n" + LOG_V1
    found = facts_in(tmp_path, "vllm.log", text)
    assert (found["prefix_caching"], found["max_running"]) == (False, 64)


def test_prefill_in_one_piece_is_stated_and_named_as_not_simulated(tmp_path):
    (tmp_path / "run.sh").write_text("vllm serve m/m --no-enable-chunked-prefill\n", encoding="utf-8")
    found = stated_beside(tmp_path)
    assert any("chunked_prefill" in said for said in found.not_simulated)
    assert agreed(found.facts)["chunked_prefill"].value is False


def test_facts_contradicting_the_results_name_both(tmp_path):
    folder = write_vllm(tmp_path / "run", vllm_result(sent()))
    with pytest.raises(ConfigError, match=r"date: .* says 2026-01-31, --server: date=2025-11-05 contradicts it"):
        read_results("vllm-bench", folder, ("date=2025-11-05",))


def test_a_day_beside_that_of_the_results_is_the_same_day_elsewhere(tmp_path):
    folder = write_vllm(tmp_path / "run", vllm_result(sent()))
    experiment = read_results("vllm-bench", folder, ("date=2026-02-01",)).experiment
    assert experiment.date == dt.date(2026, 1, 31)


def test_a_table_takes_facts_by_option_and_from_the_file_beside_it(project, tmp_path):
    path = table(tmp_path, ROW)
    (tmp_path / "server.yaml").write_text("kv_blocks: 1234\n", encoding="utf-8")
    overrides = Overrides(server=("prefix_caching=off",))
    written = import_table(path, read_table(path), project / "ground_truth", overrides)
    known = written.written[0].experiment.server.known
    assert (known.kv_blocks, known.prefix_caching) == (1234, False)


def test_a_recorded_description_of_llmservingsim_states_its_server(shared_dir):
    found = agreed(stated_in(shared_dir / "formats" / "llmservingsim" / "meta.json").facts)
    assert {name: found[name].value for name in ("software", "kv_blocks", "prefix_caching", "schedule_ahead")} == {
        "software": "vLLM 0.19.0",
        "kv_blocks": 2588,
        "prefix_caching": True,
        "schedule_ahead": True,
    }


def test_the_command_takes_facts_and_says_what_it_took(project, tmp_path, capsys):
    folder = write_inference_perf(tmp_path / "run")
    (folder / "exp-config.yaml").write_text("app: chat\n", encoding="utf-8")
    out = project / "ground_truth" / "mine"
    options = ["--server", "prefix_caching=off", "--server", "software=vLLM 0.11.0"]
    assert main(["import", "inference-perf", str(folder), "--out", str(out), *options]) == 0
    said = capsys.readouterr().out
    assert "prefix_caching off (--server)" in said
    assert "exp-config.yaml: not used: app" in said
    assert "asynchronous scheduling" not in said
    known = yaml.safe_load((out / "experiment.yaml").read_text(encoding="utf-8"))["server"]["known"]
    assert known == {"prefix_caching": False, "software": "vLLM 0.11.0"}


def test_unknown_software_and_what_follows_from_it_is_flagged(project, tmp_path, capsys):
    folder = write_inference_perf(tmp_path / "run")
    assert main(["import", "inference-perf", str(folder), "--out", str(project / "ground_truth" / "mine")]) == 0
    assert "asynchronous scheduling off, as the serving software is unknown" in capsys.readouterr().out


def test_facts_may_stand_as_the_experiment_has_them(tmp_path):
    text = "server:\n  known: {prefix_caching: false, kv_blocks: 7}\n"
    assert facts_in(tmp_path, "server.yaml", text) == {"prefix_caching": False, "kv_blocks": 7}


def test_a_command_line_may_stand_in_the_file_of_facts(tmp_path):
    text = "date: 2025-11-05\ncommand: vllm serve org/m -tp 2 --no-enable-prefix-caching\n"
    found = facts_in(tmp_path, "server.yaml", text)
    assert (found["tensor_parallel"], found["prefix_caching"], found["date"]) == (2, False, dt.date(2025, 11, 5))


SGLANG_LOG = (
    "[2026-01-05 12:00:00] server_args=ServerArgs(model_path='org/model', tp_size=2, disable_radix_cache=True, "
    "chunked_prefill_size=4096, max_running_requests=None, page_size=1, context_length=None, "
    "disable_overlap_schedule=False)\n"
    "[2026-01-05 12:00:30] max_total_num_tokens=476000, chunked_prefill_size=4096, max_running_requests=200\n"
)


def test_a_log_of_sglang_states_its_server_and_what_is_off_is_off(tmp_path):
    found = facts_in(tmp_path, "server.log", SGLANG_LOG)
    assert (found["software"], found["tensor_parallel"], found["prefix_caching"]) == ("SGLang", 2, False)
    assert (found["kv_blocks"], found["block_tokens"], found["max_running"]) == (476_000, 1, 200)
    assert (found["token_budget"], found["schedule_ahead"]) == (4096, True)


def test_a_command_line_of_sglang_states_its_server(tmp_path):
    text = "python -m sglang.launch_server --model-path org/model --tp 4 --disable-radix-cache --page-size 64\n"
    found = facts_in(tmp_path, "launch.sh", text)
    assert (found["software"], found["tensor_parallel"], found["prefix_caching"]) == ("SGLang", 4, False)
    assert (found["model"], found["block_tokens"]) == ("org/model", 64)


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        ('args: ["--model", "m", "--max-num-seqs", "$(SEQS)"]', "env: [{name: SEQS, value: '48'}]"),
        ('command: [sh, -c, "exec vllm serve m --max-num-seqs ${SEQS}"]', "env: [{name: SEQS, value: '48'}]"),
        ("command: --model m --max-num-seqs $SEQS", "environment: {SEQS: 48}"),
        ("command: --model m --max-num-seqs $SEQS", "environment: [SEQS=48]"),
    ],
)
def test_variables_that_a_container_sets_are_put_in(tmp_path, arguments, variables):
    text = f"spec:\n  containers:\n  - image: vllm/vllm-openai:v0.11.0\n    {arguments}\n    {variables}\n"
    assert facts_in(tmp_path, "deploy.yaml", text)["max_running"] == 48


@pytest.mark.parametrize(
    "image", ["vllm/vllm-openai@sha256:0a1b", "quay.io/org/vllm-cuda:0.9.2", "docker.io/vllm/vllm:v1"]
)
def test_an_image_of_any_registry_starts_a_server(tmp_path, image):
    text = f"spec:\n  containers:\n  - image: {image}\n    args: [--model, m, --no-enable-prefix-caching]\n"
    assert facts_in(tmp_path, "deploy.yaml", text)["prefix_caching"] is False


def test_the_values_of_charts_state_their_server(tmp_path):
    llm_d = "decode:\n  containers:\n  - modelCommand: vllmServe\n    args: [--max-num-seqs, '128']\n"
    assert facts_in(tmp_path, "values.yaml", llm_d)["max_running"] == 128
    stack = (
        "modelSpec:\n- repository: vllm/vllm-openai\n  tag: v0.8.5\n  vllmConfig:\n    enablePrefixCaching: false\n"
        "    tensorParallelSize: 2\n    extraArgs: [--gpu-memory-utilization, '0.8']\n"
    )
    found = facts_in(tmp_path, "values.yaml", stack)
    assert (found["prefix_caching"], found["tensor_parallel"], found["software"]) == (False, 2, "vLLM 0.8.5")
    assert found["gpu_memory_utilization"] == 0.8


def test_thousands_may_have_a_fraction(tmp_path):
    assert facts_in(tmp_path, "serve.sh", "vllm serve m --max-model-len 25.6k\n")["max_model_len_tokens"] == 25_600


def test_whole_experts_and_groups_of_gpus_are_settings_and_one_group_states_nothing(tmp_path):
    (tmp_path / "serve.sh").write_text("vllm serve m/m -tp 2 --data-parallel-size 4 --enable-expert-parallel\n")
    facts = {fact.name: fact.value for fact in stated_beside(tmp_path).facts}
    assert (facts["tensor_parallel"], facts["attention_data_parallel"], facts["expert_parallel"]) == (2, 4, True)
    (tmp_path / "serve.sh").write_text("vllm serve m/m -dp 1\n")
    assert {fact.name for fact in stated_beside(tmp_path).facts} == {"model"}
