"""Which file is made from which: every path the rules name, for hypotheses of both kinds.

`results/` holds what is made again, `reports/` what is committed. With a folder of measured kernel tables everything
goes below `results/measured/` and nothing is ever published from there: committed reports use the kernels the project
ships.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from roofline_lab import provenance
from roofline_lab.capacity.question import read_question
from roofline_lab.errata.documents import input_files
from roofline_lab.files import digest_of, digest_of_files, hash_list, json_text
from roofline_lab.ground_truth.reading import SETS_FILE
from roofline_lab.hypotheses.synthetic.resolve import arm_digests, methods_of, resolve_arms
from roofline_lab.hypotheses.verdict import VERDICT_FILE
from roofline_lab.made import RESULTS, write_made_if_changed
from roofline_lab.places import CONFIGS, listed, name_of, place_of
from roofline_lab.predict.named import files_behind
from roofline_lab.predict.sweeps import folds_of, swept_arms
from roofline_lab.project import Project, Run
from roofline_lab.report import capacity, compared
from roofline_lab.report.findings import report_files
from roofline_lab.report.synthetic import row_report_files
from roofline_lab.simulators.costs import FILE as COSTS
from roofline_lab.simulators.description import CommandSimulator, program_digest
from roofline_lab.simulators.recording import FOLDER as RECORDED
from roofline_lab.simulators.recording import recorded_file
from roofline_lab.trust import ENDING
from roofline_lab.trust.proof import FINDINGS as PROOFS

ON_MEASURED_TABLES = RESULTS / "measured"
REPORTS = Path("reports")
# Folder of the regenerated page of a hypothesis, in its folder of results.
REPORT = "report"
PAGE = "FINDINGS.md"
# What scoring makes, the verdict last.
SCORES = ("rows.csv", "numbers.csv", VERDICT_FILE)
# Pages about the whole project rather than one hypothesis, by rule: `snakemake errata`, `snakemake index`.
PAGES: Mapping[str, str] = {"errata": "errata.md", "index": "README.md"}
REGENERATED_PAGES = RESULTS / "project"
# Of the page that compares simulators, which has several files; the page itself is written last.
SIMULATORS = compared.FOLDER.name
SIMULATOR_FILES = (compared.NUMBERS, compared.FIGURE, compared.PAGE)
# Questions about capacity: their files, their folder in reports/, and what their answers rest on.
QUESTIONS = "questions"
QUESTIONS_PAGE = f"{QUESTIONS}/README.md"
CAPACITY_DATA = f"{RESULTS}/inputs/capacity_data.sha256"
# Folders of reports/ that no run of all findings makes again: `snakemake calibrate` takes minutes,
# `roofline-lab replay` needs traces that are not part of the project, and `snakemake trust` follows a calibration.
NOT_REGENERATED = ("calibration", "replay", "trust")
# Folder of the logs of all jobs, in the results.
LOGS = "logs"
# Name of the rule that publishes one hypothesis, before its id.
PUBLISH_RULE = "publish_"
# Files that change when the content of others does, and that rules take as inputs in their place: modification times
# of what a person or an archive puts there say nothing.
INPUTS = RESULTS / "inputs"
# What programs of others answered: a file per simulator, and one that says what was not asked and why.
ANSWERS = RESULTS / "simulators"
# Stage -> the file that changes when code or settings of the stage do.
CODE = {stage: f"{INPUTS}/{stage}.sha256" for stage in provenance.STAGES}
# What the pages about the whole project are made from beside results: all specs, and all data of the errata.
SPECS, ERRATA_DATA, COMPARED_DATA = (f"{INPUTS}/{name}.sha256" for name in ("specs", "errata_data", "compared_data"))
# Below the results of one hypothesis: what its scores are judged by, and all its author wrote.
JUDGED_BY, WRITTEN = "inputs/judged_by.sha256", "inputs/written.sha256"


def names(project: Project) -> tuple[str, ...]:
    """Return the hypotheses that can be asked for: on measured tables only the synthetic ones."""
    if project.tables_folder is None:
        return project.names
    return tuple(name for name in project.names if name in project.synthetic)


def one_of(hypotheses: Iterable[str]) -> str:
    """Return a pattern that matches exactly these hypotheses, and nothing if there are none."""
    return "|".join(hypotheses) or "(?!)"


def pages(project: Project) -> Mapping[str, str]:
    """Return the pages about the whole project it has, by rule: without published documents there are no errata."""
    return {rule: file for rule, file in PAGES.items() if rule != "errata" or project.has_documents}


def results_folder(project: Project) -> Path:
    """Return where results go."""
    return ON_MEASURED_TABLES if project.tables_folder is not None else RESULTS


# --- rows ---------------------------------------------------------------------------------------------


def runs_by_arm(project: Project, hypothesis: str) -> dict[tuple[str, str], list[Run]]:
    """Return the run matrix of a measured hypothesis by method and arm, in matrix order."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in project.runs(hypothesis):
        found.setdefault((run.method.id, run.arm.name), []).append(run)
    return found


