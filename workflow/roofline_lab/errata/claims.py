"""What a page claims, typed, and what its tables say about it.

Contract: every kind of claim has `judge(names)`, which computes the claim's subject from tables and
returns whether the claim follows. A claim carries what the page says, never what is right.

| kind         | says                                                      |
|--------------|-----------------------------------------------------------|
| `count`      | this many rows fulfil a condition                         |
| `extremum`   | the largest or smallest value, and where it is            |
| `range`      | all values lie in a range (and, unless loose, reach both ends) |
| `sign`       | all values are positive, negative or zero                 |
| `bound`      | all values are above, below, at least, at most something  |
| `arithmetic` | a computed number is this                                 |
| `order`      | values rise or fall along another column                  |
| `vocabulary` | words belong to a closed list                             |
| `derivable`  | a table of the page has what a statement rests on         |

Numbers given as text are printed numbers and stand for the interval of their digits; numbers given
as YAML numbers are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from roofline_lab import vocabulary
from roofline_lab.errata.columns import counted, evaluate, negated, numbers, scalar, truths
from roofline_lab.errata.interval import Interval, Truth, printed, shown
from simulator.errors import ConfigError
from simulator.validation import Finite, StrictModel

# How many rows a sentence names before it only counts the rest.
MOST_NAMED = 4
Expression = Annotated[str, Field(min_length=1)]
Number = Finite | str


class Follows(StrEnum):
    """What the tables say about a claim."""

    HOLDS = "holds"
    DOES_NOT = "does not follow"
    UNDECIDED = "undecided"
    NOT_DERIVABLE = "not derivable"


class Topic(StrEnum):
    """What a claim is checked against."""

    TABLES = "tables"
    PHYSICS = "physics"
    DOCUMENTS = "documents"
    VOCABULARY = "vocabulary"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Outcome of one claim: whether it follows, what it says and what was computed instead."""

    follows: Follows
    claimed: str
    computed: str


class _Claim(StrictModel):
    """Common to all kinds.

    Attributes
    ----------
    section
        Where on the page it stands.
    says
        The claim in our words.
    topic
        What it is checked against: the page's own tables, physics, another document, a vocabulary.
    because
        Why the check is a check of the claim, where that is not obvious.
    shown
        Further computed numbers that help a reader: words to expressions.
    """

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    section: str
    says: str
    topic: Topic = Topic.TABLES
    because: str = ""
    shown: dict[str, Expression] = Field(default_factory=dict)

    def details(self, names: Mapping[str, Any]) -> str:
        """Return the further computed numbers as one sentence."""
        return "; ".join(f"{words}: {_value_shown(evaluate(text, names))}" for words, text in self.shown.items())


class CountClaim(_Claim):
    """As many rows as claimed fulfil a condition."""

    kind: Literal["count"]
    rows: Expression
    claimed: Number
    claimed_of: Number | None = None

    def judge(self, names: Mapping[str, Any]) -> Judgement:
        """Count the rows that fulfil the condition."""
        conditions = truths(self.rows, names)
        found, claimed = counted(conditions), as_interval(self.claimed)
        total = Interval.exact(len(conditions))
        fits = found.meets(claimed) and (self.claimed_of is None or as_interval(self.claimed_of).meets(total))
        of = "" if self.claimed_of is None else f" of {_said(self.claimed_of)}"
        computed = f"{shown_count(found)} of {len(conditions)}"
        return Judgement(_holds(fits), f"{_said(self.claimed)}{of}", computed + _named(conditions))


class ExtremumClaim(_Claim):
    """The largest or smallest value is this, or is found in a named row or where a condition holds."""

    kind: Literal["extremum"]
    value: Expression
    which: Literal["largest", "smallest"]
    claimed: Number | None = None
    at: Expression | None = None
    at_row: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ExtremumClaim:
        if self.claimed is None and self.at is None and self.at_row is None:
            raise ValueError("give claimed, at or at_row")
        return self

    def judge(self, names: Mapping[str, Any]) -> Judgement:
        """Find the extreme value and every row that may hold it."""
        values = numbers(self.value, names)
        sign = 1.0 if self.which == "largest" else -1.0
        best = max(sign * _outer(interval, sign).low for interval in values.values())
        extreme = [row for row, interval in values.items() if sign * _outer(interval, sign).high >= best]
        top = max((values[row] for row in extreme), key=lambda interval: sign * interval.middle)
        verdicts: list[Truth] = []
        if self.claimed is not None:
            verdicts.append(top.meets(as_interval(self.claimed)))
        if self.at is not None:
            verdicts.append(_all_or_some([truths(self.at, names)[row] for row in extreme]))
        if self.at_row is not None:
            verdicts.append(_all_or_some([row == self.at_row for row in extreme]))
        place = self.at_row and f"at {self.at_row}", self.at and f"where `{self.at}`"
        said = " ".join(part for part in (_said(self.claimed), *place) if part)
        return Judgement(_verdict(verdicts), said, f"{shown(top)} ({', '.join(extreme)})")


