"""Import end to end: one command writes an experiment as a whole or nothing, and says what it did."""

from __future__ import annotations

import argparse
import json
import shutil

import pytest
import yaml

from roofline_lab.cli.import_measurements import EPILOG, add_import_command
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.importers import import_experiment
from roofline_lab.importers.overrides import Overrides
from roofline_lab.importers.tools import tools
from simulator.errors import ConfigError
from simulator.workload.arrivals import Poisson
from tests.roofline_lab.builders import ROOT
from tests.roofline_lab.importers.samples import (
    SAMPLES,
    guidellm_benchmark,
    guidellm_report,
    inference_perf_stage,
    per_request,
    pooled,
    sent,
    vllm_result,
    write_guidellm,
    write_inference_perf,
    write_vllm,
)

# One experiment per model of the recorded table whose family the example project does not have.
FAMILIES = (
    "63-mistral-nemo-12b-tp1-codegen-1-1",
    "64-qwen2-5-7b-instruct-tp1-roleplay-1-1",
    "65-01-ai-yi-34b-tp2-general-lite-2-1",
    "60-llama-3-1-70b-tp4-general-lite-4-1",
    "17-llama-4-scout-17b-16e-tp2-general-lite-2-1",
)
FORMATS = {
    "guidellm": "guidellm_jan20-codellama-prefill-1",
    "inference-perf": "inference-perf_20260217-155451-llama-2-7b-tp1-codegen",
}


def run(*arguments):
    parser = argparse.ArgumentParser()
    add_import_command(parser.add_subparsers())
    parsed = parser.parse_args(["import", *map(str, arguments)])
    return parsed.run(parsed)


def left_over(project):
    return sorted(path.name for path in project.rglob(".import*"))


@pytest.mark.parametrize("tool", sorted(FORMATS))
def test_a_recorded_folder_is_imported_by_one_command_and_loads(project, shared_dir, tool, capsys):
    out = project / "ground_truth" / "mine"
    family = ["--family", "CodeLlama-34B"] if tool == "guidellm" else []
    assert run(tool, shared_dir / "ground_truth" / "formats" / FORMATS[tool], "--out", out, *family) == 0
    experiment = load_experiment(out)
    printed = capsys.readouterr().out
    assert experiment.tool == tool
    assert all(flag.text in printed for flag in experiment.quality)
    assert f"How well is it predicted?  roofline-lab evaluate {out} --steptime h100_vllm --out evaluation\n" in printed
    assert "roofline-lab new my_claim --set mine --claim " in printed
    assert printed.index(" evaluate ") < printed.index(" new my_claim ")
    for point in experiment.load_points:
        assert len(experiment.completed_workload(point.id).requests) == point.requests.completed


def test_the_same_files_give_the_same_bytes(project, tmp_path):
    source = write_guidellm(tmp_path / "results")
    folder = project / "ground_truth" / "mine"
    texts = []
    for _ in range(2):
        import_experiment("guidellm", source, folder)
        texts.append([(folder / name).read_bytes() for name in ("experiment.yaml", "requests.csv")])
        shutil.rmtree(folder)
    assert texts[0] == texts[1]


def test_the_written_file_names_its_schema_for_editors(project, tmp_path):
    written = import_experiment("vllm-bench", write_vllm(tmp_path / "results"), project / "ground_truth" / "mine")
    text = (written.folder / "experiment.yaml").read_text("utf-8")
    assert text.startswith("# yaml-language-server: $schema=../experiment.schema.json\n")
    assert str(tmp_path) not in text


def test_recorded_requests_are_replayed_exactly(project, tmp_path):
    requests = pooled()
    folder = write_inference_perf(tmp_path / "run", [inference_perf_stage(requests, 40)])
    path = folder / "results" / "per_request_lifecycle_metrics.json"
    path.write_text(json.dumps(per_request(requests)), encoding="utf-8")
    experiment = import_experiment("inference-perf", folder, project / "ground_truth" / "mine").experiment
    workload = experiment.completed_workload("stage_0")
    assert [request.arrival_us for request in workload.requests] == [1_000_000 * position for position in range(300)]
    assert [request.prompt_tokens for request in workload.requests] == [request.prompt for request in requests]
    assert experiment.mean_output_tokens("stage_0") == 50
    assert experiment.measured_requests("stage_0")[2].tpot_ms == pytest.approx(10.0, abs=1e-6)
    assert load_experiment(project / "ground_truth" / "mine") == experiment


