"""Intervals of predictions as a table beside a calibration, and what they say of one run.

Contract: `load_intervals` reads `configs/calibration/intervals/<name>.yaml` or raises one `ConfigError`; `trust_in` is
pure. The table holds, for every figure that was held out, the interval of each kind of model at each distance from what
was fitted to, and that of every cell that was fitted to, as factors of a prediction.

Figures that were held out are those a client saw: TTFT and E2E contain the time of client and host. Of a run that has
none of it, `within` gives what is left of the interval when that time is taken away again: an error in milliseconds
stays what it is, so the smaller a figure is without its client, the wider its interval is relative to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from simulator.trust.distance import Cell, Reach, Run, Seen, reach_of
from simulator.validation import Count, Efficiency, NonNegative, Positive, StrictModel, parse, read_yaml

FOLDER = "intervals"
LEVEL = 0.9
# Time between tokens in the one definition that most sources allow, as held-out rows call it.
INTER_TOKEN = "inter_token_mean"
SATURATES = "saturated: latencies depend on when the run ends"
# Kinds of figures that contain the time of client and host.
OF_CLIENT = ("ttft", "e2e")
US_PER_MS = 1000.0
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


@dataclass(frozen=True, slots=True)
class Band:
    """Between which multiples of a prediction the measured value lies.

    Attributes
    ----------
    low, high
        Factors of the prediction; `low` is at most 1, `high` at least 1.
    made_at
        The reach whose held-out rows the widest of it comes from: that of the prediction, or the next wider one that
        has enough cells.
    clusters, rows
        How much was held out there: cells, or servers of a cell that was fitted to.
    """

    low: float
    high: float
    made_at: Reach
    clusters: int
    rows: int

    @property
    def width(self) -> float:
        """From end to end, as a fraction of the prediction."""
        return self.high - self.low

    def of(self, predicted: float) -> tuple[float, float]:
        """Return the ends in the unit of a prediction."""
        return self.low * predicted, self.high * predicted

    def holds(self, predicted: float, measured: float) -> bool:
        """Whether a measured value lies inside the interval of its prediction, ends included."""
        low, high = self.of(predicted)
        return low <= measured <= high

    def __or__(self, other: Band) -> Band:
        """Return the interval that holds both; it says of itself what the other one says."""
        return Band(min(self.low, other.low), max(self.high, other.high), other.made_at, other.clusters, other.rows)


@dataclass(frozen=True, slots=True)
class NoBand:
    """Why a prediction has no interval."""

    reason: str


@dataclass(frozen=True, slots=True)
class Trust:
    """How far one prediction may be trusted.

    Attributes
    ----------
    reasons
        What makes it near or outside, in words; none where it was fitted to as it is.
    bands
        Interval of each latency, or why there is none.
    """

    reach: Reach
    reasons: tuple[str, ...]
    bands: Mapping[str, Band | NoBand]

    def band(self, figure: str) -> Band | None:
        """Return the interval of a figure, or None."""
        band = self.bands.get(figure)
        return band if isinstance(band, Band) else None

    def refusal(self, figure: str) -> str:
        """Return why a figure has no interval, or nothing."""
        band = self.bands.get(figure)
        return band.reason if isinstance(band, NoBand) else ""


class Known(StrictModel):
    """An interval as factors of a prediction; see `Band`."""

    low: Efficiency
    high: Annotated[Positive, Field(ge=1)]
    held_out_at: Literal["cell", "model", "pairing", "unseen"]
    clusters: Count
    rows: Count

    @property
    def band(self) -> Band:
        """The interval."""
        return Band(self.low, self.high, Reach[self.held_out_at.upper()], self.clusters, self.rows)


class Unknown(StrictModel):
    """Why there is no interval."""

    none: Text

    @property
    def band(self) -> NoBand:
        """The reason."""
        return NoBand(self.none)


class OfKind(StrictModel):
    """Intervals of one kind of model at every distance."""

    cell: Known | Unknown
    model: Known | Unknown
    pairing: Known | Unknown
    unseen: Known | Unknown

    def at(self, reach: Reach) -> Band | NoBand:
        """Return the interval at a distance."""
        found: Known | Unknown = getattr(self, reach.name.lower())
        return found.band


class OfFigure(StrictModel):
    """Intervals of one figure.

    Attributes
    ----------
    of_cells
        By `cell_name`; of cells without an entry, the interval is that of their kind.
    """

    of_kinds: dict[Text, OfKind]
    of_cells: dict[Text, Known] = Field(default={})


class SeenCell(StrictModel):
    """A cell that was fitted to."""

    model: Text
    kind: Text
    hardware: Text
    precision: Text


class Range(StrictModel):
    """Lowest and highest mean that was fitted to."""

    low: Positive
    high: Positive


class Ranges(StrictModel):
    """Of everything a `Load` has."""

    tensor_parallel: Range
    concurrency: Range
    prompt_tokens: Range
    output_tokens: Range


class ClientShare(StrictModel):
    """Time of client and host in TTFT and E2E as a site nobody names has it, in microseconds."""

    request_us: NonNegative
    us_per_prompt_token: NonNegative


class IntervalTable(StrictModel):
    """The content of `configs/calibration/intervals/<name>.yaml`.

    Attributes
    ----------
    client
        Contained in the predictions of TTFT and E2E that the intervals are factors of.
    cells, sites, ranges
        What was fitted to.
    """

    calibration: Text
    level: Efficiency
    client: ClientShare
    cells: Annotated[tuple[SeenCell, ...], Field(min_length=1)]
    sites: tuple[Text, ...]
    ranges: Ranges
    figures: dict[Text, OfFigure]

    @cached_property
    def seen(self) -> Seen:
        """What was fitted to, as `reach_of` asks for it."""
        cells = frozenset(Cell(**each.model_dump()) for each in self.cells)
        ranges = {name: (each["low"], each["high"]) for name, each in self.ranges.model_dump().items()}
        return Seen(cells, frozenset(self.sites), ranges)

    def band(self, figure: str, reach: Reach, cell: Cell) -> Band | NoBand:
        """Return the interval of a figure of a cell at a distance."""
        found = self.figures.get(figure)
        if found is None or cell.kind not in found.of_kinds:
            return NoBand(f"no {figure} was held out")
        own = found.of_cells.get(cell_name(cell)) if reach is Reach.CELL else None
        return own.band if own is not None else found.of_kinds[cell.kind].at(reach)

    def client_ms(self, figure: str, prompt_tokens: float) -> float:
        """Return what of a figure of requests with such prompts is time of client and host."""
        if figure.partition("_")[0] not in OF_CLIENT:
            return 0.0
        return (self.client.request_us + self.client.us_per_prompt_token * prompt_tokens) / US_PER_MS


def cell_name(cell: Cell) -> str:
    """Return how a table names a cell."""
    return f"{cell.model}/{cell.hardware}/{cell.precision}"


def load_intervals(path: Path) -> IntervalTable:
    """Read the intervals of one calibration.

    Raises
    ------
    ConfigError
        Naming file and every wrong key.
    """
    return parse(IntervalTable, read_yaml(path), source=str(path))


def trust_in(table: IntervalTable, run: Run, *, saturated: bool) -> Trust:
    """Return how far a run is from what was fitted to, and the interval of every figure that was held out."""
    reach, reasons = reach_of(run, table.seen)
    names = table.figures
    bands = {name: NoBand(SATURATES) if saturated else table.band(name, reach, run.cell) for name in names}
    return Trust(reach, reasons, bands)


def within(band: Band, predicted_ms: float, client_ms: float) -> tuple[float, float]:
    """Return between which values a figure lies that was predicted without the time of its client.

    Parameters
    ----------
    client_ms
        What the predictions contain that the interval was made from, and this one does not.
    """
    low, high = band.of(predicted_ms + client_ms)
    return max(0.0, low - client_ms), high - client_ms
