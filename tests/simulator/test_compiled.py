"""The compiled core gives what the sources give, and is never used for other sources than its own."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

import pytest

from simulator import compiled
from simulator.cli import compile as compiling
from simulator.compiled import PACKAGE, PURE_VARIABLE, core_folder, digest

ROOT = PACKAGE.parent
CORPUS = "tests.simulator.compiled_corpus"
needs_core = pytest.mark.skipif(
    not core_folder().is_dir(), reason="these sources are not compiled; `python -m simulator compile` does it"
)
WHERE = "import simulator.engine.server as module; print(module.__file__)"


def output(*arguments: str, pure: bool) -> str:
    """Return what a fresh interpreter prints, with the compiled core or without."""
    others = {name: value for name, value in os.environ.items() if name != PURE_VARIABLE}
    environment = others | ({PURE_VARIABLE: "1"} if pure else {})
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def copied(tmp_path):
    """Return a copy of the package's sources."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "simulator", ignore=shutil.ignore_patterns("__pycache__")))


@needs_core
def test_compiled_and_pure_give_identical_bytes():
    fast, plain = (output("-m", CORPUS, pure=pure).splitlines() for pure in (False, True))
    assert (fast[0], plain[0]) == ("compiled: True", "compiled: False")
    assert len(plain) > 10_000
    differing = [pair for pair in zip(fast[1:], plain[1:], strict=True) if pair[0] != pair[1]]
    assert differing[:1] == []


@needs_core
def test_the_core_is_loaded_where_it_is_and_the_sources_where_they_are_asked_for():
    assert output("-c", WHERE, pure=False).startswith(str(core_folder()))
    assert output("-c", WHERE, pure=True).strip() == str(PACKAGE / "engine" / "server.py")


def test_the_compiled_modules_are_those_that_are_worth_it_and_none_that_must_stay_python():
    found = {path.relative_to(PACKAGE).as_posix() for path in compiling.compiled_modules(PACKAGE)}
    assert {"engine/server.py", "engine/scheduler.py", "engine/kv_cache.py", "steptime/roofline.py"} <= found
    assert not {"engine/options.py", "engine/records.py", "engine/loop.py", "steptime/base.py"} & found


def test_no_compiled_module_adds_up_a_generator():
    """Compiled, the terms of a generator are added one by one, without the compensation of Python 3.12's `sum`."""
    calls = [
        f"{path.name}:{node.lineno}"
        for path in compiling.compiled_modules(PACKAGE)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sum" and isinstance(node.args[0], ast.GeneratorExp)
    ]
    assert calls == []


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
def test_the_compiled_modules_have_the_types_they_state():
    """A wrong type is an error once compiled, so nothing would be compiled any more."""
    if core_folder().is_dir():
        return
    names = [path.relative_to(ROOT).as_posix() for path in compiling.compiled_modules(PACKAGE)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *compiling.MYPY_FLAGS, f"--cache-dir={os.devnull}", *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_any_edit_of_any_source_makes_another_digest(copied):
    assert digest(copied) == digest()
    for name in ("engine/server.py", "steptime/gemm.py", "validation.py", "hardware.py"):
        source = copied / name
        text = source.read_text(encoding="utf-8")
        source.write_text(text + "\n", encoding="utf-8")
        assert digest(copied) != digest(), name
        source.write_text(text, encoding="utf-8")
    assert digest(copied) == digest()
    (copied / "engine" / "new.py").touch()
    assert digest(copied) != digest()


def test_what_python_caches_does_not_change_the_digest(copied):
    (copied / "__pycache__").mkdir()
    (copied / "__pycache__" / "errors.cpython-311.pyc").write_bytes(b"byte code")
    assert digest(copied) == digest()


def test_a_core_of_other_sources_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "CORES", tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delenv(PURE_VARIABLE, raising=False)
    (tmp_path / "0123456789abcdef").mkdir()
    assert not compiled.use_compiled()
    (tmp_path / digest()).mkdir()
    assert compiled.use_compiled()
    monkeypatch.setenv(PURE_VARIABLE, "1")
    assert not compiled.use_compiled()


def test_without_a_compiler_one_line_says_that_the_sources_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compiled, "CORES", tmp_path)
    monkeypatch.setattr(compiling, "CORES", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert compiling.compile_command(Namespace()) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "runs from its Python sources" in err
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_compiled_leaves_nothing_behind_and_says_where_the_error_is(tmp_path, copied, monkeypatch):
    pytest.importorskip("mypyc")
    for path in compiling.compiled_modules(copied):
        path.unlink()
    (copied / "engine" / "broken.py").write_text("count: int = 'many'\n", encoding="utf-8")
    monkeypatch.setattr(compiling, "PACKAGE", copied)
    with pytest.raises(compiling.NotCompiledError, match=r"broken\.py:1: error"):
        compiling.compile_core(tmp_path / "cores")
    assert list((tmp_path / "cores").iterdir()) == []


def test_old_cores_go_when_there_are_many(tmp_path):
    for number in range(compiling.KEPT_CORES + 3):
        folder = tmp_path / f"{number:016x}"
        folder.mkdir()
        os.utime(folder, (number, number))
    compiling._forget_old_cores(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{number:016x}" for number in range(3, compiling.KEPT_CORES + 3)
    ]
