"""Small report folders and git repositories whose changes can be worked out in the head.

Measured figures are 100 ms with one decimal unless said otherwise, so that a prediction of 110 is 10 % off.
"""

from __future__ import annotations

import json
import os
import subprocess

import yaml

from roofline_lab.files import csv_text
from roofline_lab.regression.noise import Scored
from roofline_lab.regression.reading import Report, RowKey, Snapshot
from roofline_lab.scoring.numbers import NUMBER_COLUMNS

H1 = "h1_claim"
METRIC = "tpot_mean"


def key(experiment="one", arm="treatment", metric=METRIC, method="corrected", load_point="synchronous"):
    """Return the key of one row."""
    return RowKey(method, arm, metric, experiment, load_point)


def scored(predicted, measured=100.0):
    """Return a row; with the usual measurement, `predicted` - 100 is its error in percent."""
    return Scored(predicted, measured)


def report(predictions=None, name=H1, **fields):
    """Return a report of one arm from predictions by experiment."""
    rows = {key(experiment): scored(value) for experiment, value in (predictions or {}).items()}
    return Report(name, **{"rows": rows} | fields)


def snapshot(*reports, label="`x`", figures=None, skipped=()):
    """Return a snapshot of some reports."""
    return Snapshot(label, {report.name: report for report in reports}, figures or {}, tuple(skipped))


def numbers_csv(rows):
    """Return a `numbers.csv` of rows `{key: (predicted, measured)}`, with errors and the overall mean."""
    lines, errors = [], {}
    for row, (predicted, measured) in rows.items():
        error = abs(predicted - measured) / measured * 100
        errors.setdefault((row.method, row.arm, row.load_point, row.metric), []).append(error)
        for statistic, value, unit in (
            ("mape", error, "pct"),
            ("measured", measured, "ms"),
            ("predicted", predicted, "ms"),
        ):
            place = (row.method, row.arm, row.load_point, "experiment", row.experiment, row.metric)
            lines.append((*place, statistic, f"{value:.6f}", unit))
    for (method, arm, load_point, metric), found in errors.items():
        mean = f"{sum(found) / len(found):.6f}"
        lines.append((method, arm, load_point, "overall", "all", metric, "mape", mean, "pct"))
    return csv_text(NUMBER_COLUMNS, sorted(lines))


def synthetic_csv(values):
    """Return a `numbers.csv` of generated points, `{key: value}`."""
    place = ("embedded", "all", "synthetic", "row")
    return csv_text(
        NUMBER_COLUMNS, [(*place, name, "step_us", "value", f"{v:.6f}", "us") for name, v in values.items()]
    )


def verdict_json(status="Confirmed", criteria=None, method="corrected", unscored=()):
    """Return a `verdict.json` of one method."""
    rows = [{**row._asdict(), "status": state} for row, state in unscored]
    entry = {"method": method, "status": status, "criteria": criteria or {"improves": "PASS"}, "unscored": rows}
    return json.dumps({"methods": [entry]})


def findings_md(status="Confirmed", criteria=None, unscored=()):
    """Return as much of a findings page as says the same as `verdict_json`."""
    lines = [
        "# A claim",
        f"- Corrected: **{status}**, because of its criteria",
        "",
        "- **Corrected** (`configs/methods/corrected.yaml`): as it was made.",
        "",
        "### Corrected method",
        "",
        "| Id | Role | Statement | Result | Observed |",
        "| :--- | :--- | :--- | :--- | ---: |",
        *(
            f"| {name} | criterion | a \\| b | **{result}** | +1 |"
            for name, result in (criteria or {"improves": "PASS"}).items()
        ),
        "",
    ]
    if unscored:
        lines += [
            "| Experiment | Arm | Load point | Metric | Status | Reason |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| {row.experiment} | {row.arm} | {row.load_point} | TPOT | {state} | x |" for row, state in unscored
        ]
    return "\n".join([*lines, "", "### Figures", ""])


def write_report(root, predictions, name=H1, *, page=None, **verdict):
    """Write one report below `root`/reports; `page` stands in for `verdict.json`."""
    folder = root / "reports" / name
    folder.mkdir(parents=True, exist_ok=True)
    rows = {key(experiment): (value, 100.0) for experiment, value in predictions.items()}
    (folder / "numbers.csv").write_text(numbers_csv(rows), encoding="utf-8")
    (folder / ("FINDINGS.md" if page else "verdict.json")).write_text(page or verdict_json(**verdict), encoding="utf-8")
    return folder


def write_ground_truth(root, experiment="one", **figure):
    """Write the measurement of one experiment: 100.0 ms, and more figures if given."""
    measured = {METRIC: {"value": 100.0, "unit": "ms", "definition": "inter_token", "rounded_to": 0.1}, **figure}
    point = {"id": "synchronous", "requests": {"completed": 100}, "measured": measured}
    path = root / "ground_truth" / experiment / "experiment.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"id": experiment, "load_points": [point]}), encoding="utf-8")


def git(root, *arguments):
    """Run git with an author and nobody's settings, and return what it printed."""
    author = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _WHO.items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = kept | author | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", *arguments], cwd=root, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


_WHO = {"NAME": "Test", "EMAIL": "test@example.org", "DATE": "2026-01-01T00:00:00Z"}


def commit(root, message="state"):
    """Commit everything below `root`, which becomes a repository if it is none, and return the hash."""
    if not (root / ".git").exists():
        git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(root, "rev-parse", "HEAD")
