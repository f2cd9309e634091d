"""What a rule is, what it looks at, and what became of it.

A rule looks at one hypothesis as a `Subject` (its spec, its author's files and its committed report) or at the project
as a whole. What a report concludes is read from `verdict.json` and `numbers.csv`, never from the tables of its page.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from roofline_lab.hypotheses.arms import Arm
from roofline_lab.hypotheses.expectations import FILE as EXPECTATIONS_FILE
from roofline_lab.hypotheses.spec import Hypothesis
from roofline_lab.hypotheses.synthetic.resolve import methods_of, resolve_arms
from roofline_lab.hypotheses.synthetic.spec import SyntheticHypothesis
from roofline_lab.hypotheses.verdict import VERDICT_FILE
from roofline_lab.project import Project
from roofline_lab.scoring.numbers import NUMBER_COLUMNS

# Where a finding is about the project as a whole.
PROJECT = "-"


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
        return self.project.discussions[self.id]

    @cached_property
    def page(self) -> str:
        """The committed page, or an empty text."""
        return self._report("FINDINGS.md")

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        """The committed provenance record, or an empty one."""
        text = self._report("provenance.json")
        found: Mapping[str, Any] = json.loads(text) if text else {}
        return found

    @cached_property
    def expectations(self) -> Mapping[int, Mapping[str, Any]]:
        """Committed expectations by the position of their finding."""
        text = self._report(EXPECTATIONS_FILE)
        found: list[Mapping[str, Any]] = json.loads(text) if text else []
        return {expectation["finding"]: expectation for expectation in found}

    @cached_property
    def verdicts(self) -> tuple[Mapping[str, Any], ...]:
        """What each method concludes, as `verdict.json` says; none without a report."""
        text = self._report(VERDICT_FILE)
        return tuple(json.loads(text)["methods"]) if text else ()

    @cached_property
    def numbers(self) -> Mapping[tuple[str, str, str, str, str], Mapping[tuple[str, str], float]]:
        """Values of the committed `numbers.csv`.

        By method, arm, metric, scope and statistic, and in each by load point and key.
        """
        found: dict[tuple[str, str, str, str, str], dict[tuple[str, str], float]] = {}
        rows = csv.reader(self._report("numbers.csv").splitlines())
        place = {name: index for index, name in enumerate(next(rows, NUMBER_COLUMNS))}
        method, arm, metric, scope, statistic, load_point, key, value = (
            place[name] for name in ("method", "arm", "metric", "scope", "statistic", "load_point", "key", "value")
        )
        for row in rows:
            table = found.setdefault((row[method], row[arm], row[metric], row[scope], row[statistic]), {})
            table[row[load_point], row[key]] = float(row[value])
        return found

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

    def _report(self, name: str) -> str:
        path = self.project.root / "reports" / self.id / name
        return path.read_text(encoding="utf-8") if path.is_file() else ""


def file_of(root: Path, path: str) -> Path | None:
    """Return a project file or folder by its relative name, or None where there is none inside the project."""
    found = (root / path).resolve()
    return found if found.exists() and found.is_relative_to(root.resolve()) else None
