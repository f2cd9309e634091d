"""Whether anything is to be done at all, told by content before Snakemake looks at a single job.

After a successful run the hashes of everything it read and of everything it made are kept in one file. As long as
both are what they were, the same command has nothing to do. Anything else, down to an option that is not known here
or one changed byte, is left to Snakemake. Modification times are never trusted.

Every command of Snakemake imports this module first, so it imports hardly anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from roofline_lab.files import digest_of, libraries, write_text
from roofline_lab.made import LEDGER, tidy_ledger
from roofline_lab.places import CONFIGS, SHIPPED, code_folders, is_shipped

KEPT_IN = "results/up_to_date.json"
ALL, CHECK = "all", "check"
NOTHING_TO_DO = "Nothing to be done (what was read and what was made are, by content, as the last run left them)."
# What a run may read of its folder, all of it: code, settings, hypotheses, measurements, documents.
INPUTS = (
    "Snakefile",
    "configs",
    "documents",
    "ground_truth",
    "hypotheses",
    "profiles",
    "questions",
    "requirements.lock",
    "simulator",
    "workflow",
)
# What says of files how they were; never part of what is compared.
RECORDS = (KEPT_IN, LEDGER.as_posix())
# Folders of results that no finding is made from, logs among them, and what a run may write below what it reads:
# recorded answers.
RECORDED = "configs/simulators/recorded"
APART = ("results/calibration", "results/logs", "results/measured", RECORDED)
CORES = re.compile(r"(--cores|-c)(=?(\d+|all))?$")
FORCED = ("--forceall", "-F")
# `snakemake` and `python -m snakemake`.
PROGRAM = re.compile(r"(^|/)snakemake(/__main__\.py)?$")


@dataclass(frozen=True)
class Command:
    """A command line that does nothing but ask for targets.

    Attributes
    ----------
    targets
        Rules by name; without any, all findings.
    forced
        Everything is to be made again.
    """

    targets: tuple[str, ...]
    forced: bool


def read_command(arguments: Sequence[str]) -> Command | None:
    """Return what a command line of Snakemake asks for; None if it says anything that is not understood here."""
    if "SNAKEMAKE_PROFILE" in os.environ or not arguments or not PROGRAM.search(Path(arguments[0]).as_posix()):
        return None
    targets, forced, waiting = [], False, list(arguments[1:])
    while waiting:
        word = waiting.pop(0)
        if word in FORCED:
            forced = True
        elif found := CORES.match(word):
            if found[2] is None and (not waiting or not re.fullmatch(r"\d+|all", waiting.pop(0))):
                return None
        elif word.isidentifier():
            targets.append(word)
        else:
            return None
    return Command(tuple(targets) or (ALL,), forced)


class Freshness:
    """What was read and made by earlier runs of one project folder, and whether that still stands.

    To be created before anything is read: what changes while a run goes on must not pass for what it used.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.command = read_command(arguments)
        self._inputs = digest_of([_digest((*INPUTS, *_from_the_package())), libraries()]) if self.command else ""

    def nothing_to_do(self) -> bool:
        """Return whether every target asked for is as a successful run left it, made from what is there now."""
        if self.command is None or self.command.forced or CHECK in self.command.targets:
            return False
        kept = _kept()
        return all(self._stands(kept, target) for target in self.command.targets)

    def regenerated(self) -> bool:
        """Return whether the check that is asked for has nothing to make again before it compares."""
        if self.command is None or self.command.forced or CHECK not in self.command.targets:
            return False
        return self._stands(_kept(), CHECK)

    def record(self, hypotheses: Iterable[str]) -> None:
        """Keep what a run that succeeded, or found nothing to do, has read and made.

        Parameters
        ----------
        hypotheses
            All there are; a run of all findings makes each of them.
        """
        tidy_ledger()
        if self.command is None:
            return
        known = tuple(hypotheses)
        made = set(self.command.targets) & {ALL, CHECK, *known}
        if ALL in made:
            made |= {CHECK, *known}
        if any(not _is_published(hypothesis) for hypothesis in made - {ALL, CHECK}):
            # Somebody has edited a report, or its page in results/; Snakemake, which goes by time, may not notice.
            return
        now = {target: {"inputs": self._inputs, "outputs": _outputs(target)} for target in sorted(made)}
        if now:
            write_text(Path(KEPT_IN), json.dumps(_kept() | now, indent=2, sort_keys=True) + "\n")

    def _stands(self, kept: dict[str, dict[str, str]], target: str) -> bool:
        entry = kept.get(target, {})
        return entry.get("inputs") == self._inputs and entry.get("outputs") == _outputs(target)


def _from_the_package() -> tuple[str, ...]:
    """Return what a run may read elsewhere than in its folder."""
    here = Path()
    shipped = () if is_shipped(here) else (SHIPPED / CONFIGS, SHIPPED / "ground_truth" / "vocabulary.yaml")
    code = (folder for folder in code_folders(here) if not folder.is_relative_to(here))
    return tuple(path.as_posix() for path in (*shipped, *code))


def _outputs(target: str) -> str:
    """Return the digest of what a target makes: a check judges reports/, so it makes results/ alone."""
    if target in (ALL, CHECK):
        return _digest(("results", "reports", RECORDED) if target == ALL else ("results", RECORDED))
    return _digest((f"results/{target}", f"reports/{target}", "results/simulators", RECORDED))


def _is_published(hypothesis: str) -> bool:
    """Return whether a report holds what was regenerated, file by file."""
    folders = (f"results/{hypothesis}/report", f"reports/{hypothesis}")
    made, kept = ({Path(name).relative_to(at): _content(name) for name in _files(at)} for at in folders)
    return made == kept


def _digest(names: Iterable[str]) -> str:
    """Return one hash of the names and contents of some files and of all files in some folders."""
    total = hashlib.sha256()
    for name in names:
        for path in _files(name):
            total.update(f"{path}\0".encode())
            total.update(_content(path))
    return total.hexdigest()


def _content(path: str) -> bytes:
    """Return the hash of a file; of one that cannot be read never the same, for it proves nothing."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).digest()
    except OSError:
        return os.urandom(32)


def _files(name: str) -> Iterator[str]:
    """Yield a file, or all files of a folder in a fixed order, but for caches, what is apart, and records of it."""
    if Path(name).is_file():
        yield name
    for folder, inner, files in os.walk(name, followlinks=True):
        inner[:] = sorted(each for each in inner if each != "__pycache__" and f"{folder}/{each}" not in APART)
        yield from (f"{folder}/{each}" for each in sorted(files) if f"{folder}/{each}" not in RECORDS)


def _kept() -> dict[str, dict[str, str]]:
    """Return what earlier runs recorded; nothing if the record cannot be read, for then it proves nothing."""
    try:
        found = json.loads(Path(KEPT_IN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = found.items() if isinstance(found, dict) else ()
    return {target: entry for target, entry in entries if isinstance(entry, dict)}
