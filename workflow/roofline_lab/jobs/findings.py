"""What the rules call: paths of the pipeline and one function per job.

The only module that knows both Snakemake's wildcards and the laboratory. Jobs read and write files
here and leave every decision to the pure modules.
"""

from __future__ import annotations

import difflib
import functools
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError

from roofline_lab import provenance
from roofline_lab.files import json_text, write_text
from roofline_lab.hypotheses.verdict_file import VERDICT_FILE
from roofline_lab.jobs import project_pages, synthetic
from roofline_lab.jobs import sweeps as sweep_jobs
from roofline_lab.project import Project, load_project
from roofline_lab.report.findings import Report, build_report
from roofline_lab.report.findings_page import render_report, report_files
from roofline_lab.report.synthetic.pages import render_row_report, row_report_files
from roofline_lab.run_files import read_lines, read_rows
from roofline_lab.scoring.numbers import errors_text, numbers_text
from roofline_lab.vocabulary import Reproduction
from simulator.errors import ConfigError, RooflineLabError

RESULTS = Path("results")
REPORTS = Path("reports")
PAGE = "FINDINGS.md"
# Similarity from which a word counts as a misspelt target; options and numbers lie far below.
MISSPELT = 0.7
# Name of the rule that publishes one hypothesis, before its id.
REPORT_RULE = "report_"
# Stage -> the file that changes when code or settings of the stage do.
CODE = {stage: f"{RESULTS}/inputs/{stage}.sha256" for stage in provenance.STAGES}


def open_project(root: Path, tables_folder: str | None = None) -> Project:
    """Load and validate the project, and record what jobs depend on.

    Parameters
    ----------
    root
        The project.
    tables_folder
        Folder of measured kernel tables (`--config kernels=DIR`), if the user has some.

    Raises
    ------
    RooflineLabError
        Naming file, key and remedy of whatever is wrong.
    """
    project = load_project(root, Path(tables_folder).resolve() if tables_folder else None)
    record_inputs(project)
    return project


def refuse_misspelt_targets(project: Project, arguments: Iterable[str]) -> None:
    """Refuse a word on the command line that is nearly, but not quite, a hypothesis.

    Snakemake itself only says that no rule produces it. Options, files and the job names that
    Snakemake passes to processes of its own (`rule:wildcards`) are not words.

    Raises
    ------
    ConfigError
        Naming the hypothesis that was probably meant.
    """
    known = [*names(project), *project_pages.PAGES, "all", "check"]
    rules = {f"{REPORT_RULE}{hypothesis}" for hypothesis in names(project)}
    for word in arguments:
        if project.tables_folder is not None and word in ("check", *project_pages.PAGES, *project.hypotheses):
            raise ConfigError(
                f"'{word}' cannot be run with measured kernel tables: reports/ and measured experiments always use the "
                "kernels the project ships; leave --config kernels=... away"
            )
        if not word.isidentifier() or word in rules:
            continue
        near = difflib.get_close_matches(word, known, n=1, cutoff=MISSPELT)
        if near and word not in known:
            raise ConfigError(f"unknown target '{word}'; did you mean '{near[0]}'? allowed: {', '.join(known)}")


def user_error(error: RooflineLabError) -> WorkflowError:
    """Turn an expected error into one Snakemake prints without a traceback."""
    return WorkflowError(str(error))


def names(project: Project) -> tuple[str, ...]:
    """Return the hypotheses that can be asked for: on measured tables only the synthetic ones."""
    return (
        project.names
        if project.tables_folder is None
        else tuple(name for name in project.names if name in project.synthetic)
    )


def one_of(hypotheses: Iterable[str]) -> str:
    """Return a pattern that matches exactly these hypotheses, and nothing if there are none."""
    return "|".join(hypotheses) or "(?!)"


# --- paths ------------------------------------------------------------------------------------


