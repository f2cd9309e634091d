"""What the rules call: one function per rule, of the same name.

The only module that knows both Snakemake and the laboratory. Jobs read and write files here, ask the workers for what
has to be computed, and leave every decision to the pure modules.
"""

from __future__ import annotations

import functools
import json
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

from snakemake.cli import get_argument_parser
from snakemake.exceptions import WorkflowError
from snakemake.settings.enums import Quietness

from roofline_lab import made
from roofline_lab.errata.evaluation import evaluate_documents
from roofline_lab.files import digest_of, json_text, write_report, write_text
from roofline_lab.hypotheses.verdict import VERDICT_FILE
from roofline_lab.jobs import reports
from roofline_lab.jobs.drafts import left_out_told, load_usable
from roofline_lab.jobs.forecast import PUBLISH, Waiting, forecast
from roofline_lab.jobs.freshness import PROGRAM
from roofline_lab.jobs.paths import (
    ANSWERS,
    PAGE,
    PUBLISH_RULE,
    REGENERATED_PAGES,
    REPORT,
    REPORTS,
    RESULTS,
    SIMULATOR_FILES,
    SIMULATORS,
    arm_path,
    code_of_arm,
    held_out_files,
    made_folders,
    names,
    record_inputs,
    report_names,
    results_folder,
    row_paths,
    rows_path,
    runs_by_arm,
)
from roofline_lab.jobs.progress import FINDINGS, PROGRESS
from roofline_lab.jobs.workers import Workers
from roofline_lab.made import is_as_made, read_made, write_made
from roofline_lab.places import clashes
from roofline_lab.predict import named
from roofline_lab.predict.arms import Simulation, row_lines, run_of, simulated
from roofline_lab.predict.asking import Asked, asked
from roofline_lab.predict.outside import rows_of_arm
from roofline_lab.predict.sweeps import chosen_values, stage_simulations
from roofline_lab.predict.synthetic import price_arm
from roofline_lab.project import Project, Run
from roofline_lab.report.errata import errata_page
from roofline_lab.report.index import index_page
from roofline_lab.run_files import read_lines, standing_rows
from roofline_lab.simulators.description import CommandSimulator
from roofline_lab.simulators.recording import FOLDER, answers_in, read_recorded, recorded_file, recorded_text
from roofline_lab.trust import ENDING
from roofline_lab.trust.held_out import read_held_out
from simulator.errors import ConfigError, RooflineLabError

# As Snakemake reports whatever is wrong.
EXIT_REFUSED = 1
# Changed results that are named before a run; of more only their number is told.
CHANGED_SHOWN = 5
LOST_WORKER = (
    "a worker process ended before it answered: the run was interrupted, or memory ran out; the same command goes on "
    "from what is made (with fewer --cores it takes less memory)"
)

# Beginning of the names of a calibration's rules, and what its jobs are called.
CALIBRATION_RULE, CALIBRATION_STEPS = "calibration_", "steps of the calibration"
BYTES_PER_MB = 1e6
# The one word `--config ask` takes.
AGAIN = "again"

Rows = list[dict[str, Any]]


def open_project(
    root: Path, tables_folder: str | None = None, *, alone: bool = False, ask: str | None = None
) -> Project:
    """Load and validate the project, and record what jobs depend on.

    Parameters
    ----------
    root
        The project.
    tables_folder
        Folder of measured kernel tables (`--config kernels=DIR`), if the user has some.
    alone
        No other run goes on in this folder, so that results that are not as a run made them are removed.
    ask
        `again`: programs of others are asked all anew (`--config ask=again`).

    Raises
    ------
    RooflineLabError
        Naming file, key and remedy of whatever is wrong.
    """
    if ask not in (None, AGAIN):
        raise ConfigError(f"--config ask={ask}: must be {AGAIN}, which asks programs of others all anew, or left away")
    project = load_usable(root, Path(tables_folder).resolve() if tables_folder else None)
    for told in project.left_out.values():
        PROGRESS.say(f"left out: {told}")
    project.ask_again = ask == AGAIN
    if alone:
        _discard_changed(project)
        for name in clashes(root):
            PROGRESS.say(f"{name}: this lab's own, in place of the one that comes with the package")
    record_inputs(project)
    return project


