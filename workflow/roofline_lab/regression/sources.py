"""Where reports come from: a git revision, a folder, or the work tree. Files in, texts out.

A `Source` holds the bytes of everything a comparison reads, by path as in a project (`reports/ID/numbers.csv`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from roofline_lab.regression.git import SHORT_HASH, Repository
from simulator.errors import ConfigError

REPORTS = "reports"
GROUND_TRUTH = "ground_truth"
NUMBERS = "numbers.csv"
_WANTED = re.compile(
    rf"{REPORTS}/[^/]+/(numbers\.csv|FINDINGS\.md|verdict\.json)"
    rf"|{REPORTS}/[^/]+/[^/]+/predictions\.csv"
    rf"|{GROUND_TRUTH}/[^/]+/experiment\.yaml"
)


@dataclass(frozen=True, slots=True)
class Source:
    """The files of one side.

    Attributes
    ----------
    label
        How a reader knows it, as markdown.
    where
        What stands before a path in a message.
    """

    label: str
    where: str
    files: Mapping[str, bytes]


def open_source(name: str, root: Path) -> Source:
    """Return what a name on the command line stands for: a folder that exists, else a revision.

    Parameters
    ----------
    name
        A folder with reports, or anything git takes for a commit.
    root
        The project's folder, whose repository knows the revisions.

    Raises
    ------
    ConfigError
        If it is neither, or both, or holds no reports.
    """
    if not _is_folder(name):
        return _of_revision(name, Repository(root))
    if "/" not in name and _names_a_commit(name, root):
        raise ConfigError(
            f"'{name}': is a folder and a revision; write './{name}' for the folder, 'refs/heads/{name}' (or its hash) "
            "for the revision"
        )
    return _of_folder(Path(name), f"folder `{name}`")


def work_tree(root: Path) -> Source:
    """Return the reports as they lie in the project's folder.

    Raises
    ------
    ConfigError
        If there are none.
    """
    return _of_folder(root, "the work tree")


def _is_folder(name: str) -> bool:
    try:
        return bool(name) and Path(name).is_dir()
    except (OSError, ValueError):
        return False


def _names_a_commit(name: str, root: Path) -> bool:
    try:
        return Repository(root).commit(name) is not None
    except ConfigError:
        return False


def _of_revision(name: str, repository: Repository) -> Source:
    commit = repository.resolve(name)
    short = commit[:SHORT_HASH]
    files = repository.files(commit, (REPORTS, GROUND_TRUTH), lambda path: _WANTED.fullmatch(path) is not None)
    if not _has_reports(files):
        raise ConfigError(f"'{name}' ({short}): has no {REPORTS}/*/{NUMBERS}; give a revision with committed reports")
    label = f"`{short}`" if commit.startswith(name) else f"`{name}` ({short})"
    return Source(label, f"{name}:", files)


def _of_folder(folder: Path, label: str) -> Source:
    files = _project_files(folder)
    if not _has_reports(files):
        raise ConfigError(f"{folder}: {_why_no_reports(folder)}")
    return Source(label, f"{folder}: ", files)


def _project_files(folder: Path) -> dict[str, bytes]:
    """Return the wanted files of a project, of its reports/, or of a folder of reports with another name."""
    if (folder / REPORTS).is_dir():
        return _read(folder / REPORTS, REPORTS) | _read(folder / GROUND_TRUTH, GROUND_TRUTH)
    found = _read(folder, REPORTS)
    if folder.resolve().name == REPORTS:
        found |= _read(folder.resolve().parent / GROUND_TRUTH, GROUND_TRUTH)
    return found


def _read(folder: Path, name: str) -> dict[str, bytes]:
    """Return the wanted files below a folder, as if it were called `name`."""
    paths = {
        f"{name}/{path.relative_to(folder).as_posix()}": path
        for pattern in ("*/*.*", "*/*/predictions.csv")
        for path in folder.glob(pattern)
    }
    return {key: _bytes(path) for key, path in sorted(paths.items()) if _WANTED.fullmatch(key) and path.is_file()}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _has_reports(files: Mapping[str, bytes]) -> bool:
    return any(path.startswith(f"{REPORTS}/") and path.endswith(f"/{NUMBERS}") for path in files)


def _why_no_reports(folder: Path) -> str:
    if (folder / NUMBERS).is_file():
        return "is a single report; give the folder that holds it"
    if (folder / REPORTS).is_dir():
        return f"its {REPORTS}/ holds no report (no {REPORTS}/*/{NUMBERS}); run `snakemake` first"
    return f"has no reports: neither a folder {REPORTS}/ nor folders with a {NUMBERS}"
