"""The residual section of a page: where errors sit, and which single term would remove most of them.

Contract: `residual_section` returns markdown without a heading of its own; `residual_figure` the figure it shows.
Residuals are (measured - predicted) / measured of means: positive means predicted too fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workflow.lib.markdown import MISSING, pct, signed_pct, table
from workflow.lib.residuals.drivers import DRIVERS, correlation, groups, varies
from workflow.lib.residuals.ranking import DEFAULT, Resampling, Suggestion, ranked_terms
from workflow.lib.residuals.record import LABELS, METRICS, Residual, scored, unscored
from workflow.lib.residuals.terms import BY_NAME
from workflow.lib.residuals.words import constant_text, interval_text, sentence

FIGURE = "figures/residuals.svg"
SHOWN_TERMS = 5
NOTHING_SCORED = "No load point has a residual."


def residual_section(
    residuals: Iterable[Residual],
    metrics: Sequence[str] = METRICS,
    resampling: Resampling = DEFAULT,
    figure: str = FIGURE,
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
    """
    chosen = tuple(residuals)
    present = [metric for metric in metrics if scored(chosen, metric)]
    parts = []
    if present:
        parts += [_correlations(chosen, present), _groups(chosen, present)]
        parts.append(f"![Signed residuals against what they may go with]({figure})")
        parts += [_ranking(chosen, metric, resampling) for metric in present]
    else:
        parts.append(NOTHING_SCORED)
    if missing := _missing(chosen, metrics):
        parts.append(missing)
    return "\n\n".join(part for part in parts if part)


def _correlations(residuals: Sequence[Residual], metrics: Sequence[str]) -> str:
    rows = []
    for driver in DRIVERS:
        found = [correlation(residuals, driver, metric) for metric in metrics]
        cells = [MISSING if one.value is None else f"{one.value:+.2f}" for one in found]
        why = "" if varies(residuals, driver) else "does not vary"
        rows.append([driver.title, *cells, str(max(one.points for one in found)), why])
    header = ["Driver", *(LABELS[metric] for metric in metrics), "load points", ""]
    return "Rank correlation (Spearman) of the signed residual with each driver:\n\n" + table(header, rows)


def _groups(residuals: Sequence[Residual], metrics: Sequence[str]) -> str:
    rows = [
        [driver.title, group.label, str(group.points), *(signed_pct(group.mean_pct[metric]) for metric in metrics)]
        for driver in DRIVERS
        for group in groups(residuals, driver, metrics)
    ]
    if not rows:
        return ""
    header = ["Driver", "Value", "load points", *(LABELS[metric] for metric in metrics)]
    return "Mean signed residual by group (positive: predicted too fast):\n\n" + table(header, rows, left=2)


def _ranking(residuals: Sequence[Residual], metric: str, resampling: Resampling) -> str:
    ranked = ranked_terms(residuals, metric, resampling=resampling)
    fitted = [one for one in ranked if one.constant is not None]
    lines = [_line(place, one) for place, one in enumerate(fitted[:SHOWN_TERMS], start=1)]
    header = ["", "Term", "Constant", "Interval", "MAPE", "fitted", "held out", "Cannot be told from"]
    return f"**{LABELS[metric]}.** {sentence(ranked, metric)}\n\n{table(header, lines, left=2)}"


def _line(place: int, one: Suggestion) -> list[str]:
    errors = [pct(one.mape_before), pct(one.mape_after), pct(one.held_out)]
    tied = ", ".join(BY_NAME[name].label if name in BY_NAME else name for name in one.tied)
    return [str(place), f"{one.term.label} ({one.term.formula})", constant_text(one), interval_text(one), *errors, tied]


def _missing(residuals: Sequence[Residual], metrics: Sequence[str]) -> str:
    rows = [
        [LABELS[metric], str(count), reason]
        for metric in metrics
        for reason, count in unscored(residuals, metric).items()
    ]
    if not rows:
        return ""
    return "Load points without a residual:\n\n" + table(["Metric", "load points", "Reason"], rows)