def _discard_changed(project: Project) -> None:
    """Remove results that are not as a run made them, so that they are made again, and say which.

    A page goes with any of its files: it is complete or absent.
    """
    changed = made.discard_changed(made_folders(project))
    for name in names(project):
        *others, page = report_names(project, name)
        folder = results_folder(project) / name / REPORT
        if not all((folder / other).is_file() for other in others):
            (folder / page).unlink(missing_ok=True)
    made.discard_partial(REPORTS)
    for path in changed[:CHANGED_SHOWN]:
        PROGRESS.say(f"{path}: is not as it was made, so it is made again")
    if len(changed) > CHANGED_SHOWN:
        PROGRESS.say(
            f"{RESULTS}: {len(changed) - CHANGED_SHOWN} more files are not as they were made, so they are made again"
        )
    made.tidy_ledger()


def named_targets(arguments: Sequence[str]) -> set[str]:
    """Return the targets of a command line of Snakemake, and the rules that its options name.

    Snakemake keeps what it was asked for from who writes a Snakefile, so its own parser reads the words once more.
    """
    if not arguments or not PROGRAM.search(Path(arguments[0]).as_posix()):
        return set()
    found, _ = get_argument_parser().parse_known_args(list(arguments[1:]))
    return {*found.targets, *found.forcerun, *found.until, *found.omit_from}


def refused(error: RooflineLabError) -> int:
    """Say why nothing is run, in words that are ours from the first to the last, and return the exit code."""
    sys.stderr.write(f"error: {error}\n")
    return EXIT_REFUSED


def user_error(error: RooflineLabError) -> WorkflowError:
    """Turn an expected error into one Snakemake prints without a traceback."""
    return WorkflowError(str(error))


def logged(job: Callable[..., None]) -> Callable[..., None]:
    """Keep what a job says, and how it ends, in the log of its rule.

    An expected error reaches the user as a message, an unexpected one with its traceback.
    """

    @functools.wraps(job)
    def guarded(*arguments: Any, log: str) -> None:
        with PROGRESS.kept_in(Path(log)):
            try:
                job(*arguments)
            except RooflineLabError as error:
                PROGRESS.note(str(error))
                raise user_error(error) from None
            except BrokenExecutor:
                PROGRESS.note(LOST_WORKER)
                raise WorkflowError(LOST_WORKER) from None
            except Exception:
                PROGRESS.note(traceback.format_exc())
                raise

    return guarded


def reading_order(project: Project) -> Callable[[Any], int]:
    """Return what tells of a job of Snakemake's where its finding stands among all; what belongs to none comes last."""
    places = {name: place for place, name in enumerate(names(project))}

    def place_of(job: Any) -> int:
        hypothesis = getattr(job, "wildcards_dict", {}).get("hypothesis", job.name.removeprefix(PUBLISH_RULE))
        return places.get(hypothesis, len(places))

    return place_of


def begin(workers: Workers, workflow: Any) -> None:
    """Count what is to be made, and start the processes if it is this one that computes.

    Parameters
    ----------
    workflow
        Snakemake's, about to run its first job.
    """
    rules = [job.rule.name for job in workflow.dag.needrun_jobs()]
    known = {f"{PUBLISH_RULE}{name}" for name in names(workers.project)}
    findings, fits = sum(rule in known for rule in rules), sum(rule.startswith(CALIBRATION_RULE) for rule in rules)
    PROGRESS.start({FINDINGS: findings, CALIBRATION_STEPS: fits})
    if findings > 1:
        PROGRESS.say(f"{findings} findings to make")
    if workflow.local_exec:
        settings = workflow.dag_settings
        workers.start(workflow.cores, reuse=not (settings.forceall or settings.forcerun or settings.forcetargets))


def be_quiet(quiet: Collection[Quietness]) -> None:
    """Say nothing but errors where silence is asked for: `-q`, which stands for progress and rules, or `-q all`."""
    PROGRESS.quiet = Quietness.ALL in quiet or set(quiet) == {Quietness.PROGRESS, Quietness.RULES}


# --- a look ahead -------------------------------------------------------------------------------------


