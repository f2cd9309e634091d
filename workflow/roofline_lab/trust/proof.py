"""How right answers about capacity were on measured servers, as committed findings say, to be told beside new answers.

Contract: `proof_of` reads `reports/<finding>/numbers.csv` and gives None where there is no such file, or no such arm on
the page; a damaged file is a `ConfigError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, finite, read_numbers
from roofline_lab.vocabulary import Quantity, Scope, Statistic

# The findings on closed loops, and on requests that are sent at a rate.
FINDINGS: Mapping[Literal["concurrency", "rate"], str] = {
    "concurrency": "h41_capacity_closed_loop",
    "rate": "h42_capacity_open_loop",
}
REPORTS = Path("reports")


@dataclass(frozen=True, slots=True)
class Proof:
    """What answers of one calibration were worth where they could be checked; shares and errors in percent.

    Attributes
    ----------
    finding
        The hypothesis that checked it.
    error_pct, median_error_pct, capacities
        Mean and median absolute error of the capacity, and of how many.
    inside_pct
        Share of measured capacities inside the range of the 90 % interval; None where there was no range.
    right_pct, wrong_met_pct, verdicts
        Share of verdicts (is a limit met at a load?) that are right, and that promise wrongly, and of how many.
    upper_wrong_met_pct
        Share that promises wrongly where the upper end of the interval decides; None where there was none.
    """

    finding: str
    error_pct: float
    median_error_pct: float
    capacities: int
    inside_pct: float | None
    right_pct: float
    wrong_met_pct: float
    verdicts: int
    upper_wrong_met_pct: float | None


def proof_of(root: Path, calibration: str, load: Literal["concurrency", "rate"]) -> Proof | None:
    """Return what was found of the answers of a calibration; None where nobody checked them.

    Parameters
    ----------
    root
        The project whose reports are read.

    Raises
    ------
    ConfigError
        If the file of numbers is damaged.
    """
    path = root / REPORTS / FINDINGS[load] / "numbers.csv"
    if not path.is_file():
        return None
    return proof_in(path.read_bytes(), path.relative_to(root).as_posix(), calibration, load)


def proof_in(content: bytes, source: str, calibration: str, load: Literal["concurrency", "rate"]) -> Proof | None:
    """Return what the numbers of a finding say of the answers of a calibration; None where it is no arm of it.

    Raises
    ------
    ConfigError
        If the numbers are damaged.
    """
    numbers = read_numbers(content, source)
    overall = (ALL_LOAD_POINTS, Scope.OVERALL, "all")
    found = {
        (metric, statistic): finite(value, f"{source}: line {line}")
        for (_, arm, *place, metric, statistic, _), (value, line) in numbers.items()
        if arm == calibration and tuple(place) == overall
    }
    if (Quantity.VERDICT_RIGHT, Statistic.MEAN) not in found:
        return None
    mean = {quantity: found.get((quantity, Statistic.MEAN)) for quantity in Quantity}
    return Proof(
        FINDINGS[load],
        found[Quantity.CAPACITY_ERROR, Statistic.MEAN],
        found[Quantity.CAPACITY_ERROR, Statistic.MEDIAN],
        int(found[Quantity.CAPACITY_ERROR, Statistic.POINTS]),
        mean[Quantity.CAPACITY_INSIDE],
        found[Quantity.VERDICT_RIGHT, Statistic.MEAN],
        found[Quantity.WRONG_MET, Statistic.MEAN],
        int(found[Quantity.VERDICT_RIGHT, Statistic.POINTS]),
        mean[Quantity.UPPER_WRONG_MET],
    )
