"""Tables every findings page has, whatever its hypothesis is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from roofline_lab.formatting import table
from roofline_lab.hypotheses.arms import Arm, differences
from roofline_lab.hypotheses.expectations import finding_text
from roofline_lab.hypotheses.spec import Claim

# Renders an author's template; the second argument says where it stands.
Text = Callable[[str, str], str]


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


def _shown(value: object) -> str:
    return "not set" if value is None else str(value)
