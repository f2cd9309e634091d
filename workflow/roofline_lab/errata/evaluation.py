"""Every document judged: which derived cells and which claims follow from its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roofline_lab.errata.claims import Claim, Follows, Judgement, Topic
from roofline_lab.errata.columns import numbers
from roofline_lab.errata.documents import Derived, Document, experiment_table, load_documents, names_of
from roofline_lab.errata.interval import Interval
from roofline_lab.project import Project
from simulator.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CellCheck:
    """One printed cell beside the interval other cells leave for it."""

    group: str
    rule: str
    row: str
    printed: Interval
    follows: Interval

    @property
    def consistent(self) -> bool:
        """Whether some unrounded value fits both."""
        return self.printed.meets(self.follows)

    @property
    def to_the_digit(self) -> bool:
        """Whether computing with the numbers as printed gives the printed number."""
        return self.printed.meets(Interval.exact(self.follows.middle))


@dataclass(frozen=True, slots=True)
class JudgedClaim:
    """One claim with its outcome."""

    claim: Claim
    judgement: Judgement
    details: str


@dataclass(frozen=True)
class JudgedDocument:
    """One document with the outcome of all its checks."""

    document: Document
    cells: tuple[CellCheck, ...]
    claims: tuple[JudgedClaim, ...]

    def chosen(self, follows: Follows, topic: Topic | None = None) -> tuple[JudgedClaim, ...]:
        """Return the claims of one outcome, of one topic if given."""
        return tuple(
            claim
            for claim in self.claims
            if claim.judgement.follows is follows and (topic is None or claim.claim.topic is topic)
        )

    @property
    def counts(self) -> Mapping[Follows, int]:
        """Number of claims by outcome."""
        found = Counter(claim.judgement.follows for claim in self.claims)
        return {follows: found[follows] for follows in Follows}


def evaluate_documents(project: Project) -> tuple[JudgedDocument, ...]:
    """Check every document of the project.

    Raises
    ------
    ConfigError
        Naming document, claim and expression of whatever cannot be computed.
    """
    documents = load_documents(project)
    return judge_documents(documents, experiment_table(project))


def judge_documents(documents: Sequence[Document], experiments: Mapping[str, Any]) -> tuple[JudgedDocument, ...]:
    """Check loaded documents; see `evaluate_documents`."""
    known = tuple(documents)
    return tuple(_judged(document, names_of(document, known, experiments)) for document in known)


def _judged(document: Document, names: Mapping[str, Any]) -> JudgedDocument:
    cells = tuple(check for rule in document.file.derived for check in _cells(document, rule, names))
    return JudgedDocument(document, cells, tuple(_claim(document, claim, names) for claim in document.file.claims))


def _cells(document: Document, rule: Derived, names: Mapping[str, Any]) -> list[CellCheck]:
    where = f"{document.path}: derived.{rule.id}"
    try:
        shown, computed = numbers(rule.printed, names), numbers(rule.follows, names)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    missing = sorted(set(shown) - set(computed))
    if missing:
        raise ConfigError(f"{where}: nothing follows for row '{missing[0]}'")
    return [CellCheck(rule.what, rule.id, row, value, computed[row]) for row, value in shown.items()]


def _claim(document: Document, claim: Claim, names: Mapping[str, Any]) -> JudgedClaim:
    try:
        return JudgedClaim(claim, claim.judge(names), claim.details(names))
    except ConfigError as error:
        raise ConfigError(f"{document.path}: claims.{claim.id}: {error}") from None