def arms_of(project: Project, hypothesis: str) -> list[tuple[str, str]]:
    """Return every method, or choice of kernels, with every arm: one file of rows each."""
    if hypothesis in project.hypotheses:
        return list(runs_by_arm(project, hypothesis))
    spec = project.synthetic[hypothesis]
    return [(method, arm) for method in methods_of(project, spec) for arm in spec.arms]


def row_paths(project: Project, hypothesis: str) -> list[str]:
    """Return the files of rows of one hypothesis, in matrix order."""
    return [rows_path(project, hypothesis, *place).as_posix() for place in arms_of(project, hypothesis)]


def rows_path(project: Project, hypothesis: str, method: str, arm: str) -> Path:
    """Return the file of rows of one arm."""
    return results_folder(project) / hypothesis / "rows" / method / f"{arm}.jsonl"


def arm_path(project: Project, hypothesis: str, method: str, arm: str) -> Path:
    """Return the file that says what the rows of one arm are made from."""
    return results_folder(project) / hypothesis / "arms" / method / f"{arm}.json"


def made_folders(project: Project) -> list[Path]:
    """Return the folders of results in which nothing but what runs make may stand."""
    apart = [results_folder(project) / hypothesis for hypothesis in names(project)]
    return [*apart, INPUTS, ANSWERS, REGENERATED_PAGES, RESULTS / "calibration"]


def sweep_paths(project: Project, hypothesis: str, method: str | None = None, stage: str | None = None) -> list[str]:
    """Return the files of rows that choose a swept value, of all methods and stages or of one; none without a sweep."""
    spec = project.hypotheses.get(hypothesis)
    if spec is None:
        return []
    methods = spec.methods if method is None else (method,)
    stages = spec.sweep_stages if stage is None else (stage,)
    return [f"{RESULTS}/{hypothesis}/sweep/{name}/{each}.jsonl" for name in methods for each in stages]


def choosing_paths(project: Project, wildcards: Any) -> list[str]:
    """Return the rows that choose the value of an arm; none for an arm that is not swept."""
    if wildcards.arm not in swept_arms(project, wildcards.hypothesis):
        return []
    return sweep_paths(project, wildcards.hypothesis, wildcards.method)


def earlier_paths(project: Project, wildcards: Any) -> list[str]:
    """Return the rows a stage of a sweep depends on: those of the stages before it."""
    spec = project.hypotheses[wildcards.hypothesis]
    stages = spec.sweep_stages
    before = stages[: stages.index(wildcards.stage)] if wildcards.stage in stages else ()
    return [path for stage in before for path in sweep_paths(project, spec.id, wildcards.method, stage)]


def code_of_arm(project: Project, wildcards: Any) -> str:
    """Return the code the rows of an arm depend on: a swept arm also depends on how its value is chosen."""
    if wildcards.hypothesis in project.synthetic:
        return CODE["price"]
    simulator = runs_by_arm(project, wildcards.hypothesis)[wildcards.method, wildcards.arm][0].arm.simulator
    if not simulator.is_builtin:
        return CODE["named" if simulator.is_ours else "outside"]
    return CODE["sweep" if wildcards.arm in swept_arms(project, wildcards.hypothesis) else "simulate"]


def swept_arm_paths(project: Project, wildcards: Any) -> list[str]:
    """Return the files that say what the rows of sweeps are made from: those of the arms they search for."""
    arms = dict.fromkeys(sweep.arm for sweep in project.hypotheses[wildcards.hypothesis].all_sweeps)
    return [arm_path(project, wildcards.hypothesis, wildcards.method, arm).as_posix() for arm in arms]


def held_out_files(project: Project) -> list[Path]:
    """Return what calibrations predict of measurements they were not fitted to, which the index begins with."""
    return sorted((project.root / "configs" / "calibration").glob(f"*{ENDING}"))


