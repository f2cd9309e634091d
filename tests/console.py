"""Console blocks of the documentation as a reader would type them: what a page says to type, and what it shows.

A fence marked `console` holds commands behind `$ ` and, below each, what it prints: `...` alone stands for any lines,
within a line for any text. A fence whose first line is a comment with a file's name is that file, and written.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from roofline_lab.cli.main import main as laboratory
from simulator.cli.main import main as simulator
from tests.paths import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^# ([\w./-]+\.(?:yaml|py))(?:\n|:)")
SHELL = re.compile(r"[|<>*;&$]")
ANYTHING = "..."
# Far beyond what any block takes; only one that hangs reaches it.
TIMEOUT_S = 120


@dataclass(frozen=True)
class Written:
    """A file that a page shows."""

    line: int
    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command that a page shows, and the lines below it."""

    line: int
    text: str
    shown: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The command's words, without a comment behind it."""
        return shlex.split(self.text, comments=True)


def steps(text: str) -> list[Written | Command]:
    """Return files and commands of a page in their order."""
    found: list[Written | Command] = []
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 2
        named = FILE.match(fence[2])
        if fence[1] == "console":
            found += _commands(fence[2].splitlines(), line)
        elif named and fence[1] in ("yaml", "python"):
            found.append(Written(line, named[1], fence[2]))
    return found


def _commands(lines: list[str], first: int) -> list[Command]:
    found: list[Command] = []
    going_on = False
    for number, line in enumerate(lines, first):
        if going_on:
            found[-1] = Command(found[-1].line, f"{found[-1].text} {line.strip()}")
        elif line.startswith("$ "):
            found.append(Command(number, line[2:]))
        else:
            found[-1] = Command(found[-1].line, found[-1].text, (*found[-1].shown, line))
        going_on = not found[-1].shown and found[-1].text.endswith("\\")
        if going_on:
            found[-1] = Command(found[-1].line, found[-1].text[:-1].rstrip())
    return found


def fits(shown: tuple[str, ...], printed: str) -> bool:
    """Say whether a command printed what a page shows of it."""
    parts = [
        r"(?:.*\n)*?"
        if line.strip() == ANYTHING
        else ".*".join(map(re.escape, line.rstrip().split(ANYTHING))) + r" *\n"
        for line in shown
    ]
    return re.fullmatch("".join(parts), printed.rstrip("\n") + "\n") is not None


@dataclass
class Reader:
    """Someone at a terminal: where they are, and the programs they find."""

    folder: Path
    shims: Path
    inside: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the commands that an activated environment would have."""
        self.shims.mkdir()
        for name, module in (("snakemake", " -m snakemake"), ("roofline-lab", " -m roofline_lab"), ("python", "")):
            path = self.shims / name
            path.write_text(f'#!/bin/sh\nexec {sys.executable}{module} "$@"\n', encoding="utf-8")
            path.chmod(0o755)

    def does(self, command: Command) -> tuple[int, str]:
        """Run a command and return its exit code and what it printed, both streams together."""
        words = command.words
        if words[0] == "cd":
            self.folder = self.folder / words[1]
            return 0, ""
        if not SHELL.search(command.text.partition(" #")[0]):
            if words[0] == "roofline-lab":
                return self._in_process(laboratory, words[1:])
            if words[:3] == ["python", "-m", "simulator"]:
                return self._in_process(simulator, words[3:])
        environment = os.environ | {
            "PATH": f"{self.shims}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join((str(ROOT / "workflow"), str(ROOT))),
        }
        done = subprocess.run(
            ["bash", "-c", command.text],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return done.returncode, done.stdout

    def _in_process(self, program, words: list[str]) -> tuple[int, str]:
        said, before = io.StringIO(), Path.cwd()
        os.chdir(self.folder)
        try:
            with redirect_stdout(said), redirect_stderr(said):
                code = program(words)
        finally:
            os.chdir(before)
        return code, said.getvalue()
