"""Every rule on every hypothesis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roofline_lab.lint import conclusions, design, measurements, verification
from roofline_lab.lint.rules import PROJECT, Checked, Result, Rule, Subject
from roofline_lab.project import Project
from simulator.errors import ConfigError

_AUTO, _SEMI = Checked.AUTOMATIC, Checked.SEMI_AUTOMATIC

HYPOTHESIS_RULES = (
    Rule("ED-1", "arms differ in one declared dimension only", _AUTO, design.one_dimension),
    Rule("ED-2", "the effect is also looked for where it should vanish", _AUTO, design.vanishing_regime),
    Rule("ED-3", "preconditions are checked before the run", _AUTO, design.preconditions),
    Rule("ED-4", "seeds are stated; a statistical claim has at least three", _AUTO, design.seeds),
    Rule("ED-5", "content hashes of every input are recorded, and are current", _AUTO, design.reproducible),
    Rule("ED-6", "differences to a referenced hypothesis are declared", _AUTO, design.difference_to_references),
    Rule("RCV-1", "causal statements cite files and lines that exist", _SEMI, verification.citations),
    Rule("RCV-2", "a surprise is set against a computed expectation", _SEMI, verification.expectations),
    Rule("RCV-3", "a mechanism predicts the direction that is seen, group by group", _SEMI, verification.directions),
    Rule("RCV-4", "the control of a mechanism exists, was run and is below its bound", _AUTO, verification.controls),
    Rule("RCV-5", "the page argues against itself in both directions", _SEMI, verification.both_sides),
    Rule("RCV-6", "scope, what was not tested and uncertainty are stated", _AUTO, verification.scope),
    Rule("VOC", "words come from the closed vocabularies", _AUTO, conclusions.vocabularies),
    Rule("TEXT", "no text still says what is to be done", _AUTO, conclusions.finished),
    Rule("FITS", "texts were written for the status the page has", _AUTO, conclusions.texts_fit),
    Rule("ADVICE", "no action advises what a later hypothesis refuted", _AUTO, conclusions.advice_stands),
    Rule("STATUS", "the status is one the criteria allow", _AUTO, conclusions.status_follows),
    Rule("R1", "no run is lost silently", _AUTO, conclusions.no_silent_loss),
)
PROJECT_RULES = (
    Rule("GT", "a pitfall that measurements show is one of their quality flags", _AUTO, measurements.pitfalls_flagged),
    Rule(
        "PUB",
        "published errors are means, and agree where their runs are the same",
        _AUTO,
        measurements.published_agree,
    ),
    Rule("R15", "references between documents resolve", _AUTO, conclusions.references_resolve),
)
RULES = (*HYPOTHESIS_RULES, *PROJECT_RULES)


def run(project: Project, hypotheses: Iterable[str] | None = None) -> tuple[Result, ...]:
    """Check the standards.

    Parameters
    ----------
    hypotheses
        Names to look at; None looks at all of them and at the project as a whole.

    Raises
    ------
    ConfigError
        Naming every file of a committed report that cannot be read.
    """
    chosen: Sequence[str] = project.names if hypotheses is None else tuple(hypotheses)
    subjects = [Subject(project, name) for name in chosen]
    if problems := [problem for subject in subjects for problem in subject.problems()]:
        raise ConfigError("\n".join(problems))
    found = [Result(rule, subject.id, rule.check(subject)) for subject in subjects for rule in HYPOTHESIS_RULES]
    if hypotheses is None:
        found += [Result(rule, PROJECT, rule.check(project)) for rule in PROJECT_RULES]
    return tuple(found)
