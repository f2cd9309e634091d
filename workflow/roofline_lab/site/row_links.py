"""Which row of `numbers.csv` a number on a page came from.

Pages print numbers rounded; a row is theirs if it rounds to the same, and if what stands around the number (row and
column of its table, caption, headings) names the row's method, arm, key, metric and statistic. Where several rows fit
equally well, the number leads to all of them; where the surroundings say too little, to none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, finite, read_numbers
from roofline_lab.site.places import Place
from roofline_lab.vocabulary import Scope

# Words for the name of a metric or a statistic on pages; without an entry its own parts are its words.
METRIC_WORDS = {
    "ttft_mean": ("ttft",),
    "tpot_mean": ("tpot",),
    "e2e_mean": ("e2e",),
    "itl_mean": ("itl",),
    "inter_token_mean": ("itl",),
}
STATISTIC_WORDS = {
    "delta": ("gain",),
    "signed_error": ("signed",),
    "measured": ("measured",),
    "interval_width": ("width",),
}
PERCENT = 100.0
# Cells and captions repeat; so many are kept in plain words.
KEPT_TEXTS = 65536
# Units that pages print in another one too, with the factor.
SCALES = {"ratio": (1.0, PERCENT)}
# Never printed with a plus.
UNSIGNED = frozenset({"mape", "measured", "predicted"})
UNITS = {"%": ("pct", "ratio"), "pp": ("pp",), "ms": ("ms",), "us": ("us",)}
# What it is worth that the surroundings name a column of the row; its key they must name.
WEIGHTS = {"arm": 4, "metric": 3, "statistic": 3, "first": 2, "method": 2, "load_point": 1}
# Below this the surroundings say too little, and more rows than this that fit alike say nothing. Where no key is named,
# arm and metric must be, or the metric alone if a single row rounds to all the decimals.
LEAST_SCORE, LEAST_WITHOUT_KEY = 2, WEIGHTS["arm"] + WEIGHTS["metric"]
MOST_ROWS = 6
# Numbers over everything have the key `all`, and mostly stand in rows of tables of this name.
EVERYTHING, OVERALL = "all", "overall"
PERCENTILE = re.compile(r"\bp\d\d\b")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of `numbers.csv` with the line it stands on, the header being line 1."""

    line: int
    method: str
    arm: str
    load_point: str
    scope: str
    key: str
    metric: str
    statistic: str
    value: str
    unit: str


def read_rows(content: bytes, source: str) -> tuple[Row, ...]:
    """Return the rows of a `numbers.csv`.

    Raises
    ------
    ConfigError
        If it is damaged, naming the line.
    """
    found = []
    for (*place, unit), (value, line) in read_numbers(content, source).items():
        finite(value, f"{source}: line {line}")
        found.append(Row(line, *place, value, unit))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Named:
    """What the surroundings of a number name, each in plain words.

    Attributes
    ----------
    first
        The first cell of the row.
    around
        Everything but headings.
    column
        The header of the number's own column.
    """

    arms: frozenset[str]
    metrics: frozenset[str]
    methods: frozenset[str]
    load_points: frozenset[str]
    first: str
    around: str
    column: str


class RowFinder:
    """Finds rows of one report by a number as printed and its place; callable as `Annotate`.

    Parameters
    ----------
    target
        From line numbers to where a link to these rows leads.
    names
        What pages call experiments, by id.
    """

    def __init__(
        self, rows: Sequence[Row], target: Callable[[Sequence[int]], str], names: Mapping[str, str] | None = None
    ) -> None:
        self._target = target
        self._ids = {_plain(name): _plain(key) for key, name in (names or {}).items()}
        self._by_text: dict[int, dict[tuple[str, str], list[Row]]] = {}
        self._keyed = [(abs(float(row.value)), _key_of(row), row) for row in rows]
        self._arms, self._methods, self._load_points = (
            _Names(getattr(row, column) for row in rows) for column in ("arm", "method", "load_point")
        )
        self._metrics = _Metrics(row.metric for row in rows)
        self._several = frozenset(
            row.method for row in rows if row.load_point == ALL_LOAD_POINTS and row.scope == Scope.OVERALL
        )
        self._known = frozenset(key for _, key, _ in self._keyed)
        self._named = lru_cache(maxsize=1)(self._look_around)

    def __call__(self, number: str, place: Place) -> str | None:
        """Return where the number leads, None if nowhere."""
        lines = self.lines(number, place)
        return self._target(lines) if lines else None

    def lines(self, number: str, place: Place) -> list[int]:
        """Return the lines that the number may have come from, the best fitting ones."""
        printed, _, unit = number.partition(" ")
        digits = printed.replace(",", "").lstrip("+-−")
        units = _units(unit, place)
        rounded = self._rounded_to(len(digits.partition(".")[2]))
        keys = self._keys(place)
        fitting = [row for key in keys or (EVERYTHING,) for row in rounded.get((digits, key), ())]
        fitting = [row for row in fitting if units(row.unit) and _has_sign(row, printed)]
        named = self._named(place)
        if not keys:
            fitting = [row for row in fitting if self._is_mean(row) or row.load_point in named.load_points]
        if not fitting:
            return []
        scored = [(_score(row, named), row) for row in fitting]
        best = max(score for score, _ in scored)
        found = [row.line for score, row in scored if score == best]
        if keys or best >= LEAST_WITHOUT_KEY:
            return found if best >= LEAST_SCORE and len(found) <= MOST_ROWS else []
        (first, *others) = (row for score, row in scored if score == best)
        return found if not others and first.metric in named.metrics and "." in digits else []

    def _keys(self, place: Place) -> list[str]:
        """Return the keys that the row of a number names, each once; a cell may hold a key and more after a comma."""
        cells = dict.fromkeys(self._id(part) for text in place.row for part in (text, text.partition(",")[0]))
        return [EVERYTHING if cell == OVERALL else cell for cell in cells if cell in self._known or cell == OVERALL]

    def _id(self, text: str) -> str:
        """Return what the rows call something, where pages have a name for it."""
        plain = _plain(text)
        return self._ids.get(plain, plain)

    def _is_mean(self, row: Row) -> bool:
        """Whether a row is over all load points of its method, or of the only one."""
        return row.load_point == ALL_LOAD_POINTS or row.method not in self._several

    def _rounded_to(self, decimals: int) -> dict[tuple[str, str], list[Row]]:
        """Return rows by value as printed with so many decimals, without its sign, and by key in plain words."""
        if decimals not in self._by_text:
            index: dict[tuple[str, str], list[Row]] = {}
            for value, key, row in self._keyed:
                for scale in SCALES.get(row.unit, (1.0,)):
                    index.setdefault((f"{value * scale:.{decimals}f}", key), []).append(row)
            self._by_text[decimals] = index
        return self._by_text[decimals]

    def _look_around(self, place: Place) -> _Named:
        cells = [_plain(text) for text in place.row]
        column, caption = _plain(place.column), _plain(place.caption)
        near = [column] if self._arms.within(column) else [_plain(place.before), column]
        texts = [*near, *cells, caption]
        return _Named(
            arms=self._arms.among([" ".join(near), *cells]),
            metrics=self._metrics.named(texts, column),
            methods=self._methods.among([*map(_plain, place.headings), *cells]),
            load_points=self._load_points.among(texts),
            first=self._id(place.row[-1].partition(",")[0]) if place.row else "",
            around=" ".join(texts),
            column=column,
        )


