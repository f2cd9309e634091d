"""The floors of the house: imports only go down, files stay small, and only the edges print or exit.

From the ground up: errors and validation; model and hardware; kernels; step time; engine; workload and
request times; metrics; the command line, and the laboratory; the rules.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 400
# Floor of every room, by the longest matching prefix of a module's name.
FLOORS = {
    "simulator": 0,
    "simulator.errors": 0,
    "simulator.validation": 0,
    "simulator.hardware": 1,
    "simulator.huggingface": 1,
    "simulator.model": 1,
    "simulator.kernels": 2,
    "simulator.steptime": 3,
    "simulator.engine": 4,
    "simulator.workload": 5,
    "simulator.request_times": 5,
    "simulator.conversions": 5,
    "simulator.metrics": 6,
    "simulator.occupancy": 6,
    "simulator.cli": 7,
    "simulator.__main__": 8,
    "workflow": 9,
}
FORBIDDEN_IN_THE_SIMULATOR = {"workflow", "snakemake", "pandas", "matplotlib", "jinja2", "numba", "scipy"}
# Command lines, and the one function through which jobs say how far they are.
MAY_PRINT = re.compile(r"^simulator/cli/|^workflow/lib/commands/|/(__main__|command)\.py$|^workflow/lib/pipeline\.py$")


def sources(*packages):
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(node):
    """Return the modules that one import statement loads."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def imports(path):
    """Return every module a file imports, inside functions too."""
    return [name for node in ast.walk(tree_of(path)) for name in imported(node)]


def top_level_imports(path):
    """Return the modules that are loaded when a file is, type checking left out."""
    return [name for node in tree_of(path).body for name in imported(node)]


def floor_of(module):
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        floor = FLOORS.get(".".join(parts[:length]))
        if floor is not None:
            return floor
    return None


def is_main_guard(node):
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


SOURCES = sources("simulator", "workflow")
each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())


def test_an_import_never_goes_upward():
    upward = [
        f"{module} imports {name}"
        for path in SOURCES
        for module in (module_of(path),)
        for name in imports(path)
        if (floor := floor_of(name)) is not None and floor > floor_of(module)
    ]
    assert upward == []


def test_every_room_of_the_simulator_has_a_floor():
    rooms = {".".join(module_of(path).split(".")[:2]) for path in sources("simulator")}
    assert rooms <= set(FLOORS)


def test_the_simulator_knows_neither_the_laboratory_nor_its_tools():
    found = [
        f"{module_of(path)} imports {name}"
        for path in sources("simulator")
        for name in imports(path)
        if name.split(".")[0] in FORBIDDEN_IN_THE_SIMULATOR
    ]
    assert found == []


def test_the_simulator_loads_numpy_only_where_it_is_used():
    found = [
        module_of(path)
        for path in sources("simulator")
        for name in top_level_imports(path)
        if name.split(".")[0] == "numpy"
    ]
    assert found == []


def test_only_the_pipeline_and_what_tames_the_scheduler_know_snakemake():
    users = {module_of(path) for path in sources("workflow") for name in imports(path) if name.startswith("snakemake")}
    assert users == {"workflow.lib.pipeline", "workflow.lib.scheduling"}


def test_modules_do_not_import_each_other_in_circles():
    names = {module_of(path) for path in SOURCES}
    graph = {
        module_of(path): {target for name in top_level_imports(path) for target in (_known(name, names),) if target}
        for path in SOURCES
    }
    done = set()
    while ready := {name for name in graph if name not in done and graph[name] - {name} <= done}:
        done |= ready
    assert set(graph) - done == set()


def _known(name, names):
    return name if name in names else parent if (parent := name.rpartition(".")[0]) in names else None


@each_source
def test_no_file_is_longer_than_a_reader_can_hold(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@each_source
def test_every_module_states_its_contract(path):
    docstring = ast.get_docstring(tree_of(path))
    assert docstring
    assert len(docstring) > 20


@each_source
def test_only_a_main_guard_ends_the_process(path):
    tree = tree_of(path)
    guarded = {inner for node in tree.body if is_main_guard(node) for inner in ast.walk(node)}
    ends = [
        node.lineno
        for node in ast.walk(tree)
        if node not in guarded
        and (
            (isinstance(node, ast.Call) and ast.unparse(node.func) in ("sys.exit", "exit", "quit", "os._exit"))
            or (isinstance(node, ast.Raise) and node.exc is not None and "SystemExit" in ast.unparse(node.exc))
        )
    ]
    assert ends == []


@each_source
def test_only_command_lines_and_the_progress_channel_print(path):
    calls = [
        node.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "pprint", "sys.stdout.write")
    ]
    assert calls == [] or MAY_PRINT.search(path.relative_to(ROOT).as_posix())


@each_source
def test_nothing_swallows_every_exception(path):
    bare = [
        node.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    ]
    assert bare == []


@each_source
def test_a_random_number_has_a_seed(path):
    unseeded = [
        ast.unparse(node)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and re.fullmatch(r"(np|numpy)\.random\.default_rng|(random\.)?Random", ast.unparse(node.func))
        and not node.args
    ]
    # The functions of the module `random` share one generator nobody seeds.
    shared = [name for name in imports(path) if re.fullmatch(r"random\.(?!Random)\w+", name)]
    assert unseeded == []
    assert shared == []


@pytest.mark.parametrize("path", sorted((ROOT / "workflow" / "rules").glob("*.smk")), ids=lambda path: path.name)
def test_rules_only_declare_and_call_the_laboratory(path):
    """Each `run:` is a single call; what it does is a function that tests can reach."""
    text = path.read_text(encoding="utf-8")
    bodies = re.findall(r"^( *)run:\n((?:\1 +.*\n?)+)", text, flags=re.MULTILINE)
    for _, body in bodies:
        lines = [line.strip() for line in body.splitlines() if line.strip()]
        assert re.fullmatch(r"\w+\.\w+_job\(.*\)", " ".join(lines)), lines
    assert not re.search(r"^\s*(shell|script):", text, flags=re.MULTILINE)
    assert "import workflow" not in text