def record_inputs(project: Project) -> None:
    """Write what jobs depend on beside data files: source hashes per stage and resolved arms.

    A file is only touched when its content changes, so that it can be the input that decides
    whether a job runs again.
    """
    for stage, text in provenance.stage_hashes(project.root, project.settings).items():
        _write_if_changed(Path(CODE[stage]), text)
    for hypothesis in project.synthetic:
        for path, text in synthetic.arm_files(project, hypothesis).items():
            _write_if_changed(path, text)
    for hypothesis in project.hypotheses if project.tables_folder is None else ():
        for run in {(one.method.id, one.arm.name): one for one in project.runs(hypothesis)}.values():
            arm = RESULTS / hypothesis / "arms" / run.method.id / f"{run.arm.name}.json"
            _write_if_changed(arm, json_text(sweep_jobs.arm_record(project, run)))


def run_inputs(project: Project, wildcards: Any) -> list[str]:
    """Return the data files of one run."""
    found = provenance.run_inputs(project, wildcards.hypothesis, wildcards.method, wildcards.experiment)
    return _relative(project, found)


def synthetic_inputs(project: Project, hypothesis: str) -> list[str]:
    """Return the data files the arms of one synthetic hypothesis depend on."""
    return _relative(project, synthetic.data_files(project, hypothesis))


def run_paths(project: Project, hypothesis: str) -> list[str]:
    """Return the result files of one hypothesis, in matrix order."""
    return [
        f"{RESULTS}/{hypothesis}/runs/{run.method.id}/{run.arm.name}/{run.experiment.id}.jsonl"
        for run in project.runs(hypothesis)
    ]


def author_files(project: Project, hypothesis: str) -> list[str]:
    """Return the author's files of one hypothesis and the methods it uses."""
    used = project.hypotheses[hypothesis].all_methods if hypothesis in project.hypotheses else ()
    methods = [project.root / "configs" / "methods" / f"{name}.yaml" for name in used]
    return _relative(project, [*provenance.hypothesis_files(project.root, hypothesis), *methods])


def judging_files(project: Project, hypothesis: str) -> list[str]:
    """Return what scores are judged by: criteria, methods and published tables, but not the prose."""
    return [path for path in author_files(project, hypothesis) if not path.endswith(".md")]


def report_paths(project: Project, hypothesis: str) -> list[str]:
    """Return every committed file of one report; on measured tables, the page that is never committed."""
    if project.tables_folder is not None:
        return [page_path(project, hypothesis)]
    return [f"{REPORTS}/{hypothesis}/{name}" for name in _report_files(project, hypothesis)]


def all_reports(project: Project) -> list[str]:
    """Return every committed file of every report, and the pages about all of them."""
    reports = [path for hypothesis in names(project) for path in report_paths(project, hypothesis)]
    if project.tables_folder is not None:
        return reports
    return [*reports, *project_pages.published_paths()]


def regenerated_pages(project: Project) -> list[str]:
    """Return the regenerated page of every hypothesis, and the pages about all of them."""
    findings = [page_path(project, hypothesis) for hypothesis in project.names]
    return [*findings, *project_pages.regenerated_paths()]


def regenerated(project: Project, hypotheses: Iterable[str]) -> list[str]:
    """Return verdict and page of some hypotheses in results/.

    Targets ask for them beside the committed files: after a failed job those are older than their inputs but still
    there, and Snakemake would call a stale report up to date.
    """
    pages = [page_path(project, hypothesis) for hypothesis in hypotheses]
    return [*(str(Path(page).parents[1] / VERDICT_FILE) for page in pages), *pages]


def page_path(project: Project, hypothesis: str) -> str:
    """Return the regenerated page of one hypothesis."""
    folder = synthetic.results_folder(project) if hypothesis in project.synthetic else RESULTS
    return f"{folder}/{hypothesis}/report/{PAGE}"


def verdict_paths(project: Project) -> list[str]:
    """Return the verdict of every hypothesis."""
    return [f"{RESULTS}/{hypothesis}/{VERDICT_FILE}" for hypothesis in project.names]