class RangeClaim(_Claim):
    """All values lie between two numbers; unless `loose`, the least and the greatest are these numbers."""

    kind: Literal["range"]
    value: Expression
    claimed: Annotated[tuple[Number, Number], Field()]
    loose: bool = False

    def judge(self, names: Mapping[str, Any]) -> Judgement:
        """Compare the least and the greatest value with the ends of the range."""
        values = numbers(self.value, names)
        low, high = (as_interval(end) for end in self.claimed)
        least = Interval(
            min(interval.low for interval in values.values()), min(interval.high for interval in values.values())
        )
        most = Interval(
            max(interval.low for interval in values.values()), max(interval.high for interval in values.values())
        )
        inside = least.high >= low.low and most.low <= high.high
        fits = inside if self.loose else least.meets(low) and most.meets(high)
        outside = [row for row, interval in values.items() if interval.high < low.low or interval.low > high.high]
        rest = f"; outside: {_listed(outside)}" if any(outside) else ""
        said = f"{_said(self.claimed[0])} to {_said(self.claimed[1])}"
        return Judgement(_holds(fits), said, f"{shown(least)} to {shown(most)}{rest}")


class SignClaim(_Claim):
    """All values have one sign."""

    kind: Literal["sign"]
    value: Expression
    claimed: Literal["positive", "negative", "zero"]

    def judge(self, names: Mapping[str, Any]) -> Judgement:
        """Look for rows of another sign."""
        values = numbers(self.value, names)
        zero = Interval.exact(0)
        tests: Mapping[str, Any] = {
            "positive": zero.below,
            "negative": lambda value: value.below(zero),
            "zero": lambda value: value.meets(zero),
        }
        found = {row: tests[self.claimed](interval) for row, interval in values.items()}
        broken = {row: values[row] for row, one in found.items() if one is False}
        computed = f"{len(broken)} of {len(values)} are not" + _with_values(broken)
        return Judgement(_all(found), f"all {self.claimed}", computed)


class BoundClaim(_Claim):
    """All values, or one number, lie on one side of a bound."""

    kind: Literal["bound"]
    value: Expression
    above: Number | None = None
    below: Number | None = None
    at_least: Number | None = None
    at_most: Number | None = None

    @model_validator(mode="after")
    def _has_one_bound(self) -> BoundClaim:
        if sum(bound is not None for bound in (self.above, self.below, self.at_least, self.at_most)) != 1:
            raise ValueError("give exactly one of above, below, at_least, at_most")
        return self

    def judge(self, names: Mapping[str, Any]) -> Judgement:
        """Look for rows beyond the bound."""
        values = numbers(self.value, names)
        name, bound = next(
            (name, given)
            for name in ("above", "below", "at_least", "at_most")
            if (given := getattr(self, name)) is not None
        )
        limit = as_interval(bound)
        found = {row: _BOUNDS[name](interval, limit) for row, interval in values.items()}
        broken = {row: values[row] for row, one in found.items() if one is False}
        computed = (
            f"{len(broken)} of {len(values)} are not{_with_values(broken)}"
            if len(values) > 1
            else shown(next(iter(values.values())))
        )
        return Judgement(_all(found), f"{name.replace('_', ' ')} {_said(bound)}", computed)


class ArithmeticClaim(_Claim):
    """A computed number is this."""

    kind: Literal["arithmetic"]
    value: Expression
    claimed: Number

    def judge(self, names: Mapping[str, Any]) -> Judgement:
        """Compute the number."""
        found = scalar(self.value, names)
        return Judgement(_holds(found.meets(as_interval(self.claimed))), _said(self.claimed), shown(found))