class _Names:
    """Finds names in plain texts, as whole words; of names within each other the longest."""

    def __init__(self, names: Iterable[str]) -> None:
        self._plain = {_plain(name): name for name in names}
        longest_first = sorted(filter(None, self._plain), key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\S)(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?!\S)")
        self.within = lru_cache(maxsize=KEPT_TEXTS)(self._within)

    def _within(self, text: str) -> frozenset[str]:
        return frozenset(self._plain[found] for found in self._pattern.findall(text))

    def among(self, texts: Iterable[str]) -> frozenset[str]:
        """Return the names that any of the texts holds."""
        return frozenset().union(*map(self.within, texts))


class _Metrics:
    """Finds metrics in plain texts by their words."""

    def __init__(self, metrics: Iterable[str]) -> None:
        self._words = {metric: _words_of(metric) for metric in metrics}
        self._names = _Names(word for words in self._words.values() for word in words)

    def named(self, texts: Sequence[str], column: str) -> frozenset[str]:
        """Return the metrics that are named: their latency and, for a percentile, that; a mean goes without saying."""
        words = self._names.among(texts)
        percentiles = {found for text in texts for found in PERCENTILE.findall(text)}
        among = PERCENTILE.search(column) is None
        return frozenset(
            metric
            for metric, own in self._words.items()
            if not words.isdisjoint(own) and (which in percentiles if (which := _percentile(metric)) else among)
        )


def _percentile(metric: str) -> str:
    which = metric.rpartition("_")[2]
    return which if PERCENTILE.fullmatch(which) else ""


def _words_of(metric: str) -> Sequence[str]:
    return (metric.rpartition("_")[0],) if _percentile(metric) else METRIC_WORDS.get(metric, (metric,))


def _units(unit: str, place: Place) -> Callable[[str], bool]:
    """Return which units of rows a number can be in: that behind it, or that of its column or table."""
    told = unit or next((name for name in UNITS if f"[{name}]" in place.column), "")
    if told:
        return UNITS[told].__contains__
    percentages = "%" in f"{place.column}{place.caption}"
    return lambda name: percentages or name not in ("pct", "pp")


def _has_sign(row: Row, printed: str) -> bool:
    """Whether a row can have been printed with this sign: only differences and signed errors are with a plus."""
    if not printed.lstrip("+-−").strip("0."):
        return True
    if printed.startswith("+"):
        return float(row.value) > 0 and row.statistic not in UNSIGNED
    return (float(row.value) < 0) == printed.startswith(("-", "−"))


def _score(row: Row, named: _Named) -> int:
    holds = {
        "arm": row.arm in named.arms,
        "metric": row.metric in named.metrics,
        "statistic": _is_statistic(row.statistic, named),
        "first": _key_of(row) == named.first,
        "method": row.method in named.methods,
        "load_point": row.load_point in named.load_points,
    }
    return sum(WEIGHTS[name] for name, holding in holds.items() if holding)


def _is_statistic(statistic: str, named: _Named) -> bool:
    words = STATISTIC_WORDS.get(statistic)
    if words is not None:
        text = named.column if statistic in ("delta", "measured") else named.around
        return any(word in text for word in words)
    if statistic in ("mape", "predicted"):
        return not any(word in named.column for word in ("gain", "measured")) and "signed" not in named.around
    return statistic.replace("_", " ") in named.around


def _key_of(row: Row) -> str:
    """Return a row's key in plain words; that of a row of generated points without the name of their table."""
    return _plain(row.key.partition("/")[2] if row.scope == Scope.ROW else row.key)


@lru_cache(maxsize=KEPT_TEXTS)
def _plain(text: str) -> str:
    return " ".join(re.sub(r"[_`*/=,]", " ", text.lower()).split())
