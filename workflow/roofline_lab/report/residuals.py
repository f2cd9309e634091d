"""The residual section of a page: where errors sit, and which single term would remove most of them.

Contract: `residual_section` returns markdown without a heading of its own; `residual_figure` the figure it shows.
Residuals are (predicted - measured) / measured of means: negative means predicted too fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from roofline_lab.formatting import MISSING, pct, signed_pct, signless_zero, table
from roofline_lab.residuals.drivers import DRIVERS, Driver, correlation, groups, varies
from roofline_lab.residuals.ranking import DEFAULT, Resampling, Suggestion, error_with, mape, ranked_terms
from roofline_lab.residuals.record import LABELS, METRICS, Residual, scored, unscored
from roofline_lab.residuals.terms import TERMS
from roofline_lab.residuals.words import constant_text, interval_text, listed, sentence, suggestion_text

FIGURE = "figures/residuals.svg"
SHOWN_TERMS = 5
NOTHING_SCORED = "No load point has a residual."


def residual_section(
    residuals: Iterable[Residual],
    metrics: Sequence[str] = METRICS,
    resampling: Resampling = DEFAULT,
    figure: str = FIGURE,
    ranked: Mapping[str, Sequence[Suggestion]] | None = None,
) -> str:
    """Return the section as markdown.

    Parameters
    ----------
    residuals
        Of one arm, one per load point.
    metrics
        Which of `ttft`, `itl` and `e2e`.
    figure
        Where the page finds `residual_figure`.
    ranked
        `ranked_terms` of each metric, where the caller has them already.
    """
    chosen = tuple(residuals)
    present = [metric for metric in metrics if scored(chosen, metric)]
    parts = []
    if present:
        parts.append(_drivers(chosen, present))
        parts.append(f"![Signed residuals against what they may go with]({figure})")
        found = ranked or {metric: ranked_terms(chosen, metric, TERMS, resampling) for metric in present}
        parts += [_ranking(chosen, metric, found[metric], present) for metric in present]
    else:
        parts.append(NOTHING_SCORED)
    if missing := _missing(chosen, metrics):
        parts.append(missing)
    return "\n\n".join(parts)


def _drivers(residuals: Sequence[Residual], metrics: Sequence[str]) -> str:
    rows = [row for driver in DRIVERS for row in _driver_rows(residuals, driver, metrics)]
    header = ["Driver", "", *(LABELS[metric] for metric in metrics), "load points"]
    return (
        "Signed residuals by driver: Spearman's rank correlation, and means by value (negative: too fast).\n\n"
        + table(header, rows, left=2)
    )


def _driver_rows(residuals: Sequence[Residual], driver: Driver, metrics: Sequence[str]) -> list[list[str]]:
    found = {metric: correlation(residuals, driver, metric) for metric in metrics}
    points = str(max(one.points for one in found.values()))
    dashes = [MISSING] * len(metrics)
    if points == "0":
        return [[driver.title, "not known", *dashes, points]]
    if not varies(residuals, driver):
        return [[driver.title, "does not vary", *dashes, points]]
    cells = [MISSING if one.value is None else f"{signless_zero(one.value, 2):+.2f}" for one in found.values()]
    return [
        [driver.title, "rank correlation", *cells, points],
        *(
            ["", group.label, *(signed_pct(group.mean_pct[metric]) for metric in metrics), str(group.points)]
            for group in groups(residuals, driver, metrics)
        ),
    ]


def _ranking(residuals: Sequence[Residual], metric: str, ranked: Sequence[Suggestion], metrics: Sequence[str]) -> str:
    """Return the sentence, and the terms that do something; where none does, the first one alone."""
    fitted = [suggestion for suggestion in ranked if suggestion.constant is not None]
    shown = ([suggestion for suggestion in fitted if suggestion.constant] or fitted[:1])[:SHOWN_TERMS]
    others = [other for other in metrics if other != metric]
    harmful = {suggestion.term.name for suggestion in fitted if _made_worse(residuals, suggestion, others)}
    told = f"**{LABELS[metric]}.** {sentence(ranked, metric, harmful)}{_warning(residuals, fitted, others)}"
    if not shown:
        return told
    lines = [_line(place, suggestion, residuals, others) for place, suggestion in enumerate(shown, start=1)]
    header = ["", "Term", "Cannot be told from", "Constant", "Interval", "MAPE", "fitted", "held out"]
    return f"{told}\n\n{table([*header, *(f'then {LABELS[other]}' for other in others)], lines, left=3)}"


def _line(place: int, suggestion: Suggestion, residuals: Sequence[Residual], others: Sequence[str]) -> list[str]:
    errors = [pct(suggestion.mape_before), pct(suggestion.mape_after), pct(suggestion.held_out)]
    term = f"{suggestion.term.label} ({suggestion.term.formula})"
    elsewhere = [pct(error_with(residuals, other, suggestion)) for other in others]
    return [
        str(place),
        term,
        listed(suggestion.tied),
        constant_text(suggestion),
        interval_text(suggestion),
        *errors,
        *elsewhere,
    ]


def _warning(residuals: Sequence[Residual], fitted: Sequence[Suggestion], others: Sequence[str]) -> str:
    """Say so where the first term would make another mean worse, and which is the first that would not."""
    if not fitted or not fitted[0].beyond_noise or not (worse := _made_worse(residuals, fitted[0], others)):
        return ""
    consistent = next(
        (
            suggestion
            for suggestion in fitted
            if suggestion.beyond_noise and not _made_worse(residuals, suggestion, others)
        ),
        None,
    )
    text = f" But the same constant makes {' and '.join(worse)} worse, so the cause must be another."
    if consistent is None:
        return f"{text} No term beyond noise leaves the others as good as they are."
    return f"{text} The first term that does not: {suggestion_text(consistent)}."


def _made_worse(residuals: Sequence[Residual], suggestion: Suggestion, others: Sequence[str]) -> list[str]:
    """Return the other metrics, in words, whose error the constant would raise."""
    found = []
    for other in others:
        now, then = mape(residuals, other), error_with(residuals, other, suggestion)
        if now is not None and then is not None and then > now:
            found.append(f"{LABELS[other]} ({pct(now)} to {pct(then)})")
    return found


def _missing(residuals: Sequence[Residual], metrics: Sequence[str]) -> str:
    """Return why load points have no residual, metrics with the same reason together."""
    found: dict[tuple[str, int], list[str]] = {}
    for metric in metrics:
        for reason, count in unscored(residuals, metric).items():
            found.setdefault((reason, count), []).append(LABELS[metric])
    if not found:
        return ""
    rows = [[reason, ", ".join(labels), str(count)] for (reason, count), labels in found.items()]
    return "Load points without a residual:\n\n" + table(["Reason", "Of", "load points"], rows, left=2)