def test_a_closed_loop_keeps_its_width_when_requests_are_replayed(project, tmp_path):
    report = guidellm_report([guidellm_benchmark(sent(), {"type_": "concurrent", "streams": 4})])
    written = import_experiment("guidellm", write_guidellm(tmp_path / "r", report), project / "ground_truth" / "mine")
    (point,) = written.experiment.load_points
    workload = written.experiment.completed_workload(point.id)
    assert (workload.concurrency, len(workload.requests)) == (4, 20)


def test_what_a_person_says_decides(project, tmp_path):
    names = ["--model", "qwen3-14b", "--family", "Qwen3-14B", "--hardware", "h200-sxm", "--tensor-parallel", "2"]
    names += ["--workload", "codesweep", "--client-offset-ms", "4.5", "--source", "A page", "--licence", "CC0"]
    out = project / "ground_truth" / "mine"
    run("vllm-bench", write_vllm(tmp_path / "results"), "--out", out, *names)
    experiment = load_experiment(out)
    assert (experiment.model, experiment.hardware, experiment.tensor_parallel) == ("qwen3-14b", "h200-sxm", 2)
    assert (experiment.workload.name, experiment.source.document) == ("codesweep", "A page")
    assert experiment.server.known.client_offset_ms == 4.5


def test_what_nobody_says_is_assumed_and_flagged(project, tmp_path):
    out = project / "ground_truth" / "mine"
    experiment = import_experiment("vllm-bench", write_vllm(tmp_path / "results"), out).experiment
    (flag,) = [quality_flag for quality_flag in experiment.quality if quality_flag.flag == "setting_assumed"]
    assert "hardware h100-sxm, tensor parallelism 1, token budget 2048, prefix caching on" in flag.text
    assert experiment.family == "Llama2-7B"
    assert isinstance(experiment.load_points[0].arrivals, Poisson)


def test_a_table_is_imported_as_a_whole(project, shared_dir):
    path = shared_dir / "ground_truth" / "measured_runs.csv"
    out = project / "ground_truth"
    run("--from-csv", path, "--out", out / "mine", "--experiment", "20260217-155451-llama-2-7b-tp1-codegen")
    assert [point.id for point in load_experiment(out / "mine").load_points] == ["stage_0", "stage_1"]
    with pytest.raises(ConfigError, match=r"16 experiments in .* give --experiment"):
        run("--from-csv", path, "--out", out / "other", "--year", "2026")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["guidellm"], f"give a tool ({', '.join(tools())}) and its path"),
        (["guidellm", "x", "--from-csv", "y"], "--from-csv stands instead of a tool"),
        (["guidellm", "x", "--client-offset-ms", "-1"], "--client-offset-ms: must be 0 or greater"),
        (["guidellm", "x", "--client-offset-ms", "nan"], "--client-offset-ms: must be 0 or greater"),
        (["guidellm", "x", "--tensor-parallel", "0"], "--tensor-parallel: must be 1 or greater"),
    ],
)
def test_contradicting_arguments_are_refused(project, arguments, expected):
    with pytest.raises(ConfigError) as caught:
        run(*arguments, "--out", project / "ground_truth" / "mine")
    assert expected in str(caught.value)


@pytest.mark.parametrize("out", ["elsewhere/mine", "ground_truth", "ground_truth/deep/mine"])
def test_a_place_outside_ground_truth_is_refused(project, tmp_path, out):
    with pytest.raises(ConfigError, match=r"--out: must be ground_truth/<id> inside a project"):
        import_experiment("vllm-bench", write_vllm(tmp_path / "results"), project / out)


def test_an_existing_experiment_is_never_overwritten(project, tmp_path):
    source = write_vllm(tmp_path / "results")
    out = project / "ground_truth" / "mine"
    before = (import_experiment("vllm-bench", source, out).folder / "experiment.yaml").read_bytes()
    with pytest.raises(ConfigError, match="exists already; choose another id"):
        import_experiment("vllm-bench", source, out)
    assert (out / "experiment.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (Overrides(model="gpt-5"), "unknown model 'gpt-5'"),
        (Overrides(hardware="tpu"), "unknown hardware 'tpu'"),
        (Overrides(family="Llama"), "unknown family 'Llama'"),
        (Overrides(workload="chat"), "unknown workload 'chat'"),
    ],
)
def test_a_refused_import_leaves_nothing_behind(project, tmp_path, names, expected):
    out = project / "ground_truth" / "mine"
    with pytest.raises(ConfigError) as caught:
        import_experiment("vllm-bench", write_vllm(tmp_path / "results"), out, names)
    assert expected in str(caught.value)
    assert not out.exists()
    assert left_over(project) == []


