"""What the rule `check` compares: every regenerated page with the committed one, in the words it tells the user."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from roofline_lab.hypotheses.verdict import VERDICT_FILE
from roofline_lab.jobs.paths import (
    ANSWERS,
    QUESTIONS,
    QUESTIONS_PAGE,
    REGENERATED_PAGES,
    REPORTS,
    RESULTS,
    SIMULATORS,
    committed_names,
    pages,
    programs,
    questions,
)
from roofline_lab.made import read_made
from roofline_lab.project import Project
from roofline_lab.regression.check import Difference, compare_file, compare_reports
from roofline_lab.regression.difference import side_by_side
from roofline_lab.report import calibration_guard, replay, trust
from roofline_lab.simulators.recording import FOLDER as RECORDED
from roofline_lab.simulators.recording import Recorded, answers_in, read_recorded, recorded_file

Told = tuple[str, list[Difference]]
# Numbers that are told one by one; the others are counted.
MOST_NUMBERS = 10


def compared(project: Project) -> Iterator[Told]:
    """Yield one line for every page compared, with its differences: reports, pages about all, what is kept."""
    for hypothesis in project.names:
        yield from _report(project, hypothesis)
    for page in (*pages(project).values(), *([QUESTIONS_PAGE] if questions(project) else [])):
        differences = compare_file(page, project.root / REPORTS, REGENERATED_PAGES, project.settings.check.tolerance)
        yield (
            f"check {page}: the committed page {'differs' if differences else 'comes out again'}",
            [replace(change, file=f"{REPORTS}/{page}") for change in differences],
        )
    for question in questions(project):
        yield _page_with_files(project, f"{QUESTIONS}/{question}")
    if project.comparing is not None:
        yield _simulators(project)
    for simulator in programs(project):
        yield _answers(project, simulator)
    kept = (replay.judge(project), trust.judge(project.root), *calibration_guard.judge(project.root))
    for told, faults in kept:
        yield told, [Difference(*fault) for fault in faults]


def _simulators(project: Project) -> Told:
    """Return whether the page that compares all simulators comes out again."""
    return _page_with_files(project, SIMULATORS)


def _page_with_files(project: Project, name: str) -> Told:
    folders = (project.root / REPORTS / name, REGENERATED_PAGES / name)
    differences = compare_reports(*folders, project.settings.check.tolerance)
    return (
        f"check {name}: the committed page {'differs' if differences else 'comes out again'}",
        [replace(change, file=f"{REPORTS}/{name}/{change.file}") for change in differences],
    )


def _answers(project: Project, simulator: str) -> Told:
    """Return whether pages rest on the answers of a program that are committed, and how many were asked here."""
    file = f"{RECORDED.as_posix()}/{simulator}.jsonl"
    committed = read_recorded(recorded_file(project.root, simulator), file)
    made = ANSWERS / f"{simulator}.jsonl"
    regenerated = answers_in(read_made(made), made.as_posix())
    differences = [
        Difference(file, one.id, f"recorded {_said(was)}, answered now {_said(now)}")
        for _, was, now in side_by_side(committed, regenerated)
        if was != now
        for one in (was or now,)
        if one is not None
    ]
    state = json.loads(read_made(ANSWERS / f"{simulator}.json"))
    asked, questions = state["asked"], state["questions"]
    told = f"check {simulator}: {asked} of {questions} load points were asked here"
    if asked < questions:
        told += f", the others are not checked: {state['why'] or 'their recorded answers stand'}"
    return told, differences


def _said(answer: Recorded | None) -> str:
    """Return an answer in short."""
    if answer is None:
        return "nothing"
    predicted = answer.predicted
    numbers = ", ".join(f"{name} {value:g}" for name, value in sorted(predicted.metrics.items()))
    return f"{predicted.version}: {numbers or predicted.reason or predicted.status.value}"


def abandoned(project: Project) -> list[Difference]:
    """Return the folders of reports/ that belong to nothing."""
    known = {*project.names, *committed_names(), *([SIMULATORS] if project.comparing is not None else [])}
    folder = project.root / REPORTS
    left = sorted({path.name for path in folder.iterdir()} - known) if folder.is_dir() else ()
    answers = folder / QUESTIONS
    known = {*questions(project), Path(QUESTIONS_PAGE).name}
    unasked = sorted({path.name for path in answers.iterdir()} - known) if answers.is_dir() else ()
    return [
        *(Difference(f"{REPORTS}/{name}", "folder", "belongs to no hypothesis; delete it") for name in left),
        *(Difference(f"{REPORTS}/{QUESTIONS}/{name}", "folder", "answers no question; delete it") for name in unasked),
    ]


def _report(project: Project, hypothesis: str) -> Iterator[Told]:
    """Yield how one report compares with the committed one, and with what was once published."""
    committed, regenerated = project.root / REPORTS / hypothesis, RESULTS / hypothesis / "report"
    differences = compare_reports(committed, regenerated, project.settings.check.tolerance)
    yield (
        f"check {hypothesis}: the committed report {'differs' if differences else 'comes out again'}",
        [replace(change, file=f"{REPORTS}/{hypothesis}/{change.file}") for change in differences],
    )
    verdict = json.loads(read_made(RESULTS / hypothesis / VERDICT_FILE))
    if counts := verdict["reproduction"]:
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        yield f"check {hypothesis}: published numbers: {told} (table: {regenerated}/reproduction.md)", []


def summary(found: Sequence[Difference]) -> str:
    """Return what a failed check tells: counts per file where there are many, the worst numbers, everything else."""
    numbers = [difference for difference in found if math.isfinite(difference.size)]
    worst = sorted(numbers, key=lambda difference: (-difference.size, str(difference)))[:MOST_NUMBERS]
    listed = [f"  {difference}" for difference in found if not math.isfinite(difference.size)]
    listed += [f"  {difference}, {difference.size:.3g} times as far apart as allowed" for difference in worst]
    if len(numbers) > MOST_NUMBERS:
        counted = Counter(difference.file for difference in numbers)
        listed += [f"  {len(numbers)} numbers differ, of which these are the {MOST_NUMBERS} worst; by file:"]
        listed += [f"    {file}: {count}" for file, count in sorted(counted.items())]
    told = "\n".join([f"check failed: {len(found)} differences between reports/ and what is regenerated now", *listed])
    compare = "\n`roofline-lab compare HEAD` says what a changed model does to errors and verdicts." if numbers else ""
    return f"{told}{compare}\nIf the change is meant, run `snakemake` (and `snakemake trust`) and commit reports/."
