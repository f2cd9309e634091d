"""Tables and the figure of answers about capacity, for the page of a hypothesis that asks about limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from roofline_lab.formatting import MISSING, pct, table
from roofline_lab.hypotheses.capacity import Load
from roofline_lab.report.ladder_numbers import ERRORS
from roofline_lab.report.plots import Panel, Series, scatter
from roofline_lab.scoring.capacity import Answers, Capacity, text_of
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.scores import ErrorRow, Judgement, Scores
from roofline_lab.scoring.statistics import median
from roofline_lab.vocabulary import Quantity

FIGURE = "figures/capacity_predicted_vs_measured.svg"
UNITS: dict[Load, str] = {"concurrency": "requests in flight", "rate": "requests per second"}


def answers_table(scores: Scores, arms: Sequence[str]) -> str:
    """Return the mean of everything that answers are judged by, of how many, a column per arm."""
    rows = []
    for quantity in Quantity:
        found = [scores.judged(arm, quantity) for arm in arms]
        if any(found):
            rows.append([_capital(quantity.words), *map(_mean_of, found)])
        if any(found) and quantity in ERRORS:
            rows.append(["... its median", *map(_median_of, found)])
    return table(["", *arms], rows)


def counts_table(scores: Scores, arms: Sequence[str]) -> str:
    """Return how many verdicts of each arm are wrong, by predictions and by upper ends of their intervals."""
    rows = []
    for arm in arms:
        for decided, wrong_met, wrong_not_met in (
            ("prediction", Quantity.WRONG_MET, Quantity.WRONG_NOT_MET),
            ("upper end", Quantity.UPPER_WRONG_MET, Quantity.UPPER_WRONG_NOT_MET),
        ):
            if own := scores.judged(arm, wrong_met):
                counts = [_count(own), _count(scores.judged(arm, wrong_not_met))]
                rows.append([arm, decided, *(f"{count:,}" for count in (len(own), *counts))])
    return table(["Arm", "decided by", "verdicts", "wrong 'met'", "wrong 'not met'"], rows, left=2)


def limits_table(answers: Answers, scores: Scores, arms: Sequence[str]) -> str:
    """Return what became of every limit: how many ladders it divides, errors, and verdicts that are right."""
    header = ["Limits", "ladders divided"]
    for arm in arms:
        header += [f"{arm}: error", "verdicts right", "wrong 'met' / 'not met'"]
    return table(header, [_limit_row(answers, scores, arms, text_of(slo)) for slo in answers.question.slos])


def _limit_row(answers: Answers, scores: Scores, arms: Sequence[str], about: str) -> list[str]:
    asked = [each for each in answers.capacities if each.about == about and each.row.arm == arms[-1]]
    cells = [f"`{about}`", f"{sum(each.is_divided for each in asked)} of {len(asked)}"]
    for arm in arms:
        errors, right, met, not_met = (
            [each for each in scores.judged(arm, quantity) if each.about == about]
            for quantity in (
                Quantity.CAPACITY_ERROR,
                Quantity.VERDICT_RIGHT,
                Quantity.WRONG_MET,
                Quantity.WRONG_NOT_MET,
            )
        )
        cells += [_mean_of(errors), _mean_of(right), f"{_count(met)} / {_count(not_met)}"]
    return cells


def groups_table(scores: Scores, arms: Sequence[str], head: str, key: str) -> str:
    """Return errors of capacity and knee, and verdicts, by what a column of rows says of servers."""
    shown = (Quantity.CAPACITY_ERROR, Quantity.KNEE_ERROR, Quantity.VERDICT_RIGHT, Quantity.WRONG_MET)
    words = ("capacity", "knee", "verdicts right", "wrong 'met'")
    header = [head, *(f"{arm}: {word}" for arm in arms for word in words)]
    parts = {group: scores.where(_is(key, group)) for group in sorted({getattr(row, key) for row in scores.rows})}
    cells = (
        [group, *(_mean_of(own.judged(arm, each)) for arm in arms for each in shown)] for group, own in parts.items()
    )
    return table(header, list(cells))


def capacity_figure(answers: Answers, arms: Sequence[str], load: Load) -> str:
    """Draw predicted over measured capacity, a point per ladder and limit, with the range of the interval behind it."""
    what = f"capacity [{UNITS[load]}]"
    panels = [
        Panel(arm, f"measured {what}", (_series(arm, answers.capacities, fill),), f"predicted {what}")
        for fill, arm in enumerate(arms)
    ]
    return scatter(panels, "predicted = measured")


def _series(arm: str, capacities: Sequence[Capacity], fill: int) -> Series:
    own = [each for each in capacities if each.row.arm == arm and each.is_divided]
    points = tuple((each.measured, each.shown) for each in own)
    return Series(arm, points, fill=fill, spans=tuple(_spans(own)))


def _spans(capacities: Sequence[Capacity]) -> Iterator[tuple[float, float, float]]:
    for each in capacities:
        if each.pessimistic is not None and each.optimistic is not None:
            ends = (min(max(end, each.lowest), each.highest) for end in (each.pessimistic, each.optimistic))
            yield (each.measured, *ends)  # type: ignore[misc]


def _is(key: str, group: str) -> Callable[[ErrorRow], bool]:
    return lambda row: getattr(row, key) == group


def _mean_of(found: Sequence[Judgement]) -> str:
    return f"{pct(mean([each.value_pct for each in found]))} (n={len(found):,})" if found else MISSING


def _median_of(found: Sequence[Judgement]) -> str:
    return pct(median([each.value_pct for each in found])) if found else MISSING


def _count(found: Sequence[Judgement]) -> int:
    return sum(each.value_pct > 0 for each in found)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
