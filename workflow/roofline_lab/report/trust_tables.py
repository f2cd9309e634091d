"""Tables of the page on trust, as markdown, and its numbers.

Contract: pure functions of one calibration's held-out predictions (`Validation`) and of their tests by intervals made
without them (`held_out_hits`). Errors are absolute errors of means in percent; intervals are in percent of the
prediction, as what is to be added to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import pairwise, product
from operator import or_
from typing import NamedTuple

from roofline_lab.formatting import MISSING, counted, table
from roofline_lab.predict.records import HEADLINE, label
from roofline_lab.report.cells import error_text, with_noise
from roofline_lab.scoring.errors import PERCENT, mean
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS
from roofline_lab.scoring.statistics import median
from roofline_lab.trust.coverage import WANTED, HeldOutHit, Tally, tallies, tally
from roofline_lab.trust.intervals import Tested, Validation
from simulator.trust.distance import KIND_WORDS, LOAD_WORDS, TOLERANCE, Cell, Reach, Seen, Word, reach_of_cell
from simulator.trust.intervals import Band, NoBand

METRIC_LABELS = tuple(map(label, HEADLINE))
WORD_MEANINGS = {
    Word.INSIDE: "kind of model, GPU and precision were fitted to together",
    Word.NEAR: "each was fitted to, never together; or site, load or lengths are new",
    Word.OUTSIDE: "one of them was never fitted to",
}
Line = tuple[str, ...]


# Of fewer load points chance alone decides whether the share of intervals that hold is the one wanted.
JUDGED = 30
# Deployments whose intervals hold too rarely that are named.
MOST_SHORT = 6
# Of more models only their number is told.
NAMED = 2


class Group(NamedTuple):
    """What rows of the table of deployments are about."""

    word: Word
    deployment: tuple[str, str, str]


def group_of(one: Tested) -> Group:
    """Return the word and the deployment of a held-out row."""
    return Group(one.reach.word, one.cell.deployment)


def headline(hits: Sequence[HeldOutHit]) -> str:
    """Say how many held-out means lie in intervals made from other cells, and how wide these are."""
    means = [hit for hit in hits if hit.figure in HEADLINE]
    if not means:
        return "**No interval could be tested**: fewer than three other cells were held out at any distance."
    counted, widths = tally(means), tallies(means, lambda hit: hit.figure)
    parts = ", ".join(f"{label(name)} {_percent(widths[name].width)}" for name in HEADLINE if name in widths)
    share, wanted = f"{_percent(counted.share)} of {counted.points:,}", " to ".join(map(_percent, WANTED))
    return (
        f"**{share} held-out means lie in the 90 % interval of their prediction**, made from other cells alone, or "
        f"from other servers of a cell that was fitted to; {wanted} are wanted. Median width from end to end: {parts} "
        "of the prediction."
    )


def coverage_table(validation: Validation, hits: Sequence[HeldOutHit]) -> str:
    """Return by word what was held out, and how many of it lie in their intervals."""
    counted = tallies(hits, lambda hit: (hit.reach.word, hit.figure))
    lines = []
    for word in Word:
        rows = [one for one in validation.tested if one.reach.word is word and one.figure in HEADLINE]
        cells = {one.cell for one in rows}
        known = [counted.get((word, metric)) for metric in HEADLINE]
        lines.append([word, WORD_MEANINGS[word], str(len(cells)), *map(_share_and_width, known)])
    return table(["word", "of a deployment", "cells held out", *METRIC_LABELS], lines, left=2)


def short_of(hits: Sequence[HeldOutHit]) -> str:
    """Name the deployments whose measured means lie in their intervals less often than is wanted, the worst first."""
    counted = tallies(hits, lambda hit: (hit.reach.word, hit.cell.deployment, hit.figure))
    short = sorted(
        (found.share, word, _words(deployment), label(metric))
        for (word, deployment, metric), found in counted.items()
        if metric in HEADLINE and found.points >= JUDGED and found.share < WANTED[0]
    )
    if not short:
        return ""
    named = "; ".join(
        f"{words}, {word}: {metric} {_percent(share)}" for share, word, words, metric in short[:MOST_SHORT]
    )
    more = f"; and {len(short) - MOST_SHORT} more" if len(short) > MOST_SHORT else ""
    return f"The mean hides where intervals hold less often than {_percent(WANTED[0])}: {named}{more}."


def deployment_table(validation: Validation, hits: Sequence[HeldOutHit]) -> str:
    """Return every deployment that was fitted to: error, interval and coverage, inside and as if it had not been."""
    groups: dict[Group, list[Tested]] = {}
    for one in validation.tested:
        if one.figure in HEADLINE:
            groups.setdefault(group_of(one), []).append(one)
    counted = tallies(hits, lambda hit: (hit.reach.word, hit.cell.deployment, hit.figure))
    lines, noises = [], []
    for group in sorted(groups, key=lambda group: (list(Word).index(group.word), group.deployment)):
        own = groups[group]
        cells = [_figure_cell(validation, own, metric, counted.get((*group, metric))) for metric in HEADLINE]
        lines.append([group.word, _words(group.deployment), _models(own), *cells])
        noises.append([_noise_pct(own, metric) for metric in HEADLINE])
    header = ["predicted from", "deployment", "models", *METRIC_LABELS]
    return table(*with_noise(header, lines, noises, METRIC_LABELS), left=3)


def load_table(hits: Sequence[HeldOutHit]) -> str:
    """Return the same by load and by lengths: whether one interval serves for all of them."""
    lines = []
    for name, edges in LOAD_EDGES.items():
        for low, high in pairwise((0.0, *edges, math.inf)):
            own = [hit for hit in hits if low < getattr(hit.row.run.load, name) <= high and hit.figure in HEADLINE]
            counted = tallies(own, lambda hit: hit.figure)
            cells = [_share_and_width(counted.get(metric)) for metric in HEADLINE]
            if own:
                lines.append([_range_words(low, high, LOAD_WORDS[name]), *cells])
    return table(["load or length", *METRIC_LABELS], lines, left=1)


# Where load and lengths are parted for coverage.
LOAD_EDGES = {"concurrency": (8.0, 32.0), "prompt_tokens": (2000.0,), "output_tokens": (2000.0,)}


def _range_words(low: float, high: float, words: str) -> str:
    if low == 0.0:
        return f"up to {high:,.0f} {words}"
    return f"more than {low:,.0f} {words}" if high == math.inf else f"up to {high:,.0f} {words}, more than {low:,.0f}"


def missing_table(validation: Validation) -> str:
    """List what is near or outside, why, and which measurement would bring it inside."""
    seen, lines = validation.seen, []
    for key, what in PARTS.items():
        fitted = sorted({getattr(cell, key) for cell in seen.cells})
        known = " or ".join(KIND_WORDS.get(name, name) for name in fitted)
        lines.append([f"any other {what} than {known}", Word.OUTSIDE, f"{what} never fitted to", RUN_OF_PART])
    near = [cell for cell in _pairs(seen) if reach_of_cell(cell, seen.cells)[0] is Reach.PAIRING]
    if near:
        lines.append(
            [
                f"{counted(len(near), 'pair')}, light in the figure",
                Word.NEAR,
                "never fitted to together",
                "a run of each",
            ]
        )
    lines += [[text, *BEYOND] for text in _ranges(seen)]
    if seen.sites:
        known = " or ".join(sorted(seen.sites))
        lines.append([f"measured elsewhere than at {known}", STEP, "its client takes time of its own", SITE])
    return table(["what", "word", "why", "brought inside by"], lines, left=4)


PARTS = {"kind": "kind of model", "hardware": "GPU", "precision": "precision"}
RUN_OF_PART = "a run with it among those fitted to; its other pairs come near"
STEP = "one step farther"
BEYOND = (STEP, "beyond what was measured", "a run at that load or length")
SITE = "one load point with one request at a time"


def number_lines(validation: Validation, hits: Sequence[HeldOutHit]) -> Iterator[Line]:
    """Yield the lines of `numbers.csv`: coverage, width, error and interval by word, and coverage by cell left out."""
    by_word = tallies(hits, lambda hit: (hit.reach.word, "trust", hit.reach.word, hit.figure))
    by_cell = tallies(hits, lambda hit: (hit.reach.word, "cell", hit.where, hit.figure))
    for (word, scope, key, figure), found in (by_word | by_cell).items():
        place = (validation.name, word, ALL_LOAD_POINTS, scope, key, figure)
        yield (*place, "interval_coverage", _decimal(found.share * PERCENT), "pct")
        yield (*place, "interval_width", _decimal(found.width * PERCENT), "pct")
        yield (*place, "count", _decimal(float(found.points)), "count")
    for figure, reach, kind in product(validation.figures, Reach, KIND_WORDS):
        band = validation.band(figure, reach, Cell("", kind, "", ""))
        if isinstance(band, Band):
            place = (validation.name, reach.word, ALL_LOAD_POINTS, "reach", f"{reach.name.lower()} {kind}", figure)
            yield (*place, "interval_low", _decimal((band.low - 1.0) * PERCENT), "pct")
            yield (*place, "interval_high", _decimal((band.high - 1.0) * PERCENT), "pct")


def _widest(bands: Iterable[Band | NoBand]) -> Band | None:
    """Return the interval that holds all there are; None where there are none."""
    known = [band for band in bands if isinstance(band, Band)]
    return reduce(or_, known) if known else None


def _figure_cell(validation: Validation, rows: Iterable[Tested], metric: str, counted: Tally | None) -> str:
    """Return error, interval and coverage of one figure of a deployment."""
    own = [one for one in rows if one.figure == metric]
    if not own:
        return MISSING
    errors = [abs(error) for one in own if (error := one.row.error_pct) is not None]
    farthest = max(one.reach for one in own)
    band = _widest(validation.band(metric, farthest, cell) for cell in {one.cell for one in own})
    interval = f"{ends(band)} %" if band else "no interval"
    tested = f"{counted.inside} of {counted.points}" if counted else "not tested"
    return f"{error_text(mean(errors), _noise_pct(own, metric))}; {interval}; {tested}"


def ends(band: Band) -> str:
    """Return what is to be added to a prediction at either end of its interval, in whole percent of it."""
    low, high = ((end - 1.0) * PERCENT for end in (band.low, band.high))
    return f"{low:.0f} to {high:+.0f}"


def _share_and_width(counted: Tally | None) -> str:
    if counted is None:
        return MISSING
    text = f"{_percent(counted.share)} of {counted.points}, width {_percent(counted.width)}"
    return f"**{text}**" if counted.points >= JUDGED and not counted.holds else text


def _noise_pct(rows: Iterable[Tested], metric: str) -> float | None:
    """Return how far one measurement scatters, percent at the median; None where nothing was repeated."""
    known = [one.row.noise for one in rows if one.figure == metric and one.row.noise is not None]
    return median(known) * PERCENT if known else None


def _models(rows: Iterable[Tested]) -> str:
    names = sorted({one.row.model for one in rows})
    return ", ".join(names) if len(names) <= NAMED else f"{len(names)} models"


def _words(deployment: tuple[str, str, str]) -> str:
    kind, hardware, precision = deployment
    return f"{KIND_WORDS[kind]}, {hardware}, {precision}"


def _pairs(seen: Seen) -> list[Cell]:
    """Return every pairing of kinds, GPUs and precisions that were fitted to."""
    kinds, gpus, precisions = (
        sorted({getattr(cell, key) for cell in seen.cells}) for key in ("kind", "hardware", "precision")
    )
    return [Cell("", kind, gpu, precision) for kind in kinds for gpu in gpus for precision in precisions]


def _ranges(seen: Seen) -> Iterator[str]:
    """Yield load and lengths at which a prediction leaves what was measured."""
    for name, (low, high) in seen.ranges.items():
        least, most = low / TOLERANCE, high * TOLERANCE
        below = f"fewer than {least:,.0f} or " if least >= 1.0 else ""
        yield f"{below}more than {most:,.0f} {LOAD_WORDS[name]}"


def _percent(share: float) -> str:
    return f"{share * PERCENT:.0f} %"


def _decimal(value: float) -> str:
    return f"{value:.6f}"
