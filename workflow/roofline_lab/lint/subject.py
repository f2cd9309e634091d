"""One hypothesis as the lint sees it: its spec, its author's files and its committed report."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from roofline_lab.hypotheses.arms import Arm
from roofline_lab.hypotheses.expectations import FILE as EXPECTATIONS_FILE
from roofline_lab.hypotheses.spec import Claim, Hypothesis
from roofline_lab.hypotheses.synthetic.resolve import methods_of, resolve_arms
from roofline_lab.hypotheses.synthetic.spec import SyntheticHypothesis
from roofline_lab.project import Project

Row = Mapping[str, str]
SEPARATOR = re.compile(r"^\|[\s:|-]+\|$")


@dataclass(frozen=True)
class Subject:
    """One hypothesis to be judged by the standards."""

    project: Project
    id: str

    @property
    def spec(self) -> Claim:
        """The validated spec."""
        known: Mapping[str, Claim] = {**self.project.hypotheses, **self.project.synthetic}
        return known[self.id]

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
        return {one["finding"]: one for one in found}

    @cached_property
    def numbers(self) -> tuple[Row, ...]:
        """Rows of the committed `numbers.csv`."""
        return tuple(csv.DictReader(io.StringIO(self._report("numbers.csv"))))

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

    def predicted(self, method: str, arm: str, metric: str) -> dict[tuple[str, str], float]:
        """Return predicted means in ms by (load point, experiment) from the committed numbers."""
        wanted = {"method": method, "arm": arm, "metric": metric, "scope": "experiment", "statistic": "predicted"}
        rows = (row for row in self.numbers if all(row[key] == value for key, value in wanted.items()))
        return {(row["load_point"], row["key"]): float(row["value"]) for row in rows}

    def overall(self, method: str, arm: str, metric: str, statistic: str) -> float | None:
        """Return one overall number of the committed report."""
        wanted = {"method": method, "arm": arm, "metric": metric, "scope": "overall", "statistic": statistic}
        rows = [row for row in self.numbers if all(row[key] == value for key, value in wanted.items())]
        return float(rows[0]["value"]) if rows else None

    def criteria(self) -> tuple[tuple[Row, ...], ...]:
        """Return the criteria tables of the committed page, one per method."""
        return tuple(rows for rows in tables(self.page) if rows and {"Id", "Role", "Result"} <= set(rows[0]))

    def statuses(self) -> tuple[str, ...]:
        """Return the status per method as the committed page states it."""
        found = next((rows for rows in tables(self.page) if rows and "Status" in rows[0]), ())
        return tuple(row["Status"] for row in found)

    def _report(self, name: str) -> str:
        path = self.project.root / "reports" / self.id / name
        return path.read_text(encoding="utf-8") if path.is_file() else ""


def tables(markdown: str) -> Iterator[tuple[Row, ...]]:
    """Yield the tables of a page, each as rows by column title."""
    lines = markdown.splitlines()
    for index, line in enumerate(lines):
        if index and SEPARATOR.match(line) and lines[index - 1].startswith("|"):
            header = _cells(lines[index - 1])
            yield tuple(dict(zip(header, _cells(row), strict=False)) for row in _body(lines, index + 1))


def _body(lines: Sequence[str], start: int) -> Iterator[str]:
    for line in lines[start:]:
        if not line.startswith("|"):
            return
        yield line


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def file_of(root: Path, path: str) -> Path | None:
    """Return a project file or folder by its relative name, or None where there is none inside the project."""
    found = (root / path).resolve()
    return found if found.exists() and found.is_relative_to(root.resolve()) else None
