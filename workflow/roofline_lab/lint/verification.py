"""Verification rules RCV-1 to RCV-6: the reasoning rests on something that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from roofline_lab.hypotheses.arms import differences
from roofline_lab.hypotheses.spec import Mechanism, MechanismControl
from roofline_lab.lint.rules import Breach, Findings, Subject, cited_file, findings
from roofline_lab.scoring.errors import relative_difference
from roofline_lab.vocabulary import FindingType

CAUSES = "Root Cause Analysis"
OBJECTIONS = "Devil's Advocate"
SCOPE = "Parameters and Generality"
# `path`, `path:12` or `path:12-18` in back quotes; a path has a slash or an ending a project file has.
CITATION = re.compile(r"`([\w./-]*(?:/[\w./-]*|\.(?:py|md|ya?ml|csv|smk|json)))(?::(\d{1,9})(?:-\d{1,9})?)?`")
LINE = re.compile(r"\d{1,9}")
# A cited line may have moved so far before the citation counts as wrong.
LINES_OF_TOLERANCE = 2
# Predicted times that differ by less than this share are equal: steps are whole microseconds.
EQUAL_SHARE = 1e-3
# For the conclusion and against it.
DIRECTIONS = 2
BOLD_LEAD = re.compile(r"^\*\*[^*]+\*\*", re.MULTILINE)
OPERATING_POINT = ("Not tested", "Uncertainty")


def citations(subject: Subject) -> Findings:
    """RCV-1: causal statements cite code that exists."""
    cited = [
        (subject.discussion_file, path, line)
        for text in subject.discussion.values()
        for path, line in CITATION.findall(text)
    ]
    for index, mechanism in enumerate(_mechanisms(subject)):
        where = f"{subject.file}: mechanisms.{index}.cites"
        cited += [(where, *_split(citation)) for citation in mechanism.cites]
    breaches = [breach for where, path, line in cited for breach in _missing(subject, where, path, line)]
    notes = [] if CITATION.search(subject.discussion[CAUSES]) else [f"'{CAUSES}' cites no file"]
    return findings(f"{len(cited)} citations", breaches, notes)


def expectations(subject: Subject) -> Findings:
    """RCV-2: a surprise is set against a number computed from first principles."""
    breaches = []
    surprises = [
        (index, finding) for index, finding in enumerate(subject.spec.findings) if finding.type is FindingType.SURPRISE
    ]
    for index, finding in surprises:
        where = f"{subject.file}: findings.{index}"
        if finding.expectation is None:
            breaches.append(
                Breach(where, "a Surprise without an `expectation`", "add words, expected, observed and within")
            )
        else:
            breaches += _unmet(subject, f"{where}.expectation", index)
    return findings(f"{len(surprises)} surprises", breaches)


def directions(subject: Subject) -> Findings:
    """RCV-3: every mechanism predicts the direction that is seen, group by group."""
    mechanisms = _mechanisms(subject)
    breaches = [
        breach for index, mechanism in enumerate(mechanisms) for breach in _directions(subject, index, mechanism)
    ]
    notes = []
    if subject.measured is not None and not mechanisms:
        notes.append("no mechanism is stated, so no predicted direction could be checked (`mechanisms`)")
    return findings(f"{len(mechanisms)} mechanisms", breaches, notes)


def controls(subject: Subject) -> Findings:
    """RCV-4: the control of a mechanism differs by one option, was run, and its effect is below its bound."""
    breaches: list[Breach] = []
    notes = []
    for index, mechanism in enumerate(_mechanisms(subject)):
        where = f"{subject.file}: mechanisms.{index}.control"
        if mechanism.control is None:
            notes.append(f"mechanism {index} has no control arm that disables it alone (`mechanisms.{index}.control`)")
            continue
        if not mechanism.contradicted:
            for method in _methods(subject, mechanism):
                breaches += _bad_control(subject, where, mechanism, mechanism.control, method)
    return findings("control arms of all mechanisms", breaches, notes)


def both_sides(subject: Subject) -> Findings:
    """RCV-5: the page argues against its own conclusion, in both directions."""
    leads = BOLD_LEAD.findall(subject.discussion[OBJECTIONS])
    breaches = []
    if len(leads) < DIRECTIONS:
        breaches.append(
            Breach(
                f"{subject.discussion_file}: {OBJECTIONS}",
                f"{len(leads)} of {DIRECTIONS} directions are argued",
                "write two paragraphs that each begin with their thesis in bold",
            )
        )
    return findings(f"{len(leads)} directions", breaches)


def scope(subject: Subject) -> Findings:
    """RCV-6: what was not tested, what findings depend on and how uncertain they are is stated."""
    breaches = []
    if not subject.spec.not_tested:
        breaches.append(Breach(f"{subject.file}: not_tested", "is empty", "list what a reader might take for tested"))
    if not subject.discussion[SCOPE].strip():
        breaches.append(Breach(f"{subject.discussion_file}: {SCOPE}", "is empty", "say what the findings depend on"))
    for words in OPERATING_POINT if subject.page else ():
        if words not in subject.page:
            breaches.append(
                Breach(subject.page_file, f"says nothing under '{words}'", "regenerate it with `snakemake`")
            )
    return findings(f"{len(subject.spec.not_tested)} entries of what was not tested", breaches)


def _mechanisms(subject: Subject) -> tuple[Mechanism, ...]:
    return subject.measured.mechanisms if subject.measured is not None else ()


def _methods(subject: Subject, mechanism: Mechanism) -> list[str]:
    return [method for method in subject.arms if mechanism.is_claimed_for(method)]


def _split(citation: str) -> tuple[str, str]:
    path, _, line = citation.partition(":")
    return path, line.partition("-")[0]


def _missing(subject: Subject, where: str, path: str, line: str) -> Iterator[Breach]:
    found = cited_file(subject.project.root, path)
    if found is None:
        yield Breach(where, f"cites `{path}`, which does not exist", "correct the path")
    elif line and not LINE.fullmatch(line):
        yield Breach(where, f"cites `{path}:{line}`, which names no line", "write `path` or `path:line`")
    elif line and found.is_file():
        lines = found.read_text(encoding="utf-8", errors="replace").splitlines()
        first = max(0, int(line) - 1 - LINES_OF_TOLERANCE)
        if not any(text.strip() for text in lines[first : int(line) + LINES_OF_TOLERANCE]):
            yield Breach(where, f"cites `{path}:{line}`, but the file ends at line {len(lines)}", "correct the line")


def _unmet(subject: Subject, where: str, index: int) -> Iterator[Breach]:
    computed = subject.expectations.get(index)
    if computed is None:
        yield Breach(where, "was not computed yet", "run `snakemake` and commit reports/")
    elif computed.expected is None or computed.observed is None:
        yield Breach(where, "asks for something that was not run", "ask for kernels or arms of this hypothesis")
    elif abs(computed.expected - computed.observed) > computed.within:
        yield Breach(
            where,
            f"expected {computed.expected:.4g}, observed {computed.observed:.4g}, more than "
            f"{computed.within:g} apart ({computed.words})",
            "the surprise is not explained; correct the expectation",
        )


def _directions(subject: Subject, index: int, mechanism: Mechanism) -> list[Breach]:
    where = f"{subject.file}: mechanisms.{index}"
    wrong = [
        breach
        for method in _methods(subject, mechanism)
        for breach in _wrong_directions(subject, f"{where}.predicts", mechanism, method)
    ]
    if not mechanism.contradicted:
        return wrong
    if wrong or _effects(subject, mechanism):
        return []
    return [Breach(f"{where}.contradicted", "every predicted direction is seen", "drop `contradicted`")]


def _effects(subject: Subject, mechanism: Mechanism) -> list[Breach]:
    """Return the breaches of a mechanism's control, if it has one."""
    if mechanism.control is None:
        return []
    return [
        breach
        for method in _methods(subject, mechanism)
        for breach in _bad_control(subject, f"{subject.file}: mechanisms", mechanism, mechanism.control, method)
    ]


