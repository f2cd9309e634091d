"""A report's provenance changes with every input and with nothing else."""

from __future__ import annotations

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
        ("simulator/engine/loop.py", {"simulator"}),
        ("workflow/roofline_lab/scoring/errors.py", {"laboratory"}),
        ("workflow/templates/findings.md.j2", {"laboratory"}),
        ("configs/lab.yaml", {"lab.yaml"}),
        ("requirements.lock", {"requirements.lock"}),
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
    laboratory = {path.relative_to(ROOT).as_posix() for path in provenance.laboratory_sources(ROOT)}
    assert {"workflow/roofline_lab/report/findings_page.py", "workflow/templates/findings.md.j2"} <= laboratory
