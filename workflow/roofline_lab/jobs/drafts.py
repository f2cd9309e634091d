"""A hypothesis that is broken stops itself and what builds on it, and nothing else.

Its author sees at once what is wrong and may go on with the rest; a run of all findings still ends with an error, and
pages about all of them are not made from some.
"""

from __future__ import annotations

import re
from pathlib import Path

from roofline_lab.project import Project, load_project
from simulator.errors import ConfigError, RooflineLabError

# How a message begins that is about one hypothesis alone.
OF_ONE = re.compile(r"hypotheses/(\w+)/")


def load_usable(root: Path, tables_folder: Path | None = None) -> Project:
    """Load a project without the hypotheses that are broken or build on a broken one.

    What refers to one that was left out is refused in its turn, since that name is then unknown.

    Raises
    ------
    RooflineLabError
        If something is wrong that is no matter of one hypothesis, or no hypothesis is left.
    """
    left_out: dict[str, str] = {}
    while True:
        try:
            project = load_project(root, tables_folder, left_out)
        except RooflineLabError as error:
            found = OF_ONE.match(str(error))
            if found is None or found[1] in left_out or not _others(root, {*left_out, found[1]}):
                if left_out:
                    raise ConfigError("\n".join([*left_out.values(), str(error)])) from None
                raise
            left_out[found[1]] = _words(str(error), left_out)
        else:
            project.left_out = left_out
            return project


def left_out_told(project: Project) -> str:
    """Return what a run says at its end that had to leave hypotheses out."""
    listed = "\n".join(f"  {message}" for message in project.left_out.values())
    return (
        f"findings made: {len(project.names)}, left out: {len(project.left_out)}; pages about all of them (errata, "
        f"index) are made again once these are right:\n{listed}"
    )


def _others(root: Path, left_out: set[str]) -> bool:
    return any(path.parent.name not in left_out for path in (root / "hypotheses").glob("*/hypothesis.yaml"))


def _words(message: str, left_out: dict[str, str]) -> str:
    """Return the message; of a reference to what was left out, that this is why."""
    named = re.search(r"references: unknown hypothesis '(\w+)'", message)
    if named is None or named[1] not in left_out:
        return message
    return f"{message.partition(': ')[0]}: references {named[1]}, which is left out"
