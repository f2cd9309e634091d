"""Where the files of a lab lie: in its own folder, else among those that come with the package.

A lab is a folder with hypotheses and measurements of its own. Whatever else it needs (models, GPUs, kernels,
calibrations, methods, settings) it may have itself, under the names the package uses, and takes from the package where
it does not: its own file wins. The package's own clone is a lab that has everything.

Contract: a name is relative to the lab, with forward slashes, and is all that hashes, pages and messages know of a
file; so they say the same wherever the lab and the package lie. Hypotheses, experiments and reports are not shipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# In a clone the folder above `workflow/`, else the copy of it that an installation has inside the package.
INSIDE = "shipped"
SHIPPED = PACKAGE / INSIDE if (PACKAGE / INSIDE).is_dir() else PACKAGE.parents[1]
# What a lab's own Snakefile takes its rules from.
SNAKEFILE = str(SHIPPED / "Snakefile")
TEMPLATES = SHIPPED / "workflow" / "templates"
RULES = SHIPPED / "workflow" / "rules"
CONFIGS = "configs"


def place_of(root: Path, name: str | Path) -> Path:
    """Return where a file or folder lies that a lab may leave to the package; in the lab if it is nowhere."""
    own, shipped = root / name, SHIPPED / name
    return own if own.exists() or not shipped.exists() else shipped


def listed(root: Path, folder: str | Path, pattern: str) -> list[Path]:
    """Return the files of a folder that match a pattern, a lab's own and those shipped it has none of, by name."""
    files: dict[str, Path] = {}
    for place in shelves(root, folder):
        for path in place.glob(pattern):
            files.setdefault(path.relative_to(place).as_posix(), path)
    return [files[name] for name in sorted(files)]


def shelves(root: Path, folder: str | Path) -> list[Path]:
    """Return the folders of one name, the lab's own first; where several have a file, the first one counts."""
    return [root / folder, *([] if is_shipped(root) else [SHIPPED / folder])]


def is_shipped(root: Path) -> bool:
    """Return whether a lab is the package's own clone."""
    return root.resolve() == SHIPPED


def name_of(path: Path, root: Path) -> str:
    """Return the name of a file of a lab, or of one that was shipped, as everybody calls it.

    Raises
    ------
    ValueError
        If it lies elsewhere.
    """
    for place in (root, SHIPPED):
        if path.is_relative_to(place):
            return path.relative_to(place).as_posix()
    inside = path.relative_to(PACKAGE.parent).as_posix()  # code, where it is installed; named as in a clone
    return f"workflow/{inside}" if path.is_relative_to(PACKAGE) else inside


def clashes(root: Path) -> Iterator[str]:
    """Yield the names of a lab's own files that stand in place of other ones that are shipped."""
    if is_shipped(root):
        return
    for folder, _, files in os.walk(root / CONFIGS):
        for file in sorted(files):
            name = name_of(Path(folder) / file, root)
            shipped = SHIPPED / name
            if shipped.is_file() and shipped.read_bytes() != (root / name).read_bytes():
                yield name


def code_folders(root: Path) -> tuple[Path, Path, Path]:
    """Return where simulator, laboratory and templates lie: those of a clone, else the ones that are installed."""
    own = root / "workflow"
    if (own / PACKAGE.name).is_dir():
        return root / "simulator", own / PACKAGE.name, own / "templates"
    simulator = PACKAGE.parent / "simulator"
    return simulator if simulator.is_dir() else SHIPPED / "simulator", PACKAGE, TEMPLATES
