"""Committed pages that a check cannot afford to make again: held to a record of what was written.

Contract: `record_text` is written beside the files of such a page and has a hash of each; `file_faults` finds from it,
without making anything, every file that was edited, is missing or belongs to nothing. What a page rests on is recorded
by whoever makes it; `told` says in one line whether that has changed since, which makes a page stale, not wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roofline_lab.files import DIGEST_CHARACTERS, json_text

PROVENANCE = "provenance.json"
# File, row or line, and how it differs.
Fault = tuple[str, str, str]


def record_text(files: Mapping[str, str], made_of: Mapping[str, Any]) -> str:
    """Return the record of files, name to text, and of what they were made from."""
    return json_text({**made_of, "files": {name: text_digest(text) for name, text in files.items()}})


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record in a folder; empty where there is none that can be read."""
    try:
        found = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("files"), dict) else {}


def recorded_names(folder: Path) -> list[str]:
    """Return the names of the files an earlier record names; never a path out of the folder."""
    return [name for name in read_record(folder).get("files", {}) if Path(name).name == name]


def file_faults(folder: Path, record: Mapping[str, Any], again: str) -> list[tuple[str, str]]:
    """Return every file of a folder that is not as its record says, with what is wrong and what makes it again."""
    if not record:
        return [(PROVENANCE, f"missing or no record; {again}")]
    stated = record["files"]
    there = {path.name for path in folder.iterdir()} - {PROVENANCE}
    found = [(name, "is in the record, but missing from the report") for name in sorted(set(stated) - there)]
    found += [(name, f"belongs to no {folder.name}; delete it") for name in sorted(there - set(stated))]
    edited = [name for name in sorted(there & set(stated)) if file_digest(folder / name) != stated[name]]
    return [*found, *((name, f"is not as it was written; {again}") for name in edited)]


def told(page: str, faults: Sequence[Fault], changed: Sequence[str], again: str) -> str:
    """Return one sentence about a committed page."""
    if faults:
        return f"check {page}: the committed page differs"
    if changed:
        return f"check {page}: STALE, made before a change of {', '.join(changed)}; {again}"
    return f"check {page}: the committed page is as written, and its inputs have not changed since"


def file_digest(path: Path) -> str:
    """Return the hash of the text of a file."""
    return text_digest(path.read_text(encoding="utf-8", errors="replace"))


def text_digest(text: str) -> str:
    """Return the hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]
