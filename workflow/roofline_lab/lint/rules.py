"""What a rule is, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

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
