"""How well each measured figure is known, and whether a row got better or worse beyond that.

A measured figure is known to its half width: half of the last printed digit, plus the 95 % sampling error over requests
where the ground truth allows to estimate it. A row got better or worse only if its error changed by more than a floor
**wherever in measured +- half width the truth lies**: a prediction that moves further away from the measurement on the
same side of it got worse however coarse the measurement, one that moves across it may not have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Any, NamedTuple

from roofline_lab.ground_truth.metrics import PERCENTILES
from roofline_lab.scoring.errors import PERCENT, ape_pct, signed_error_pct
from simulator.errors import ConfigError
from simulator.validation import parse_yaml

# Two-sided level of the sampling error, as `bootstrap.level_pct` of configs/lab.yaml.
LEVEL_PCT = 95.0
# Numbers are printed with six decimals; two of them this close are the same (as `check.tolerance` of configs/lab.yaml).
SAME = 2e-6
# Means that methods derive from mean E2E and mean TTFT.
BETWEEN_TOKENS = ("tpot_mean", "itl_mean")
_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(0.5 + LEVEL_PCT / PERCENT / 2)
# A measurement is never known to nothing; below this share of itself no relative error makes sense.
_LEAST_SHARE = 1e-3


class Measurement(NamedTuple):
    """Name of one measured figure."""

    experiment: str
    load_point: str
    metric: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure of the ground truth.

    Attributes
    ----------
    half_digit
        Half of its last printed digit, in the unit of `value`; 0 if it was not rounded.
    standard_error
        Sampling error over requests, in the same unit; None where number of requests or spread are not known.
    """

    value: float
    half_digit: float
    standard_error: float | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """One row with a number: prediction beside measurement, in `unit` as `numbers.csv` writes it."""

    predicted: float
    measured: float
    unit: str = "ms"

    @property
    def signed_error_pct(self) -> float:
        """(predicted - measured) / measured, in percent."""
        return signed_error_pct(self.predicted, self.measured)

    @property
    def ape_pct(self) -> float:
        """Absolute percentage error."""
        return abs(self.signed_error_pct)


