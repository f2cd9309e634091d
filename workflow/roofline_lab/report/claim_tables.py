"""Tables every findings page has, whatever its hypothesis is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from roofline_lab.formatting import table
from roofline_lab.hypotheses.arms import Arm, differences
from roofline_lab.hypotheses.expectations import finding_text
from roofline_lab.hypotheses.spec import Claim

# Renders an author's template; the second argument says where it stands.
Text = Callable[[str, str], str]
# Rates that are checked against a peak of the GPU.
RATES = {"flops": "FLOP rate", "bytes": "byte rate"}
# Whole microseconds and float sums may put a step this far above a peak it exactly reaches.
PEAK_SLACK = 1e-6


def difference_table(arms: Sequence[Arm]) -> str:
    """Return the options in which any arm differs from the first, one column per arm."""
    found = {arm.name: differences(arms[0], arm) for arm in arms[1:]}
    keys = list(dict.fromkeys(key for one in found.values() for key in one))
    rows = []
    for key in keys:
        base = arms[0].configuration.get(key)
        others = [found[arm.name].get(key, (base, base))[1] for arm in arms[1:]]
        rows.append([f"`{key}`", *(_shown(value) for value in (base, *others))])
    return table(["Option", *(arm.name for arm in arms)], rows)


def findings_table(spec: Claim, text: Text) -> str:
    """Return the author's findings."""
    rows = [
        [finding_text(finding, index, text), finding.type.value, text(finding.action, "action")]
        for index, finding in enumerate(spec.findings)
    ]
    return table(["Finding", "Type", "Action"], rows, left=3)


def evidence_table(spec: Claim, text: Text) -> str:
    """Return the author's evidence, with its confidence."""
    rows = [
        [
            evidence.metric,
            text(evidence.value, f"hypothesis.yaml: evidence.{i}"),
            text(evidence.confidence, f"evidence.{i}"),
        ]
        for i, evidence in enumerate(spec.evidence)
    ]
    return table(["Metric", "Value", "Confidence"], rows, left=3)


def design_table(spec: Claim, preconditions: str, seeds: str) -> str:
    """Return rules ED-1 to ED-6 with what was done about each.

    The rules are the ED list of the upstream experiment standards; what a machine can check was checked before the run.

    Parameters
    ----------
    preconditions, seeds
        What is said about rules ED-3 and ED-4.
    """
    references = ", ".join(f"`{name}`" for name in spec.references) or "no earlier hypothesis is referenced"
    varied = ", ".join(f"`{name}`" for name in spec.varied)
    rows = [
        ["ED-1", "one dimension varies", f"checked before the run: arms differ only in {varied}"],
        ["ED-2", "a regime where the effect vanishes", spec.vanishing or "none declared"],
        ["ED-3", "preconditions", f"checked before the run: {preconditions}"],
        ["ED-4", "seeds", seeds],
        ["ED-5", "reproducible", "one command; content hashes of every input in provenance.json"],
        ["ED-6", "difference to the referenced experiment", references],
    ]
    return table(["Rule", "Asks for", "Here"], rows, left=3)


def check_line(title: str, check: str, holds: bool, observed: str) -> list[str]:
    """Return one line of an audit table: what was checked on finished rows, and whether it holds."""
    return [title, check, "holds" if holds else "**violated**", observed]


def peak_line(title: str, rate: str, share: float, where: str) -> list[str]:
    """Return the line that says whether any step implies more than the GPU's peak.

    Parameters
    ----------
    rate
        A key of `RATES`.
    share
        Largest rate any step implies, as a share of the peak.
    where
        The step.
    """
    check = f"no step implies a {RATES[rate]} above the GPU's peak"
    return check_line(title, check, share <= 1 + PEAK_SLACK, f"{share * 100:.1f} % of the peak ({where})")


def _shown(value: object) -> str:
    return "not set" if value is None else str(value)
