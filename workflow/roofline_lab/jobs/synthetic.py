"""What the rules call for synthetic hypotheses: files of the pipeline and one function per job.

With a folder of measured tables everything is written below `results/measured/`, and nothing is ever
published from there: committed reports use the kernels the project ships.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from roofline_lab import provenance
from roofline_lab.files import digest_of_files, json_text
from roofline_lab.formatting import quantity
from roofline_lab.ground_truth.catalog import EMBEDDED_KERNELS
from roofline_lab.hypotheses.synthetic.points import points
from roofline_lab.hypotheses.synthetic.resolve import arm_digests, methods_of, resolve_arms
from roofline_lab.predict.synthetic import run_arm
from roofline_lab.project import Project
from roofline_lab.report.synthetic.numbers import numbers_text, rows_text
from roofline_lab.report.synthetic.report import RowReport, build_row_report
from roofline_lab.vocabulary import Reproduction
from simulator.errors import ConfigError

RESULTS = Path("results")
ON_MEASURED_TABLES = RESULTS / "measured"


def results_folder(project: Project) -> Path:
    """Return where results of synthetic hypotheses go."""
    return ON_MEASURED_TABLES if project.tables_folder is not None else RESULTS


def arm_files(project: Project, hypothesis: str) -> dict[Path, str]:
    """Return the resolved arms, file to text; a job depends on its own."""
    spec = project.synthetic[hypothesis]
    folder = results_folder(project) / hypothesis / "arms"
    found: dict[Path, str] = {}
    for method in methods_of(project, spec):
        digests = arm_digests(project, spec, method)
        for arm in resolve_arms(spec, method):
            record = {"configuration": arm.configuration, "digest": digests[arm.name]}
            found[folder / method / f"{arm.name}.json"] = json_text(record)
    return found


def row_paths(project: Project, hypothesis: str) -> list[str]:
    """Return the result files of one hypothesis: one per choice of kernels and arm."""
    spec = project.synthetic[hypothesis]
    folder = results_folder(project) / hypothesis / "rows"
    return [f"{folder}/{method}/{arm}.jsonl" for method in methods_of(project, spec) for arm in spec.arms]


def data_files(project: Project, hypothesis: str) -> list[Path]:
    """Return the data files the rows of one hypothesis depend on."""
    spec = project.synthetic[hypothesis]
    models = {point.model(spec.setup) for sweep in spec.sweeps for point in points(sweep)}
    found = [project.model_file(model) for model in sorted(models)]
    return [*found, project.hardware_file(spec.setup.hardware), project.root / EMBEDDED_KERNELS]


def evaluate_arm(project: Project, hypothesis: str, method: str, arm_name: str) -> str:
    """Return the JSON lines of one arm under one choice of kernels.

    Raises
    ------
    ConfigError
        If the hypothesis has no such arm or kernels.
    """
    spec = project.synthetic[hypothesis]
    if method not in methods_of(project, spec):
        raise ConfigError(f"{hypothesis}: kernels '{method}' are not used by this hypothesis")
    arm = {one.name: one for one in resolve_arms(spec, method)}.get(arm_name)
    if arm is None:
        raise ConfigError(f"{hypothesis}: no arm '{arm_name}'")
    return run_arm(project, spec, method, arm, arm_digests(project, spec, method)[arm.name])


def read_report(project: Project, hypothesis: str) -> RowReport:
    """Return the report of one hypothesis from the rows its jobs wrote."""
    paths = [Path(path) for path in row_paths(project, hypothesis)]
    lines = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return build_row_report(project, project.synthetic[hypothesis], lines, project.published[hypothesis])


def score_files(report: RowReport) -> dict[str, str]:
    """Return what scoring writes, name to text, the verdict last."""
    return {
        "rows.csv": rows_text(report.spec, [(method.method, method.table) for method in report.methods]),
        "numbers.csv": numbers_text(report.numbers),
        "verdict.json": json_text(_summary(report)),
    }


def provenance_text(project: Project, hypothesis: str) -> str:
    """Return the provenance record of one report as JSON."""
    root = project.root
    spec = project.synthetic[hypothesis]
    hashes = {"settings": provenance.settings_digest(project.settings)}
    hashes["hypothesis"] = digest_of_files(provenance.hypothesis_files(root, hypothesis), root)
    hashes["models, hardware, kernels"] = digest_of_files(data_files(project, hypothesis), root)
    if project.tables_hash:
        hashes["measured tables"] = project.tables_hash
    runs = {method: arm_digests(project, spec, method) for method in methods_of(project, spec)}
    return json_text({"hypothesis": hypothesis, "runs": runs, "hashes": hashes})


def _summary(report: RowReport) -> dict[str, Any]:
    lines = []
    for method in report.methods:
        decisive = [outcome for outcome in method.verdict.criteria if outcome.decisive]
        result = ", ".join(
            f"{outcome.id} {outcome.result} ({quantity(outcome.observed, outcome.unit)})" for outcome in decisive
        )
        lines.append(
            {
                "method": method.method,
                "status": method.verdict.status.value,
                "reason": method.verdict.reason,
                "result": result,
                "criteria": {
                    each.id: each.result.value for each in (*method.verdict.criteria, *method.verdict.controls)
                },
            }
        )
    counts = {
        reproduction.value: sum(c.verdict is reproduction for c in report.comparisons) for reproduction in Reproduction
    }
    return {"methods": lines, "reproduction": counts if report.comparisons else {}}
