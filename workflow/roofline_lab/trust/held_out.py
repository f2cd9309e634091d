"""Predictions of measurements the constants were not fitted to, as a table beside each calibration.

Contract: `configs/calibration/<name>.held_out.csv` has one row per fold, load point and figure; `read_held_out` gives
the rows in the order of the file, or one `ConfigError` with every line that is wrong, and `held_out_text` writes them.
A fold says what was left out of the fit together with the row: its server configuration (`configuration`), its model,
its cell (model x GPU x precision), its GPU or its kind of model.

Figures of a saturated load point have no residual. Where the mean E2E was not measured it is added up, on both sides,
from the means that were: TTFT + (output tokens - 1) x time between tokens (`with_e2e`).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import StringConstraints, model_validator

from roofline_lab.files import csv_text
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.scoring.errors import signed_error_pct
from simulator.errors import ConfigError
from simulator.input_files import csv_records, read_text
from simulator.trust.distance import Cell, Load, Run
from simulator.trust.intervals import INTER_TOKEN
from simulator.validation import NonNegative, Positive, StrictModel, config_error, parse

TTFT, E2E = "ttft_mean", "e2e_mean"
# Names of the mean time between tokens; one figure to whoever asks how far it may be off.
BETWEEN_TOKENS = ("itl_mean", "tpot_mean")
# Of more wrong lines only their number is told.
MOST_PROBLEMS = 20
DECIMALS = 4


Fold = Literal["configuration", "model", "cell", "gpu", "kind"]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class HeldOut(StrictModel):
    """One figure of one load point as predicted without its fold.

    Attributes
    ----------
    site
        Where and by which client it was measured; empty where that plays no part.
    concurrency
        Requests in flight, mean over the run.
    prompt_tokens, output_tokens
        Mean lengths of the requests as sent.
    measured_ms, predicted_ms
        None where a saturated load point has none.
    noise
        Spread of one measurement relative to it; None where nothing was repeated.
    """

    fold: Fold
    experiment: Name
    load_point: Name
    model: Name
    kind: Literal["dense", "moe", "mla"]
    hardware: Name
    precision: Name
    site: str = ""
    tensor_parallel: Positive
    concurrency: Positive
    prompt_tokens: Positive
    output_tokens: Positive
    saturated: bool
    metric: Name
    measured_ms: NonNegative | None = None
    predicted_ms: NonNegative | None = None
    noise: NonNegative | None = None

    @model_validator(mode="after")
    def _has_figures(self) -> Self:
        if not self.saturated and not (self.measured_ms and self.predicted_ms):
            raise ValueError("measured_ms and predicted_ms must be above 0 unless saturated")
        return self

    @property
    def cell(self) -> Cell:
        """Model, GPU and precision."""
        return Cell(self.model, self.kind, self.hardware, self.precision)

    @property
    def run(self) -> Run:
        """What ran where."""
        load = Load(self.tensor_parallel, self.concurrency, self.prompt_tokens, self.output_tokens)
        return Run(self.cell, load, self.site)

    @property
    def figure(self) -> str:
        """The metric, with one name for the mean time between tokens."""
        return figure_of(self.metric)

    @property
    def residual(self) -> float | None:
        """Logarithm of predicted over measured; None where the server was saturated."""
        if self.saturated or not self.measured_ms or not self.predicted_ms:
            return None
        return math.log(self.predicted_ms / self.measured_ms)

    @property
    def error_pct(self) -> float | None:
        """Signed error, negative: predicted too fast; None where the server was saturated."""
        if self.saturated or not self.measured_ms or not self.predicted_ms:
            return None
        return signed_error_pct(self.predicted_ms, self.measured_ms)


COLUMNS = tuple(HeldOut.model_fields)
# Columns a file may leave out.
OPTIONAL = frozenset({"site", "noise"})
NUMBERS = frozenset(COLUMNS[COLUMNS.index("tensor_parallel") :]) - {"saturated", "metric"}


def figure_of(metric: str) -> str:
    """Return what a metric is called where its residuals are looked for."""
    return INTER_TOKEN if metric in BETWEEN_TOKENS else metric


def read_held_out(path: Path) -> tuple[HeldOut, ...]:
    """Read the held-out predictions of one calibration.

    Raises
    ------
    ConfigError
        Naming every line and column that is wrong.
    """
    records = csv_records(io.StringIO(read_text(path), newline=""), str(path))
    header = [name.strip() for name in next(records, (0, []))[1]]
    if set(header) | OPTIONAL != set(COLUMNS) or len(header) != len(set(header)):
        raise ConfigError(f"{path}:1: columns must be {', '.join(COLUMNS)} (got {', '.join(header) or 'none'})")
    rows: list[HeldOut] = []
    problems: list[str] = []
    taken: set[tuple[str, ...]] = set()
    for line, cells in records:
        try:
            row = _row(header, cells, f"line {line}")
            key = (row.fold, row.experiment, row.load_point, row.figure)
            if key in taken:
                raise ConfigError(f"line {line}: {' '.join(key)} was given above; keep one row of each")
        except ConfigError as error:
            problems.append(str(error))
            continue
        taken.add(key)
        rows.append(row)
    if problems:
        more = len(problems) - MOST_PROBLEMS
        raise config_error(str(path), problems[:MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else []))
    return tuple(rows)


def _row(header: Sequence[str], cells: Sequence[str], source: str) -> HeldOut:
    if len(cells) != len(header):
        raise ConfigError(f"{source}: {len(cells)} cells, the header has {len(header)}; is the line cut off?")
    return parse(HeldOut, {name: _value(name, cell) for name, cell in zip(header, cells, strict=True)}, source=source)


def _value(name: str, cell: str) -> object:
    """Return what a cell holds, None where a number is missing; what is not of its kind stays, and is refused."""
    if name == "saturated":
        return {"true": True, "false": False}.get(cell.strip().lower(), cell)
    if name not in NUMBERS:
        return cell
    try:
        return float(cell) if cell.strip() else None
    except ValueError:
        return cell


def held_out_text(rows: Iterable[HeldOut]) -> str:
    """Return rows as the content of a file, sorted, so that their order does not matter."""
    return csv_text(COLUMNS, sorted([_cell(getattr(row, name)) for name in COLUMNS] for row in rows))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "" if value is None else str(value)


def with_e2e(rows: Iterable[HeldOut]) -> tuple[HeldOut, ...]:
    """Return rows with the mean E2E of every load point that has the means it is made of and not itself."""
    found = list(rows)
    places: dict[tuple[str, str, str], dict[str, HeldOut]] = {}
    for row in found:
        places.setdefault((row.fold, row.experiment, row.load_point), {})[row.figure] = row
    return (*found, *(made for own in places.values() for made in _added_up(own)))


def _added_up(figures: dict[str, HeldOut]) -> Iterator[HeldOut]:
    first, between = figures.get(TTFT), figures.get(INTER_TOKEN)
    if E2E in figures or first is None or between is None or first.saturated:
        return
    gaps = max(0.0, first.output_tokens - 1.0)
    sums = {
        key: (getattr(first, key) or 0.0) + gaps * (getattr(between, key) or 0.0)
        for key in ("measured_ms", "predicted_ms")
    }
    yield first.model_copy(update={"metric": E2E, "noise": None, **sums})


def site_of(experiment: Experiment, load_point: str) -> str:
    """Return where and by which client a load point was measured: the site that is stated, else the tool.

    Empty for figures that were taken at the engine, which contain no time of client and host.
    """
    if experiment.side_of(load_point) == "server":
        return ""
    return experiment.site or ("" if experiment.tool == "other" else experiment.tool)
