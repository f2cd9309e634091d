"""Pages about the whole project rather than one hypothesis: the index and the errata.

Like a hypothesis' page, each is regenerated into `results/project/` and only published from there,
so that a check can compare it with the committed one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roofline_lab.errata.documents import input_files
from roofline_lab.errata.evaluation import evaluate_documents
from roofline_lab.files import write_text
from roofline_lab.project import Project
from roofline_lab.report.errata import errata_page
from roofline_lab.report.index import index_page

REGENERATED = Path("results/project")
PUBLISHED = Path("reports")
ERRATA_PAGE = "errata.md"
INDEX_PAGE = "README.md"
# Rule names, by page: `snakemake errata`, `snakemake index`.
PAGES: Mapping[str, str] = {"errata": ERRATA_PAGE, "index": INDEX_PAGE}
# Folders of reports/ that no check makes again: `snakemake calibrate` takes minutes, and `roofline-lab replay`
# needs traces that are not part of the project.
NOT_REGENERATED = ("calibration", "replay")


def committed_names() -> list[str]:
    """Return what may stand in reports/ beside the hypotheses."""
    return [*NOT_REGENERATED, *PAGES.values()]


def published_paths() -> list[str]:
    """Return the committed page of each kind."""
    return [(PUBLISHED / name).as_posix() for name in PAGES.values()]


def regenerated_paths() -> list[str]:
    """Return the regenerated page of each kind."""
    return [(REGENERATED / name).as_posix() for name in PAGES.values()]


def errata_inputs(project: Project) -> list[str]:
    """Return the data files the errata depend on."""
    root = project.root
    configured = [*(root / "configs" / "models").glob("*.json"), *(root / "configs" / "hardware").glob("*.yaml")]
    measured = list((root / "ground_truth").rglob("*.yaml"))
    paths = [*input_files(root), *configured, *measured]
    return sorted(path.relative_to(root).as_posix() for path in paths)


def errata_job(project: Project, output: str) -> None:
    """Check every published document against its tables.

    Raises
    ------
    ConfigError
        If a claim or a table is malformed.
    """
    write_text(Path(output), errata_page(evaluate_documents(project)))


def index_job(project: Project, verdicts: list[str], output: str) -> None:
    """List every hypothesis with what it concludes."""
    read = {Path(path).parent.name: _verdict(Path(path)) for path in verdicts}
    write_text(Path(output), index_page(project, read))


def publish_job(source: str, output: str) -> None:
    """Copy a regenerated page into reports/."""
    write_text(Path(output), Path(source).read_text(encoding="utf-8"))


def _verdict(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
