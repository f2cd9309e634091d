"""Who is closest in one question: arms in the order of their errors over the load points that all who compete predict.

Contract: pure. A question is a metric on some rows. Who does not compete (`excluded`, with the reason) has errors of
its own and no rank. Everybody else is compared with the first by a paired test; who cannot be told from it shares its
rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.scores import Coverage, Scores
from roofline_lab.scoring.statistics import Interval
from roofline_lab.scoring.uncertainty import Evidence, Uncertainty


@dataclass(frozen=True, slots=True)
class Standing:
    """How one arm does in a question.

    Attributes
    ----------
    error_pct, signed_pct, interval
        Mean absolute error with its interval, and mean signed error, over what the arm predicts; None where nothing is.
    shared_pct, shared_points
        Mean absolute error over the load points that all who compete predict, and how many these are.
    rank
        1 for the first and for all who cannot be told from it, else the place; None for who does not compete.
    behind_pp, behind
        By how much the first is closer on the shared load points, with the evidence; None of the first itself.
    excluded
        Why the arm does not compete, or nothing.
    """

    arm: str
    coverage: Coverage
    error_pct: float | None
    signed_pct: float | None
    interval: Interval | None
    shared_pct: float | None = None
    shared_points: int = 0
    rank: int | None = None
    behind_pp: float | None = None
    behind: Evidence | None = None
    excluded: str = ""


def standings(
    scores: Scores, arms: Sequence[str], metric: str, uncertainty: Uncertainty, excluded: Mapping[str, str]
) -> tuple[Standing, ...]:
    """Return who competes by error over the shared load points, the closest first, and behind them all others."""
    own = scores.where(lambda row: row.metric == metric)
    competing = [arm for arm in arms if arm not in excluded]
    shared = own.shared(competing)
    errors = {arm: error for arm in competing if (error := shared.mape(arm, metric)) is not None}
    ordered = sorted(errors, key=lambda arm: (errors[arm], arm))
    ranked = [_ranked(own, shared, ordered, place, metric, uncertainty) for place in range(len(ordered))]
    others = [
        _standing(own, arm, metric, uncertainty, excluded.get(arm, "no load point is predicted by all who compete"))
        for arm in arms
        if arm not in errors
    ]
    return (*ranked, *others)


def _standing(scores: Scores, arm: str, metric: str, uncertainty: Uncertainty, excluded: str = "") -> Standing:
    rows = scores.select(arm, metric)
    errors = [row.ape_pct for row in rows]
    return Standing(
        arm,
        scores.coverage(arm, metric),
        mean(errors) if errors else None,
        mean([row.signed_error_pct for row in rows]) if errors else None,
        uncertainty.of_errors(errors, rows).interval if errors else None,
        excluded=excluded,
    )


def _ranked(
    scores: Scores, shared: Scores, ordered: Sequence[str], place: int, metric: str, uncertainty: Uncertainty
) -> Standing:
    first, arm = ordered[0], ordered[place]
    own = _standing(scores, arm, metric, uncertainty)
    gains = shared.gains(metric, first, arm)
    behind = uncertainty.of_gains(gains, 0.0) if place else None
    told_apart = behind is not None and behind.is_distinguishable is True
    return Standing(
        own.arm,
        own.coverage,
        own.error_pct,
        own.signed_pct,
        own.interval,
        shared.mape(arm, metric),
        len(gains),
        place + 1 if told_apart else 1,
        mean([gain.value for gain in gains]) if place else None,
        behind,
    )
