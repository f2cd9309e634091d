"""Printed numbers as the intervals their digits admit, and arithmetic on them.

A number printed as `47.7` stands for anything in [47.65, 47.75]; a printed `-0.0` for something
just below zero. Arithmetic keeps the enclosure, so a statement is called wrong only when no
admissible unrounded value makes it right. Comparisons have three answers: True, False, or None
when the digits do not decide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.errors import ConfigError

# Two ends that agree to this relative size are the same number: printed digits meet in decimal, not in binary.
SAME = 1e-9
# What `-0.0` excludes: zero itself.
JUST_BELOW_ZERO = -1e-12
# How computed numbers are printed: this many significant digits, in powers of ten from there on.
SIGNIFICANT = 4
LARGE = 1e7

Truth = bool | None


@dataclass(frozen=True, slots=True)
class Interval:
    """All numbers from `low` to `high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ConfigError("the result is not a finite number")

    @classmethod
    def exact(cls, value: float) -> Interval:
        """Return the interval of one number."""
        return cls(float(value), float(value))

    @property
    def middle(self) -> float:
        """The middle of the interval; the printed number where one was printed."""
        return (self.low + self.high) / 2

    @property
    def width(self) -> float:
        """Distance of the ends."""
        return self.high - self.low

    def __add__(self, other: Interval) -> Interval:
        """Enclose every sum."""
        return Interval(self.low + other.low, self.high + other.high)

    def __sub__(self, other: Interval) -> Interval:
        """Enclose every difference."""
        return Interval(self.low - other.high, self.high - other.low)

    def __neg__(self) -> Interval:
        """Enclose every negative."""
        return Interval(-self.high, -self.low)

    def __mul__(self, other: Interval) -> Interval:
        """Enclose every product."""
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Interval(min(ends), max(ends))

    def __truediv__(self, other: Interval) -> Interval:
        """Enclose every quotient; a divisor that may be zero is an error of the claim."""
        if other.low <= 0 <= other.high:
            raise ConfigError("division by a number that may be zero")
        ends = [a / b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Interval(min(ends), max(ends))

    def __abs__(self) -> Interval:
        """Enclose every absolute value."""
        if self.low >= 0:
            return self
        return -self if self.high <= 0 else Interval(0.0, max(-self.low, self.high))

    def meets(self, other: Interval) -> bool:
        """Tell whether some number lies in both, up to binary rounding."""
        slack = SAME * max(1.0, abs(self.low), abs(self.high), abs(other.low), abs(other.high))
        return self.low <= other.high + slack and other.low <= self.high + slack

    def below(self, other: Interval) -> Truth:
        """Tell whether this is less than the other."""
        if self.high < other.low:
            return True
        return False if self.low >= other.high else None

    def equals(self, other: Interval) -> Truth:
        """Tell whether both are the same number; two rounded numbers never certainly are."""
        if not self.meets(other):
            return False
        return True if self.width == 0 == other.width else None


def printed(text: str) -> Interval:
    """Return the interval of a number as printed, by its last digit.

    Raises
    ------
    ConfigError
        If the text is not a finite decimal number.
    """
    value = number_in(text)
    half = 0.5 * 10.0 ** -len(text.partition(".")[2])
    if value == 0:
        return Interval(-half, JUST_BELOW_ZERO) if math.copysign(1.0, value) < 0 else Interval(0.0, half)
    return Interval(value - half, value + half)


def number_in(text: str) -> float:
    """Return the number a text shows.

    Raises
    ------
    ConfigError
        If the text is not a finite decimal number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "e" in text.lower():
        raise ConfigError(f"'{text}' is not a decimal number")
    return value


def shown(value: Interval) -> str:
    """Print an interval by the digits its width allows."""
    if value.width <= SAME * max(1.0, abs(value.middle)):
        return _plain(value.middle)
    if abs(value.middle) >= LARGE:
        return f"{value.middle:.{SIGNIFICANT}g}"
    digits = math.ceil(-math.log10(value.width) - SAME)
    magnitude = math.floor(math.log10(abs(value.middle))) if value.middle else 0
    return f"{value.middle:,.{max(0, min(digits, SIGNIFICANT - 1 - magnitude))}f}"


def _plain(value: float) -> str:
    if value == round(value) and abs(value) < LARGE:
        return f"{value:,.0f}"
    return f"{value:.{SIGNIFICANT}g}"
