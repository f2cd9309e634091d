"""Rules about the source code that its text shows (R list of the standards)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from roofline_lab.lint.rules import Breach, Findings, findings
from roofline_lab.lint.subject import Subject, file_of, tables
from roofline_lab.project import Project

PACKAGES = ("simulator", "workflow")
EXITS = frozenset({"exit", "quit", "sys.exit", "os._exit", "os.abort"})
SUMS = frozenset({"sum", "fmean", "mean", "math.fsum", "statistics.fmean"})
UNORDERED_CALLS = frozenset({"set", "frozenset"})
UNORDERED_METHODS = frozenset({"glob", "rglob", "iterdir"})
# The one module that may derive from pydantic's own record, because it makes the strict one.
STRICT_RECORD = "simulator/validation.py"
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
DOCUMENTS = ("README.md", "docs/*.md", "reports/*.md", "reports/*/*.md")
# Rules that only a running program shows, and the tests that hold them.
HELD_BY_TESTS: Mapping[str, tuple[str, ...]] = {
    "R3": ("tests/simulator/steptime/test_bad_options.py", "tests/simulator/cli/test_bad_input.py"),
    "R7": ("tests/simulator/engine/test_two_engines.py", "tests/simulator/engine/test_preemption.py"),
    "R18": ("tests/roofline_lab/test_project.py",),
    "R20": ("tests/roofline_lab/scoring/test_errors.py", "tests/roofline_lab/scoring/test_statistics.py"),
    "R23": ("tests/simulator/steptime/test_price_and_explain.py",),
}


def no_silent_loss(subject: Subject) -> Findings:
    """R1: every run of the matrix has its numbers or is named with a reason."""
    spec = subject.measured
    if spec is None or not subject.numbers:
        return findings("nothing to count")
    there = {(row["method"], row["arm"], row["load_point"], row["key"], row["metric"]) for row in subject.numbers}
    named = {
        (row["Experiment"], row["Arm"], row["Load point"])
        for rows in tables(subject.page)
        for row in rows
        if {"Experiment", "Arm", "Load point", "Reason"} <= set(row)
    }
    breaches = []
    runs = [
        (method, arm, point.id, experiment.id, metric.value)
        for method in spec.methods
        for arm in spec.arms
        for experiment in subject.project.experiments(spec.id)
        for point in experiment.load_points
        for metric in spec.metrics
    ]
    for run in runs:
        if run not in there and (run[3], run[1], run[2]) not in named:
            breaches.append(
                Breach(
                    f"reports/{subject.id}/numbers.csv",
                    f"no number and no reason for {', '.join(run)}",
                    "run `snakemake`; a run that cannot be done is a row with its reason",
                )
            )
    return findings(f"{len(runs)} runs x metrics are numbers or named", breaches)


def ordered_sums(project: Project) -> Findings:
    """R2: no float is summed in the order of a set or of a folder listing."""
    return _over_sources(project, _unordered_sums, "sums over sets or folder listings")


def strict_records(project: Project) -> Findings:
    """R10: every validated record refuses unknown keys, or says what becomes of them."""
    return _over_sources(project, _loose_records, "records that accept unknown keys")


def library_never_exits(project: Project) -> Findings:
    """R6: only entry points end the process."""
    return _over_sources(project, _exits, "exits outside entry points")


def loops_end(project: Project) -> Findings:
    """R19: an endless loop has a way out."""
    return _over_sources(project, _endless_loops, "loops without a way out")


def references_resolve(project: Project) -> Findings:
    """R15: links between documents of the project lead somewhere."""
    root = project.root
    pages = sorted({path for pattern in DOCUMENTS for path in root.glob(pattern)})
    breaches = [breach for page in pages for breach in _dead_links(page, root)]
    return findings(f"links of {len(pages)} documents", breaches)


def held_by_tests(rule: str) -> Callable[[Project], Findings]:
    """Return the check that the tests which hold a rule are there."""

    def check(project: Project) -> Findings:
        """Look for the tests that hold a rule only a running program shows."""
        names = HELD_BY_TESTS[rule]
        breaches = [
            Breach(name, "holds this rule and is missing or has no test", "restore it, or name the test that holds it")
            for name in names
            if not _has_tests(project.root / name)
        ]
        return findings(f"held by {', '.join(names)}", breaches)

    return check


def _has_tests(path: Path) -> bool:
    return path.is_file() and "def test_" in path.read_text(encoding="utf-8")


def _over_sources(
    project: Project, look: Callable[[ast.Module, str], Iterable[tuple[int, str, str]]], what: str
) -> Findings:
    paths = sorted(path for name in PACKAGES for path in (project.root / name).rglob("*.py"))
    breaches = []
    for path in paths:
        name = path.relative_to(project.root).as_posix()
        breaches += [Breach(f"{name}:{line}", said, remedy) for line, said, remedy in look(_parsed(path), name)]
    return findings(f"{len(paths)} files searched for {what}", breaches)


@lru_cache(maxsize=512)
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _unordered_sums(tree: ast.Module, name: str) -> Iterator[tuple[int, str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in SUMS and node.args and _is_unordered(node.args[0]):
            yield node.lineno, "a sum in the order of a set or folder", "sort before summing"


def _is_unordered(node: ast.expr) -> bool:
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return _is_unordered(node.generators[0].iter)
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Call):
        return _called(node) in UNORDERED_CALLS or (
            isinstance(node.func, ast.Attribute) and node.func.attr in UNORDERED_METHODS
        )
    return False


def _loose_records(tree: ast.Module, name: str) -> Iterator[tuple[int, str, str]]:
    if name == STRICT_RECORD:
        return
    for node in (one for one in ast.walk(tree) if isinstance(one, ast.ClassDef)):
        derived = any(ast.unparse(base) == "BaseModel" for base in node.bases)
        if derived and "extra=" not in ast.unparse(node):
            yield node.lineno, f"'{node.name}' accepts unknown keys", "derive it from simulator.validation.StrictModel"


def _exits(tree: ast.Module, name: str) -> Iterator[tuple[int, str, str]]:
    guarded = {id(each) for node in ast.walk(tree) if _is_entry_point(node) for each in ast.walk(node)}
    for node in (one for one in ast.walk(tree) if isinstance(one, ast.Call | ast.Raise)):
        if id(node) in guarded:
            continue
        ends = (isinstance(node, ast.Call) and _called(node) in EXITS) or (
            isinstance(node, ast.Raise) and node.exc is not None and "SystemExit" in ast.unparse(node.exc)
        )
        if ends:
            yield node.lineno, "ends the process", "raise a RooflineLabError and let the command line exit"


def _is_entry_point(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def _endless_loops(tree: ast.Module, name: str) -> Iterator[tuple[int, str, str]]:
    for node in (one for one in ast.walk(tree) if isinstance(one, ast.While)):
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        if endless and not any(isinstance(one, ast.Break | ast.Return | ast.Raise) for one in ast.walk(node)):
            yield node.lineno, "a loop without a way out", "bound it, or return, break or raise"


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def _dead_links(page: Path, root: Path) -> Iterator[Breach]:
    text = page.read_text(encoding="utf-8")
    for target in dict.fromkeys(LINK.findall(text)):
        if "://" in target or target.startswith("mailto:"):
            continue
        relative = (page.parent / target).resolve()
        if not relative.is_relative_to(root) or file_of(root, relative.relative_to(root).as_posix()) is None:
            yield Breach(
                page.relative_to(root).as_posix(), f"links to '{target}', which does not exist", "correct the link"
            )