def record_inputs(project: Project) -> None:
    """Write what jobs depend on: hashes of the code of every stage, and of each arm its options and its data.

    A file is only touched when its content changes, so that it can be the input that decides whether a job runs again.
    """
    for stage, text in provenance.stage_hashes(project.root, project.settings).items():
        write_made_if_changed(Path(CODE[stage]), text)
    for simulator in programs(project):
        write_made_if_changed(INPUTS / "simulators" / f"{simulator}.json", json_text(_program(project, simulator)))
    hashes: dict[tuple[Path, ...], str] = {}
    specs = [path for hypothesis in names(project) for path in judging_files(project, hypothesis)]
    _record_content(project, Path(SPECS), [*specs, *held_out_files(project)])
    _record_content(project, Path(ERRATA_DATA), errata_inputs(project))
    _record_content(project, Path(COMPARED_DATA), compared_inputs(project))
    if questions(project):
        configs = listed(project.root, CONFIGS, "**/*")
        _record_content(
            project, Path(CAPACITY_DATA), [name_of(path, project.root) for path in configs if path.is_file()]
        )
    for hypothesis in names(project):
        folder = results_folder(project) / hypothesis
        _record_content(project, folder / JUDGED_BY, judging_files(project, hypothesis))
        _record_content(project, folder / WRITTEN, author_files(project, hypothesis))
        for (method, arm), record in arm_records(project, hypothesis, hashes):
            write_made_if_changed(arm_path(project, hypothesis, method, arm), json_text(record))


def _record_content(project: Project, record: Path, names_of_files: Iterable[str]) -> None:
    """Write the hashes of some files of the project to one that changes only when their content does."""
    paths = {place_of(project.root, name) for name in names_of_files}
    write_made_if_changed(record, hash_list(paths, project.root))


def arm_records(
    project: Project, hypothesis: str, hashes: dict[tuple[Path, ...], str]
) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """Yield what each arm's rows are made from: its options, and the data behind each experiment or behind all points.

    Parameters
    ----------
    hashes
        Hashes of data files found so far; many arms share their experiments.
    """

    def hashed(paths: Iterable[Path]) -> str:
        files = tuple(paths)
        if files not in hashes:
            hashes[files] = digest_of_files(files, project.root)
        return hashes[files]

    if hypothesis in project.synthetic:
        spec = project.synthetic[hypothesis]
        data = {"all points": hashed(provenance.priced_inputs(project, hypothesis))}
        for method in methods_of(project, spec):
            digests = arm_digests(project, spec, method)
            for resolved in resolve_arms(spec, method):
                record = {"configuration": resolved.configuration, "digest": digests[resolved.name], "data": data}
                yield (method, resolved.name), record
        return
    data_of: dict[tuple[str, str], str] = {}
    for run in project.runs(hypothesis):
        place = run.method.id, run.experiment.id
        if place not in data_of:
            data_of[place] = hashed(provenance.run_inputs(project, hypothesis, *place))
    for (method, arm), runs in runs_by_arm(project, hypothesis).items():
        data = {run.experiment.id: data_of[method, run.experiment.id] for run in runs}
        if runs[0].arm.simulator.is_ours and not runs[0].arm.simulator.is_builtin:
            data = {
                run.experiment.id: digest_of([data[run.experiment.id], hashed(files_behind(project, run))])
                for run in runs
            }
        yield (method, arm), _measured_arm(project, runs[0]) | {"data": data}


def _measured_arm(project: Project, run: Run) -> dict[str, Any]:
    record: dict[str, Any] = {"configuration": run.arm.configuration, "digest": run.digest}
    if run.arm.simulator.table_file is not None:
        record["table"] = digest_of_files([project.root / run.arm.simulator.table_file], project.root)
    spec = project.hypotheses[run.hypothesis]
    if own := [sweep.model_dump(mode="json") for sweep in spec.all_sweeps if run.arm.name in sweep.arms]:
        record |= {"sweeps": own, "chose": {fold.name: fold.chose for fold in folds_of(project, spec.id)}}
    return record


# --- programs of others ------------------------------------------------------------------------------


def programs(project: Project) -> tuple[str, ...]:
    """Return the simulators that are programs and predict for an arm, by name."""
    return tuple(sorted({name for hypothesis in names(project) for name in programs_of(project, hypothesis)}))


