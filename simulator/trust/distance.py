"""How far a deployment is from what a calibration was fitted to, in four steps and three words.

Contract: pure. What was fitted to is a set of cells (model x GPU x precision), the sites at which they were measured,
and the ranges of load and lengths (`Seen`); `reach_of` says which part of a run that does not hold, and why, in words.
A prediction and a held-out row are asked by the same functions, so that a row counts for exactly the predictions that
are as far from their fit as it was from its own. `load_of` says what a server had to do, `nearest` which cells it is
most like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import IntEnum, StrEnum

from simulator.model import Model

DENSE, MIXTURE, LATENT = "dense", "moe", "mla"
KIND_WORDS: Mapping[str, str] = {DENSE: "dense", MIXTURE: "mixture of experts", LATENT: "latent attention"}
UNQUANTIZED = "bf16"
# A load or a length is one that was measured up to this factor beyond what was: an eighth of the way to twice as much
# is far below what moves a step from one bottleneck to another.
TOLERANCE = 1.25
MS_PER_S = 1000.0


class Word(StrEnum):
    """How far a prediction may be trusted."""

    INSIDE = "inside"
    NEAR = "near"
    OUTSIDE = "outside"


class Reach(IntEnum):
    """What of a deployment the constants do not rest on, the least first."""

    CELL = 0
    MODEL = 1
    PAIRING = 2
    UNSEEN = 3

    @property
    def word(self) -> Word:
        """The word for it."""
        return (Word.INSIDE, Word.INSIDE, Word.NEAR, Word.OUTSIDE)[self]

    @property
    def meaning(self) -> str:
        """In words, of the held-out predictions that are as far."""
        return MEANINGS[self]


MEANINGS: Mapping[Reach, str] = {
    Reach.CELL: "this model on this GPU in this precision was fitted to, at other settings",
    Reach.MODEL: "another model of this kind was fitted to on this GPU in this precision",
    Reach.PAIRING: "kind, GPU and precision were each fitted to, never together; or site, load or lengths are new",
    Reach.UNSEEN: "kind, GPU or precision was never fitted to; or a new pair at a new site, load or length",
}


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A model on a GPU in a precision.

    Attributes
    ----------
    model, hardware
        Ids of `configs/models` and `configs/hardware`.
    kind, precision
        As `kind_of` and `precision_of` say.
    """

    model: str
    kind: str
    hardware: str
    precision: str

    @property
    def deployment(self) -> tuple[str, str, str]:
        """Kind, GPU and precision: what numbers are said to hold for."""
        return (self.kind, self.hardware, self.precision)


@dataclass(frozen=True, slots=True)
class Load:
    """What a server has to do, as means over requests.

    Attributes
    ----------
    concurrency
        Requests in flight.
    """

    tensor_parallel: float
    concurrency: float
    prompt_tokens: float
    output_tokens: float


LOAD_WORDS: Mapping[str, str] = {
    "tensor_parallel": "GPUs in tensor parallel",
    "concurrency": "requests in flight",
    "prompt_tokens": "prompt tokens",
    "output_tokens": "output tokens",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What runs where: a held-out row, or what is to be predicted.

    Attributes
    ----------
    site
        Where it is measured, by which client; empty where that is not known or plays no part.
    """

    cell: Cell
    load: Load
    site: str = ""


def load_of(
    tensor_parallel: int, request_rate_per_s: float, e2e_mean_ms: float, prompt_tokens: float, output_tokens: float
) -> Load:
    """Return what a server has to do in a run: means over its completed requests.

    Requests in flight by Little's law, completed per second times the mean time from request to last token; at least
    the one that sees them.
    """
    in_flight = max(1.0, request_rate_per_s * e2e_mean_ms / MS_PER_S)
    return Load(float(tensor_parallel), in_flight, prompt_tokens, output_tokens)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was fitted to: cells, sites, and lowest and highest value of everything a `Load` has."""

    cells: frozenset[Cell]
    sites: frozenset[str]
    ranges: Mapping[str, tuple[float, float]]


def seen_in(runs: Iterable[Run]) -> Seen:
    """Return what some runs are about."""
    found = list(runs)
    names = [field.name for field in fields(Load)] if found else []
    values = {name: [getattr(run.load, name) for run in found] for name in names}
    return Seen(
        frozenset(run.cell for run in found),
        frozenset(run.site for run in found if run.site),
        {name: (min(own), max(own)) for name, own in values.items()},
    )


def reach_of(run: Run, seen: Seen) -> tuple[Reach, tuple[str, ...]]:
    """Return how far a run is from what was seen, and what makes it so; no reason where it was seen as it is."""
    reach, reasons = reach_of_cell(run.cell, seen.cells)
    beyond = (*_other_site(run.site, seen.sites), *_beyond(run.load, seen))
    return (Reach(min(max(reach + 1, Reach.PAIRING), Reach.UNSEEN)) if beyond else reach), (*reasons, *beyond)


def reach_of_cell(cell: Cell, cells: frozenset[Cell]) -> tuple[Reach, tuple[str, ...]]:
    """Return how far a cell is from others, and why, at a load, lengths and a site that were seen."""
    if any(cell == other for other in cells):
        return Reach.CELL, ()
    if any(cell.deployment == other.deployment for other in cells):
        return Reach.MODEL, (f"the model {cell.model} was not fitted to",)
    missing = tuple(_missing(cell, cells))
    if missing:
        return Reach.UNSEEN, missing
    kind = KIND_WORDS.get(cell.kind, cell.kind)
    return Reach.PAIRING, (f"{kind}, {cell.hardware} and {cell.precision} were fitted to, but never together",)


def nearest(cell: Cell, cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return the cells that have most in common with one of model, kind, GPU and precision, sorted."""
    shared: dict[int, list[Cell]] = {}
    for other in cells:
        alike = sum(getattr(cell, field.name) == getattr(other, field.name) for field in fields(Cell))
        shared.setdefault(alike, []).append(other)
    return tuple(sorted(shared[max(shared)])) if shared else ()


def _missing(cell: Cell, cells: frozenset[Cell]) -> Iterator[str]:
    """Yield what of a cell no other has."""
    names = {"kind": KIND_WORDS.get(cell.kind, cell.kind), "hardware": cell.hardware, "precision": cell.precision}
    for key, name in names.items():
        known = sorted({getattr(other, key) for other in cells})
        if getattr(cell, key) not in known:
            had = ", ".join(KIND_WORDS.get(word, word) for word in known) or "nothing"
            yield f"{name} was not fitted to, but {had}"


def _other_site(site: str, sites: frozenset[str]) -> Iterator[str]:
    """Yield where the time of client and host is that of a site nobody fitted to."""
    if site and sites and site not in sites:
        yield f"the time of client and host at {site} was not fitted to, but that at {', '.join(sorted(sites))}"


def _beyond(load: Load, seen: Seen) -> Iterator[str]:
    """Yield where load or lengths leave what was measured."""
    for name, (low, high) in seen.ranges.items():
        value = getattr(load, name)
        if not low / TOLERANCE <= value <= high * TOLERANCE:
            yield f"{value:.4g} {LOAD_WORDS[name]} were not fitted to, but {low:.4g} to {high:.4g}"


def kind_of(model: Model) -> str:
    """Return the kind of a model: by its attention, then by its feed-forward layers."""
    if model.latent:
        return LATENT
    return MIXTURE if model.num_local_experts else DENSE


def precision_of(model: Model) -> str:
    """Return how most weights of a model are stored, as `simulator.quantization` calls it; else `bf16`."""
    return model.quantization or UNQUANTIZED
