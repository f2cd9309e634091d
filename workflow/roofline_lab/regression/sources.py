"""Where reports come from: a git revision, a folder, or the work tree. Files in, texts out.

A `Source` holds the bytes of everything a comparison reads, by path as in a project (`reports/ID/numbers.csv`).
Revisions are read through git's own commands, without touching index or work tree. Every failure is a `ConfigError`
that says what to do: no git, no repository, unknown revision, shallow clone, an object that is not there.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import ConfigError
from simulator.validation import suggest

REPORTS = "reports"
RESULTS = "results"
GROUND_TRUTH = "ground_truth"
NUMBERS = "numbers.csv"
SHORT_HASH = 9
REGULAR_FILE_MODES = ("100644", "100755")
# Of a findings page only its being there counts: a report with a page ought to have a verdict.
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
        return _of_revision(name, root)
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


def chosen_reports(source: Source, names: Sequence[str]) -> Source:
    """Return a source with the reports of some hypotheses alone.

    Raises
    ------
    ConfigError
        If one of them has none there.
    """
    missing = [name for name in names if f"{REPORTS}/{name}/{NUMBERS}" not in source.files]
    if missing:
        raise ConfigError(
            f"{source.where}{REPORTS}/{missing[0]}: has no {NUMBERS}, so there is nothing to compare with; run "
            f"`snakemake {missing[0]}` with a version that is trusted, and commit {REPORTS}/{missing[0]}"
        )
    wanted = (*(f"{REPORTS}/{name}/" for name in names), f"{GROUND_TRUTH}/")
    kept = {path: text for path, text in source.files.items() if path.startswith(wanted)}
    return Source(source.label, source.where, kept)


def made_reports(root: Path, names: Sequence[str]) -> Source:
    """Return the reports of some hypotheses as the last run left them in `results/`.

    Raises
    ------
    ConfigError
        If one of them was not made.
    """
    found = _read(root / GROUND_TRUTH, GROUND_TRUTH)
    for name in names:
        folder = root / RESULTS / name / "report"
        if not (folder / NUMBERS).is_file():
            raise ConfigError(f"{RESULTS}/{name}/report/{NUMBERS}: is not there; run `snakemake {name}`")
        files = {f"{REPORTS}/{name}/{path.name}": path for path in folder.iterdir() if path.is_file()}
        found |= {key: _bytes(path) for key, path in sorted(files.items()) if _WANTED.fullmatch(key)}
    return Source("what is made now", f"{RESULTS}: ", found)


# --- folders --------------------------------------------------------------------------------------


def _is_folder(name: str) -> bool:
    try:
        return bool(name) and Path(name).is_dir()
    except (OSError, ValueError):
        return False


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


# --- revisions ------------------------------------------------------------------------------------


def _of_revision(name: str, root: Path) -> Source:
    _require_repository(root)
    commit = _commit(name, root)
    if commit is None:
        raise ConfigError(f"'{name}': {_why_unknown(name, root)}")
    short = commit[:SHORT_HASH]
    files = _files(commit, root)
    if not _has_reports(files):
        raise ConfigError(f"'{name}' ({short}): has no {REPORTS}/*/{NUMBERS}; give a revision with committed reports")
    label = f"`{short}`" if commit.startswith(name) else f"`{name}` ({short})"
    return Source(label, f"{name}:", files)


def _names_a_commit(name: str, root: Path) -> bool:
    try:
        return _commit(name, root) is not None
    except ConfigError:
        return False


def _require_repository(root: Path) -> None:
    done = _git(root, "rev-parse", "--git-dir")
    if done.returncode != 0:
        raise ConfigError(
            f"{root.resolve()}: revisions cannot be read here ({_reason(done)}); run this in a clone of the "
            "project, or give two folders with reports"
        )


def _commit(revision: str, root: Path) -> str | None:
    """Return the commit a revision names, or None."""
    # A leading dash would be an option; control characters cannot be part of a revision.
    if not revision or revision.startswith("-") or not revision.isprintable():
        return None
    done = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    return done.stdout.decode().strip() if done.returncode == 0 else None


def _files(commit: str, root: Path) -> dict[str, bytes]:
    """Return the content of every wanted file of a commit, by path relative to `root`.

    Raises
    ------
    ConfigError
        If an object is missing or damaged.
    """
    short = commit[:SHORT_HASH]
    listed = _git(root, "ls-tree", "-r", "-z", commit, "--", REPORTS, GROUND_TRUTH)
    if listed.returncode != 0:
        raise ConfigError(f"{short}: git cannot list its files ({_reason(listed)}); try `git fsck`")
    names = {path: name for path, name in _blobs(listed.stdout) if _WANTED.fullmatch(path)}
    done = _git(root, "cat-file", "--batch", text="".join(f"{name}\n" for name in names.values()).encode())
    contents = [*_batch(done.stdout), *[None] * len(names)]
    found = {path: content for path, content in zip(names, contents, strict=False) if content is not None}
    for path in names:
        if path not in found:
            raise ConfigError(
                f"{short}:{path}: its content is not in this clone ({_reason(done)}); "
                "fetch it (`git fetch --refetch`) or clone again"
            )
    return found


def _why_unknown(revision: str, root: Path) -> str:
    if _git(root, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
        return (
            "is not in this clone, which is shallow: older commits were never fetched; run `git fetch --unshallow` "
            "(or `fetch-depth: 0` in the checkout step), then try again"
        )
    names = _git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
    known = names.stdout.decode(errors="replace").split()
    found = _git(root, "rev-parse", "--verify", revision if not revision.startswith("-") else "")
    if b"ambiguous" in found.stderr:
        return "is the beginning of several hashes; give more digits"
    if not known:
        return "is no revision: the repository has no commit yet"
    return f"is neither a folder nor a revision of this repository; {suggest(revision, known)}; or a hash, HEAD~3, ..."


def _git(root: Path, *arguments: str, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(
            ["git", *arguments], cwd=root, input=text, capture_output=True, env=environment, check=False
        )
    except FileNotFoundError:
        if not root.is_dir():
            raise ConfigError(f"{root}: there is no such folder") from None
        raise ConfigError("git: not found; install it, or give two folders with reports instead of revisions") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"git: cannot be run in {root}: {error}") from None


def _blobs(listing: bytes) -> Iterator[tuple[str, str]]:
    """Yield path and object name of every regular file of `git ls-tree -z`."""
    for entry in filter(None, listing.split(b"\0")):
        head, _, path = entry.partition(b"\t")
        mode, _, name = head.decode().split()
        if mode in REGULAR_FILE_MODES:
            yield path.decode(errors="replace"), name


def _batch(stream: bytes) -> Iterator[bytes | None]:
    """Yield the contents in an answer of `git cat-file --batch`, None for an object that is missing."""
    start = 0
    while start < len(stream):
        end = stream.index(b"\n", start)
        head = stream[start:end].split()
        if head[-1] == b"missing":
            yield None
            start = end + 1
            continue
        size = int(head[-1])
        yield stream[end + 1 : end + 1 + size]
        start = end + 1 + size + 1


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the first line git wrote to standard error, without its prefix."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[0].removeprefix("fatal: ").removeprefix("error: ") if lines else f"exit code {done.returncode}"
