"""Words and conclusions: closed vocabularies, and a status that its criteria allow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from roofline_lab.lint.rules import Breach, Findings, findings
from roofline_lab.lint.subject import Row, Subject
from roofline_lab.vocabulary import FAMILY_LABELS, PURPOSE_LABELS, CriterionResult, FindingType, Resolution, Status

HEADER = re.compile(r"^- \*\*([^*]+):\*\* (.+)$", re.MULTILINE)
TODO = re.compile(r"\bTODO\b")
CONFIRMED = frozenset({Status.CONFIRMED.value, Status.CONFIRMED_WITH_NUANCE.value})


def vocabularies(subject: Subject) -> Findings:
    """Check that the page's header and findings table use words of the closed lists only."""
    allowed: Mapping[str, frozenset[str]] = {
        "Status": _words(Status),
        "Resolution": _words(Resolution),
        "Family": frozenset(FAMILY_LABELS.values()),
        "VV&UQ": frozenset(PURPOSE_LABELS.values()),
    }
    header = {name: value.partition(" (")[0] for name, value in HEADER.findall(subject.page)}
    breaches = [
        Breach(
            f"{subject.page_file}: {name}",
            f"'{header[name]}' is not in the closed list",
            f"use one of: {', '.join(sorted(words))}",
        )
        for name, words in allowed.items()
        if name in header and header[name] not in words
    ]
    if subject.page and not set(allowed) <= set(header):
        missing = ", ".join(sorted(set(allowed) - set(header)))
        breaches.append(Breach(subject.page_file, f"the header lacks {missing}", "regenerate it with `snakemake`"))
    types = {finding.type for finding in subject.spec.findings}
    foreign = sorted(kind for kind in types if kind not in _words(FindingType))
    breaches += [Breach(f"{subject.file}: findings", f"type '{kind}'", "use a listed type") for kind in foreign]
    return findings(f"{len(header)} header entries", breaches)


def finished(subject: Subject) -> Findings:
    """Check that no text of the author still says what is to be done."""
    root = subject.project.root
    files = [subject.file, subject.discussion_file]
    breaches = [
        Breach(f"{file}:{number}", "says TODO", "write the text")
        for file in files
        for number, line in enumerate((root / file).read_text(encoding="utf-8").splitlines(), start=1)
        if TODO.search(line.partition(" # ")[0]) and not line.lstrip().startswith("#")
    ]
    return findings(f"{len(files)} files", breaches)


def status_follows(subject: Subject) -> Findings:
    """Check that each method's status is one its criteria allow."""
    if not subject.page:
        breach = Breach(subject.page_file, "there is no report", "run `snakemake` and commit reports/")
        return findings("no report", [breach])
    statuses, criteria = subject.statuses(), subject.criteria()
    if not statuses or len(statuses) != len(criteria):
        breach = Breach(
            subject.page_file,
            f"{len(statuses)} statuses and {len(criteria)} tables of criteria",
            "regenerate it with `snakemake`",
        )
        return findings("the page cannot be read", [breach])
    breaches = [
        Breach(f"{subject.page_file}: Status", why, "regenerate it with `snakemake`; a status is never typed")
        for status, rows in zip(statuses, criteria, strict=True)
        for why in _contradictions(status, rows)
    ]
    return findings(f"{len(statuses)} statuses against {sum(map(len, criteria))} criteria and controls", breaches)


def _contradictions(status: str, rows: Sequence[Row]) -> Iterator[str]:
    """Yield why a status cannot stand beside these results; deliberately not the rule that set it."""
    criteria = {row["Id"]: _result(row) for row in rows if row["Role"].startswith("criterion")}
    decisive = {row["Id"]: _result(row) for row in rows if "decisive" in row["Role"]}
    failed = [name for name, result in criteria.items() if result == CriterionResult.FAIL]
    open_ = [name for name, result in criteria.items() if result == CriterionResult.NOT_MEASURED]
    if status in CONFIRMED and failed:
        yield f"'{status}', although {', '.join(failed)} failed"
    if status in CONFIRMED and open_:
        yield f"'{status}', although {', '.join(open_)} was not measured"
    if status != Status.REFUTED and CriterionResult.FAIL in decisive.values():
        yield f"'{status}', although a decisive criterion failed"
    if status == Status.REFUTED and not failed:
        yield "'Refuted', although no criterion failed"
    if status == Status.CONFIRMED and any(_result(row) != CriterionResult.PASS for row in rows):
        yield "'Confirmed', although not every criterion and control passed"


def _result(row: Row) -> str:
    return row["Result"].strip("*")


def _words(words: type[StrEnum]) -> frozenset[str]:
    return frozenset(word.value for word in words)