# --- jobs -------------------------------------------------------------------------------------


def _clean_errors(job: Callable[..., None]) -> Callable[..., None]:
    """Let an expected error of a job reach the user as a message, an unexpected one with its traceback."""

    @functools.wraps(job)
    def guarded(*arguments: Any) -> None:
        try:
            job(*arguments)
        except RooflineLabError as error:
            raise user_error(error) from None

    return guarded


errata_job = _clean_errors(project_pages.errata_job)


@_clean_errors
def score_job(project: Project, hypothesis: str) -> None:
    """Compare every run with its measurement and judge the criteria; the verdict is written last."""
    folder = RESULTS / hypothesis
    report = _report(project, hypothesis)
    _say(f"{hypothesis}: {len(run_paths(project, hypothesis))} runs simulated, scoring")
    rows = [row for method in report.methods for row in method.scores.rows]
    write_text(folder / "errors.csv", errors_text(rows))
    write_text(folder / "numbers.csv", numbers_text(report.numbers))
    write_text(folder / VERDICT_FILE, json_text(_summary(report)))


@_clean_errors
def render_job(project: Project, hypothesis: str) -> None:
    """Render the page of one hypothesis into results/; the page itself is written last."""
    files = render_report(project, _report(project, hypothesis))
    files = {"provenance.json": provenance.provenance_text(project, hypothesis), **files}
    _replace_folder(RESULTS / hypothesis / "report", files, last=PAGE)


@_clean_errors
def evaluate_job(project: Project, wildcards: Any, output: str) -> None:
    """Evaluate one arm of a synthetic hypothesis at every point."""
    text = synthetic.evaluate_arm(project, wildcards.hypothesis, wildcards.method, wildcards.arm)
    write_text(Path(output), text)


@_clean_errors
def score_rows_job(project: Project, hypothesis: str) -> None:
    """Work out rows, numbers and criteria of a synthetic hypothesis; the verdict is written last."""
    folder = synthetic.results_folder(project) / hypothesis
    for name, text in synthetic.score_files(synthetic.read_report(project, hypothesis)).items():
        write_text(folder / name, text)


@_clean_errors
def render_rows_job(project: Project, hypothesis: str) -> None:
    """Render the page of a synthetic hypothesis; the page itself is written last."""
    files = render_row_report(project, synthetic.read_report(project, hypothesis))
    files = {"provenance.json": synthetic.provenance_text(project, hypothesis), **files}
    _replace_folder(synthetic.results_folder(project) / hypothesis / "report", files, last=PAGE)


@_clean_errors
def report_job(project: Project, hypothesis: str) -> None:
    """Publish a regenerated page: copy it into reports/, FINDINGS.md last."""
    source = RESULTS / hypothesis / "report"
    files = {name: (source / name).read_text(encoding="utf-8") for name in _report_files(project, hypothesis)}
    _replace_folder(REPORTS / hypothesis, files, last=PAGE)
    say_conclusion(hypothesis)


@_clean_errors
def check_job(project: Project) -> None:
    """Compare every regenerated report with the committed one and with what was once published.

    Raises
    ------
    WorkflowError
        Naming every row that differs.
    """
    # Imported here because only a check needs them.
    from roofline_lab.regression.check import Difference, compare_file, compare_reports
    from roofline_lab.report.replay.committed import judge

    tolerances = project.settings.check.tolerance
    found: list[Difference] = []
    for hypothesis in project.names:
        regenerated = RESULTS / hypothesis / "report"
        committed = project.root / REPORTS / hypothesis
        differences = compare_reports(committed, regenerated, tolerances)
        found += [
            Difference(f"{REPORTS}/{hypothesis}/{change.file}", change.where, change.what) for change in differences
        ]
        _say(f"check {hypothesis}: the committed report {'differs' if differences else 'comes out again'}")
        _say_published(project, hypothesis)
    found += [
        Difference(f"{REPORTS}/{name}", "folder", "belongs to no hypothesis; delete it")
        for name in sorted(
            {path.name for path in (project.root / REPORTS).iterdir()}
            - {*project.names, *project_pages.committed_names()}
        )
    ]
    for page in project_pages.PAGES.values():
        differences = compare_file(page, project.root / REPORTS, project_pages.REGENERATED, tolerances)
        found += [Difference(f"{REPORTS}/{page}", difference.where, difference.what) for difference in differences]
        _say(f"check {page}: the committed page {'differs' if differences else 'comes out again'}")
    told, faults = judge(project)
    found += [Difference(*fault) for fault in faults]
    _say(told)
    if found:
        listed = "\n".join(f"  {difference}" for difference in found)
        raise WorkflowError(
            f"check failed: {len(found)} differences between reports/ and what is regenerated now\n{listed}\n"
            "If the change is meant, run `snakemake` and commit reports/."
        )