def programs_of(project: Project, hypothesis: str) -> set[str]:
    """Return the programs that predict for arms of one hypothesis."""
    if hypothesis not in project.hypotheses:
        return set()
    simulators = (run.arm.simulator for run in project.runs(hypothesis))
    return {simulator.name for simulator in simulators if isinstance(simulator.described, CommandSimulator)}


def described(project: Project, simulator: str) -> CommandSimulator:
    """Return the description of a program."""
    found = project.simulators[simulator].simulator
    assert isinstance(found, CommandSimulator), "only programs are asked"
    return found


def asking_arm_paths(project: Project, simulator: str) -> list[str]:
    """Return the files that say what the arms are made from which a program predicts."""
    return [
        arm_path(project, hypothesis, method, arm).as_posix()
        for hypothesis in names(project)
        if simulator in programs_of(project, hypothesis)
        for (method, arm), runs in runs_by_arm(project, hypothesis).items()
        if runs[0].arm.simulator.name == simulator
    ]


def answer_paths(project: Project, wildcards: Any) -> list[str]:
    """Return what the rows of an arm are made from that a program predicts; nothing for other arms."""
    if wildcards.hypothesis in project.synthetic:
        return []
    simulator = runs_by_arm(project, wildcards.hypothesis)[wildcards.method, wildcards.arm][0].arm.simulator
    if not isinstance(simulator.described, CommandSimulator):
        return []
    return [(ANSWERS / f"{simulator.name}{suffix}").as_posix() for suffix in (".jsonl", ".json")]


def recorded_paths(project: Project, hypotheses: Iterable[str]) -> list[str]:
    """Return the committed answers that some hypotheses rest on; on measured tables nothing is committed."""
    if project.tables_folder is not None:
        return []
    found = {name for hypothesis in hypotheses for name in programs_of(project, hypothesis)}
    return [(RECORDED / f"{name}.jsonl").as_posix() for name in sorted(found)]


def _program(project: Project, simulator: str) -> dict[str, Any]:
    """Return what decides, beside the questions, whether a program has to be asked."""
    known = described(project, simulator)
    recorded = recorded_file(project.root, simulator)
    record: dict[str, Any] = {
        "described": known.model_dump(mode="json"),
        "program": program_digest(known, project.root),
        "recorded": digest_of_files([recorded], project.root) if recorded.is_file() else None,
    }
    return record | ({"ask": "again"} if project.ask_again else {})


# --- scores, pages, reports ---------------------------------------------------------------------------


def author_files(project: Project, hypothesis: str) -> list[str]:
    """Return the author's files of one hypothesis and the methods it uses."""
    used = project.hypotheses[hypothesis].all_methods if hypothesis in project.hypotheses else ()
    methods = [place_of(project.root, f"configs/methods/{method}.yaml") for method in used]
    paths = [*provenance.hypothesis_files(project.root, hypothesis), *methods]
    return [name_of(path, project.root) for path in paths]


def judging_files(project: Project, hypothesis: str) -> list[str]:
    """Return what scores are judged by: criteria, methods and published tables, but not the prose."""
    return [path for path in author_files(project, hypothesis) if not path.endswith(".md")]


def verdict_path(project: Project, hypothesis: str) -> str:
    """Return the verdict of one hypothesis."""
    return f"{results_folder(project)}/{hypothesis}/{VERDICT_FILE}"


def page_path(project: Project, hypothesis: str) -> str:
    """Return the regenerated page of one hypothesis."""
    return f"{results_folder(project)}/{hypothesis}/{REPORT}/{PAGE}"


def regenerated(project: Project, hypotheses: Iterable[str]) -> list[str]:
    """Return all that is made of some hypotheses in results/: rows, scores and page.

    Targets ask for them beside the committed files: after a failed job those are older than their inputs but still
    there, and Snakemake would call a stale report up to date. What no target asks for may be missing for ever.
    """
    known = tuple(hypotheses)
    rows = [path for name in known for path in (*row_paths(project, name), *sweep_paths(project, name))]
    scores = [f"{results_folder(project)}/{name}/{file}" for name in known for file in SCORES]
    return [*rows, *scores, *(page_path(project, name) for name in known)]


