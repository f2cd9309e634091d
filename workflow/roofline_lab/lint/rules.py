"""What a rule is, what it looks at, and what became of it.

A rule looks at one hypothesis as a `Subject` (its spec, its author's files and its committed report) or at the project
as a whole. What a report concludes is read from `verdict.json` and `numbers.csv`, never from the tables of its page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from roofline_lab.hypotheses.arms import Arm
from roofline_lab.hypotheses.expectations import FILE as EXPECTATIONS_FILE
from roofline_lab.hypotheses.expectations import ComputedExpectation, read_expectations
from roofline_lab.hypotheses.spec import Hypothesis
from roofline_lab.hypotheses.synthetic.resolve import methods_of, resolve_arms
from roofline_lab.hypotheses.synthetic.spec import SyntheticHypothesis
from roofline_lab.hypotheses.verdict import VERDICT_FILE, Conclusion, read_conclusions
from roofline_lab.places import PACKAGE, SHIPPED
from roofline_lab.project import Project
from roofline_lab.scoring.numbers import finite, read_numbers, report_record
from simulator.errors import ConfigError
from simulator.input_files import decoded, read_text

# Where a finding is about the project as a whole.
PROJECT = "-"
Read = TypeVar("Read")


class Checked(StrEnum):
    """How much of a rule a machine can check."""

    AUTOMATIC = "automatic"
    SEMI_AUTOMATIC = "semi-automatic"


@dataclass(frozen=True, slots=True)
class Breach:
    """One place where a rule is broken, and the remedy."""

    where: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What one check found.

    Attributes
    ----------
    checked
        What was looked at, in words.
    notes
        What the rule asks for and nobody has stated; no breach.
    """

    checked: str
    breaches: tuple[Breach, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the standards: its number, what it asks for and the function that checks it."""

    id: str
    statement: str
    checked: Checked
    check: Callable[..., Findings] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Result:
    """One rule on one hypothesis (or on the project)."""

    rule: Rule
    hypothesis: str
    findings: Findings

    @property
    def lines(self) -> tuple[str, ...]:
        """One line per breach."""
        return tuple(
            f"{self.rule.id} {self.hypothesis} {breach.where}: {breach.what}; {breach.remedy}"
            for breach in self.findings.breaches
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """One line per note."""
        return tuple(f"{self.rule.id} {self.hypothesis} note: {note}" for note in self.findings.notes)


def findings(checked: str, breaches: Iterable[Breach] = (), notes: Iterable[str] = ()) -> Findings:
    """Collect what one check found."""
    return Findings(checked, tuple(breaches), tuple(notes))


@dataclass(frozen=True)
class Subject:
    """One hypothesis to be judged by the standards."""

    project: Project
    id: str

    @property
    def spec(self) -> Hypothesis | SyntheticHypothesis:
        """The validated spec."""
        return self.project.hypotheses.get(self.id) or self.project.synthetic[self.id]

    @property
    def measured(self) -> Hypothesis | None:
        """The spec of a hypothesis that is judged against measurements, else None."""
        return self.spec if isinstance(self.spec, Hypothesis) else None

    @property
    def file(self) -> str:
        """The spec's file, for messages."""
        return f"hypotheses/{self.id}/hypothesis.yaml"

    @property
    def discussion_file(self) -> str:
        """The discussion's file, for messages."""
        return f"hypotheses/{self.id}/discussion.md"

    @property
    def page_file(self) -> str:
        """The committed page, for messages."""
        return f"reports/{self.id}/FINDINGS.md"

    @property
    def discussion(self) -> Mapping[str, str]:
        """Sections of the discussion."""
        return self.project.discussions[self.id].sections

    @cached_property
    def page(self) -> str:
        """The committed page, or an empty text."""
        return self._read("FINDINGS.md", decoded) or ""

    @cached_property
    def provenance(self) -> Provenance | None:
        """The committed provenance record; None where there is none."""
        return self._read("provenance.json", _provenance)

    @cached_property
    def expectations(self) -> Mapping[int, ComputedExpectation]:
        """Committed expectations by the position of their finding."""
        found = self._read(EXPECTATIONS_FILE, read_expectations) or ()
        return {expectation.finding: expectation for expectation in found}

    @cached_property
    def verdicts(self) -> tuple[Conclusion, ...]:
        """What each method concludes, as `verdict.json` says; none without a report."""
        return self._read(VERDICT_FILE, read_conclusions) or ()

    @cached_property
    def numbers(self) -> Mapping[tuple[str, str, str, str, str], Mapping[tuple[str, str], float]]:
        """Values of the committed `numbers.csv`.

        By method, arm, metric, scope and statistic, and in each by load point and key.
        """
        found: dict[tuple[str, str, str, str, str], dict[tuple[str, str], float]] = {}
        for key, (text, line) in (self._read("numbers.csv", read_numbers) or {}).items():
            method, arm, load_point, scope, name, metric, statistic, _ = key
            value = finite(text, f"{self._path('numbers.csv')}: line {line}")
            found.setdefault((method, arm, metric, scope, statistic), {})[load_point, name] = value
        return found

    def problems(self) -> Iterator[str]:
        """Yield why files of the committed report cannot be read, one message each."""
        for name in ("page", "provenance", "expectations", "verdicts", "numbers"):
            try:
                getattr(self, name)
            except ConfigError as error:
                yield str(error)

    @cached_property
    def arms(self) -> Mapping[str, Sequence[Arm]]:
        """Resolved arms by method (or by kernels)."""
        spec = self.spec
        if isinstance(spec, SyntheticHypothesis):
            return {method: tuple(resolve_arms(spec, method)) for method in methods_of(self.project, spec)}
        return {method: self.project.arms(self.id, method) for method in self.measured_spec.methods}

    @property
    def measured_spec(self) -> Hypothesis:
        """The spec of a hypothesis known to be judged against measurements."""
        return self.project.hypotheses[self.id]

    def predicted(self, method: str, arm: str, metric: str) -> Mapping[tuple[str, str], float]:
        """Return predicted means in ms by (load point, experiment) from the committed numbers."""
        return self.numbers.get((method, arm, metric, "experiment", "predicted"), {})

    def overall(self, method: str, arm: str, metric: str, statistic: str) -> float | None:
        """Return one overall number of the committed report."""
        return next(iter(self.numbers.get((method, arm, metric, "overall", statistic), {}).values()), None)

    def _read(self, name: str, read: Callable[[bytes, str], Read]) -> Read | None:
        """Return what a reader makes of a file of the committed report; None where it is not there."""
        path = self.project.root / self._path(name)
        return read(read_text(path).encode(), self._path(name)) if path.is_file() else None

    def _path(self, name: str) -> str:
        return f"reports/{self.id}/{name}"


class Provenance(BaseModel):
    """What is read of a committed `provenance.json`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    hashes: dict[str, str]


def _provenance(content: bytes, source: str) -> Provenance:
    return report_record(Provenance, content, source)


def cited_file(root: Path, path: str) -> Path | None:
    """Return a file a text cites: of the project, else one that comes with the package, by its name in a clone."""
    inside = path.removeprefix("workflow/")
    return file_of(root, path) or file_of(SHIPPED, path) or file_of(PACKAGE.parent, inside)


def file_of(root: Path, path: str) -> Path | None:
    """Return a project file or folder by its relative name, or None where there is none inside the project."""
    try:
        found = (root / path).resolve()
        return found if found.exists() and found.is_relative_to(root.resolve()) else None
    except (OSError, ValueError):  # a name that no file can have
        return None
