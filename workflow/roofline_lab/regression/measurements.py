"""How well each measured figure is known: `ground_truth/*/experiment.yaml` in, figures out.

Rounding is half of the last printed digit. The sampling error follows from the number of requests and from the
percentiles published beside a mean; see `standard_error`. A file that cannot be understood (an older form, a damaged
one) gives no figures and a sentence, because a comparison is possible without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any

from roofline_lab.ground_truth.metrics import PERCENTILES
from roofline_lab.regression.records import Figure, Measurement
from roofline_lab.scoring.errors import PERCENT
from simulator.errors import ConfigError
from simulator.validation import parse_yaml

Figures = dict[Measurement, Figure]
_NORMAL = NormalDist()


def read_figures(content: bytes, source: str) -> tuple[Figures, str]:
    """Return the figures of one experiment, and why there are none (empty if there are some)."""
    try:
        data = parse_yaml(content.decode("utf-8"), source=source)
        return dict(_figures(data)), ""
    except ConfigError as error:
        return {}, str(error)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {}, f"{source}: is no experiment this version can read ({error!r})"


def read_sides(content: bytes, source: str) -> dict[tuple[str, str], str]:
    """Return at which side each load point of one experiment was measured; nothing where it cannot be read."""
    try:
        data = parse_yaml(content.decode("utf-8"), source=source)
        return {(data["id"], point["id"]): str(point.get("side") or data["side"]) for point in data["load_points"]}
    except (ConfigError, ValueError, KeyError, TypeError, AttributeError):
        return {}


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
    spreads = [(figures[name] - figures["mean"]) / _z(rank) for name, rank in ranks.items() if _z(rank) > 0]
    if not spreads or max(spreads) <= 0:
        return None
    share = ranks.get(statistic)
    factor = 1.0 if share is None else math.sqrt(share * (1 - share)) / _NORMAL.pdf(_z(share))
    return factor * max(spreads) / math.sqrt(requests)


def _z(rank: float) -> float:
    return _NORMAL.inv_cdf(rank)


def _figures(data: Mapping[str, Any]) -> Iterator[tuple[Measurement, Figure]]:
    for point in data["load_points"]:
        measured = point["measured"]
        requests = point.get("requests", {}).get("completed")
        for name, figure in measured.items():
            kind, _, statistic = name.rpartition("_")
            siblings = {
                other.rpartition("_")[2]: float(one["value"])
                for other, one in measured.items()
                if other.rpartition("_")[0] == kind
            }
            half_digit = float(figure.get("rounded_to") or 0.0) / 2
            error = standard_error(statistic, siblings, requests)
            yield Measurement(data["id"], point["id"], name), Figure(float(figure["value"]), half_digit, error)
