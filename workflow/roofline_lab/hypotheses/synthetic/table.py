"""From the lines the arms wrote to one table of rows, columns worked out.

Every point of every sweep becomes exactly one row per choice of kernels; a point that an arm could
not price has the reason instead of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from roofline_lab.hypotheses.expressions import formula
from roofline_lab.hypotheses.synthetic.points import Point, points
from roofline_lab.hypotheses.synthetic.resolve import columns_of, split_name
from roofline_lab.hypotheses.synthetic.rows import Row, RowTable
from roofline_lab.hypotheses.synthetic.spec import Column, Sweep, SyntheticHypothesis
from simulator.errors import ConfigError, InvariantError

Line = Mapping[str, Any]


def build_table(spec: SyntheticHypothesis, lines: Iterable[Line], source: str) -> RowTable:
    """Return the rows of one choice of kernels.

    Parameters
    ----------
    lines
        What every arm wrote about every point.
    source
        File named in an error.

    Raises
    ------
    ConfigError
        If a column cannot be worked out at some point (a division by zero, say).
    InvariantError
        If an arm says nothing about a point.
    """
    by_arm: dict[str, dict[str, Line]] = {name: {} for name in spec.arms}
    for line in lines:
        by_arm[line["arm"]][line["key"]] = line
    return RowTable(_rows(spec, by_arm, source))


def _rows(spec: SyntheticHypothesis, by_arm: Mapping[str, Mapping[str, Line]], source: str) -> Iterator[Row]:
    for sweep in spec.sweeps:
        columns = columns_of(spec, sweep)
        for point in points(sweep):
            yield _row(point, sweep, columns, by_arm, source)


def _row(
    point: Point, sweep: Sweep, columns: Iterable[Column], by_arm: Mapping[str, Mapping[str, Line]], source: str
) -> Row:
    lines = {arm: found.get(point.key) for arm, found in by_arm.items()}
    absent = [arm for arm, line in lines.items() if line is None]
    if absent:
        raise InvariantError(f"{source}: arm {absent[0]} has no line for {point.key}")
    values: dict[str, Any] = dict(point.values)
    reason = "; ".join(dict.fromkeys(line["reason"] for line in lines.values() if line and line["reason"]))
    if reason:
        return Row(sweep.id, point.key, point.label, point.values, {}, reason)

    def value_of(name: str) -> Any:
        parts = split_name(name, sweep)
        if parts is None:
            return values[name]
        arm, batch, quantity = parts
        line = lines[arm]
        assert line is not None  # refused above
        return line["values"][f"{batch}.{quantity}" if batch else quantity]

    cells: dict[str, float | None] = {}
    for column in columns:
        try:
            value = formula(column.value)(value_of)
        except ConfigError as error:
            raise ConfigError(f"{source}: columns.{column.id} at {point.key}: {error}") from None
        cells[column.id] = values[column.id] = float(value)
    return Row(sweep.id, point.key, point.label, point.values, cells)
