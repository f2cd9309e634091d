"""The page on the terms of a calibration: chain, terms left out one at a time, and Shapley shares.

Contract: `publish` writes page, figures and CSV from the errors of all sets of terms; same errors, same
bytes. A share says by how many percentage points a term lowers the held-out error; the shares of one
metric sum to the data sheet's error less the full model's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roofline_lab.calibration.constants import Vector
from roofline_lab.calibration.plan import REPORTS, TERMS_PAGE, load_plan, terms_discussion_path
from roofline_lab.calibration.terms import ALL_TERMS, TERMS, chain, shares
from roofline_lab.files import csv_text, write_report
from roofline_lab.formatting import pct, pp, table
from roofline_lab.rendering import render
from roofline_lab.report.calibration_tables import METRIC_LABELS
from roofline_lab.report.plots import CHARACTER_INCHES, EDGE, GAP_INCHES, GRID, Layout, drawn, legend, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = tuple(term.name for term in TERMS)
DATA_SHEET = "data sheet only"


@dataclass(frozen=True, slots=True)
class TermErrors:
    """Held-out errors in percent, columns TTFT, ITL and E2E.

    Attributes
    ----------
    by_subset
        From response surfaces, one row per set of terms, shape (2^terms, 3).
    simulated
        By the engine, one row per set of the chain, shape (terms + 1, 3).
    """

    by_subset: Vector
    simulated: Vector

    @property
    def shares(self) -> Vector:
        """Percentage points by which each term lowers the error, shape (terms, 3)."""
        return shares(-self.by_subset)

    @property
    def dropped(self) -> Vector:
        """Percentage points by which the error of the full model grows without each term, shape (terms, 3)."""
        without = [ALL_TERMS & ~(1 << place) for place in range(len(TERMS))]
        return self.by_subset[without] - self.by_subset[ALL_TERMS]

    @property
    def surface_gap(self) -> Vector:
        """Largest distance between surface and engine along the chain, per metric, in percentage points."""
        return np.abs(self.by_subset[chain()] - self.simulated).max(axis=0)


def read_errors(chain_file: Path, subset_files: Iterable[Path]) -> TermErrors:
    """Read what the jobs wrote."""
    found: dict[int, list[float]] = {}
    for path in subset_files:
        content = json.loads(path.read_text(encoding="utf-8"))
        found |= {int(subset): errors for subset, errors in content.items()}
    simulated = json.loads(chain_file.read_text(encoding="utf-8"))["errors"]
    return TermErrors(100.0 * np.array([found[subset] for subset in range(ALL_TERMS + 1)]), 100.0 * np.array(simulated))


def publish(root: Path, name: str, chain_file: str, subset_files: Iterable[str]) -> None:
    """Write page, figures and CSV of one calibration."""
    errors = read_errors(root / chain_file, [root / file for file in subset_files])
    files = {
        "terms.csv": terms_text(errors),
        "chain.svg": draw_chain((DATA_SHEET, *NAMES), errors.simulated),
        "shares.svg": draw_shares(NAMES, errors.shares, errors.dropped),
        TERMS_PAGE: page_text(root, name, errors),
    }
    write_report(root / REPORTS / name, files)


def page_text(root: Path, name: str, errors: TermErrors) -> str:
    """Return the page."""
    discussion = root / terms_discussion_path(name)
    gap = errors.surface_gap
    return render(
        "calibration_terms.md.j2",
        {
            "name": name,
            "title": load_plan(root, name).title,
            "subsets": len(errors.by_subset),
            "terms": terms_table(),
            "chain": chain_table(errors),
            "shares": shares_table(errors),
            "gap": ", ".join(f"{label} {pp(value)}" for label, value in zip(METRIC_LABELS, gap, strict=True)),
            "discussion": discussion.read_text(encoding="utf-8").strip() if discussion.exists() else "",
        },
    )


def terms_table() -> str:
    """Say what each term is and what its absence means."""
    lines = [
        [
            str(place + 1),
            term.name,
            term.absent,
            ", ".join(f"`{constant}`" for constant in term.constants) or f"none (option `{term.switch}`)",
        ]
        for place, term in enumerate(TERMS)
    ]
    return table(["", "term", "without it", "constants"], lines, left=4)


def chain_table(errors: TermErrors) -> str:
    """List the errors along the chain with what each term changes."""
    lines = []
    for place, row in enumerate(errors.simulated):
        before = errors.simulated[place - 1] if place else None
        changes = [pp(None if before is None else float(row[metric] - before[metric])) for metric in range(3)]
        label = f"+ {NAMES[place - 1]}" if place else DATA_SHEET
        lines.append([label, *(cell for metric in range(3) for cell in (pct(float(row[metric])), changes[metric]))])
    header = ["terms"] + [cell for label in METRIC_LABELS for cell in (label, "change")]
    return table(header, lines)


def shares_table(errors: TermErrors) -> str:
    """List Shapley shares beside the growth of the error without each term."""
    shared, dropped = errors.shares, errors.dropped
    lines = [
        [name, *(pp(float(value)) for value in shared[place]), *(pp(float(value)) for value in dropped[place])]
        for place, name in enumerate(NAMES)
    ]
    lines.append(["**sum of shares**", *(pp(float(value)) for value in shared.sum(axis=0)), "", "", ""])
    gained = errors.by_subset[0] - errors.by_subset[ALL_TERMS]
    lines.append(["data sheet less full model", *(pp(float(value)) for value in gained), "", "", ""])
    header = ["term", *(f"share of {label}" for label in METRIC_LABELS)]
    return table([*header, *(f"{label} without it" for label in METRIC_LABELS)], lines)


def terms_text(errors: TermErrors) -> str:
    """Return all figures of the page as CSV."""
    header = ("term", "metric", "chain_error_pct", "shapley_share_pp", "without_it_pp")
    shared, dropped = errors.shares, errors.dropped
    return csv_text(header, _csv_rows(errors.simulated, shared, dropped))


def _csv_rows(simulated: Vector, shared: Vector, dropped: Vector) -> Iterable[Sequence[object]]:
    for metric, label in enumerate(METRIC_LABELS):
        yield DATA_SHEET, label, f"{simulated[0, metric]:.4f}", "", ""
        for place, name in enumerate(NAMES):
            figures = (simulated[place + 1, metric], shared[place, metric], dropped[place, metric])
            yield name, label, *(f"{value:.4f}" for value in figures)


BAR_PITCH = 0.27
FALL, RISE = "#b3b3b3", "#4d4d4d"


def draw_chain(labels: Sequence[str], errors: Vector) -> str:
    """Draw a waterfall of the error while terms are added, one panel per metric.

    Parameters
    ----------
    labels
        What was added, first the start.
    errors
        Percent, shape (labels, metrics).
    """
    with drawn(_layout(labels)) as (figure, panels):
        for metric, axes in enumerate(panels):
            _waterfall(axes, errors[:, metric])
            _finish(axes, labels if not metric else (), len(labels), METRIC_LABELS[metric])
            axes.set_xlabel("held-out mean absolute error [%]")
            axes.set_xlim(0, 1.15 * float(errors[:, metric].max()))
        legend(figure, panels[0], 3)
        return svg(figure)


def draw_shares(labels: Sequence[str], shared: Vector, dropped: Vector) -> str:
    """Draw Shapley shares beside the growth of the error without each term, one panel per metric."""
    with drawn(_layout(labels)) as (figure, panels):
        for metric, axes in enumerate(panels):
            places = range(len(labels))
            style = {"height": 0.38, "edgecolor": EDGE, "linewidth": 0.6}
            axes.barh([place - 0.2 for place in places], shared[:, metric], color=RISE, label="Shapley share", **style)
            axes.barh(
                [place + 0.2 for place in places],
                dropped[:, metric],
                color="white",
                hatch="///",
                label="error without this term, less the full model's",
                **style,
            )
            axes.axvline(0.0, color=EDGE, linewidth=0.8)
            _finish(axes, labels if not metric else (), len(labels), METRIC_LABELS[metric])
            axes.set_xlabel("held-out error [percentage points]")
        legend(figure, panels[0], 2)
        return svg(figure)


def _layout(labels: Sequence[str]) -> Layout:
    left = max(map(len, labels)) * CHARACTER_INCHES + 0.2
    return Layout(len(METRIC_LABELS), len(labels) * BAR_PITCH, left, GAP_INCHES, 1, right=0.3)


def _waterfall(axes: Axes, errors: Vector) -> None:
    """Draw the start as a whole bar, and every later error as the piece it took away or added."""
    style = {"height": 0.62, "edgecolor": EDGE, "linewidth": 0.6}
    axes.barh([0], [errors[0]], color="white", label="data sheet only", **style)
    for fall, colour, label in ((True, FALL, "lowers the error"), (False, RISE, "raises the error")):
        # A bar of no size for the legend, which takes its colour from a bar: this panel may have none of a kind.
        axes.bar(0, 0, color=colour, label=label, edgecolor=EDGE, linewidth=style["linewidth"])
        chosen = [place for place in range(1, len(errors)) if (errors[place] <= errors[place - 1]) == fall]
        axes.barh(
            chosen,
            [abs(errors[place] - errors[place - 1]) for place in chosen],
            left=[min(errors[place], errors[place - 1]) for place in chosen],
            color=colour,
            **style,
        )
    for place, error in enumerate(errors):
        right = max(error, errors[place - 1]) if place else error
        axes.annotate(f"{error:.1f}", (right, place), (3, 0), textcoords="offset points", va="center", fontsize=7.5)


def _finish(axes: Axes, labels: Sequence[str], count: int, title: str) -> None:
    axes.set_title(title)
    axes.set_yticks(range(count), labels or [""] * count)
    axes.set_ylim(count - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.5)
