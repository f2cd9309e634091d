"""Jobs of questions about capacity: an answer is made in results/, then copied into reports/."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from roofline_lab.jobs import reports
from roofline_lab.jobs.findings import clean_errors, replace_report
from roofline_lab.jobs.paths import QUESTIONS, REGENERATED_PAGES, REPORTS
from roofline_lab.jobs.progress import PROGRESS
from roofline_lab.jobs.workers import Workers
from roofline_lab.made import read_made, write_made


@clean_errors
def answer(workers: Workers, question: str) -> None:
    """Answer a question about capacity; the page is written last."""
    files = workers.ask(("answered", question), reports.answered, question).result()
    replace_report(REGENERATED_PAGES / QUESTIONS / question, files, write_made)


@clean_errors
def publish(question: str, outputs: Iterable[str]) -> None:
    """Copy the answer to a question into reports/."""
    source, folder = REGENERATED_PAGES / QUESTIONS / question, REPORTS / QUESTIONS / question
    names = [Path(output).name for output in outputs]
    replace_report(folder, {name: read_made(source / name) for name in names})
    PROGRESS.say(f"{question}: answer written to {folder / names[-1]}")
