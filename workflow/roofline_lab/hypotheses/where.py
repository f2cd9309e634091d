"""Which rows a criterion looks at: the key `where` of a criterion on measured experiments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from roofline_lab.scoring.scores import ErrorRow
from simulator.validation import Count, Positive, StrictModel

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class Where(StrictModel):
    """Rows a criterion looks at: all given keys must match; a key left out matches everything.

    Attributes
    ----------
    hardware
        GPUs, by the name of their file.
    except_load_point
        Load points left out.
    strategy
        Kinds of load, such as `synchronous`, `constant`, `throughput` or `stage`.
    at_least_per_s
        Only load points with at least this many requests per second.
    """

    experiment: Names | None = None
    workload: Names | None = None
    family: Names | None = None
    hardware: Names | None = None
    tensor_parallel: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    load_point: Names | None = None
    except_load_point: Names | None = None
    strategy: Names | None = None
    at_least_per_s: Positive | None = None

    def matches(self, row: ErrorRow) -> bool:
        """Say whether a row is one of them."""
        if row.load_point in (self.except_load_point or ()):
            return False
        if self.at_least_per_s is not None and (row.rate_per_s or 0.0) < self.at_least_per_s:
            return False
        return all(getattr(row, key) in allowed for key, allowed in self._given() if key != "except_load_point")

    def __str__(self) -> str:
        """Return the condition in words."""
        words = {
            "hardware": "GPU",
            "tensor_parallel": "TP",
            "load_point": "load point",
            "except_load_point": "every load point but",
        }
        parts = [f"{words.get(key, key)} {', '.join(map(str, names))}" for key, names in self._given()]
        if self.at_least_per_s is not None:
            parts.append(f"{self.at_least_per_s:g} requests per second or more")
        return "; ".join(parts)

    def _given(self) -> Iterator[tuple[str, tuple[object, ...]]]:
        for key in type(self).model_fields:
            allowed = getattr(self, key)
            if allowed is not None and key != "at_least_per_s":
                yield key, allowed
