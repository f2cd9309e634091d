"""A report's provenance changes with every input and with nothing else."""

from __future__ import annotations

import ast
import json
import re

import pytest

from roofline_lab import provenance
from roofline_lab.project import load_project
from tests.roofline_lab.builders import HYPOTHESIS, ROOT, SOURCES, copy_project

CODE = "jan30-llama2-7b-tp1-codesweep"


def record(root):
    return json.loads(provenance.provenance_text(load_project(root), HYPOTHESIS))


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """Return a copy of the project under another name, with its provenance."""
    root = copy_project(tmp_path_factory.mktemp("elsewhere") / "renamed", SOURCES)
    return root, record(root)


def test_a_record_holds_no_path_of_a_machine_no_host_and_no_time():
    text = provenance.provenance_text(load_project(ROOT), HYPOTHESIS)
    assert str(ROOT) not in text
    assert re.search(r'"/|[A-Z]:\\|\d{2}:\d{2}|20\d\d', re.sub(r'"[0-9a-f]{16}"', '""', text)) is None


def test_the_same_project_in_another_place_has_the_same_record(twin):
    assert twin[1] == record(ROOT)


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        (f"hypotheses/{HYPOTHESIS}/discussion.md", {"hypothesis"}),
        (f"hypotheses/{HYPOTHESIS}/published/absolute.csv", {"hypothesis"}),
        ("configs/methods/corrected.yaml", {"methods"}),
        ("configs/methods/as_published/request_lengths.csv", {"measurements, models, hardware"}),
        (f"ground_truth/{CODE}/experiment.yaml", {"measurements, models, hardware"}),
        ("configs/models/llama-2-7b-hf.json", {"measurements, models, hardware"}),
        ("configs/hardware/h100-sxm.yaml", {"measurements, models, hardware"}),
        ("configs/models/llama-3.1-8b.json", set()),
        ("simulator/engine/loop.py", set()),
        ("workflow/roofline_lab/scoring/errors.py", set()),
        ("workflow/templates/findings.md.j2", set()),
        ("configs/lab.yaml", set()),
        ("requirements.lock", set()),
    ],
)
def test_each_input_changes_the_hash_it_belongs_to_and_no_other(twin, file, changed):
    root, before = twin
    path = root / file
    content = path.read_bytes()
    # One blank at the end is the smallest change, and harmless in every format.
    path.write_bytes(content + b"\n")
    try:
        after = record(root)
    finally:
        path.write_bytes(content)
    assert {name for name in before["hashes"] if before["hashes"][name] != after["hashes"][name]} == changed
    assert after["runs"] == before["runs"]


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("bold_above_pp: 1.0", "bold_above_pp: 2.0", {"settings"}),
        ("seeds: [42, ", "seeds: [41, ", {"settings"}),
        ("check:\n", "check: # how a check compares is in no number\n", set()),
        ("tolerance:\n    { ms: 0.000002", "tolerance:\n    { ms: 0.00002", set()),
    ],
)
def test_a_setting_counts_by_its_value_and_only_where_numbers_rest_on_it(twin, old, new, changed):
    root, before = twin
    path = root / provenance.SETTINGS_FILE
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new), encoding="utf-8")
    try:
        after = record(root)
    finally:
        path.write_text(content, encoding="utf-8")
    assert {name for name in before["hashes"] if before["hashes"][name] != after["hashes"][name]} == changed


def test_the_inputs_of_a_run_are_its_own_measurement_model_gpu_and_recorded_lengths(lab):
    found = provenance.run_inputs(lab, HYPOTHESIS, "as_published", CODE)
    names = {path.relative_to(ROOT).as_posix() for path in found}
    assert {
        f"ground_truth/{CODE}/experiment.yaml",
        "configs/models/llama-2-7b-hf.json",
        "configs/hardware/h100-sxm.yaml",
        "configs/methods/as_published/request_lengths.csv",
        "configs/methods/as_published/arrival_intervals.csv",
    } <= names
    corrected = provenance.run_inputs(lab, HYPOTHESIS, "corrected", CODE)
    assert not [path for path in corrected if path.suffix == ".csv" and "methods" in path.parts]


def test_every_source_of_the_simulator_and_the_laboratory_is_hashed():
    simulator = {path.relative_to(ROOT).as_posix() for path in provenance.simulator_sources(ROOT)}
    assert {"simulator/metrics.py", "simulator/engine/loop.py", "simulator/workload/lengths.py"} <= simulator
    laboratory = {path.relative_to(ROOT).as_posix() for path in provenance.lab_sources(ROOT)}
    assert {"workflow/roofline_lab/report/findings.py", "workflow/templates/findings.md.j2"} <= laboratory


# --- code, per stage -----------------------------------------------------------------------------------

