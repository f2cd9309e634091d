"""Reports and their words: closed vocabularies, a status its criteria allow, no run lost, links that lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from roofline_lab.hypotheses.discussion import WRITTEN_FOR
from roofline_lab.hypotheses.spec import ActionTest
from roofline_lab.hypotheses.verdict import VERDICT_FILE
from roofline_lab.lint.rules import Breach, Findings, Subject, file_of, findings
from roofline_lab.project import Project
from roofline_lab.vocabulary import FAMILY_LABELS, PURPOSE_LABELS, CriterionResult, FindingType, Resolution, Status
from simulator.input_files import read_text

HEADER = re.compile(r"^- \*\*([^*]+):\*\* (.+)$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
DOCUMENTS = ("README.md", "docs/*.md", "reports/*.md", "reports/*/*.md")
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
        for number, line in enumerate(read_text(root / file).splitlines(), start=1)
        if TODO.search(line.partition(" # ")[0]) and not line.lstrip().startswith("#")
    ]
    return findings(f"{len(files)} files", breaches)


def status_follows(subject: Subject) -> Findings:
    """Check that each method's status is one its criteria allow."""
    if not subject.page:
        breach = Breach(subject.page_file, "there is no report", "run `snakemake` and commit reports/")
        return findings("no report", [breach])
    where = f"reports/{subject.id}/{VERDICT_FILE}"
    if not subject.verdicts:
        breach = Breach(where, "is missing or concludes nothing", "regenerate it with `snakemake`")
        return findings("no verdict", [breach])
    breaches = [
        Breach(f"{where}: {verdict.method}", why, "regenerate it with `snakemake`; a status is never typed")
        for verdict in subject.verdicts
        for why in _contradictions(subject, verdict.status, verdict.criteria)
    ]
    judged = sum(len(verdict.criteria) for verdict in subject.verdicts)
    return findings(f"{len(subject.verdicts)} statuses against {judged} criteria and controls", breaches)


def texts_fit(subject: Subject) -> Findings:
    """Check that findings and discussion name the status they were written for, and that it is the page's."""
    written = {
        f"{subject.file}: {WRITTEN_FOR}": subject.spec.written_for,
        f"{subject.discussion_file}: {WRITTEN_FOR}": subject.project.discussions[subject.id].written_for,
    }
    if not subject.verdicts:
        return findings("no verdict to compare with")
    status = subject.verdicts[-1].status
    breaches = [
        Breach(where, f"'{found}', but the page says '{status}'", "read the text against the page, correct both")
        if found
        else Breach(where, "names no status the text was written for", f"read it against the page, then say '{status}'")
        for where, found in written.items()
        if found != status
    ]
    return findings(f"texts against '{status}'", breaches)


def advice_stands(subject: Subject) -> Findings:
    """Check that no action advises what a later hypothesis refuted, and that each correction names one that did."""
    found = {finding.id: finding for finding in subject.spec.findings if finding.id}
    breaches, refuted = [], set()
    tests = list(_tests_of(subject))
    for later, tested in tests:
        where = f"{subject.file}: findings: {tested.finding}"
        if tested.finding not in found:
            breaches.append(
                Breach(later.file, f"tests_actions: {subject.id} has no such finding: {tested.finding}", "name one")
            )
        elif later.verdicts and tested.falls_with(status := later.verdicts[-1].status):
            refuted.add((tested.finding, later.id))
            if not found[tested.finding].corrected_by:
                told = f"advises what {later.id} refutes ({status})"
                breaches.append(Breach(where, told, f"correct the action, then say corrected_by: {later.id}"))
    breaches += [
        Breach(
            f"{subject.file}: findings: {finding.id or place}",
            f"{finding.corrected_by} refutes no such action",
            "name the hypothesis whose tests_actions do, or none",
        )
        for place, finding in enumerate(subject.spec.findings, start=1)
        if finding.corrected_by and (finding.id, finding.corrected_by) not in refuted
    ]
    return findings(f"{len(tests)} tests of actions by later hypotheses", breaches)


