"""A calibration of four experiments, end to end: no family helps to predict itself, and nothing depends on chance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from roofline_lab.calibration import jobs
from roofline_lab.files import write_text
from tests.paths import ROOT

EXPERIMENTS = {
    "20260210-qwen3-14b-tp1-codesweep": "Qwen3-14B",
    "20260210-codellama-34b-tp2-codesweep": "CodeLlama-34B",
    "jan30-llama2-7b-tp1-codesweep": "Llama2-7B",
    "20260210-llama2-70b-tp4-codesweep": "Llama2-70B",
}
NAME = "tiny"
PLAN = {
    "title": "Four experiments of four families",
    "train_sets": ["few"],
    "synchronous_set": "few",
    "weights": {"ttft": 0.5, "itl": 1.0, "e2e": 1.0},
    "scatter": 0.03,
    "lineages": {"Llama-2": ["Llama2-7B", "Llama2-70B"]},
    "samples": 100,
    "requests_per_point": 200,
    "bootstrap_resamples": 5,
    "learning_curve_subsets": 2,
    "seed": 1,
    "targets": {key: {"ttft": 12.0, "itl": 4.0, "e2e": 5.0} for key in ("synchronous", "client")},
}
# Constants of a family's fold, by the name of the variant it is predicted with.
FOLDS = ("held_out", "lineage_held_out", "synchronous_held_out", "synchronous_lineage_held_out")


def project(root: Path) -> Path:
    """Make a project of four experiments and one plan."""
    for experiment in EXPERIMENTS:
        folder = root / "ground_truth" / experiment
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(ROOT / "ground_truth" / experiment)
    (root / "ground_truth" / "vocabulary.yaml").symlink_to(ROOT / "ground_truth" / "vocabulary.yaml")
    sets = {"sets": {"few": {"title": "Few", "experiments": list(EXPERIMENTS)}}}
    write_text(root / "ground_truth" / "sets.yaml", yaml.safe_dump(sets))
    write_text(root / "configs" / "calibration" / "plans" / f"{NAME}.yaml", yaml.safe_dump(PLAN))
    for part in ("models", "hardware", "lab.yaml"):
        (root / "configs" / part).symlink_to(ROOT / "configs" / part)
    return root


def surfaces(root: Path) -> list[str]:
    found = []
    for experiment in EXPERIMENTS:
        found.append(f"surfaces/{experiment}.json")
        write_text(root / found[-1], jobs.surface_job(root, NAME, experiment))
    return found


def spoil(root: Path, family: str) -> None:
    """Make everything measured on one family half as long again."""
    (experiment,) = (name for name, of in EXPERIMENTS.items() if of == family)
    folder = root / "ground_truth" / experiment
    content = yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8"))
    for point in content["load_points"]:
        for figure in point["measured"].values():
            figure["value"] *= 1.5
    folder.unlink()
    write_text(folder / "experiment.yaml", yaml.safe_dump(content))


@pytest.fixture(scope="module")
def true_project(tmp_path_factory):
    root = project(tmp_path_factory.mktemp("true"))
    write_text(root / "fit.json", jobs.fit_job(root, NAME, surfaces(root)))
    return root


def predicted(root: Path, family: str) -> dict:
    (experiment,) = (name for name, of in EXPERIMENTS.items() if of == family)
    (row,) = json.loads(jobs.judge_job(root, NAME, experiment, "fit.json"))
    return {
        variant: {metric: figure["predicted"] for metric, figure in found["figures"].items()}
        for variant, found in row["variants"].items()
    }


@pytest.mark.parametrize("family", sorted(EXPERIMENTS.values()))
def test_measurements_of_a_family_do_not_move_its_held_out_prediction_by_one_bit(family, true_project, tmp_path):
    spoiled = project(tmp_path)
    spoil(spoiled, family)
    # Surfaces contain nothing measured, so those of the true project serve.
    files = [str(true_project / "surfaces" / f"{experiment}.json") for experiment in EXPERIMENTS]
    write_text(spoiled / "fit.json", jobs.fit_job(spoiled, NAME, files))
    true_fit, spoiled_fit = (json.loads((root / "fit.json").read_text()) for root in (true_project, spoiled))
    for fold in FOLDS:
        assert spoiled_fit[fold][family] == true_fit[fold][family]
    assert spoiled_fit["in_sample"] != true_fit["in_sample"]
    others = set(EXPERIMENTS.values()) - {family}
    assert all(spoiled_fit["held_out"][other] != true_fit["held_out"][other] for other in others)
    before, after = (predicted(root, family) for root in (true_project, spoiled))
    assert {name: after[name] for name in FOLDS} == {name: before[name] for name in FOLDS}
    assert after["in_sample"] != before["in_sample"]


def test_a_lineage_is_held_out_whole(true_project):
    found = json.loads((true_project / "fit.json").read_text())["lineage_held_out"]
    assert found["Llama2-7B"] == found["Llama2-70B"]
    assert found["Llama2-7B"] != found["Qwen3-14B"]


def test_surfaces_contain_nothing_measured(true_project, tmp_path):
    spoiled = project(tmp_path)
    spoil(spoiled, "Qwen3-14B")
    experiment = "20260210-qwen3-14b-tp1-codesweep"
    true_text = (true_project / "surfaces" / f"{experiment}.json").read_text(encoding="utf-8")
    assert jobs.surface_job(spoiled, NAME, experiment) == true_text


def test_another_process_with_other_hashes_and_threads_writes_the_same_bytes(true_project):
    code = (
        "from pathlib import Path; import sys; from roofline_lab.calibration import jobs; root = Path(sys.argv[1]);"
        f"sys.stdout.write(jobs.surface_job(root, {NAME!r}, sys.argv[2]));"
        f"sys.stdout.write(jobs.fit_job(root, {NAME!r}, sys.argv[3:]))"
    )
    experiment = "20260210-codellama-34b-tp2-codesweep"
    files = [f"surfaces/{name}.json" for name in EXPERIMENTS]
    run = subprocess.run(
        [sys.executable, "-c", code, str(true_project), experiment, *files],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711", "OPENBLAS_NUM_THREADS": "8"},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [true_project / f"surfaces/{experiment}.json", true_project / "fit.json"]
    assert run.stdout == "".join(path.read_text(encoding="utf-8") for path in expected)
