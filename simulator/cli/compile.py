"""`compile`: engine and step times as machine code; see `simulator.compiled`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

from simulator.cli.files import say
from simulator.compiled import CORES, PACKAGE, SUFFIX, core_folder, digest

COMPILED_PACKAGES = ("engine", "steptime")
# Modules of classes that must stay Python's own: validated records, protocols (no compiled class would satisfy
# one), and those that say so themselves and why.
NOT_COMPILED = re.compile(r"\b(StrictModel|Protocol)\b|^Not compiled: ", re.MULTILINE)
# What is no error to Python need not be one here; a false type in the compiled modules is.
MYPY_FLAGS = ("--config-file=", "--ignore-missing-imports", "--disable-error-code=import-untyped")
KEPT_CORES = 8


class NotCompiledError(Exception):
    """Why there is no compiled core."""


def compile_command(arguments: Namespace) -> int:
    """Compile what is not compiled yet; without a compiler the sources go on running, which is no failure."""
    if core_folder().is_dir():
        return 0
    try:
        require_tools()
        say("compiling the simulator's core (under a minute; it runs at twice the speed then)")
        compile_core(CORES)
    except (NotCompiledError, OSError) as reason:
        say(f"the simulator runs from its Python sources, with the same results but slower: {reason}")
    return 0


def require_tools() -> None:
    """Refuse to start without mypyc and a C compiler."""
    missing = [name for name in ("mypyc", "setuptools") if find_spec(name) is None]
    if missing:
        raise NotCompiledError(f"{' and '.join(missing)} not installed")
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise NotCompiledError(f"no C compiler ({compiler}) found")


def compiled_modules(package: Path) -> list[Path]:
    """Return the sources that are compiled: those of engine and step time that define plain classes and functions."""
    candidates = [path for name in COMPILED_PACKAGES for path in sorted((package / name).glob("*.py"))]
    return [path for path in candidates if path.stem != "__init__" and not NOT_COMPILED.search(path.read_text("utf-8"))]


def compile_core(cores: Path) -> Path:
    """Compile the sources as they are now and return the folder of the compiled modules.

    Works on a copy, so that neither a checkout that cannot be written to nor an edit meanwhile matters; the
    folder appears complete or not at all, whoever else compiles at the same time.

    Raises
    ------
    NotCompiledError
        If mypyc or the C compiler fails; its last line says why.
    """
    cores.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cores, prefix=".making-") as name:
        work = Path(name)
        package = work / PACKAGE.name
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        _run_mypyc(work, [path.relative_to(work).as_posix() for path in compiled_modules(package)])
        made = work / "made"
        for path in sorted({*work.glob(f"*{SUFFIX}"), *package.rglob(f"*{SUFFIX}")}):
            (made / path.relative_to(work)).parent.mkdir(parents=True, exist_ok=True)
            path.rename(made / path.relative_to(work))
        folder = cores / digest(package)
        if not folder.exists():
            made.rename(folder)
    _forget_old_cores(cores)
    return folder


def _run_mypyc(work: Path, modules: list[str]) -> None:
    flags = (*MYPY_FLAGS, f"--cache-dir={work / 'cache'}")
    settings = {"MYPYC_OPT_LEVEL": "2", "MYPYC_DEBUG_LEVEL": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "mypyc", *flags, *modules],
        cwd=work,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        errors = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line]
        raise NotCompiledError(f"mypyc failed: {errors[0] if errors else f'exit code {done.returncode}'}")


def _forget_old_cores(cores: Path) -> None:
    finished = [path for path in cores.iterdir() if not path.name.startswith(".")]
    for path in sorted(finished, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_CORES:]:
        shutil.rmtree(path, ignore_errors=True)
