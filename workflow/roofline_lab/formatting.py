"""Numbers and tables as markdown, formatted by one set of rules.

Percentages and percentage points have one decimal, milliseconds two significant groups as printed
by the sources (one decimal), gains carry their sign and are bold above the laboratory's threshold.
A number that does not exist prints as a dash, never as zero.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MISSING = "–"
# Percentages below `SMALL` would print as zero; those below `NOTHING` are rounding of floats.
SMALL = 0.05
NOTHING = 5e-5


def pct(value: float | None) -> str:
    """Format a percentage."""
    return MISSING if value is None else f"{signless_zero(value):.1f} %"


def signed_pct(value: float | None) -> str:
    """Format a signed percentage."""
    return MISSING if value is None else f"{signless_zero(value):+.1f} %"


def pp(value: float | None, bold_above: float | None = None) -> str:
    """Format a gain in percentage points, bold where its size exceeds `bold_above`."""
    if value is None:
        return MISSING
    text = f"{signless_zero(value):+.1f} pp"
    return f"**{text}**" if bold_above is not None and abs(value) > bold_above else text


def ms(value: float | None) -> str:
    """Format a latency in milliseconds."""
    return MISSING if value is None else f"{signless_zero(value):.1f}"


def quantity(value: float | None, unit: str) -> str:
    """Format a number in its unit: differences in pp carry their sign, flags read yes or no."""
    if value is None:
        return MISSING
    if unit == "pp":
        return pp(value)
    if unit == "flag":
        return "yes" if value else "no"
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "pct" and NOTHING < abs(value) < SMALL:
        return f"{value:.2g} %"
    if unit in ("pct", "us", "ms"):
        return f"{signless_zero(value):,.1f} {'%' if unit == 'pct' else unit}"
    words = {"ratio": "", "mfu": "", "gflop": " GFLOP", "gb": " GB"}
    return f"{value:.4g}{words.get(unit, f' {unit}')}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun in the right form: 1 experiment, 2 experiments."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, *, only_told: bool = False) -> str:
    """Format a table; the first `left` columns are left-aligned, the rest right.

    Cells are as wide as their text, so that one number that changes changes one line. With `only_told` a column on the
    right in which no row has anything is left out.
    """
    told = [column for column in range(len(header)) if column < left or not only_told or _is_told(rows, column)]
    rule = [":--" if column < left else "--:" for column in told]
    cells = [[_cell(text) for _, text in zip(header, line, strict=True)] for line in (header, *rows)]
    lines = [[line[column] for column in told] for line in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def _is_told(rows: Sequence[Sequence[str]], column: int) -> bool:
    return any(row[column] not in (MISSING, "") for row in rows)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Format lines of equally many cells for a terminal: left-aligned, two blanks between columns."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def natural_order(name: str) -> tuple[tuple[int, str], ...]:
    """Return what names are sorted by so that h2 stands before h10."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((int(part), "") if part.isdigit() else (0, part) for part in parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def signless_zero(value: float, decimals: int = 1) -> float:
    """Return 0.0 for what rounds to it, so that -0.04 prints as 0.0, not as -0.0."""
    return 0.0 if round(value, decimals) == 0 else value
