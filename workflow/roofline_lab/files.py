"""Writing results so that a killed run never leaves half a file, and hashing what went in.

Every file the laboratory writes goes through `write_text`: written beside its target, then
renamed over it in one step.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from roofline_lab.places import name_of

DIGEST_CHARACTERS = 16
# What counts, draws random numbers, averages and fills in templates; another release of one makes everything again.
LIBRARIES = ("numpy", "pandas", "jinja2")
# How the name of a file ends that is still being written.
PARTIAL = ".partial"


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, creating folders as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_report(
    folder: Path,
    files: Mapping[str, str],
    earlier: Collection[str] = (),
    write: Callable[[Path, str], None] = write_text,
) -> None:
    """Write the files of a report, name to text; the page, which is the last one, appears only when the rest is there.

    Parameters
    ----------
    earlier
        Names of files that an earlier report left in the folder; those that are not written again go.
    write
        What writes one file.
    """
    page = list(files)[-1]
    for name in {page, *earlier} - (files.keys() - {page}):
        (folder / name).unlink(missing_ok=True)
    for name, text in files.items():
        write(folder / name, text)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format rows as CSV with Unix line ends."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()


def json_text(value: object) -> str:
    """Format a value as indented JSON with sorted keys; NaN is refused."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"


def digest_of(value: Mapping[str, object] | Sequence[object]) -> str:
    """Return a short content hash of a JSON-like value."""
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]


def hash_list(paths: Iterable[Path], root: Path) -> str:
    """Return one line per file, content hash and name in the lab at `root`, sorted by name."""
    lines = sorted((name_of(path, root), hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths)
    return "".join(f"{digest}  {name}\n" for name, digest in lines)


def digest_of_files(paths: Iterable[Path], root: Path) -> str:
    """Return a short content hash of files and their names in the lab at `root`."""
    return hashlib.sha256(hash_list(paths, root).encode()).hexdigest()[:DIGEST_CHARACTERS]


def libraries() -> str:
    """Return one line for Python and each library whose release may show in a number or on a page."""
    # Loaded here because most commands need no versions.
    from importlib.metadata import PackageNotFoundError, version

    found = [f"python {sys.version_info.major}.{sys.version_info.minor}\n"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}\n")
        except PackageNotFoundError:
            found.append(f"{name} is not there\n")
    return "".join(found)