def regenerated_pages(project: Project) -> list[str]:
    """Return what is made of every hypothesis in results/, and the pages about all of them.

    On measured tables there are no pages about all of them.
    """
    if project.tables_folder is not None:
        return regenerated(project, names(project))
    about_all = [(REGENERATED_PAGES / name).as_posix() for name in pages(project).values()]
    apart = [*compared_paths(project, REGENERATED_PAGES), *question_paths(project, REGENERATED_PAGES)]
    return [*regenerated(project, project.names), *about_all, *apart]


def questions(project: Project) -> list[str]:
    """Return the questions about capacity of a project; none are asked on measured tables."""
    if project.tables_folder is not None:
        return []
    return sorted(path.stem for path in (project.root / QUESTIONS).glob("*.yaml"))


def proof_paths(project: Project, question: str) -> list[str]:
    """Return the numbers of the finding that checks such answers on measured servers; none where there is no such."""
    finding = PROOFS[read_question(project.root / question_file(question), project.root).load]
    return [(RESULTS / finding / "numbers.csv").as_posix()] if finding in project.hypotheses else []


def question_file(question: str) -> str:
    """Return the file of a question."""
    return f"{QUESTIONS}/{question}.yaml"


def question_paths(project: Project, folder: Path, question: str | None = None) -> list[str]:
    """Return the files of the answer to one question, or of all with the page that lists them, in a folder."""
    asked = questions(project) if question is None else [question]
    found = [
        (folder / QUESTIONS / each / name).as_posix()
        for each in asked
        for name in capacity.file_names(read_question(project.root / question_file(each), project.root))
    ]
    return found + ([(folder / QUESTIONS_PAGE).as_posix()] if asked and question is None else [])


def compared_rows(project: Project) -> list[str]:
    """Return the rows the page of all simulators is made from; none where no hypothesis compares them."""
    return [] if project.comparing is None else row_paths(project, project.comparing)


def compared_paths(project: Project, folder: Path) -> list[str]:
    """Return the files of the page of all simulators in a folder; none where no hypothesis compares them."""
    if project.comparing is None or project.tables_folder is not None:
        return []
    return [(folder / SIMULATORS / name).as_posix() for name in SIMULATOR_FILES]


def report_names(project: Project, hypothesis: str) -> list[str]:
    """Return the names of all files one report has, FINDINGS.md last."""
    return (row_report_files if hypothesis in project.synthetic else report_files)(project, hypothesis)


def report_paths(project: Project, hypothesis: str) -> list[str]:
    """Return every committed file of one report; on measured tables, the page that is never committed."""
    if project.tables_folder is not None:
        return [page_path(project, hypothesis)]
    return [f"{REPORTS}/{hypothesis}/{name}" for name in report_names(project, hypothesis)]


def all_reports(project: Project) -> list[str]:
    """Return every committed file of every report, and the pages about all of them."""
    reports = [path for hypothesis in names(project) for path in report_paths(project, hypothesis)]
    if project.tables_folder is not None:
        return reports
    about_all = [(REPORTS / name).as_posix() for name in pages(project).values()]
    return [*reports, *about_all, *compared_paths(project, REPORTS), *question_paths(project, REPORTS)]


def committed_names() -> list[str]:
    """Return what may stand in reports/ beside the hypotheses, and beside the page that compares their simulators."""
    return [*NOT_REGENERATED, QUESTIONS, *PAGES.values()]


def compared_inputs(project: Project) -> list[str]:
    """Return what the page of all simulators depends on beside rows: who was fitted to what, sets and costs."""
    if project.comparing is None:
        return []
    root = project.root
    described = [*listed(root, "configs/simulators", "*.yaml"), *listed(root, "configs/calibration", "*.yaml")]
    found = [*described, place_of(root, COSTS), root / "ground_truth" / SETS_FILE]
    return sorted(name_of(path, root) for path in found if path.is_file())


def finding(project: Project, hypothesis: str) -> list[str]:
    """Return all that one finding consists of: what is made again, and what is committed."""
    return [
        *regenerated(project, [hypothesis]),
        *report_paths(project, hypothesis),
        *recorded_paths(project, [hypothesis]),
    ]


def errata_inputs(project: Project) -> list[str]:
    """Return the data files the errata depend on."""
    root = project.root
    configured = [*listed(root, "configs/models", "*.json"), *listed(root, "configs/hardware", "*.yaml")]
    measured = list((root / "ground_truth").rglob("*.yaml"))
    paths = [*input_files(root), *configured, *measured]
    return sorted(name_of(path, root) for path in paths)
