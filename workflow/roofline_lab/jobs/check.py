"""What the rule `check` compares: every regenerated page with the committed one, in the words it tells the user."""

from __future__ import annotations

import json
from collections.abc import Iterator

from roofline_lab.hypotheses.verdict import VERDICT_FILE
from roofline_lab.jobs.paths import PAGES, REGENERATED_PAGES, REPORTS, RESULTS, committed_names
from roofline_lab.made import read_made
from roofline_lab.project import Project
from roofline_lab.regression.check import Difference, compare_file, compare_reports
from roofline_lab.report.replay import judge

Told = tuple[str, list[Difference]]


def compared(project: Project) -> Iterator[Told]:
    """Yield one line for every page compared, with its differences: reports, pages about all of them, replays."""
    for hypothesis in project.names:
        yield from _report(project, hypothesis)
    for page in PAGES.values():
        differences = compare_file(page, project.root / REPORTS, REGENERATED_PAGES, project.settings.check.tolerance)
        yield (
            f"check {page}: the committed page {'differs' if differences else 'comes out again'}",
            [Difference(f"{REPORTS}/{page}", change.where, change.what) for change in differences],
        )
    told, faults = judge(project)
    yield told, [Difference(*fault) for fault in faults]


def abandoned(project: Project) -> list[Difference]:
    """Return the folders of reports/ that belong to nothing."""
    known = {*project.names, *committed_names()}
    folder = project.root / REPORTS
    left = sorted({path.name for path in folder.iterdir()} - known) if folder.is_dir() else ()
    return [Difference(f"{REPORTS}/{name}", "folder", "belongs to no hypothesis; delete it") for name in left]


def _report(project: Project, hypothesis: str) -> Iterator[Told]:
    """Yield how one report compares with the committed one, and with what was once published."""
    committed, regenerated = project.root / REPORTS / hypothesis, RESULTS / hypothesis / "report"
    differences = compare_reports(committed, regenerated, project.settings.check.tolerance)
    yield (
        f"check {hypothesis}: the committed report {'differs' if differences else 'comes out again'}",
        [Difference(f"{REPORTS}/{hypothesis}/{change.file}", change.where, change.what) for change in differences],
    )
    verdict = json.loads(read_made(RESULTS / hypothesis / VERDICT_FILE))
    if counts := verdict["reproduction"]:
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        yield f"check {hypothesis}: published numbers: {told} (table: {regenerated}/reproduction.md)", []
