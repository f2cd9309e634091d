"""What an evaluation opens with: every load point as measured beside as predicted, in a table and drawn over its load.

Contract: pure functions of results of one predictor. A load point that has no error says why in its own line; of a
figure that was not measured the cell is a dash. A curve needs two load points of one experiment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from roofline_lab.formatting import MISSING, signed_pct, table
from roofline_lab.predict.records import HEADLINE, PointResult, label
from roofline_lab.report.cells import error_text
from roofline_lab.report.evaluation_numbers import grouped
from roofline_lab.report.plots import Panel, Series, curves
from roofline_lab.scoring.comparison import Comparison
from roofline_lab.vocabulary import RowStatus

# Load points that a reader takes in at once; beyond them the table folds.
SHOWN_POINTS = 24
# Experiments with a picture of their own.
SHOWN_CURVES = 6
WHY = "no error, because"
ONLY_PREDICTED = "saturated in the simulation alone, so the error counts in no mean"
NOTHING_MEASURED = "no mean latency was measured"


def measured_beside_predicted(results: Sequence[PointResult]) -> str:
    """Return one line per load point: every headline mean as measured, as predicted, and its signed error."""
    lines = [[_name(result, results), _load(result), *_cells(result), _why(result)] for result in results]
    header = ["load point", "load"]
    for name in map(label, HEADLINE):
        header += [f"{name} measured [ms]", f"{name} predicted [ms]", "error"]
    said = any(line[-1] for line in lines)
    shown = [line if said else line[:-1] for line in lines]
    return table([*header, *([WHY] if said else [])], shown, left=2) if lines else ""


def latency_over_load(results: Iterable[PointResult]) -> dict[str, str]:
    """Return a figure by experiment, of the first ones whose load was varied."""
    return {name: curves(panels) for name, panels in list(varied(results).items())[:SHOWN_CURVES]}


def varied(results: Iterable[PointResult]) -> dict[str, list[Panel]]:
    """Return the panels of every experiment whose load was varied: a mean over it, as measured and as predicted."""
    found = {
        name: [panel for metric in HEADLINE if (panel := _panel(own, metric)) is not None]
        for name, own in grouped(results, lambda result: result.place.experiment).items()
    }
    return {name: panels for name, panels in found.items() if panels}


def deployment(results: Iterable[PointResult], experiment: str) -> str:
    """Return what an experiment ran, in words."""
    place = next(result.place for result in results if result.place.experiment == experiment)
    return f"{place.model} on {place.hardware}, TP {place.tensor_parallel}"


def _name(result: PointResult, results: Sequence[PointResult]) -> str:
    several = len({each.place.experiment for each in results}) > 1
    return result.place.name if several else result.place.load_point


def _load(result: PointResult) -> str:
    place = result.place
    if place.clients is not None:
        return f"{place.clients} client{'' if place.clients == 1 else 's'}"
    return MISSING if place.rate_per_s is None else f"{place.rate_per_s:.3g} requests/s"


def _cells(result: PointResult) -> Iterator[str]:
    for metric in HEADLINE:
        figure = result.figure(metric)
        yield from (MISSING,) * 3 if figure is None else _figure(figure)


def _figure(figure: Comparison) -> tuple[str, str, str]:
    measured, predicted = (
        MISSING if value is None else f"{value:.4g}" for value in (figure.measured, figure.predicted)
    )
    return measured, predicted, error_text(figure.error_pct, figure.noise_pct, signed_pct)


def _why(result: PointResult) -> str:
    """Say why a load point, or one of its means, has no error or is in no mean; empty where all have."""
    if result.status is not RowStatus.OK:
        return result.reason
    if result.falsely_saturated:
        return ONLY_PREDICTED
    known = [(label(metric), result.figure(metric)) for metric in HEADLINE]
    if all(figure is None or figure.measured is None for _, figure in known):
        return NOTHING_MEASURED
    reasons = [(name, figure.reason) for name, figure in known if figure is not None and figure.reason]
    reasons += [(name, "not measured") for name, figure in known if figure is None]
    return "; ".join(f"{name}: {reason}" for name, reason in reasons)


# --- curves --------------------------------------------------------------------------------------------


def _panel(results: Sequence[PointResult], metric: str) -> Panel | None:
    """Return a mean over the load of one experiment, measured and predicted; None where load was not varied."""
    loops = [result for result in results if result.place.clients is not None]
    x_label, x = ("requests in flight", _clients) if loops else ("requests sent per second", _rate)
    points = [(x(result), figure) for result in results if (figure := result.figure(metric)) is not None]
    sides: Mapping[str, list[tuple[float, float]]] = {
        "measured": [(at, each.measured) for at, each in points if at and each.measured],
        "predicted": [(at, each.predicted) for at, each in points if at and each.predicted],
    }
    if len({at for at, _ in sides["measured"]}) < 2:
        return None
    series = tuple(
        Series(name, tuple(sorted(own)), marker=place, fill=1 - place)
        for place, (name, own) in enumerate(sides.items())
    )
    return Panel(f"mean {label(metric)}", x_label, series, f"mean {label(metric)} [ms]")


def _clients(result: PointResult) -> float:
    return float(result.place.clients or 0)


def _rate(result: PointResult) -> float:
    return result.place.rate_per_s or 0.0