class OrderClaim(_Claim):
    """Values rise or fall along another column."""

    kind: Literal["order"]
    value: Expression
    by: Expression
    claimed: Literal["rising", "falling"]

    def judge(self, names: Mapping[str, Any]) -> Judgement:
        """Compare neighbours along the other column."""
        values, keys = numbers(self.value, names), numbers(self.by, names)
        rows = sorted(values, key=lambda row: keys[row].middle)
        steps = [(a, b) if self.claimed == "rising" else (b, a) for a, b in pairwise(rows)]
        found = {f"{a}, {b}": values[a].below(values[b]) for a, b in steps}
        computed = ", ".join(shown(values[row]) for row in rows)
        return Judgement(_all(found), self.claimed, computed)


class VocabularyClaim(_Claim):
    """Words used by a page belong to a closed list of `roofline_lab.vocabulary`."""

    kind: Literal["vocabulary"]
    words: Annotated[tuple[str, ...], Field(min_length=1)]
    list_name: Literal["Status", "Resolution", "FindingType"]

    def judge(self, names: Mapping[str, Any]) -> Judgement:
        """Look for words that are not in the list."""
        allowed = {word.value for word in getattr(vocabulary, self.list_name)}
        foreign = [word for word in self.words if word not in allowed]
        computed = f"not in the list: {', '.join(foreign)}" if foreign else "all in the list"
        return Judgement(_holds(not foreign), ", ".join(self.words), computed)


class DerivableClaim(_Claim):
    """A statement can be checked from a column the page prints."""

    kind: Literal["derivable"]
    needs: Expression

    def judge(self, names: Mapping[str, Any]) -> Judgement:
        """Look for the column."""
        try:
            evaluate(self.needs, names)
        except ConfigError:
            return Judgement(Follows.NOT_DERIVABLE, "needs " + self.needs, "no such column is printed")
        return Judgement(Follows.HOLDS, "needs " + self.needs, "the column is there")


Claim = Annotated[
    CountClaim
    | ExtremumClaim
    | RangeClaim
    | SignClaim
    | BoundClaim
    | ArithmeticClaim
    | OrderClaim
    | VocabularyClaim
    | DerivableClaim,
    Field(discriminator="kind"),
]


def as_interval(number: Number) -> Interval:
    """Return a number of a claim: text by its digits, a YAML number exactly."""
    return printed(number) if isinstance(number, str) else Interval.exact(number)


def shown_count(found: Interval) -> str:
    """Print a count, which may be undecided."""
    if found.width == 0:
        return f"{found.low:g}"
    return f"{found.low:g} to {found.high:g}"


_BOUNDS: Mapping[str, Any] = {
    "above": lambda value, limit: limit.below(value),
    "below": lambda value, limit: value.below(limit),
    "at_least": lambda value, limit: negated(value.below(limit)),
    "at_most": lambda value, limit: negated(limit.below(value)),
}


def _outer(value: Interval, sign: float) -> Interval:
    """Return the interval with its ends ordered along `sign`."""
    return value if sign > 0 else Interval(value.high, value.low)


def _holds(fits: bool) -> Follows:
    return Follows.HOLDS if fits else Follows.DOES_NOT


def _verdict(parts: list[Truth]) -> Follows:
    if any(part is False for part in parts):
        return Follows.DOES_NOT
    return Follows.HOLDS if all(parts) else Follows.UNDECIDED


def _all(found: Mapping[str, Truth]) -> Follows:
    return _verdict(list(found.values()))


def _all_or_some(found: list[Truth]) -> Truth:
    """Return True if all candidates qualify, False if none does, undecided between."""
    if all(truth is True for truth in found):
        return True
    return False if all(truth is False for truth in found) else None


def _said(number: Number | None) -> str:
    if number is None:
        return ""
    return number if isinstance(number, str) else f"{number:,g}"


def _named(conditions: Mapping[str, Truth]) -> str:
    rows = [row for row, condition in conditions.items() if condition is True]
    others = [row for row, condition in conditions.items() if condition is False]
    if not rows or not others:
        return ""
    if len(rows) <= len(others):
        return f": {_listed(rows)}"
    return f"; not: {_listed(others)}"


def _with_values(rows: Mapping[str, Interval]) -> str:
    if not rows:
        return ""
    named = [f"{row} {shown(value)}".strip() for row, value in rows.items()]
    return f": {_listed(named)}"


def _listed(names: list[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _value_shown(value: Any) -> str:
    if isinstance(value, Interval):
        return shown(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{row} {_value_shown(entry)}" for row, entry in value.items())
    return str(value)
