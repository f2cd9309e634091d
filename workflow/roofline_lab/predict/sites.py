"""Measuring sites: what stands for one that nobody names, and how long the client may take at one outside the fit.

A site is all that the time of client and host depends on: tool, cluster, the machine of the client.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from roofline_lab.calibration.constants import calibrated_client
from roofline_lab.calibration.record import Calibration
from roofline_lab.client_overhead import ClientTime
from roofline_lab.ground_truth.deployment import Ran
from simulator.steptime.fleet import CLIENT_REQUEST, CLIENT_TOKEN, FleetCalibration

LIGHTEST = "lightest"
US_PER_MS = 1000.0
# Student's t at 95 % one-sided, by degrees of freedom from 1 on; beyond the last the normal quantile (any table of it).
STUDENT_95 = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833)
NORMAL_95 = 1.645


def site_of(experiment: Ran) -> str:
    """Return the site of an experiment; where nobody names it, what was measured with and on stands for it."""
    return experiment.site or f"an unnamed site ({experiment.tool}, {experiment.hardware})"


def client_nowhere(calibration: Calibration | FleetCalibration) -> ClientTime:
    """Return what a calibration takes for the client at a site that nobody names, measured with any tool."""
    if not isinstance(calibration, FleetCalibration):
        return calibrated_client(calibration.values, "other")
    common = {effect.constant: effect.value for effect in calibration.effects if effect.where is None}
    return ClientTime(common.get(CLIENT_REQUEST, 0.0), common.get(CLIENT_TOKEN, 0.0))


def further_site(known_us: Sequence[float]) -> tuple[float, float] | None:
    """Return in which range a further site's time per request lies with 90 % probability, in us; None below two sites.

    Source of the formula: prediction interval of one more draw from a normal distribution of unknown mean and spread,
    of the logarithms, as times are positive and differ by factors.

    Parameters
    ----------
    known_us
        Times per request at the sites of the fit.
    """
    freedom = len(known_us) - 1
    if freedom < 1 or min(known_us) <= 0:
        return None
    logs = [math.log(time_us) for time_us in known_us]
    quantile = STUDENT_95[freedom - 1] if freedom <= len(STUDENT_95) else NORMAL_95
    half = quantile * stdev(logs) * math.sqrt(1.0 + 1.0 / len(logs))
    return math.exp(fmean(logs) - half), math.exp(fmean(logs) + half)


def not_calibrated(experiment: Ran, taken_us: float, whose: str, known_us: Sequence[float]) -> str:
    """Say what is taken for the client at a site outside the fit, and between what a further site's time lies.

    Parameters
    ----------
    taken_us, whose
        The time per request, and in words which one that is.
    known_us
        Times per request at the sites of the fit.
    """
    span = further_site(known_us)
    range_ms = "" if span is None else f", where a further site has {_ms(span[0])} to {_ms(span[1])} ms (90 %)"
    return (
        f"the client's time at {site_of(experiment)} was not calibrated: {_ms(taken_us)} ms per request are taken, "
        f"{whose}{range_ms}; --site-from {LIGHTEST} estimates it from a load point"
    )


def _ms(time_us: float) -> str:
    return f"{time_us / US_PER_MS:.1f}"
