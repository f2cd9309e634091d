"""The validated experiments nearest to an answer: what was measured there, and how far the held-out prediction was off.

Contract: `nearest_ladders` reads the held-out predictions beside a calibration; of the cells most like the server (of
model, kind, GPU and precision) it returns the experiments whose GPUs and lengths are nearest, with their load points by
load. A calibration without such a file has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from roofline_lab.places import place_of
from roofline_lab.trust import ENDING
from roofline_lab.trust.held_out import HeldOut, read_held_out, with_e2e
from simulator.trust.distance import Cell, Load, nearest

FOLDER = Path("configs") / "calibration"
MOST = 3
MS_PER_S = 1000.0
# Of several predictions of one load point, the one with most of its kind left out that is not of another question.
FARTHEST = ("cell", "model", "configuration", "gpu", "kind")


@dataclass(frozen=True, slots=True)
class Ladder:
    """One validated experiment: a server at several loads.

    Attributes
    ----------
    rows
        Held-out predictions of the fold that left most of it out, by load.
    """

    experiment: str
    cell: Cell
    tensor_parallel: int
    prompt_tokens: float
    output_tokens: float
    rows: tuple[HeldOut, ...]

    @property
    def name(self) -> str:
        """In words."""
        lengths = f"{self.prompt_tokens:,.0f} / {self.output_tokens:,.0f} tokens"
        return f"{self.cell.model} ({self.cell.precision}) on {self.cell.hardware} TP{self.tensor_parallel}, {lengths}"

    def mape_pct(self, figure: str) -> float | None:
        """Return the mean absolute error of a figure over its load points, in percent; None where it has none."""
        errors = sorted(abs(row.error_pct) for row in self.rows if row.figure == figure and row.error_pct is not None)
        return sum(errors) / len(errors) if errors else None

    def measured(self, figure: str, by: str) -> tuple[tuple[float, float], ...]:
        """Return (load, measured ms) of every load point; rates by Little's law from requests in flight and E2E."""
        e2e_ms = {row.load_point: row.measured_ms for row in self.rows if row.figure == "e2e_mean"}
        points = []
        for row in self.rows:
            if row.figure != figure or row.measured_ms is None:
                continue
            whole_ms = e2e_ms.get(row.load_point)
            if by == "concurrency":
                points.append((row.concurrency, row.measured_ms))
            elif whole_ms:
                points.append((row.concurrency / whole_ms * MS_PER_S, row.measured_ms))
        return tuple(sorted(points))


def nearest_ladders(root: Path, step_time: str, cell: Cell, load: Load) -> tuple[Ladder, ...]:
    """Return the experiments nearest to a server and its requests, at most `MOST`."""
    path = place_of(root, FOLDER / f"{step_time}{ENDING}")
    if not path.is_file():
        return ()
    found = list(_ladders(with_e2e(read_held_out(path))))
    cells = set(nearest(cell, {ladder.cell for ladder in found}))
    near = sorted(
        (ladder for ladder in found if ladder.cell in cells),
        key=lambda ladder: (round(_distance(ladder, load), 6), ladder.experiment),
    )
    return tuple(near[:MOST])


def _ladders(rows: Iterable[HeldOut]) -> Iterable[Ladder]:
    grouped: dict[tuple[str, float], list[HeldOut]] = {}
    for row in rows:
        grouped.setdefault((row.experiment, row.tensor_parallel), []).append(row)
    for (experiment, tp), own in grouped.items():
        fold = min((row.fold for row in own), key=FARTHEST.index)
        kept = sorted((row for row in own if row.fold == fold), key=lambda row: (row.concurrency, row.metric))
        lengths = _mean(kept, "prompt_tokens"), _mean(kept, "output_tokens")
        yield Ladder(experiment, own[0].cell, round(tp), *lengths, tuple(kept))


def _mean(rows: Sequence[HeldOut], name: str) -> float:
    values = sorted(getattr(row, name) for row in rows)
    return math.fsum(values) / len(values)


def _distance(ladder: Ladder, load: Load) -> float:
    """Return how unlike the servers' GPUs and the lengths of their requests are, as a sum of logarithms of ratios."""
    pairs = (
        (ladder.tensor_parallel, load.tensor_parallel),
        (ladder.prompt_tokens, load.prompt_tokens),
        (ladder.output_tokens, load.output_tokens),
    )
    return sum(abs(math.log(one / other)) for one, other in pairs)
