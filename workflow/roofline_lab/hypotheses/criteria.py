"""Accept criteria: written as data before a run, evaluated by code after it.

`evaluate` turns one criterion and one method's scores into an `Outcome`: PASS, FAIL or NOT MEASURED,
with observed value, threshold and margin (positive = room to spare), and the evidence behind it.
Medians and trimmed means stand beside the strict value and never decide. Kinds:
`roofline_lab.hypotheses.criterion_kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from roofline_lab.hypotheses.criterion_kinds import (
    Below,
    BelowArm,
    CountOfRows,
    Criterion,
    Equivalence,
    Improvement,
    ImprovementOrder,
    LatencyRatio,
    NoRowWorse,
    SignOfError,
    TestGap,
    Trend,
    Vanishes,
)
from roofline_lab.hypotheses.outcomes import Outcome, Robust, decide, not_measured, result_of
from roofline_lab.scoring.errors import ErrorRow, Gain, Scores, mean
from roofline_lab.scoring.uncertainty import Uncertainty

__all__ = ["Criterion", "Outcome", "Robust", "bootstrapper", "evaluate"]

bootstrapper = Uncertainty


def evaluate(criterion: Any, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    """Evaluate one criterion on one method's scores.

    Parameters
    ----------
    criterion
        What was fixed in advance, one of the kinds of `Criterion`.
    scores
        The errors of one method at its load points.
    uncertainty
        The laboratory's statistics.
    """
    chosen = scores
    if criterion.where is not None:
        chosen = chosen.where(criterion.where.matches)
    if criterion.side is not None:
        chosen = chosen.where(lambda row: row.side == criterion.side)
    return _EVALUATORS[type(criterion)](criterion, chosen, uncertainty)


def _improvement(criterion: Improvement, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    gains = scores.gains(criterion.metric, criterion.of, criterion.over)
    asked = criterion.at_least_pp
    change = f"falls by at least {asked:g} pp" if asked >= 0 else f"rises by at most {-asked:g} pp"
    statement = f"{criterion.metric.label} error {change} ({criterion.of} over {criterion.over})"
    if not gains:
        return not_measured(criterion, statement, "no experiment was scored on both arms")
    evidence = uncertainty.of_gains(gains, asked)
    return decide(criterion, statement, _mean(gains), asked, evidence, _range_of(gains), passes=lambda v: v >= asked)


def _improvement_order(criterion: ImprovementOrder, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    names = [name if name != "*" else "all others" for name in criterion.groups]
    gains = scores.gains(criterion.metric, criterion.of, criterion.over)
    groups = [[gain for gain in gains if criterion.members(gain.row)[index]] for index in (0, 1)]
    asked = criterion.more_than_pp
    statement = (
        f"{criterion.metric.label} error falls more for {names[0]} than for {names[1]}, by more than {asked:g} pp"
    )
    if not all(groups):
        return not_measured(criterion, statement, f"no scored experiment in {names[0]} or in {names[1]}")
    evidence = uncertainty.of_groups(groups[0], groups[1], asked)
    detail = ", ".join(
        f"{name} {_mean(group):+.1f} pp (n={len(group)})" for name, group in zip(names, groups, strict=True)
    )
    observed = _mean(groups[0]) - _mean(groups[1])
    return decide(criterion, statement, observed, asked, evidence, detail, passes=lambda v: v > asked, comment=True)


def _no_row_worse(criterion: NoRowWorse, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    gains = scores.gains(criterion.metric, criterion.of, criterion.over)
    limit = -criterion.by_more_than_pp
    statement = (
        f"no experiment's {criterion.metric.label} error rises by more than {criterion.by_more_than_pp:g} pp "
        f"({criterion.of} over {criterion.over})"
    )
    if not gains:
        return not_measured(criterion, statement, "no experiment was scored on both arms")
    worst = min(gains, key=lambda gain: (gain.value, gain.row.experiment))
    beyond = [gain for gain in gains if gain.value < limit]
    detail = f"worst: {worst.row.experiment} {worst.value:+.1f} pp; {len(beyond)} of {len(gains)} beyond the limit"
    evidence = uncertainty.of_gains(gains, 0.0)
    outcome = decide(criterion, statement, worst.value, limit, None, detail, passes=lambda v: v >= limit)
    robust = tuple(Robust(name, value, result_of(value >= limit)) for name, value in evidence.robust)
    return replace(outcome, robust=robust)


def _below(criterion: Below, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    rows = scores.select(criterion.of, criterion.metric)
    limit = criterion.than_pct
    statement = f"mean {criterion.metric.label} error of {criterion.of} is below {limit:g} %"
    if not rows:
        return not_measured(criterion, statement, "no experiment was scored", unit="pct")
    errors = [row.ape_pct for row in rows]
    evidence = uncertainty.of_errors(errors, rows)
    detail = f"{sum(error < limit for error in errors)} of {len(errors)} {noun_of(rows)} below it"
    return decide(
        criterion,
        statement,
        mean(errors),
        limit,
        evidence,
        detail,
        passes=lambda v: v < limit,
        unit="pct",
        rising=False,
    )


def _below_arm(criterion: BelowArm, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    gains = scores.gains(criterion.metric, criterion.of, criterion.over)
    statement = f"mean {criterion.metric.label} error of {criterion.of} is below that of {criterion.over}"
    if not gains:
        return not_measured(criterion, statement, "no experiment was scored on both arms")
    evidence = uncertainty.of_gains(gains, 0.0)
    return decide(
        criterion, statement, _mean(gains), 0.0, evidence, _range_of(gains), passes=lambda v: v > 0, comment=True
    )


def _vanishes(criterion: Vanishes, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    gains = scores.gains(criterion.metric, criterion.of, criterion.over)
    limit = criterion.less_than_pp
    statement = (
        f"{criterion.metric.label} effect of {criterion.of} over {criterion.over} is smaller than {limit:g} pp "
        f"at {criterion.where}"
    )
    if not gains:
        return not_measured(criterion, statement, "no experiment was scored on both arms there")
    evidence = uncertainty.of_gains(gains, limit)
    largest = max(gains, key=lambda gain: (abs(gain.value), gain.row.experiment))
    detail = f"largest single effect {largest.value:+.2f} pp ({largest.row.experiment}); n={len(gains)}"
    return decide(
        criterion,
        statement,
        abs(_mean(gains)),
        limit,
        evidence,
        detail,
        passes=lambda v: abs(v) < limit,
        rising=False,
    )


def _equivalence(criterion: Equivalence, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    gains = scores.gains(criterion.metric, criterion.of, criterion.over)
    limit = criterion.within_pp
    statement = (
        f"{criterion.metric.label} errors of {criterion.of} and {criterion.over} differ by less than {limit:g} pp, "
        "with the whole interval"
    )
    if not gains:
        return not_measured(criterion, statement, "no experiment was scored on both arms")
    evidence = uncertainty.of_gains(gains, limit)
    if evidence.interval is None:
        return not_measured(criterion, statement, "fewer than two experiments have no interval")
    farthest = max(abs(evidence.interval.low), abs(evidence.interval.high))
    return decide(
        criterion,
        statement,
        farthest,
        limit,
        evidence,
        f"mean difference {_mean(gains):+.2f} pp; observed is the end of the interval that is farther from zero",
        passes=lambda v: abs(v) < limit,
        rising=False,
    )


def _count_of_rows(criterion: CountOfRows, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    gains = scores.gains(criterion.metric, criterion.of, criterion.over)
    bound = criterion.at_least if criterion.at_least is not None else criterion.at_most
    assert bound is not None, "validated: one bound is given"
    rising = criterion.at_least is not None
    statement = (
        f"{'at least' if rising else 'at most'} {bound} experiments gain {criterion.gaining_at_least_pp:g} pp or more "
        f"in {criterion.metric.label} ({criterion.of} over {criterion.over})"
    )
    if not gains:
        return not_measured(criterion, statement, "no experiment was scored on both arms", unit="count")
    count = sum(gain.value >= criterion.gaining_at_least_pp for gain in gains)
    detail = f"{count} of {len(gains)} {noun_of([gain.row for gain in gains])}"
    return decide(
        criterion,
        statement,
        float(count),
        float(bound),
        None,
        detail,
        passes=lambda v: v >= bound if rising else v <= bound,
        unit="count",
        rising=rising,
    )


def _trend(criterion: Trend, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    series = scores.tp_series(criterion.metric, criterion.of, criterion.over)
    statement = (
        f"{criterion.metric.label} gain is {criterion.expect} in TP, in every model and workload measured at several TP"
    )
    if not series:
        return not_measured(criterion, statement, "no model and workload was measured at two or more TP")
    sign = -1.0 if criterion.expect == "decreasing" else 1.0
    steps = [sign * (b - a) for row in series for a, b in zip(row.values, row.values[1:], strict=False)]
    detail = "; ".join(f"{row.label}: {', '.join(f'{value:+.1f}' for value in row.values)} pp" for row in series)
    return decide(criterion, statement, min(steps), 0.0, None, detail, passes=lambda v: v > 0)


def _sign_of_error(criterion: SignOfError, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    rows = scores.select(criterion.of, criterion.metric)
    words = criterion.expect.replace("_", " ")
    statement = f"{criterion.of} predicts {criterion.metric.label} {words} on average"
    if not rows:
        return not_measured(criterion, statement, "no experiment was scored", unit="pct")
    sign = -1.0 if criterion.expect == "too_fast" else 1.0
    errors = [row.signed_error_pct for row in rows]
    evidence = uncertainty.of_errors(errors, rows)
    detail = f"{sum(sign * error > 0 for error in errors)} of {len(errors)} {noun_of(rows)} {words}"
    return decide(
        criterion,
        statement,
        mean(errors),
        0.0,
        evidence,
        detail,
        passes=lambda v: sign * v > 0,
        unit="pct",
        rising=sign > 0,
    )


def _latency_ratio(criterion: LatencyRatio, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    low, high = criterion.at_least, criterion.at_most
    bounds = " and ".join(
        f"{words} {bound:g}" for words, bound in (("at least", low), ("at most", high)) if bound is not None
    )
    statement = f"{criterion.of} over {criterion.over}: predicted {criterion.metric.label} in every row {bounds}"
    ratios = scores.ratios(criterion.metric, criterion.of, criterion.over)
    if not ratios:
        return not_measured(criterion, statement, "no experiment was predicted by both arms", unit="ratio")

    worst, bound, room = min(
        (
            (ratio, bound, room)
            for ratio in ratios.values()
            for bound, room in ((low, low and ratio - low), (high, high and high - ratio))
            if bound is not None
        ),
        key=lambda one: one[2],
    )
    detail = f"from {min(ratios.values()):.4f} to {max(ratios.values()):.4f}"
    return decide(
        criterion,
        statement,
        worst,
        bound,
        None,
        detail,
        passes=lambda v: room >= 0,
        unit="ratio",
        rising=bound == low,
    )


def _test_gap(criterion: TestGap, scores: Scores, uncertainty: Uncertainty) -> Outcome:
    limit = criterion.at_most_pp
    words = "differ" if criterion.either_way else "is worse on test than on train"
    statement = (
        f"{criterion.metric.label} errors of {criterion.of} on test and train differ by at most {limit:g} pp"
        if criterion.either_way
        else f"{criterion.metric.label} error of {criterion.of} {words} by at most {limit:g} pp"
    )
    means = {}
    for side in ("train", "test"):
        rows = [row for row in scores.select(criterion.of, criterion.metric) if row.side == side]
        if not rows:
            return not_measured(criterion, statement, f"no scored experiment on the side {side}")
        means[side] = mean([row.ape_pct for row in rows])
    gap = means["test"] - means["train"]
    observed = abs(gap) if criterion.either_way else gap
    detail = f"train {means['train']:.1f} %, test {means['test']:.1f} %"
    return decide(criterion, statement, observed, limit, None, detail, passes=lambda v: v <= limit, rising=False)


_EVALUATORS: Mapping[type, Callable[[Any, Scores, Uncertainty], Outcome]] = {
    Improvement: _improvement,
    ImprovementOrder: _improvement_order,
    NoRowWorse: _no_row_worse,
    Below: _below,
    BelowArm: _below_arm,
    Vanishes: _vanishes,
    Equivalence: _equivalence,
    CountOfRows: _count_of_rows,
    Trend: _trend,
    SignOfError: _sign_of_error,
    LatencyRatio: _latency_ratio,
    TestGap: _test_gap,
}


def _mean(gains: Sequence[Gain]) -> float:
    return mean([gain.value for gain in gains])


def _range_of(gains: Sequence[Gain]) -> str:
    values = [gain.value for gain in gains]
    better = sum(value > 0 for value in values)
    noun = noun_of([gain.row for gain in gains])
    return f"{better} of {len(values)} {noun} improve, from {min(values):+.1f} to {max(values):+.1f} pp"


def noun_of(rows: Sequence[ErrorRow]) -> str:
    """Return what the rows are: experiments, or load points where some experiment has several."""
    return "experiments" if len({row.experiment for row in rows}) == len(rows) else "load points"