def say_conclusion(hypothesis: str) -> None:
    """Say what one finding concludes, one line per method, and where its page is."""
    summary = json.loads((RESULTS / hypothesis / VERDICT_FILE).read_text(encoding="utf-8"))
    for line in summary["methods"]:
        _say(f"{hypothesis}: {line['method']}: {line['status']} ({line['result']})")
    _say(f"{hypothesis}: report written to {REPORTS / hypothesis / PAGE}")


def _report_files(project: Project, hypothesis: str) -> list[str]:
    return (row_report_files if hypothesis in project.synthetic else report_files)(project, hypothesis)


def _say_published(project: Project, hypothesis: str) -> None:
    summary = json.loads((RESULTS / hypothesis / VERDICT_FILE).read_text(encoding="utf-8"))
    if counts := summary["reproduction"]:
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        _say(f"check {hypothesis}: published numbers: {told} (table: results/{hypothesis}/report/reproduction.md)")


def _report(project: Project, hypothesis: str) -> Report:
    swept = read_lines(map(Path, sweep_jobs.sweep_paths(project, hypothesis)))
    runs = (sweep_jobs.carried_out(project, run, swept) for run in project.runs(hypothesis))
    rows = read_rows(zip(map(Path, run_paths(project, hypothesis)), runs, strict=True))
    return build_report(project, hypothesis, rows, project.published[hypothesis], swept)


def _summary(report: Report) -> dict[str, Any]:
    arms = report.spec.shown_arms
    metrics = report.spec.metrics
    lines = []
    for method in report.methods:
        parts = []
        for metric in metrics:
            errors = [method.judging.mape(arm, metric) for arm in arms]
            parts.append(f"{metric.label} " + " -> ".join("n/a" if e is None else f"{e:.1f}" for e in errors) + " %")
        result = ", ".join(parts)
        lines.append(
            {
                "method": method.method.id,
                "status": method.verdict.status.value,
                "reason": method.verdict.reason,
                "result": result,
                "criteria": {
                    each.id: each.result.value for each in (*method.verdict.criteria, *method.verdict.controls)
                },
                "errors": {
                    metric.value: {arm: method.judging.mape(arm, metric) for arm in report.spec.arms}
                    for metric in metrics
                },
            }
        )
    counts = {state.value: sum(c.verdict is state for c in report.comparisons) for state in Reproduction}
    return {"methods": lines, "reproduction": counts if report.comparisons else {}}


def _replace_folder(folder: Path, files: dict[str, str], last: str) -> None:
    """Make `folder` hold exactly `files`; the file `last` appears only when the rest is complete."""
    (folder / last).unlink(missing_ok=True)
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.relative_to(folder).as_posix() not in files:
                path.unlink()
    for name in [*(name for name in files if name != last), last]:
        write_text(folder / name, files[name])


def _write_if_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _relative(project: Project, paths: Iterable[Path]) -> list[str]:
    return [path.relative_to(project.root).as_posix() for path in paths]


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - the pipeline's progress channel is standard error
