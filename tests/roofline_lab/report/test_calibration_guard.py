"""A check tells an edited calibration from a stale one, without calibrating."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from roofline_lab.calibration.plan import REPORTS
from roofline_lab.predict.held_out import held_out_rows
from roofline_lab.predict.onto import Request
from roofline_lab.report.calibration_guard import judge, record_of_carried, record_of_folder
from roofline_lab.report.recorded import PROVENANCE
from roofline_lab.trust.held_out import held_out_text, read_held_out
from tests.paths import ROOT
from tests.roofline_lab.builders import copy_project

NEEDED = ("configs", "ground_truth", "hypotheses", "simulator", "workflow")
CARRIED = "l40s_from_h100_vllm"
# One request at a time, a sending rate, and a mixture of experts.
PREDICTED = (
    "20260210-qwen3-14b-tp1-codesweep",
    "62-mistral-nemo-12b-tp2-general-lite-2-1",
    "17-llama-4-scout-17b-16e-tp2-general-lite-2-1",
)
RUN = "55-llama-3-1-8b-tp1-general-lite-1"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Return a copy of the project whose records are brought up to date."""
    root = copy_project(tmp_path_factory.mktemp("calibrations") / "project", NEEDED)
    shutil.copytree(ROOT / REPORTS, root / REPORTS)
    for name in ("h100_vllm", "vllm_fleet"):
        (root / REPORTS / name / PROVENANCE).write_text(record_of_folder(root, name), encoding="utf-8")
    return root


@pytest.fixture
def copied(pristine, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(pristine, root)
    return SimpleNamespace(root=root, judge=lambda: judged(root))


def judged(root):
    found = list(judge(root))
    return [told for told, _ in found], [fault for _, faults in found for fault in faults]


def edit(path, text="\n"):
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_every_committed_calibration_is_as_it_was_written_and_rests_on_what_there_is():
    told, faults = judged(ROOT)
    assert faults == []
    assert len(told) == len([path for path in (ROOT / REPORTS).iterdir() if path.is_dir()])
    assert [line for line in told if "STALE" in line] == []


def test_the_held_out_predictions_still_come_out_of_the_committed_constants():
    """So a simulator that predicts otherwise is noticed without a calibration; `snakemake calibrate` mends it."""
    committed = read_held_out(ROOT / "configs" / "calibration" / "h100_vllm.held_out.csv")
    expected = [row for row in committed if row.experiment in PREDICTED]
    assert held_out_text(held_out_rows(ROOT, "h100_vllm", only=PREDICTED)) == held_out_text(expected)


@pytest.mark.parametrize(
    "file",
    [
        "reports/calibration/h100_vllm/CALIBRATION.md",
        "reports/calibration/h100_vllm/predictions.csv",
        "reports/calibration/vllm_fleet/held_out.svg",
        "configs/calibration/vllm_fleet.held_out.csv",
        "configs/calibration/h100_vllm.yaml",
        f"reports/calibration/{CARRIED}/{CARRIED}.yaml",
    ],
)
def test_an_edited_file_of_a_calibration_is_a_failure(copied, file):
    edit(copied.root / file, "# edited\n")
    told, faults = copied.judge()
    assert [fault[0] for fault in faults] == [file]
    assert "is not as it was written" in faults[0][2]
    assert len([line for line in told if "differs" in line]) == 1


def test_a_missing_record_is_a_failure_that_says_how_to_make_it(copied):
    (copied.root / REPORTS / "vllm_fleet" / PROVENANCE).unlink()
    _, faults = copied.judge()
    assert [fault[:2] for fault in faults if fault[0].endswith(PROVENANCE)] == [
        (f"reports/calibration/vllm_fleet/{PROVENANCE}", "file")
    ]
    assert "snakemake calibrate_fleet" in faults[0][2]


@pytest.mark.parametrize(
    ("file", "stale", "named"),
    [
        ("ground_truth/jan30-llama2-7b-tp1-chatsweep/experiment.yaml", ["h100_vllm"], "measurements"),
        ("configs/calibration/fleet/vllm_fleet.yaml", ["vllm_fleet"], "measurements, plan or donor"),
        ("configs/calibration/fleet/vllm_fleet.md", ["vllm_fleet"], "the discussion"),
        ("configs/calibration/plans/h100_vllm.md", ["h100_vllm"], "the discussion"),
    ],
)
def test_a_changed_input_makes_the_calibration_stale_and_is_named(copied, file, stale, named):
    edit(copied.root / file, "\n# changed\n" if file.endswith("yaml") else "\nMore.\n")
    told, faults = copied.judge()
    assert faults == []
    lines = [line for line in told if "STALE" in line]
    assert [line.split()[2].rstrip(":") for line in lines] == stale
    assert all(named in line and "makes it again" in line for line in lines)


def test_a_changed_run_makes_what_was_carried_over_by_it_stale(copied):
    path = copied.root / "ground_truth" / RUN / "experiment.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("tensor_parallel: 1", "tensor_parallel: 2", 1), encoding="utf-8")
    (line,) = [line for line in copied.judge()[0] if CARRIED in line]
    assert "STALE" in line
    assert f"roofline-lab calibrate --onto l40s --from h100_vllm --with {RUN}" in line


def test_the_record_of_what_is_carried_over_is_the_committed_one():
    folder = ROOT / REPORTS / CARRIED
    names = [path.name for path in sorted(folder.iterdir()) if path.name != PROVENANCE]
    files = {name: (folder / name).read_text(encoding="utf-8") for name in names}
    request = Request(ROOT, "l40s", "h100_vllm", (RUN,))
    assert record_of_carried(request, files) == (folder / PROVENANCE).read_text(encoding="utf-8")
