"""What runs have made below `results/`, told by content: what is not as it was made is never used, but made again.

Whatever a job makes is entered with its hash into a ledger, in the format of `sha256sum`. Lines are only ever added
while a run goes on, so that a killed run leaves no half entry, and the last one about a file counts. A machine of a
cluster has a ledger of its own, because two machines cannot add to one file safely; the next run puts its lines into
the common one. Nobody reads a result but through `read_made`; what a run finds changed when it starts is removed and
made again, so that no reader has to expect what no job writes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from roofline_lab.files import PARTIAL, write_text
from simulator.errors import ConfigError

RESULTS = Path("results")
LEDGER = RESULTS / "made.sha256"
# Of machines of a cluster, by their name; read after the common one.
LEDGERS_APART = "made.*.sha256"
# How far clocks of this machine and of its files may be apart, seconds.
AHEAD_S = 60.0
AGAIN = "run snakemake again, which makes it again"
# Where this process enters what it makes.
_own = LEDGER


def enter_apart() -> None:
    """Enter what this process makes from now on into the ledger of its machine: it runs jobs for another process."""
    global _own
    _own = RESULTS / LEDGERS_APART.replace("*", platform.node() or "unnamed")


def write_made(path: Path, text: str, root: Path = Path()) -> None:
    """Write a result in one step, and enter its content.

    Parameters
    ----------
    path
        Relative to `root`, below `results/`.
    root
        The project; by default the working directory.
    """
    write_text(root / path, text)
    # Begun on a line of its own, whatever the ledger ends with.
    line = f"\n{_hash(text.encode())}  {path.as_posix()}\n".encode()
    ledger = os.open(root / _own, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(ledger, line)  # one call, so that lines of several threads never mix
    finally:
        os.close(ledger)


def write_made_if_changed(path: Path, text: str, root: Path = Path()) -> None:
    """Write a result unless it is that already: it then stays older than what was made from it."""
    if _found(path, root) != text.encode() or not is_as_made(path, root):
        write_made(path, text, root)


def read_made(path: Path, root: Path = Path()) -> str:
    """Return the text of a result.

    Raises
    ------
    ConfigError
        If it is not there, or not as it was made.
    """
    content = _found(path, root)
    if content is None:
        raise ConfigError(f"{path}: is not there; {AGAIN}")
    if _entries(root).get(path.as_posix()) != _hash(content):
        raise ConfigError(f"{path}: was changed after it was made; {AGAIN}")
    return content.decode()


def require_made(paths: Iterable[Path], root: Path = Path()) -> None:
    """Refuse results that are not there or not as they were made, all at once.

    Raises
    ------
    ConfigError
        Naming each.
    """
    wrong = [path for path in paths if not is_as_made(path, root)]
    if wrong:
        listed = ", ".join(path.as_posix() for path in wrong)
        raise ConfigError(f"{listed}: not there, or changed after it was made; {AGAIN}")


def is_as_made(path: Path, root: Path = Path()) -> bool:
    """Return whether a result is there and has the content it was made with."""
    content = _found(path, root)
    return content is not None and _entries(root).get(path.as_posix()) == _hash(content)


def discard_changed(folders: Iterable[Path], root: Path = Path()) -> list[Path]:
    """Remove what is in some folders of `results/` but not as a run made it, and return it by name.

    What bears a time yet to come goes too: whatever changes from now on would seem older than it.

    Only while no other run goes on.
    """
    entries, changed = _entries(root), []
    for folder in folders:
        discard_partial(folder, root)
    for path in (path for folder in folders for path in _files(folder, root)):
        if entries.get(path.as_posix()) != _hash(_found(path, root) or b"") or _is_ahead(root / path):
            (root / path).unlink(missing_ok=True)
            changed.append(path)
    return changed


def discard_partial(folder: Path, root: Path = Path()) -> None:
    """Remove what a killed run was writing; only while no other run goes on."""
    for path in (root / folder).rglob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def tidy_ledger(root: Path = Path()) -> None:
    """Keep one line for each result that is there, sorted; only while no other run goes on."""
    kept = {name: entry for name, entry in _entries(root).items() if (root / name).is_file()}
    text = "".join(f"{entry}  {name}\n" for name, entry in sorted(kept.items()))
    if text.encode() != (_found(LEDGER, root) or b""):
        write_text(root / LEDGER, text)
    for apart in _ledgers(root)[1:]:
        apart.unlink()


def _files(folder: Path, root: Path) -> Iterator[Path]:
    found = sorted(path for path in (root / folder).rglob("*") if path.is_file() or path.is_symlink())
    yield from (path.relative_to(root) for path in found)


def _is_ahead(path: Path) -> bool:
    try:
        return path.stat().st_mtime > time.time() + AHEAD_S
    except OSError:
        return False


def _found(path: Path, root: Path) -> bytes | None:
    try:
        return (root / path).read_bytes()
    except OSError:
        return None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _entries(root: Path) -> Mapping[str, str]:
    """Return the hash of every result by its name."""
    first, *apart = _ledgers(root)
    if not apart:
        return _entries_of(first)
    return {name: entry for ledger in (first, *apart) for name, entry in _entries_of(ledger).items()}


def _ledgers(root: Path) -> list[Path]:
    """Return the common ledger, there or not, and those of machines."""
    return [root / LEDGER, *sorted((root / RESULTS).glob(LEDGERS_APART))]


def _entries_of(ledger: Path) -> Mapping[str, str]:
    try:
        with ledger.open("rb") as stream:  # opened, because a file system of several machines looks again only then
            state = os.fstat(stream.fileno())
    except OSError:
        return {}
    return _read_ledger(ledger, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=32)
def _read_ledger(ledger: Path, *state: int) -> Mapping[str, str]:
    """Return the entries of a ledger in one state; a line that is none proves nothing and is passed over."""
    lines = ledger.read_text(encoding="utf-8", errors="replace").split("\n")
    parts = (line.partition("  ") for line in lines)
    return {name: entry for entry, _, name in parts if name}
