"""What every reader of request traces asks of a row: of its cells together, and beside the rows above it.

Contract: `Rows.check` raises `BadCellError` for a row that cannot be right, under the column names the caller gives.
Ids are unique in a stage, as tools count from 0 again in each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from roofline_lab.ground_truth.requests import BadCellError

# Roles of columns -> what messages call them, unless a reader knows them by other names.
NAMES: Mapping[str, str] = {"id": "index", "arrival": "arrival_time_us", "ttft": "ttft_ms", "e2e": "e2e_ms"}


def fewest_output_tokens(*, completed: bool) -> int:
    """Return the least an answer may have: an answered request generated a token, a failed one maybe none."""
    return 1 if completed else 0


@dataclass(slots=True)
class Rows:
    """What earlier rows said, as far as later ones must fit to it.

    Attributes
    ----------
    names
        What messages call the columns, by the roles of `NAMES`.
    """

    names: Mapping[str, str] = field(default_factory=lambda: NAMES)
    _first: dict[tuple[int, str], str] = field(default_factory=dict)
    _latest_us: int = 0

    def check(
        self,
        place: str,
        *,
        stage: int,
        name: str,
        arrival_us: int,
        completed: bool,
        ttft_ms: float | None,
        e2e_ms: float | None,
    ) -> None:
        """Compare a row with itself and with those above it, and remember it.

        Raises
        ------
        BadCellError
            If its id is empty or given twice in the stage, its arrival is before the one above, or its latencies
            are not possible.
        """
        first = self._first.setdefault((stage, name), place)
        if not name:
            raise BadCellError(f"column '{self.names['id']}': must not be empty")
        if first != place:
            raise BadCellError(
                f"column '{self.names['id']}': '{name[:40]}' is already used on {first}; ids are unique in a stage"
            )
        if arrival_us < self._latest_us:
            raise BadCellError(
                f"column '{self.names['arrival']}': {arrival_us} is before the row above ({self._latest_us}); "
                "sort the requests by arrival"
            )
        self._latest_us = arrival_us
        if completed:
            self._check_latencies(ttft_ms, e2e_ms)

    def _check_latencies(self, ttft_ms: float | None, e2e_ms: float | None) -> None:
        ttft, e2e = self.names["ttft"], self.names["e2e"]
        for name, value in ((ttft, ttft_ms), (e2e, e2e_ms)):
            if value == 0:
                raise BadCellError(f"column '{name}': must be above 0 unless has_error is 1")
        if ttft_ms is not None and e2e_ms is not None and ttft_ms > e2e_ms:
            raise BadCellError(f"column '{ttft}': {ttft_ms:g} is above {e2e} {e2e_ms:g}; check both units")