def _tests_of(subject: Subject) -> Iterator[tuple[Subject, ActionTest]]:
    """Yield every later hypothesis that tests an action of this one, with what it tests."""
    for name in subject.project.names:
        later = Subject(subject.project, name)
        yield from ((later, tested) for tested in later.spec.tests_actions if tested.of == subject.id)


def _contradictions(subject: Subject, status: str, results: Mapping[str, str]) -> Iterator[str]:
    """Yield why a status cannot stand beside these results; deliberately not the rule that set it."""
    spec = subject.spec
    criteria = [criterion.id for criterion in spec.criteria if criterion.id in results]
    decisive = [criterion.id for criterion in spec.criteria if criterion.decisive] or criteria[:1]
    failed = [name for name in criteria if results[name] == CriterionResult.FAIL]
    unmeasured = [name for name in criteria if results[name] == CriterionResult.NOT_MEASURED]
    if status in CONFIRMED and failed:
        yield f"'{status}', although {', '.join(failed)} failed"
    if status in CONFIRMED and unmeasured:
        yield f"'{status}', although {', '.join(unmeasured)} was not measured"
    if status != Status.REFUTED and any(results.get(name) == CriterionResult.FAIL for name in decisive):
        yield f"'{status}', although a decisive criterion failed"
    if status == Status.REFUTED and not failed:
        yield "'Refuted', although no criterion failed"
    if status == Status.CONFIRMED and any(result != CriterionResult.PASS for result in results.values()):
        yield "'Confirmed', although not every criterion and control passed"


def no_silent_loss(subject: Subject) -> Findings:
    """R1: every run of the matrix has its numbers or is named with a reason."""
    spec = subject.measured
    if spec is None or not subject.numbers:
        return findings("nothing to count")
    there = {
        (method, arm, metric, experiment, load_point)
        for (method, arm, metric, scope, _), values in subject.numbers.items()
        if scope == "experiment"
        for load_point, experiment in values
    }
    named = {
        (verdict.method, row.arm, row.metric, row.experiment, row.load_point)
        for verdict in subject.verdicts
        for row in verdict.unscored
    }
    runs = [
        (method, arm, metric.value, experiment.id, point.id)
        for method in spec.methods
        for arm in spec.arms
        for experiment in subject.project.experiments(spec.id)
        for point in experiment.load_points
        for metric in spec.metrics
    ]
    breaches = [
        Breach(
            f"reports/{subject.id}/numbers.csv",
            f"no number and no reason for {', '.join((method, arm, load_point, experiment, metric))}",
            "run `snakemake`; a run that cannot be done is a row with its reason",
        )
        for method, arm, metric, experiment, load_point in runs
        if (method, arm, metric, experiment, load_point) not in there | named
    ]
    return findings(f"{len(runs)} runs x metrics are numbers or named", breaches)


def references_resolve(project: Project) -> Findings:
    """R15: links between documents of the project lead somewhere."""
    root = project.root
    pages = sorted({path for pattern in DOCUMENTS for path in root.glob(pattern)})
    breaches = [breach for page in pages for breach in _dead_links(page, root)]
    return findings(f"links of {len(pages)} documents", breaches)


def _dead_links(page: Path, root: Path) -> Iterator[Breach]:
    text = read_text(page)
    for target in dict.fromkeys(LINK.findall(text)):
        if "://" in target or target.startswith("mailto:"):
            continue
        relative = (page.parent / target).resolve()
        if not relative.is_relative_to(root) or file_of(root, relative.relative_to(root).as_posix()) is None:
            yield Breach(
                page.relative_to(root).as_posix(), f"links to '{target}', which does not exist", "correct the link"
            )


def _words(words: type[StrEnum]) -> frozenset[str]:
    return frozenset(word.value for word in words)