def tell_forecast(project: Project, graph: Any) -> None:
    """Say what would run, of which finding, and why.

    Parameters
    ----------
    graph
        Snakemake's graph of jobs.
    """
    waiting = (
        _waiting(job, graph.reason(job)) for job in graph.needrun_jobs(exclude_finished=False) if not job.is_norun
    )
    for line in forecast(project, waiting, functools.partial(_standing, project)):
        PROGRESS.say(line)


def _waiting(job: Any, reason: Any) -> Waiting:
    rule, wildcards = job.rule.name, dict(job.wildcards_dict)
    if rule.startswith(PUBLISH_RULE):
        rule, wildcards = PUBLISH, {"hypothesis": rule.removeprefix(PUBLISH_RULE)}
    return Waiting(
        rule,
        wildcards,
        tuple(sorted(map(str, reason.updated_input - reason.updated_input_run))),
        missing=bool(reason.missing_output),
        interrupted=bool(reason.incomplete_output),
        forced=bool(reason.forced),
        rules_changed=bool(reason.is_provenance_triggered()),
    )


def _standing(project: Project, runs: Sequence[Run]) -> int:
    """Return how many runs of one arm have rows that still stand."""
    if not runs[0].arm.simulator.is_ours:
        return 0
    first = Simulation(runs[0].hypothesis, runs[0].method.id, runs[0].arm.name, runs[0].experiment.id)
    made_from = _made_from(project, first, Path(code_of_arm(project, first)))
    standing = standing_rows(rows_path(project, first.hypothesis, first.method, first.arm))
    return sum(_rows_of(run, standing, made_from) is not None for run in runs)


# --- rules --------------------------------------------------------------------------------------------


@logged
def predict(workers: Workers, wildcards: Any, code: str, swept: Sequence[str], output: str) -> None:
    """Simulate all experiments of one arm, or price all points of a synthetic one.

    Parameters
    ----------
    code
        The file that names the code behind the rows.
    swept
        The rows that choose the value of a swept arm.
    """
    project, hypothesis, method, arm = workers.project, wildcards.hypothesis, wildcards.method, wildcards.arm
    if hypothesis in project.synthetic:
        asked = workers.ask(("price", hypothesis, method, arm), price_arm, hypothesis, method, arm)
        write_made(Path(output), asked.result())
        return
    chosen = chosen_values(project, hypothesis, method, arm, read_lines(map(Path, swept)))
    matrix = runs_by_arm(project, hypothesis)[method, arm]
    if not matrix[0].arm.simulator.is_ours:
        _write_outside_rows(workers, matrix, output)
        return
    names = [run.experiment.id for run in matrix]
    wanted = [Simulation(hypothesis, method, arm, name, chosen.get(name, ())) for name in names]
    _write_rows(workers, wanted, Path(code), Path(output))


@logged
def sweep(workers: Workers, wildcards: Any, code: str, earlier: Sequence[str], output: str) -> None:
    """Simulate the experiments that choose at every value of one stage of the sweeps."""
    rows = read_lines(map(Path, earlier))
    wanted = stage_simulations(workers.project, wildcards.hypothesis, wildcards.method, wildcards.stage, rows)
    _write_rows(workers, wanted, Path(code), Path(output))


@logged
def score(workers: Workers, hypothesis: str) -> None:
    """Compare every prediction with its measurement and judge the criteria; the verdict is written last."""
    PROGRESS.say(f"{hypothesis}: {_rows_in_words(workers.project, hypothesis)}, scoring")
    files, _ = _reported(workers, hypothesis)
    for name, text in files.items():
        write_made(results_folder(workers.project) / hypothesis / name, text)


@logged
def render(workers: Workers, hypothesis: str) -> None:
    """Render the page of one hypothesis into results/; the page itself is written last."""
    _, files = _reported(workers, hypothesis)
    if files is None:
        files = workers.ask(("page", hypothesis), reports.render, hypothesis).result()
    replace_report(results_folder(workers.project) / hypothesis / REPORT, files, write_made)


