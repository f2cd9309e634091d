"""Tables of searched values: what every value was worth where it was chosen, and what the chosen ones are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from roofline_lab.formatting import MISSING, pct, table
from roofline_lab.hypotheses.sweep import Search, Sweep
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.scores import Scores
from roofline_lab.vocabulary import SIDES


def sweep(search: Search) -> str:
    """Return the mean error on the train experiments by value, the chosen one bold, and whether it ends the range."""
    metric = search.sweep.select.metric.label
    where = "where chosen" if search.fold.name else f"on the {SIDES['train']}"
    rows = []
    for value, error in search.errors.items():
        cells = [f"{value:g}", pct(error)]
        rows.append([f"**{cell}**" for cell in cells] if value == search.chosen else cells)
    found = table([f"`{search.sweep.option}`", f"{metric} error {where}"], rows, left=0)
    return f"{found}\n\n{chosen(search)}"


def chosen(search: Search) -> str:
    """Return the chosen value with its interval in a sentence, and the warning where it ends the range."""
    told = f"Chosen: `{search.sweep.option}` {search.chosen:g} ({search.interval_text})."
    return f"{told} {at_edge(search)}" if search.is_at_edge else told


def cross_validation(searches: Sequence[Search], scores: Scores) -> str:
    """Return per search what the folds chose, the errors where it was chosen and held out, and what all choose."""
    rows = []
    for sweep, own in by_sweep(searches).items():
        folds, metric = [search for search in own if search.fold.run], sweep.select.metric
        chosen = [search.chosen for search in folds]
        fitted, held_out = mean([_fitted(search) for search in folds]), scores.mape(sweep.arm, metric)
        between = " to ".join(dict.fromkeys(f"{value:g}" for value in (min(chosen), max(chosen))))
        of_all = [f"{search.chosen:g}" for search in own if not search.fold.run]
        rows.append([sweep.arm, f"`{sweep.option}`", metric.label, between, pct(fitted), pct(held_out), *of_all])
    header = ["Arm", "Option", "Error in", "Chosen by folds", "Where chosen", "Held out", "Chosen by all"]
    edges = [at_edge(search) for search in searches if search.is_at_edge]
    return "\n\n".join([table(header, rows, left=3), *edges])


def folds(searches: Sequence[Search], scores: Scores) -> str:
    """Return fold by fold what was chosen, the error where it was chosen, and the error held out."""
    rows = []
    for search in searches:
        metric, judged = search.sweep.select.metric, search.fold.run
        own = [row for row in scores.select(search.sweep.arm, metric) if row.experiment in judged]
        names = ", ".join(sorted({row.family for row in own})) or MISSING
        where = [search.sweep.arm, f"`{search.sweep.option}`", search.fold.name, names, str(len(judged))]
        errors = [pct(_fitted(search)), pct(mean([row.ape_pct for row in own])) if own else MISSING]
        rows.append([*where, f"{search.chosen:g}", metric.label, *errors])
    header = ["Arm", "Option", "Fold", "Families held out", "n", "Chosen by the others", "Error in"]
    return table([*header, "Where chosen", "Held out"], rows, left=4)


def by_sweep(searches: Sequence[Search]) -> dict[Sweep, list[Search]]:
    """Group what was found by the search it belongs to; of cross-validation, one for each fold and one of all."""
    found: dict[Sweep, list[Search]] = {}
    for search in searches:
        found.setdefault(search.sweep, []).append(search)
    return found


def _fitted(search: Search) -> float:
    return search.errors[search.chosen]


def at_edge(search: Search) -> str:
    """Return the warning that a search ended at the end of its range."""
    return (
        f"**The chosen value is the end of its range** ({search.place}{search.range_text}): a better one may lie "
        "beyond it, and this is no optimum."
    )