CALIBRATION = {"calibration_surface", "calibration_fit", "calibration_page", "calibration_held_out"}
SIMULATING = set(provenance.SIMULATING)
OTHERS = {"outside", "ask"}
EVERYTHING = set(provenance.STAGES)


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("simulator/engine/loop.py", EVERYTHING),
        (
            "workflow/roofline_lab/load_point.py",
            {"simulate", "sweep", "named", "score", "render", *OTHERS, *CALIBRATION, "compared"},
        ),
        ("workflow/roofline_lab/predict/outside.py", OTHERS),
        ("workflow/roofline_lab/predict/named.py", {"named", "compared"}),
        ("workflow/roofline_lab/predict/fleet.py", {"named", "calibration_held_out", "compared"}),
        ("workflow/roofline_lab/simulators/program.py", {"ask"}),
        ("workflow/roofline_lab/ground_truth/reading.py", EVERYTHING - {"price", "index", "capacity"}),
        ("workflow/roofline_lab/predict/synthetic.py", {"price"}),
        ("workflow/roofline_lab/predict/sweeps.py", {"sweep", "score", "render", "compared"}),
        ("workflow/roofline_lab/scoring/statistics.py", {"sweep", "score", "render", "calibration_page", "compared"}),
        ("workflow/roofline_lab/hypotheses/criteria.py", {"score", "render"}),
        ("workflow/roofline_lab/hypotheses/synthetic/criteria.py", {"score", "render"}),
        ("workflow/roofline_lab/hypotheses/discussion.py", {"render"}),
        ("workflow/roofline_lab/report/design.py", {"render"}),
        ("workflow/roofline_lab/report/results.py", {"score", "render", "compared"}),
        ("workflow/roofline_lab/residuals/ranking.py", {"score", "render", "compared"}),
        ("workflow/roofline_lab/report/synthetic_results.py", {"score", "render"}),
        ("workflow/roofline_lab/report/plots.py", {"render", "calibration_page", "compared", "capacity"}),
        ("workflow/roofline_lab/report/tables.py", {"render", "calibration_page", "compared"}),
        ("workflow/roofline_lab/report/residuals.py", {"render"}),
        ("workflow/roofline_lab/report/values.py", {"render"}),
        ("workflow/roofline_lab/report/findings.py", {"render"}),
        ("workflow/roofline_lab/report/synthetic_tables.py", {"render"}),
        ("workflow/roofline_lab/capacity/search.py", {"capacity"}),
        ("workflow/roofline_lab/report/index.py", {"index"}),
        ("workflow/roofline_lab/errata/evaluation.py", {"errata"}),
        ("workflow/roofline_lab/calibration/surface.py", CALIBRATION - {"calibration_held_out"}),
        ("workflow/roofline_lab/predict/trusted.py", {"calibration_held_out", "named", "compared"}),
        ("workflow/roofline_lab/report/trust.py", set()),
        ("workflow/roofline_lab/calibration/terms.py", {"calibration_fit", "calibration_page"}),
        ("workflow/roofline_lab/report/calibration_tables.py", {"calibration_page"}),
        ("workflow/roofline_lab/report/calibration_terms.py", {"calibration_page"}),
        ("workflow/templates/calibration.md.j2", {"render", "calibration_page", "compared", "capacity"}),
        ("workflow/roofline_lab/predict/evaluate.py", set()),
        ("workflow/roofline_lab/cli/main.py", set()),
        ("workflow/templates/findings.md.j2", {"render", "calibration_page", "compared", "capacity"}),
    ],
)
def test_a_changed_source_runs_the_stages_again_that_use_it_and_no_other(twin, file, stages):
    root, _ = twin
    settings = load_project(root).settings
    before = provenance.stage_hashes(root, settings)
    path = root / file
    content = path.read_bytes()
    path.write_bytes(content + b"\n")
    try:
        after = provenance.stage_hashes(root, settings)
    finally:
        path.write_bytes(content)
    assert {stage for stage in before if before[stage] != after[stage]} == stages


def test_a_seed_of_workloads_runs_everything_again_and_another_setting_only_scores_and_pages(lab):
    before = provenance.stage_hashes(ROOT, lab.settings)
    arrivals = lab.settings.arrivals.model_copy(update={"seeds": (1, 2)})
    drawn = lab.settings.model_copy(update={"arrivals": arrivals})
    bold = lab.settings.model_copy(update={"bold_above_pp": lab.settings.bold_above_pp + 1})
    changed = [
        {stage for stage, text in provenance.stage_hashes(ROOT, one).items() if text != before[stage]}
        for one in (drawn, bold)
    ]
    assert changed == [EVERYTHING, EVERYTHING - SIMULATING]


def test_no_import_is_overlooked():
    """The stages follow the text of import statements, which is quick; a parser must find no other."""
    modules = provenance.modules_of(ROOT)
    for path in modules.values():
        text = path.read_text(encoding="utf-8")
        names = [
            f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        ours = [name.removeprefix("roofline_lab.") for name in names if name.startswith("roofline_lab")]
        parsed = {one for name in ours for one in (name, name.rpartition(".")[0]) if one in modules}
        assert parsed - {""} == provenance.imported_by(text, modules) - {""}, path