@logged
def publish(project: Project, hypothesis: str) -> None:
    """Publish a regenerated page: copy it into reports/, FINDINGS.md last."""
    source = RESULTS / hypothesis / REPORT
    files = {name: read_made(source / name) for name in report_names(project, hypothesis)}
    # Read before anything is replaced: Snakemake deletes what a failing job has written.
    told = _conclusions(RESULTS / hypothesis / VERDICT_FILE)
    replace_report(REPORTS / hypothesis, files)
    for line in told:
        PROGRESS.say(f"{hypothesis}: {line}")
    PROGRESS.finding_made(f"{hypothesis}: report written to {REPORTS / hypothesis / PAGE}")


@logged
def render_errata(workers: Workers, output: str) -> None:
    """Check every published document against its tables."""
    write_made(Path(output), workers.ask("errata", _errata).result())


@logged
def render_index(project: Project, verdicts: Iterable[str], output: str) -> None:
    """List every hypothesis with what it concludes."""
    read = {Path(path).parent.name: _verdict(Path(path)) for path in verdicts}
    tables = {path.name.removesuffix(ENDING): read_held_out(path) for path in held_out_files(project)}
    write_made(Path(output), index_page(project, read, tables))


@logged
def render_simulators(workers: Workers) -> None:
    """Compare all simulators on all sets; the page itself is written last."""
    files = workers.ask("simulators", reports.simulators).result()
    replace_report(REGENERATED_PAGES / SIMULATORS, files, write_made)


@logged
def simulators() -> None:
    """Copy the page that compares all simulators into reports/."""
    source = REGENERATED_PAGES / SIMULATORS
    replace_report(REPORTS / SIMULATORS, {name: read_made(source / name) for name in SIMULATOR_FILES})


@logged
def publish_page(source: str, output: str) -> None:
    """Copy a page about the whole project into reports/."""
    write_text(Path(output), read_made(Path(source)))


@logged
def trust(project: Project) -> None:
    """Write the page on how far the predictions of each calibration may be trusted, and its intervals as tables."""
    # Imported here because only this rule and a check need it.
    from roofline_lab.report.trust import FOLDER, PAGE, TABLES, publish

    publish(project.root)
    PROGRESS.say(f"trust: page written to {FOLDER / PAGE}, intervals to {TABLES}")


@logged
def site(project: Project) -> None:
    """Write the site: pages, tables and plots of all that is committed, to open in a browser."""
    # Imported here because only this rule needs it.
    from roofline_lab.site.build import SITE, build_site

    built = build_site(project, project.root / SITE)
    PROGRESS.say(f"site: {built.pages} pages, {built.size_bytes / BYTES_PER_MB:.1f} MB; open {SITE}/index.html")


@logged
def check(project: Project) -> None:
    """Compare every regenerated report with the committed one and with what was once published.

    Raises
    ------
    WorkflowError
        Naming every row that differs.
    """
    # Imported here because only a check needs it.
    from roofline_lab.jobs.check import abandoned, compared, summary

    found = abandoned(project)
    for told, differences in compared(project):
        PROGRESS.say(told)
        found += differences
    if found:
        raise WorkflowError(summary(found))


@logged
def ask(workers: Workers, simulator: str) -> None:
    """Ask a program of others what has no answer that stands."""
    project, file = workers.project, ANSWERS / f"{simulator}.jsonl"
    committed = recorded_file(project.root, simulator)
    earlier = answers_in(read_made(file), file.as_posix()) if is_as_made(file) else {}
    known = earlier | read_recorded(committed, (FOLDER / committed.name).as_posix())
    found = asked(project, simulator, known, anew=not workers.reuse, any_version=project.ask_again)
    PROGRESS.say(f"{simulator}: {_asked_in_words(found)}")
    write_made(file, recorded_text(found.answers))
    state = {"why": found.why, "asked": found.asked_now, "questions": found.questions}
    write_made(ANSWERS / f"{simulator}.json", json_text(state))


@logged
def record(source: str, output: str) -> None:
    """Copy answers to where they are committed."""
    write_text(Path(output), read_made(Path(source)))


@logged
def refuse_left_out(project: Project) -> None:
    """End a run of all findings that had to leave some out, once the others are made.

    Raises
    ------
    WorkflowError
        Naming the hypotheses that were left out, with what is wrong.
    """
    raise ConfigError(left_out_told(project))


