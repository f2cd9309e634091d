"""Jobs of questions about capacity: an answer is made in results/, then copied into reports/."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from roofline_lab.capacity.question import read_question
from roofline_lab.files import write_text
from roofline_lab.jobs import reports
from roofline_lab.jobs.findings import logged, replace_report
from roofline_lab.jobs.paths import QUESTIONS, QUESTIONS_PAGE, REGENERATED_PAGES, REPORTS, question_file, questions
from roofline_lab.jobs.progress import PROGRESS
from roofline_lab.jobs.workers import Workers
from roofline_lab.made import read_made, write_made
from roofline_lab.project import Project
from roofline_lab.report.capacity import ANSWERS, questions_page


@logged
def answer(workers: Workers, question: str) -> None:
    """Answer a question about capacity; the page is written last."""
    files = workers.ask(("answered", question), reports.answered, question).result()
    replace_report(REGENERATED_PAGES / QUESTIONS / question, files, write_made)


@logged
def publish(question: str, outputs: Iterable[str]) -> None:
    """Copy the answer to a question into reports/."""
    source, folder = REGENERATED_PAGES / QUESTIONS / question, REPORTS / QUESTIONS / question
    names = [Path(output).name for output in outputs]
    replace_report(folder, {name: read_made(source / name) for name in names})
    PROGRESS.say(f"{question}: answer written to {folder / names[-1]}")


@logged
def list_questions(project: Project, output: str) -> None:
    """List every question with its answer."""
    asked = {
        name: (
            read_question(project.root / question_file(name), project.root),
            read_made(REGENERATED_PAGES / QUESTIONS / name / ANSWERS),
        )
        for name in questions(project)
    }
    proofs = {name: spec.title for name, spec in project.hypotheses.items() if spec.capacity is not None}
    write_made(Path(output), questions_page(asked, proofs))


@logged
def publish_questions(output: str) -> None:
    """Copy the page that lists all questions into reports/."""
    write_text(Path(output), read_made(REGENERATED_PAGES / QUESTIONS_PAGE))
