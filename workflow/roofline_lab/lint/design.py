"""Design rules ED-1 to ED-6: the experiment is a fair test of its claim."""

from __future__ import annotations

import re
from collections.abc import Iterator

from roofline_lab.files import digest_of_files
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE
from roofline_lab.hypotheses.arms import Arm, differences, undeclared
from roofline_lab.hypotheses.spec import Hypothesis
from roofline_lab.lint.rules import Breach, Findings, Subject, findings
from roofline_lab.places import name_of
from roofline_lab.provenance import hypothesis_files
from roofline_lab.vocabulary import CriterionResult, EvidenceType

VANISHING_KINDS = frozenset({"vanishes", "vanishes_at"})
SEEDS_OF_A_STATISTICAL_CLAIM = 3
DIGEST = re.compile(r"^[0-9a-f]{16}$")
# Hashes every provenance record must hold, whatever the kind of hypothesis.
RECORDED = ("hypothesis", "settings")


def one_dimension(subject: Subject) -> Findings:
    """ED-1: arms differ only in what is declared to vary, under every method."""
    breaches = [
        Breach(f"{subject.file}: varied", problem, "declare the option in `varied`, or make the arms equal")
        for method, arms in subject.arms.items()
        for problem in undeclared(subject.spec.varied, arms, f"method {method}")
    ]
    arms = sum(len(each) for each in subject.arms.values())
    return findings(f"{arms} resolved arms differ only in {', '.join(subject.spec.varied)}", breaches)


def vanishing_regime(subject: Subject) -> Findings:
    """ED-2: the effect is also looked for where it should vanish."""
    judged = getattr(subject.spec, "judged", ())
    tests = [rule.id for rule in judged if getattr(rule, "kind", "") in VANISHING_KINDS]
    tests += [name for name in (getattr(subject.spec, "vanishes_by", None),) if name is not None]
    if tests:
        missing = [
            Breach(subject.page_file, f"`{name}` was not measured", "give the regime load points or experiments")
            for verdict in subject.verdicts
            for name, result in verdict.criteria.items()
            if name in tests and result == CriterionResult.NOT_MEASURED
        ]
        return findings(f"tested by {', '.join(tests)}", missing)
    if subject.spec.vanishing:
        return findings(
            "no regime is run", notes=["no arm runs where the effect should vanish; the page says why (`vanishing`)"]
        )
    breach = Breach(
        f"{subject.file}: controls",
        "no criterion or control looks where the effect should vanish",
        "add one of kind `vanishes`, or say under `vanishing` why there is no such regime",
    )
    return findings("nothing tests a vanishing effect", [breach])


def preconditions(subject: Subject) -> Findings:
    """ED-3: what a run needs is checked before it."""
    spec = subject.measured
    if spec is None:
        return findings("models, hardware and points were resolved when the laboratory was opened")
    project = subject.project
    checked = 0
    breaches = []
    for experiment in project.experiments(spec.id):
        needed = [
            project.root / "ground_truth" / experiment.id / EXPERIMENT_FILE,
            project.model_file(experiment.model),
            project.hardware_file(experiment.hardware),
        ]
        checked += len(needed)
        breaches += [
            Breach(
                f"{subject.file}: ground_truth.set",
                f"{name_of(path, project.root)} is missing",
                "add the file, or take the experiment out of the set",
            )
            for path in needed
            if not path.is_file()
        ]
    return findings(f"{checked} files of {len(project.experiments(spec.id))} experiments are there", breaches)


def seeds(subject: Subject) -> Findings:
    """ED-4: seeds are stated, and a statistical claim is repeated with at least three."""
    settings = subject.project.settings.seeds.model_dump()
    breaches = []
    if subject.spec.type is not EvidenceType.DETERMINISTIC:
        breaches.append(
            Breach(
                f"{subject.file}: type",
                f"'{subject.spec.type}' is a statistical claim, and runs have one workload seed",
                f"make the claim deterministic, or repeat it with at least {SEEDS_OF_A_STATISTICAL_CLAIM} seeds",
            )
        )
    if subject.measured is not None and subject.page and "Seeds:" not in subject.page:
        breaches.append(Breach(subject.page_file, "the page states no seeds", "regenerate it with `snakemake`"))
    return findings("seeds " + ", ".join(f"{name} {value}" for name, value in settings.items()), breaches)


def reproducible(subject: Subject) -> Findings:
    """ED-5: the report records the content of everything it was made from, and its author's files are unchanged."""
    record = subject.provenance
    where = f"reports/{subject.id}/provenance.json"
    if record is None:
        return findings("no record", [Breach(where, "is missing", "run `snakemake` and commit reports/")])
    hashes = record.hashes
    breaches = [
        Breach(where, f"has no content hash of '{name}'", "run `snakemake` and commit reports/")
        for name in RECORDED
        if not DIGEST.match(hashes.get(name, ""))
    ]
    root = subject.project.root
    if hashes.get("hypothesis") != digest_of_files(hypothesis_files(root, subject.id), root):
        breaches.append(
            Breach(where, "the author's files changed after the report", "run `snakemake` and commit reports/")
        )
    return findings(f"{len(hashes)} content hashes recorded", breaches)


def difference_to_references(subject: Subject) -> Findings:
    """ED-6: the starting arm is the arm a referenced hypothesis ends with, or the differences are declared."""
    spec = subject.measured
    if not subject.spec.references:
        return findings("no earlier hypothesis is referenced")
    if spec is None:
        return findings("compared with no configuration: the claim is about single steps")
    compared = [name for name in spec.references if name in subject.project.hypotheses]
    breaches = [breach for name in compared for breach in _undeclared_differences(subject, spec, name)]
    return findings(f"compared with {', '.join(compared) or 'none'}", breaches)


def _undeclared_differences(subject: Subject, spec: Hypothesis, name: str) -> Iterator[Breach]:
    other = subject.project.hypotheses[name]
    declared = spec.differs.get(name, ())
    found: dict[str, list[str]] = {}
    for method in (text for text in spec.methods if text in other.methods):
        theirs = _arm(subject.project.arms(name, method), other.adopts or other.reference_arm)
        mine = subject.project.arms(spec.id, method)[0]
        for key in differences(theirs, mine):
            if not any(key == text or key.startswith(f"{text}.") for text in declared):
                found.setdefault(key.partition(".")[0], []).append(method)
    for option, methods in found.items():
        yield Breach(
            f"{subject.file}: differs.{name}",
            f"'{option}' of {spec.reference_arm} is not that of {other.adopts or other.reference_arm} of {name} "
            f"(method {', '.join(dict.fromkeys(methods))})",
            "make them equal, or declare the option there",
        )


def _arm(arms: tuple[Arm, ...], name: str) -> Arm:
    return next(arm for arm in arms if arm.name == name)