def _wrong_directions(subject: Subject, where: str, mechanism: Mechanism, method: str) -> Iterator[Breach]:
    of = subject.predicted(method, mechanism.of, mechanism.metric.value)
    over = subject.predicted(method, mechanism.over, mechanism.metric.value)
    groups = {experiment.id: _group(experiment, mechanism.by) for experiment in subject.project.experiments(subject.id)}
    shares = {key: relative_difference(of[key], over[key]) for key in of if key in over}
    if not shares:
        yield Breach(where, f"no committed numbers of both arms (method {method})", "run `snakemake`")
    for group, direction in mechanism.predicts.items():
        chosen = {key: share for key, share in shares.items() if groups.get(key[1]) == group}
        if shares and not chosen:
            yield Breach(where, f"no experiment in group '{group}'", f"name groups of '{mechanism.by}'")
        wrong = [key for key, share in chosen.items() if _direction(share) != direction]
        if wrong:
            yield Breach(
                where,
                f"'{group}' is predicted {direction}, but {len(wrong)} of {len(chosen)} are not "
                f"({wrong[0][1]}: {100 * chosen[wrong[0]]:+.1f} %, method {method})",
                "correct the prediction or the mechanism",
            )


def _direction(share: float) -> str:
    if abs(share) < EQUAL_SHARE:
        return "equal"
    return "longer" if share > 0 else "shorter"


def _group(experiment: Any, by: str) -> str:
    groups = {
        "workload": experiment.workload.name,
        "family": experiment.family,
        "tp": str(experiment.tensor_parallel),
        "experiment": experiment.id,
    }
    return str(groups[by])


def _bad_control(
    subject: Subject, where: str, mechanism: Mechanism, control: MechanismControl, method: str
) -> Iterator[Breach]:
    arms = {arm.name: arm for arm in subject.arms[method]}
    keys = {key.partition(".")[0] for key in differences(arms[mechanism.of], arms[control.arm])}
    if len(keys) != 1:
        yield Breach(
            where,
            f"'{control.arm}' and '{mechanism.of}' differ in {', '.join(sorted(keys)) or 'nothing'} (method {method})",
            "a control disables the mechanism and nothing else: let it differ in one option",
        )
    errors = [subject.overall(method, arm, mechanism.metric.value, "mape") for arm in (control.over, control.arm)]
    if errors[0] is None or errors[1] is None:
        yield Breach(where, f"'{control.arm}' was not run (method {method})", "run `snakemake` and commit reports/")
    elif abs(errors[0] - errors[1]) > control.at_most_pp:
        yield Breach(
            where,
            f"with the mechanism disabled the effect is {errors[0] - errors[1]:+.2f} pp (method {method}), more than "
            f"{control.at_most_pp:g} pp",
            "the mechanism does not explain the effect; correct it",
        )
