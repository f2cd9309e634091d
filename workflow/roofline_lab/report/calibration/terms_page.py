"""The page on terms: chain, terms left out one at a time, and Shapley shares.

Contract: `publish` writes page, figures and CSV from the errors of all sets of terms; same errors, same
bytes. A share says by how many percentage points a term lowers the held-out error; the shares of one
metric sum to the data sheet's error less the full model's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roofline_lab.calibration.constants import Vector
from roofline_lab.calibration.plan import REPORTS, TERMS_PAGE, load_plan, terms_discussion_path
from roofline_lab.calibration.terms import ALL_TERMS, TERMS, chain, shares
from roofline_lab.files import csv_text, write_text
from roofline_lab.formatting import pct, pp, table
from roofline_lab.rendering import render
from roofline_lab.report.calibration.tables import METRIC_LABELS
from roofline_lab.report.calibration.terms_plots import draw_chain, draw_shares

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
    folder = root / REPORTS / name
    write_text(folder / "terms.csv", terms_text(errors))
    write_text(folder / "chain.svg", draw_chain((DATA_SHEET, *NAMES), errors.simulated))
    write_text(folder / "shares.svg", draw_shares(NAMES, errors.shares, errors.dropped))
    write_text(folder / TERMS_PAGE, page_text(root, name, errors))


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
