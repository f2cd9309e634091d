"""Tables of how sure a result is, and how much of it is arithmetic.

Beside the criteria table of a findings page: uncertainty of each criterion, arms that are a constant
multiple of the reference, and the criteria such a multiple alone would give.
"""

from __future__ import annotations

from collections.abc import Sequence

from roofline_lab.formatting import MISSING, pct, pp, quantity, table
from roofline_lab.hypotheses.criteria import CriterionOutcome
from roofline_lab.hypotheses.proportional import TOLERANCE_PCT, ExplainedCriterion, ProportionalArm
from roofline_lab.hypotheses.verdict import Verdict
from roofline_lab.scoring.uncertainty import Evidence

_YES_NO = {True: "yes", False: "**no**", None: MISSING}


def uncertainty(verdict: Verdict) -> str:
    """Return interval, test, sample size and robust variants of each criterion; empty if there are none."""
    judged = [(one, one.evidence) for one in (*verdict.criteria, *verdict.controls) if one.evidence is not None]
    if not judged:
        return ""
    robust = [f"By {name}" for name, _ in judged[0][1].robust]
    header = ["Id", "Experiments", "Families", "Interval", "p", "Distinguishable from zero", "Experiments needed"]
    return table([*header, *robust], [_uncertainty_row(outcome, evidence) for outcome, evidence in judged])


def _uncertainty_row(outcome: CriterionOutcome, evidence: Evidence) -> list[str]:
    return [
        outcome.id,
        " and ".join(map(str, evidence.sizes)),
        str(evidence.clusters),
        _interval(outcome),
        _p_value(evidence),
        _YES_NO[evidence.is_distinguishable] if evidence.against_zero else MISSING,
        _needed(evidence),
        *(f"{quantity(robust.observed, outcome.unit)} ({robust.result})" for robust in outcome.robust),
    ]


def _interval(outcome: CriterionOutcome) -> str:
    interval = outcome.evidence.interval if outcome.evidence else None
    if interval is None:
        return MISSING
    return f"{interval.low:+.1f} to {interval.high:+.1f} {'%' if outcome.unit == 'pct' else 'pp'}"


def _p_value(evidence: Evidence) -> str:
    if evidence.p_value is None:
        return MISSING
    return f"{evidence.p_value.value:.4f}{'' if evidence.p_value.exact else ' (drawn)'}"


def _needed(evidence: Evidence) -> str:
    if evidence.needed is None:
        return MISSING
    return f"{evidence.needed:,}{' per group' if len(evidence.sizes) > 1 else ''} for {abs(evidence.claimed):.1f} pp"


def proportional(found: Sequence[ProportionalArm]) -> str:
    """Return one line per arm and metric: the factor, how constant it is, and the gains it accounts for."""
    rows = []
    for arm in found:
        constant = arm.is_constant_multiple
        rows.append(
            [
                arm.arm,
                arm.metric.label,
                f"{arm.scale:.4f}{' (from the options)' if arm.is_computed and constant else ''}",
                f"{arm.spread_pct:.2f} %",
                "**yes**" if constant else "no",
                pp(arm.gain),
                pp(arm.if_proportional) if constant else MISSING,
                pct(arm.explained_pct) if constant else MISSING,
            ]
        )
    header = ["Arm", "Metric", "Factor", "Largest deviation", f"Constant within {TOLERANCE_PCT:g} %"]
    return table([*header, "Gain", "By the factor alone", "Explained"], rows, left=2)


def explained_gains(found: Sequence[ProportionalArm]) -> str:
    """Return, per experiment, observed gain and gain by the factor alone.

    Arms that are no constant multiple have none, and where nothing changes there is nothing to explain.
    """
    rows = [
        [
            row.experiment,
            arm.arm,
            arm.metric.label,
            pp(row.gain),
            pp(row.if_proportional),
            pp(row.gain - row.if_proportional),
        ]
        for arm in found
        if arm.is_constant_multiple and arm.explained_pct is not None
        for row in arm.rows
    ]
    header = ["Experiment", "Arm", "Metric", "Gain", "By the factor alone", "Left to explain"]
    return table(header, rows, left=3) if rows else ""


def explained_criteria(found: Sequence[ExplainedCriterion]) -> str:
    """Return each criterion beside what the factor alone gives; empty if none is concerned."""
    rows = [
        [
            criterion.observed.id,
            *(
                f"{outcome.result} ({quantity(outcome.observed, outcome.unit)})"
                for outcome in (criterion.observed, criterion.if_proportional)
            ),
            "**follows from the factor**" if criterion.is_explained else "does not follow",
        ]
        for criterion in found
    ]
    return table(["Criterion", "Observed", "By the factor alone", "Conclusion"], rows, left=4) if rows else ""
