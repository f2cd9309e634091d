"""Cells that tables of several pages share, with the heads of their columns.

Where it is known how far a measurement scatters, `with_noise` gives a table one more column, and `error_text` says of
an error that is no larger that it is none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from roofline_lab.formatting import pct, signed_pct
from roofline_lab.scoring.errors import PERCENT, is_within_noise
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.scoring.table import GroupErrors

# Heads of `group_cells` and of `distance_cells`.
GROUP_ERRORS = ("n", "mean absolute error", "mean signed error")
DISTANCES = ("requests", "Kolmogorov-Smirnov", "mean relative quantile difference")


NOISE = "noise"
WITHIN_NOISE = "within noise"
Noises = Sequence[float | None]


def group_cells(errors: GroupErrors) -> list[str]:
    """Return how many errors a group has, and their means."""
    return [str(errors.count), error_text(errors.ape_pct, errors.noise_pct), signed_pct(errors.signed_pct)]


def error_text(error_pct: float | None, noise_pct: float | None, shown: Callable[[float | None], str] = pct) -> str:
    """Return an error, or that it is none: a deviation no larger than one measurement scatters."""
    text = shown(error_pct)
    return f"{WITHIN_NOISE} ({text})" if is_within_noise(error_pct, noise_pct) else text


def with_noise(
    header: Sequence[str], lines: Sequence[Sequence[str]], noises: Sequence[Noises], labels: Sequence[str] = ()
) -> tuple[list[str], list[list[str]]]:
    """Return head and lines of a table of errors with a last column of noise, if it is known of any line.

    Parameters
    ----------
    noises
        Of each line, percent: one for each metric of the line.
    labels
        What readers call those metrics, where there are several.
    """
    known = any(noise is not None for noise_pct in noises for noise in noise_pct)
    if not known:
        return list(header), [list(line) for line in lines]
    head = f"{NOISE}: {' / '.join(labels)}" if len(labels) > 1 else NOISE
    cells = (" / ".join(map(pct, noise_pct)) for noise_pct in noises)
    return [*header, head], [[*line, cell] for line, cell in zip(lines, cells, strict=True)]


def distance_cells(found: Mapping[str, Any]) -> list[str]:
    """Return how far two distributions over requests lie apart."""
    difference = pct(found["quantile_difference"] * PERCENT)
    return [str(found["requests"]), f"{found['kolmogorov_smirnov']:.3f}", difference]


NO_NAMES: Mapping[str, str] = MappingProxyType({})


class RunNames:
    """What tables and figures call the runs of some rows: the experiment, with its load point where it has several.

    Parameters
    ----------
    names
        What readers call experiments; the id where there is no name.
    """

    def __init__(self, rows: Iterable[ErrorRow], names: Mapping[str, str] = NO_NAMES) -> None:
        self._names = names
        self._points: defaultdict[str, set[str]] = defaultdict(set)
        for row in rows:
            self._points[row.experiment].add(row.load_point)

    def __call__(self, experiment: str, load_point: str) -> str:
        """Return the name of a run."""
        name = self._names.get(experiment, experiment)
        return f"{name}, {load_point}" if len(self._points[experiment]) > 1 else name
