"""As a stranger would: import three experiments into a folder of one's own and evaluate that folder."""

from __future__ import annotations

import json

import pytest

from roofline_lab.cli.main import main
from roofline_lab.ground_truth.reading import Words, experiment_from
from roofline_lab.importers import import_experiment
from roofline_lab.importers.server_sources import read_mapping
from simulator.errors import ConfigError
from tests.roofline_lab.builders import ROOT
from tests.roofline_lab.importers.samples import sent, vllm_result, write_vllm
from tests.roofline_lab.predict.strangers import STRANGE_MODEL, section

SAMPLES = {
    "guidellm": "guidellm_jan20-codellama-prefill-1",
    "inference-perf": "inference-perf_20260217-155451-llama-2-7b-tp1-codegen",
}
IN_THE_TABLE = "61-llama-3-1-70b-tp4-codegen-4-1"


@pytest.fixture
def measurements(tmp_path):
    """Return a folder outside of any project."""
    return tmp_path / "measurements"


def run(*arguments):
    return main([*map(str, arguments)])


def imported(folder):
    return experiment_from(
        read_mapping(folder / "experiment.yaml"), source="test", name=folder.name, folder=folder, words=Words()
    )


def test_three_experiments_are_imported_into_a_folder_of_ones_own_and_evaluated(shared_dir, measurements, capsys):
    truth = shared_dir / "ground_truth"
    for tool, name in SAMPLES.items():
        assert run("import", tool, truth / "formats" / name, "--out", measurements / tool, "--root", ROOT) == 0
    table = truth / "measured_runs.csv"
    assert run("import", "--from-csv", table, "--experiment", IN_THE_TABLE, "--year", "2026",
               "--out", measurements / "table", "--root", ROOT) == 0  # fmt: skip
    assert "roofline-lab evaluate" in capsys.readouterr().out
    out = measurements.parent / "out"
    assert run("evaluate", measurements, "--steptime", "h100_vllm", "--against", "h2b_scaled_overhead:scaled",
               "--out", out, "--root", ROOT) == 0  # fmt: skip
    page = (out / "EVALUATION.md").read_text(encoding="utf-8")
    assert "3 experiments, 3 run" in page
    assert "| held out" in section(page, "Result")
    assert "in sample" not in section(page, "Result").split("*held out*")[0]
    assert "TTFT p99" in section(page, "Percentiles")
    assert "`stream_lines_counted`" in page
    for tool in (*SAMPLES, "table"):
        assert f"| {tool}/" in section(page, "Measured beside predicted")
    assert sorted(path.name for path in measurements.iterdir()) == ["guidellm", "inference-perf", "table"]


def test_a_stranger_imports_and_evaluates_a_model_the_project_does_not_know(tmp_path, measurements):
    (measurements / "models").mkdir(parents=True)
    (measurements / "models" / "Strange-1B.json").write_text(json.dumps(STRANGE_MODEL), encoding="utf-8")
    result = vllm_result(sent(), model_id="strangers/strange-1b")
    source = write_vllm(tmp_path / "results", result)
    assert run("import", "vllm-bench", source, "--out", measurements / "mine", "--root", ROOT) == 0
    experiment = imported(measurements / "mine")
    assert (experiment.model, experiment.family) == ("Strange-1B", "Strange-1B")
    out = tmp_path / "out"
    assert run("evaluate", measurements, "--steptime", "h100_vllm", "--out", out, "--root", ROOT) == 0
    assert "| never seen" in (out / "EVALUATION.md").read_text(encoding="utf-8")


def downloaded(folder):
    """Write a model as Hugging Face ships it, its quantization in a file of its own."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(STRANGE_MODEL), encoding="utf-8")
    stated = {"quantization": {"quant_algo": "FP8"}}
    (folder / "hf_quant_config.json").write_text(json.dumps(stated), encoding="utf-8")
    return folder


def test_a_downloaded_folder_is_a_model_for_an_import_and_lies_beside_the_experiment_then(tmp_path, measurements):
    source, folder = write_vllm(tmp_path / "results"), downloaded(tmp_path / "Strange-1B-FP8")
    for name in ("mine", "again"):
        out = ["--out", measurements / name, "--root", ROOT]
        assert run("import", "vllm-bench", source, "--model", folder, *out) == 0
    kept = measurements / "models" / "Strange-1B-FP8"
    assert sorted(path.name for path in kept.iterdir()) == ["config.json", "hf_quant_config.json"]
    assert imported(measurements / "again").model == "Strange-1B-FP8"
    out = tmp_path / "out"
    assert run("evaluate", measurements, "--steptime", "h100_vllm", "--out", out, "--root", ROOT) == 0
    assert "dense, FP8" in (out / "EVALUATION.md").read_text(encoding="utf-8")


def test_another_model_under_a_name_that_is_taken_is_refused(tmp_path, measurements, capsys):
    source, folder = write_vllm(tmp_path / "results"), downloaded(tmp_path / "llama-2-7b-hf")
    out = ["--out", measurements / "mine", "--root", ROOT]
    assert run("import", "vllm-bench", source, "--model", folder, *out) == 2
    assert "another model is described as 'llama-2-7b-hf'" in capsys.readouterr().err
    assert list(measurements.iterdir()) == []


def test_a_model_that_is_not_modelled_is_refused_by_an_import_with_its_reason(tmp_path, measurements, capsys):
    source, folder = write_vllm(tmp_path / "results"), downloaded(tmp_path / "Strange-1B-Mixed")
    (folder / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "MIXED_PRECISION"}}))
    out = ["--out", measurements / "mine", "--root", ROOT]
    assert run("import", "vllm-bench", source, "--model", folder, *out) == 2
    assert "MIXED_PRECISION" in capsys.readouterr().err


def test_outside_a_project_its_name_is_asked_for(tmp_path, measurements):
    source = write_vllm(tmp_path / "results")
    with pytest.raises(ConfigError, match="to write elsewhere, name the project"):
        import_experiment("vllm-bench", source, measurements / "mine")
    with pytest.raises(ConfigError, match=r"--root: .* has no ground_truth/vocabulary.yaml"):
        import_experiment("vllm-bench", source, measurements / "mine", root=tmp_path)
    assert not measurements.exists()


def test_a_failed_import_leaves_nothing_in_a_folder_outside(tmp_path, measurements):
    result = vllm_result(sent(), model_id="strangers/unknown")
    source = write_vllm(tmp_path / "results", result)
    assert run("import", "vllm-bench", source, "--out", measurements / "mine", "--root", ROOT) == 2
    assert list(measurements.iterdir()) == []


def test_an_experiment_outside_is_never_overwritten(tmp_path, measurements):
    source = write_vllm(tmp_path / "results")
    assert run("import", "vllm-bench", source, "--out", measurements / "mine", "--root", ROOT) == 0
    assert run("import", "vllm-bench", source, "--out", measurements / "mine", "--root", ROOT) == 2