def test_a_model_nobody_describes_is_refused_with_the_nearest(project, tmp_path):
    result = vllm_result(sent(), model_id="meta-llama/Llama-2-7b-hff")
    with pytest.raises(ConfigError, match=r"no model of configs/models is 'meta-llama/Llama-2-7b-hff'.*llama-2-7b-hf"):
        import_experiment("vllm-bench", write_vllm(tmp_path / "r", result), project / "ground_truth" / "mine")


def test_a_model_no_experiment_has_needs_its_family(project, tmp_path):
    result = vllm_result(sent(), model_id="Qwen/Qwen3-8B")
    with pytest.raises(ConfigError, match=r"^family: no experiment has the model 'qwen3-8b' yet.*or name it with"):
        import_experiment("vllm-bench", write_vllm(tmp_path / "r", result), project / "ground_truth" / "mine")


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("llama-3.1-8b", "Llama3.1-8B"),
        ("llama-3.1-8b-instruct", "Llama3.1-8B"),
        ("llama-3.1-70b-instruct", "Llama3.1-70B"),
        ("llama-2-70b-hf", "Llama2-70B"),
        ("qwen3-14b", "Qwen3-14B"),
        ("mixtral-8x7b-instruct-v0.1", "Mixtral-8x7B"),
        ("llama-4-scout-17b-16e-instruct-fp8", "Llama4-Scout"),
    ],
)
def test_the_family_of_a_model_is_the_word_its_name_begins_with(project, tmp_path, model, family):
    out = project / "ground_truth" / "mine"
    experiment = import_experiment("vllm-bench", write_vllm(tmp_path / "r"), out, Overrides(model=model)).experiment
    assert experiment.family == family


def test_an_unknown_tool_is_refused(project, tmp_path):
    with pytest.raises(ConfigError, match=r"unknown tool 'guidelm'; did you mean 'guidellm'\?"):
        import_experiment("guidelm", tmp_path, project / "ground_truth" / "mine")


def test_a_bad_id_is_refused_and_leaves_nothing_behind(project, tmp_path):
    with pytest.raises(ConfigError, match="id: "):
        import_experiment("vllm-bench", write_vllm(tmp_path / "r"), project / "ground_truth" / "my run")
    assert left_over(project) == []


@pytest.mark.parametrize("tool", sorted(SAMPLES))
def test_every_reader_has_its_command(project, tmp_path, tool):
    SAMPLES[tool].write(tmp_path / "results")
    assert run(tool, tmp_path / "results", "--out", project / "ground_truth" / "mine") == 0


def test_a_person_may_edit_what_was_written(project, tmp_path):
    out = import_experiment("vllm-bench", write_vllm(tmp_path / "r"), project / "ground_truth" / "mine").folder
    content = yaml.safe_load((out / "experiment.yaml").read_text("utf-8"))
    content["server"]["known"] = {"token_budget": content["server"]["assumed"].pop("token_budget")}
    (out / "experiment.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    assert load_experiment(out).server.known.token_budget == 2048


def test_the_example_of_a_whole_table_is_right_for_the_recorded_one(project, shared_dir, monkeypatch):
    (example,) = (line for line in EPILOG.splitlines() if line.endswith(" --out ground_truth"))
    shutil.copy(ROOT / "ground_truth" / "vocabulary.yaml", project / "ground_truth")
    shutil.copy(shared_dir / "ground_truth" / "measured_runs.csv", project / "measured_runs.csv")
    for name in FAMILIES:
        shutil.copytree(ROOT / "ground_truth" / name, project / "ground_truth" / f"known-{name}")
    monkeypatch.chdir(project)
    assert run(*example.split()[2:]) == 0
    assert len(list((project / "ground_truth").glob("*/experiment.yaml"))) == 16 + 1 + len(FAMILIES)


def test_the_printed_command_names_the_project_that_was_named(project, shared_dir, tmp_path, capsys):
    """Printed without it, the command fails for whoever imports into a folder of their own."""
    out = tmp_path / "measurements" / "mine"
    folder = shared_dir / "ground_truth" / "formats" / FORMATS["inference-perf"]
    assert run("inference-perf", folder, "--root", project, "--out", out) == 0
    printed = capsys.readouterr().out
    assert f"roofline-lab evaluate {out} --root {project} --steptime h100_vllm --out evaluation" in printed
