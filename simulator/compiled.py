"""The compiled core: engine and step times as machine code, translated by mypyc from these same sources.

Contract: compiled and pure give the same results to the byte. Compiled modules lie in the environment of the
running interpreter, in a folder named by the hash of all sources of this package, and are imported only where
that hash is the one of the sources at hand: after any edit the sources run until `python -m simulator compile`
is asked for again. With `SIMULATOR_PURE` set to anything in the process environment, the sources run always.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import source_hash, spec_from_file_location
from pathlib import Path
from types import ModuleType

PURE_VARIABLE = "SIMULATOR_PURE"
PACKAGE = Path(__file__).parent
# One folder per state of the sources: several checkouts may share an environment.
CORES = Path(sys.prefix) / "lib" / "simulator-cores"
SUFFIX = EXTENSION_SUFFIXES[0]


def digest(package: Path = PACKAGE) -> str:
    """Return the hash of all sources of the package, by the function that tells stale byte code from fresh."""
    sources = sorted(package.rglob("*.py"))
    named = [b"%b\0%b\0" % (path.relative_to(package).as_posix().encode(), path.read_bytes()) for path in sources]
    return source_hash(b"".join(named)).hex()


def core_folder() -> Path:
    """Return where the compiled modules of the sources at hand are, or would be."""
    return CORES / digest()


class CompiledModules:
    """Finds the compiled modules of one folder; every other import goes on as usual."""

    def __init__(self, folder: Path) -> None:
        names = (path.relative_to(folder).as_posix().removesuffix(SUFFIX) for path in folder.rglob(f"*{SUFFIX}"))
        self._files = {name.replace("/", "."): f"{folder}/{name}{SUFFIX}" for name in names}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a compiled module is loaded from, None for any other module."""
        file = self._files.get(name)
        return None if file is None else spec_from_file_location(name, file)


def use_compiled() -> bool:
    """Let the modules of the package be imported compiled where they are; return whether they are."""
    if os.environ.get(PURE_VARIABLE) or not CORES.is_dir():
        return False
    folder = core_folder()
    if not folder.is_dir():
        return False
    sys.meta_path.insert(0, CompiledModules(folder))
    return True