class Fate(StrEnum):
    """What became of a row: better, worse or the same where both sides have a number, else how it came or went."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    NEW = "new"
    GONE = "gone"
    LOST = "lost"
    UNSCORED = "unscored"


@dataclass(frozen=True, slots=True)
class Change:
    """One row before and after.

    Attributes
    ----------
    pp
        Change of the absolute percentage error; positive is worse.
    remeasured
        Whether it is compared with another measured figure than before.
    """

    before: Scored
    after: Scored
    pp: float
    fate: Fate
    remeasured: bool

    def is_unclear(self, threshold_pp: float) -> bool:
        """Whether the error moved by more than the floor, but the measurement cannot tell which way."""
        return self.fate is Fate.SAME and abs(self.pp) > threshold_pp


def change_of(before: Scored, after: Scored, half_widths: tuple[float, float], threshold_pp: float) -> Change:
    """Return how one row changed.

    Parameters
    ----------
    half_widths
        How well the figure before and after is known, in ms.
    threshold_pp
        Smallest change that counts, in percentage points of error.
    """
    remeasured = abs(before.measured - after.measured) > SAME
    low, high = _independent(before, after, half_widths) if remeasured else _shared(before, after, max(half_widths))
    fate = Fate.SAME
    if low > threshold_pp:
        fate = Fate.WORSE
    elif high < -threshold_pp:
        fate = Fate.BETTER
    return Change(before, after, after.ape_pct - before.ape_pct, fate, remeasured)


def half_width_ms(row: Scored, key: Measurement, figures: Mapping[Measurement, Figure]) -> float:
    """Return how well the measured figure of a row is known, in its unit.

    A figure of the ground truth has its own rounding and sampling error. A time between tokens derived from mean E2E
    and mean TTFT inherits their rounding, and the relative sampling error of the TPOT published beside them. Without
    ground truth, only the digits printed in `numbers.csv` are known.
    """
    figure = figures.get(key)
    if figure is not None and abs(figure.value - row.measured) <= SAME:
        return figure.half_digit + _Z * (figure.standard_error or 0.0)
    ttft, tpot, e2e = (figures.get(key._replace(metric=f"{kind}_mean")) for kind in ("ttft", "tpot", "e2e"))
    if key.metric in BETWEEN_TOKENS and ttft is not None and e2e is not None and e2e.value > ttft.value:
        rounding = (e2e.half_digit + ttft.half_digit) / (e2e.value - ttft.value)
        sampling = _Z * (tpot.standard_error or 0.0) / tpot.value if tpot is not None else 0.0
        return row.measured * (rounding + sampling)
    return half_printed_digit(row.measured)


def half_printed_digit(value: float) -> float:
    """Return half of the last digit of a number printed with six decimals, trailing zeros left out."""
    decimals = f"{value:.6f}".rstrip("0").partition(".")[2]
    return 0.5 * 10.0 ** -len(decimals)


def _shared(before: Scored, after: Scored, half_width: float) -> tuple[float, float]:
    """Return the smallest and largest change of error over all values the one measurement may have.

    Between its ends and the two predictions the change is monotone in the measured value, so these suffice.
    """
    ends = _range(before.measured, half_width)
    inner = (predicted for predicted in (before.predicted, after.predicted) if ends[0] < predicted < ends[1])
    changes = [ape_pct(after.predicted, truth) - ape_pct(before.predicted, truth) for truth in (*ends, *inner)]
    return min(changes), max(changes)


def _independent(before: Scored, after: Scored, half_widths: Sequence[float]) -> tuple[float, float]:
    """Return the same over two measurements that share nothing."""
    errors = [_errors(row, half_width) for row, half_width in zip((before, after), half_widths, strict=True)]
    return min(errors[1]) - max(errors[0]), max(errors[1]) - min(errors[0])


def _errors(row: Scored, half_width: float) -> list[float]:
    """Return the errors among which the smallest and the largest possible one are."""
    ends = _range(row.measured, half_width)
    inner = [row.predicted] if ends[0] < row.predicted < ends[1] else []
    return [ape_pct(row.predicted, truth) for truth in (*ends, *inner)]


def _range(measured: float, half_width: float) -> tuple[float, float]:
    return max(measured - half_width, measured * _LEAST_SHARE), measured + half_width


# --- the ground truth -----------------------------------------------------------------------------


class Experiment(NamedTuple):
    """What one `experiment.yaml` says: its figures, and where each load point was measured; or why it is unread."""

    figures: Mapping[Measurement, Figure]
    measured_at: Mapping[tuple[str, str], str]
    problem: str = ""


def read_experiment(content: bytes, source: str) -> Experiment:
    """Read the measurements of one experiment.

    A file that cannot be understood (an older form, a damaged one) is told of, because a comparison is possible
    without it.
    """
    try:
        data = parse_yaml(content.decode("utf-8"), source=source)
        side = data.get("side", "")
        measured_at = {(data["id"], point["id"]): point.get("side") or side for point in data["load_points"]}
        return Experiment(dict(_figures(data)), measured_at)
    except ConfigError as error:
        return Experiment({}, {}, str(error))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Experiment({}, {}, f"{source}: is no experiment this version can read ({error!r})")


def standard_error(statistic: str, figures: Mapping[str, float], requests: int | None) -> float | None:
    """Return the standard error of one statistic over requests, None if it cannot be had.

    The spread of single requests is taken from the percentiles, as the largest of (percentile - mean) / z over
    those published, z being the percentile of a standard normal. A mean then has spread / sqrt(n), the q-quantile
    spread * sqrt(q (1 - q) / n) / density(z): the usual asymptotic errors for independent, normal requests.

    Parameters
    ----------
    statistic
        `mean` or a percentile such as `p90`.
    figures
        Statistic to value, in ms, of the same latency.
    requests
        Completed requests behind them.
    """
    if "mean" not in figures or not requests:
        return None
    ranks = {name: int(name[1:]) / PERCENT for name in PERCENTILES if name in figures}
    quantiles = {name: _NORMAL.inv_cdf(rank) for name, rank in ranks.items()}
    spreads = [(figures[name] - figures["mean"]) / z for name, z in quantiles.items() if z > 0]
    if not spreads or max(spreads) <= 0:
        return None
    share = ranks.get(statistic)
    factor = 1.0 if share is None else math.sqrt(share * (1 - share)) / _NORMAL.pdf(_NORMAL.inv_cdf(share))
    return factor * max(spreads) / math.sqrt(requests)


def _figures(data: Mapping[str, Any]) -> Iterator[tuple[Measurement, Figure]]:
    for point in data["load_points"]:
        measured = point["measured"]
        requests = point.get("requests", {}).get("completed")
        for name, figure in measured.items():
            kind, _, statistic = name.rpartition("_")
            siblings = {
                other.rpartition("_")[2]: float(sibling["value"])
                for other, sibling in measured.items()
                if other.rpartition("_")[0] == kind
            }
            half_digit = float(figure.get("rounded_to") or 0.0) / 2
            error = standard_error(statistic, siblings, requests)
            yield Measurement(data["id"], point["id"], name), Figure(float(figure["value"]), half_digit, error)
