"""The floors of the house: imports only go down, files stay small, and only the edges print or exit.

The ladder stands in `FLOORS`: a folder or a module of a package's top level, from the ground up. What lies deeper
belongs to the floor of its folder, unless a longer name is listed.
"""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.paths import ROOT

MAX_LINES = 600
LADDER = (
    ("simulator", "simulator.compiled", "simulator.errors", "simulator.input_files", "simulator.validation"),
    (
        "simulator.gpu_names",
        "simulator.hardware",
        "simulator.huggingface",
        "simulator.loading",
        "simulator.model",
        "simulator.model_files",
        "simulator.parallelism",
        "simulator.quantization",
    ),
    ("simulator.kernels",),
    ("simulator.memory", "simulator.steptime"),
    ("simulator.engine",),
    ("simulator.workload", "simulator.request_times", "simulator.conversions"),
    ("simulator.metrics", "simulator.occupancy", "simulator.saturation", "simulator.trust"),
    ("simulator.slo",),
    ("simulator.cli",),
    ("simulator.__main__",),
    ("roofline_lab", "roofline_lab.places"),
    ("roofline_lab.config", "roofline_lab.files", "roofline_lab.formatting", "roofline_lab.vocabulary"),
    ("roofline_lab.made",),
    ("roofline_lab.author_texts", "roofline_lab.rendering"),
    ("roofline_lab.ground_truth",),
    ("roofline_lab.importers", "roofline_lab.scoring"),
    ("roofline_lab.simulators",),
    ("roofline_lab.hypotheses",),
    ("roofline_lab.project",),
    ("roofline_lab.client_overhead", "roofline_lab.provenance", "roofline_lab.run_files"),
    ("roofline_lab.load_point",),
    ("roofline_lab.trust",),
    ("roofline_lab.calibration", "roofline_lab.errata", "roofline_lab.lint", "roofline_lab.residuals"),
    ("roofline_lab.predict",),
    ("roofline_lab.capacity",),
    ("roofline_lab.regression",),
    ("roofline_lab.report",),
    ("roofline_lab.site",),
    ("roofline_lab.jobs", "roofline_lab.json_schemas", "roofline_lab.scheduling"),
    ("roofline_lab.cli",),
    ("roofline_lab.__main__", "roofline_lab.manual"),
)
FLOORS = {name: floor for floor, names in enumerate(LADDER) for name in names}
FORBIDDEN_IN_THE_SIMULATOR = {"roofline_lab", "snakemake", "pandas", "matplotlib", "jinja2", "numba", "scipy"}
# Command lines, and the one function through which jobs say how far they are.
MAY_PRINT = re.compile(r"^simulator/cli/|^workflow/roofline_lab/(cli/|jobs/progress\.py$)|/__main__\.py$")
# Where a package starts: `simulator/` lies at the root, `roofline_lab/` in the folder of the pipeline.
PACKAGES = {"simulator": ROOT, "roofline_lab": ROOT / "workflow"}


def sources(*packages):
    return sorted(path for package in packages for path in (PACKAGES[package] / package).rglob("*.py"))


def module_of(path):
    base = next(folder for package, folder in PACKAGES.items() if path.is_relative_to(folder / package))
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


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


SOURCES = sources("simulator", "roofline_lab")
NAMES = {module_of(path) for path in SOURCES}
each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())


def known(name):
    """Return the module an imported name lives in, or None if it is not ours."""
    return name if name in NAMES else parent if (parent := name.rpartition(".")[0]) in NAMES else None


def graph(of):
    """Return module -> the modules of the project it imports, as `of` finds them in a file."""
    return {
        module_of(path): {target for name in of(path) if (target := known(name)) and target != module_of(path)}
        for path in SOURCES
    }


def circles(arrows):
    """Return the modules that import each other in a circle, those between two circles included."""
    left = {name: set(targets) for name, targets in arrows.items()}
    while loose := {name for name in left if not left[name] or not any(name in targets for targets in left.values())}:
        left = {name: targets - loose for name, targets in left.items() if name not in loose}
    return set(left)


def test_an_import_never_goes_upward_not_even_inside_a_function():
    upward = [
        f"{module} imports {name}"
        for path in SOURCES
        for module in (module_of(path),)
        for name in imports(path)
        if (floor := floor_of(name)) is not None and floor > floor_of(module)
    ]
    assert upward == []


def test_every_folder_and_every_module_of_a_package_has_a_floor():
    rooms = {".".join(module_of(path).split(".")[:2]) for path in SOURCES}
    assert rooms == set(FLOORS) & rooms
    assert set(FLOORS) == {name for name in FLOORS if name in NAMES}, "a floor for a room that is not there"


def test_modules_do_not_import_each_other_in_circles_not_even_inside_a_function():
    assert circles(graph(imports)) == set()


def test_no_module_only_hands_on_what_others_define():
    """A second place for a name is a detour for the reader; the one lazy front door of the simulator is meant."""
    only_imports = (ast.Import, ast.ImportFrom, ast.Expr, ast.Assign)
    handing_on = [
        module_of(path)
        for path in SOURCES
        if any(known(name) for name in top_level_imports(path) if not name.startswith("__future__"))
        and all(isinstance(node, only_imports) for node in tree_of(path).body)
        and not any(isinstance(node, ast.Assign) and not _is_all(node) for node in tree_of(path).body)
    ]
    assert handing_on == []


def _is_all(node):
    return ast.unparse(node.targets[0]) == "__all__"


def test_the_tests_stand_in_the_rooms_they_test():
    """`tests/roofline_lab/<folder>` and `tests/simulator/<folder>` exist only where the package has the folder."""
    homes = {"simulator": ROOT / "tests" / "simulator", "roofline_lab": ROOT / "tests" / "roofline_lab"}
    lost = [
        folder.relative_to(ROOT).as_posix()
        for package, tests in homes.items()
        for folder in sorted(tests.rglob("*"))
        if folder.is_dir()
        and any(folder.glob("test_*.py"))
        and not (PACKAGES[package] / package / folder.relative_to(tests)).is_dir()
    ]
    assert lost == []


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
    users = {
        module_of(path) for path in sources("roofline_lab") for name in imports(path) if name.startswith("snakemake")
    }
    assert users == {"roofline_lab.jobs.findings", "roofline_lab.scheduling"}


@each_source
def test_no_file_is_longer_than_a_reader_can_hold(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@each_source
def test_every_module_states_its_contract(path):
    docstring = ast.get_docstring(tree_of(path))
    assert docstring
    assert len(docstring) > 20


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
    """Each `run:` is a single call of a function that tests can reach; it has the name of its rule."""
    text = path.read_text(encoding="utf-8")
    for block in re.split(r"^ *rule(?= \w+:|:)", text, flags=re.MULTILINE)[1:]:
        name = re.match(r" ?(\w*):", block)[1]
        for _, body in re.findall(r"^( *)run:\n((?:\1 +.*\n?)+)", block, flags=re.MULTILINE):
            lines = [line.strip() for line in body.splitlines() if line.strip()]
            assert re.fullmatch(rf"\w+\.{name or '[a-z_]+'}\(.*\)", " ".join(lines)), lines
    assert not re.search(r"^\s*(shell|script):", text, flags=re.MULTILINE)
    assert "import workflow" not in text
