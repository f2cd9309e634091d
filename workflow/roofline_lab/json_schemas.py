"""`python -m roofline_lab.json_schemas`: the format of every kind of YAML that people write, for editors.

Made from the records that read these files, so a schema allows what the laboratory allows; what depends on other
files (a name that must exist, arms that may differ in one option only) is checked when the project is loaded.
Experiments have theirs beside them (`ground_truth.reading`), answers of programs as well (`simulators.contract`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from roofline_lab.calibration.fleet.plan import FleetPlan
from roofline_lab.calibration.plan import Plan
from roofline_lab.capacity.question import Question, WorkloadFile
from roofline_lab.config import Method, Settings
from roofline_lab.errata.documents import ClaimsFile
from roofline_lab.files import json_text, write_text
from roofline_lab.ground_truth.reading import SetsFile, Vocabulary
from roofline_lab.hypotheses.spec import Hypothesis
from roofline_lab.hypotheses.synthetic.spec import SyntheticHypothesis
from roofline_lab.predict.choose import ReplaySettings
from roofline_lab.scoring.published import Source
from roofline_lab.simulators.description import Described
from simulator.hardware import Hardware

FOLDER = Path("workflow") / "schemas"
SUFFIX = ".schema.json"
# Name of the schema -> the record that reads the files, and where they are.
RECORDS: Mapping[str, tuple[type[BaseModel], str]] = {
    "hypothesis": (Hypothesis, "hypotheses/*/hypothesis.yaml"),
    "synthetic_hypothesis": (SyntheticHypothesis, "hypotheses/*/hypothesis.yaml"),
    "published_source": (Source, "hypotheses/*/published/source.yaml"),
    "published_claims": (ClaimsFile, "hypotheses/*/published/claims.yaml"),
    "sets": (SetsFile, "ground_truth/sets.yaml"),
    "vocabulary": (Vocabulary, "ground_truth/vocabulary.yaml"),
    "method": (Method, "configs/methods/*.yaml"),
    "lab": (Settings, "configs/lab.yaml"),
    "replay": (ReplaySettings, "configs/replay.yaml"),
    "simulator": (Described, "configs/simulators/*.yaml"),
    "hardware": (Hardware, "configs/hardware/*.yaml"),
    "question": (Question, "questions/*.yaml"),
    "workload": (WorkloadFile, "configs/workloads/*.yaml"),
    "calibration_plan": (Plan, "configs/calibration/plans/*.yaml"),
    "fleet_plan": (FleetPlan, "configs/calibration/fleet/*.yaml"),
}


def json_schema(name: str) -> dict[str, Any]:
    """Return one schema by its name."""
    record, _ = RECORDS[name]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **record.model_json_schema()}


def write_schemas(root: Path) -> None:
    """Write every schema to where skeletons and people name it."""
    for name in RECORDS:
        write_text(root / FOLDER / f"{name}{SUFFIX}", json_text(json_schema(name)))


if __name__ == "__main__":
    write_schemas(Path())
