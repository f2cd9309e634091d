"""How far predictions of an evaluation may be trusted, as tables: words, intervals, and whether these held.

Contract: pure functions of results of one predictor; empty where nothing is known of what predicts. An interval has
held where the measured value lies inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from roofline_lab.formatting import MISSING, table
from roofline_lab.predict.records import HEADLINE, PointResult, label
from roofline_lab.report.evaluation_numbers import Line, holdout_groups, line
from roofline_lab.scoring.comparison import Comparison
from roofline_lab.scoring.errors import PERCENT
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS
from roofline_lab.trust.coverage import Hit, Tally, tallies, tally
from simulator.trust.distance import Word
from simulator.trust.intervals import Band

METRIC_LABELS = tuple(map(label, HEADLINE))
WORDS = {
    Word.INSIDE: "kind of model, GPU and precision were fitted to together",
    Word.NEAR: "each of them was fitted to, not together; or load or lengths go beyond what was",
    Word.OUTSIDE: "one of them was never fitted to",
}


def interval_of(result: PointResult, figure: Comparison) -> tuple[float, float] | None:
    """Return the ends of a figure's interval in its unit, or None."""
    band = _band(result, figure)
    return None if band is None or figure.predicted is None else band.of(figure.predicted)


def held(results: Iterable[PointResult], metrics: Sequence[str] = HEADLINE) -> list[Hit]:
    """Return a test for every measured mean that has an error and an interval."""
    return [hit for result in results for metric in metrics if (hit := _hit(result, result.figure(metric))) is not None]


def coverage_table(results: Sequence[PointResult]) -> str:
    """Return how many measured means lie in their intervals, by word and figure, and how wide these are."""
    lines = []
    for group, word, own in _by_word(results):
        counted = tallies(held(own), lambda hit: hit.figure)
        if counted:
            lines.append([word, group, *(_share(counted.get(metric)) for metric in HEADLINE)])
    return table(["word", "predictions", *METRIC_LABELS], lines, left=2) if lines else ""


def reasons_table(results: Sequence[PointResult]) -> str:
    """List why predictions are near or outside, or have no interval, with the experiments concerned."""
    about: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for key in _reasons(result):
            names = about.setdefault(key, [])
            if result.place.experiment not in names:
                names.append(result.place.experiment)
    order = [*Word, NO_INTERVAL]
    keys = sorted(about, key=lambda key: (order.index(key[0]), key[1]))
    lines = [[word, text, ", ".join(about[word, text])] for word, text in keys]
    return table(["word", "why", "experiments"], lines, left=3) if lines else ""


NO_INTERVAL = "no interval"


def _reasons(result: PointResult) -> Iterator[tuple[str, str]]:
    if result.trust is None:
        return
    for reason in result.trust.reasons:
        yield result.trust.reach.word, reason
    for metric in HEADLINE:
        if refusal := result.trust.refusal(metric):
            yield NO_INTERVAL, refusal


def every_interval(results: Sequence[PointResult]) -> str:
    """List every predicted mean with its interval and the measured value, bold where that lies outside."""
    lines = [
        [result.place.name, result.trust.reach.word, *(_cell(result, result.figure(metric)) for metric in HEADLINE)]
        for result in results
        if result.trust is not None and any(map(result.trust.band, HEADLINE))
    ]
    header = ["load point", "word", *(f"{name} [ms]" for name in METRIC_LABELS)]
    return table(header, lines, left=2) if lines else ""


def words(results: Sequence[PointResult]) -> str:
    """Say what each word that occurs means."""
    found = {result.trust.reach.word for result in results if result.trust is not None}
    return "\n".join(f"- *{word}*: {meaning}." for word, meaning in WORDS.items() if word in found)


def without(results: Sequence[PointResult]) -> str:
    """Say why no measured mean stands beside an interval."""
    if not any(result.trust is not None for result in results):
        return "Not known: nothing was held out of what predicts, so there are no intervals."
    return "No measured mean has an interval."


def in_a_sentence(results: Sequence[PointResult]) -> str:
    """Say how many of the measured means that are a test lie in their intervals; empty where none has one."""
    hits = held(result for result in results if not result.excluded)
    if not hits:
        return ""
    counted = tally(hits)
    share = _percent(counted.share)
    return f"{counted.inside} of {counted.points} measured means ({share}) lie in the 90 % interval of their prediction"


def summary_lines(results: Sequence[PointResult]) -> Iterator[str]:
    """Yield a line per word for a terminal: how many measured means lie in their intervals."""
    for group, word, own in _by_word(results):
        counted = tallies(held(own), lambda hit: hit.figure)
        cells = [
            f"{label(metric)} {counted[metric].inside} of {counted[metric].points}"
            for metric in HEADLINE
            if metric in counted
        ]
        if cells:
            yield f"{word} ({group}): measured in the 90 % interval: {', '.join(cells)}"


def number_lines(results: Sequence[PointResult]) -> Iterator[Line]:
    """Yield the lines of `numbers.csv` that say whether intervals held."""
    for group, word, own in _by_word(results):
        for metric, counted in tallies(held(own), lambda hit: hit.figure).items():
            place = (group, own[0].predictor, ALL_LOAD_POINTS, "trust", word, metric)
            yield line(*place, "interval_coverage", counted.share * PERCENT, "pct")
            yield line(*place, "interval_width", counted.width * PERCENT, "pct")
            yield line(*place, "count", counted.points, "count")


def _by_word(results: Sequence[PointResult]) -> Iterator[tuple[str, Word, list[PointResult]]]:
    for group, members in holdout_groups(results).items():
        for word in Word:
            own = [result for result in members if result.trust is not None and result.trust.reach.word is word]
            if own:
                yield group, word, own


def _hit(result: PointResult, figure: Comparison | None) -> Hit | None:
    if figure is None or figure.error_pct is None or figure.predicted is None or figure.measured is None:
        return None
    band = _band(result, figure)
    if band is None or result.trust is None:
        return None
    inside = band.holds(figure.predicted, figure.measured)
    return Hit(figure.name, result.trust.reach, result.place.model, inside, band.width)


def _band(result: PointResult, figure: Comparison) -> Band | None:
    return None if result.trust is None else result.trust.band(figure.name)


def _share(counted: Tally | None) -> str:
    if counted is None:
        return MISSING
    return f"{counted.inside} of {counted.points} ({_percent(counted.share)}), width {_percent(counted.width)}"


def _percent(share: float) -> str:
    return f"{share * PERCENT:.0f} %"


def _cell(result: PointResult, figure: Comparison | None) -> str:
    ends = None if figure is None else interval_of(result, figure)
    if figure is None or ends is None:
        return MISSING
    text = f"{figure.predicted:.4g} ({ends[0]:.4g} to {ends[1]:.4g})"
    if figure.measured is None or figure.error_pct is None:
        return text
    measured = f"measured {figure.measured:.4g}"
    return f"{text}, {measured if ends[0] <= figure.measured <= ends[1] else f'**{measured}**'}"