# --- what rules share ---------------------------------------------------------------------------------


def _write_rows(workers: Workers, wanted: Sequence[Simulation], code: Path, output: Path) -> None:
    """Write the rows of one arm's simulations, in their order; what stands in the file and is still right stays."""
    standing = standing_rows(output) if workers.reuse else {}
    made_from = _made_from(workers.project, wanted[0], code)
    found: list[Callable[[], Rows]] = []
    stand = 0
    for simulation in wanted:
        run = run_of(workers.project, simulation)
        if (rows := _rows_of(run, standing, made_from)) is not None:
            found.append(functools.partial(list, rows))
            stand += 1
        else:
            key = ("simulate", run.method.id, run.digest, run.experiment.id)
            simulate = simulated if run.arm.simulator.is_builtin else named.simulated
            found.append(workers.ask(key, simulate, simulation).result)
    PROGRESS.note(f"{len(wanted)} runs, {stand} of them stand as an earlier run left them")
    lines = [row_lines(one, rows(), made_from[one.experiment]) for one, rows in zip(wanted, found, strict=True)]
    write_made(output, "".join(lines))


def _rows_of(run: Run, standing: Mapping[tuple[str, str, str], Rows], made_from: Mapping[str, str]) -> Rows | None:
    """Return the rows of one run where they still stand."""
    rows = standing.get((run.experiment.id, run.digest, made_from[run.experiment.id]), [])
    complete = [row["load_point"] for row in rows] == [point.id for point in run.experiment.load_points]
    return rows if complete else None


def _write_outside_rows(workers: Workers, matrix: Sequence[Run], output: str) -> None:
    """Write the rows of an arm that another simulator predicts."""
    run = matrix[0]
    place = (run.hypothesis, run.method.id, run.arm.name)
    answers, why = "", ""
    if isinstance(run.arm.simulator.described, CommandSimulator):
        answers = read_made(ANSWERS / f"{run.arm.simulator.name}.jsonl")
        why = json.loads(read_made(ANSWERS / f"{run.arm.simulator.name}.json"))["why"]
    rows = workers.ask(("outside", *place), rows_of_arm, *place, answers, why).result()
    write_made(Path(output), "".join(row_lines(Simulation(*place, row["experiment"]), [row], "") for row in rows))


def _asked_in_words(found: Asked) -> str:
    told = f"asked {found.asked_now} of {found.questions} load points"
    standing = len(found.answers) - found.asked_now
    told += f", {standing} answers are known" if standing else ""
    return f"{told}; not asked: {found.why}" if found.why else told


def _made_from(project: Project, simulation: Simulation, code: Path) -> dict[str, str]:
    """Return, by experiment, the digest of the code and the data behind an arm's rows, as they were when read."""
    arm = arm_path(project, simulation.hypothesis, simulation.method, simulation.arm)
    hashes, data = read_made(code), json.loads(read_made(arm))["data"]
    return {experiment: digest_of([hashes, digest]) for experiment, digest in data.items()}


def _reported(workers: Workers, hypothesis: str) -> tuple[reports.Files, reports.Files | None]:
    """Return scores and page of one hypothesis, worked out once for the two rules."""
    found: tuple[reports.Files, reports.Files | None]
    found = workers.ask(("report", hypothesis), reports.score_and_render, hypothesis).result()
    return found


def _rows_in_words(project: Project, hypothesis: str) -> str:
    if hypothesis in project.synthetic:
        return f"{len(row_paths(project, hypothesis))} arms priced"
    return f"{len(project.runs(hypothesis))} runs"


def _errata(project: Project) -> str:
    return errata_page(evaluate_documents(project))


def _conclusions(path: Path) -> list[str]:
    """Return what each method concludes, in words."""
    return [f"{line['method']}: {line['status']} ({line['result']})" for line in _verdict(path)["methods"]]


def _verdict(path: Path) -> Any:
    return json.loads(read_made(path))


def replace_report(folder: Path, files: dict[str, str], write: Callable[[Path, str], None] = write_text) -> None:
    """Make a folder hold exactly the files of a report."""
    earlier = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    write_report(folder, files, earlier, write)
