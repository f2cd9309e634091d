"""Measuring sites: what stands for one that nobody names, and how long the client may take at one outside the fit.

A site is all that the time of client and host depends on: tool, cluster, the machine of the client.
"""

from __future__ import annotations

import math
from statistics import fmean, stdev

from roofline_lab.calibration.constants import SITES, Values
from roofline_lab.client_overhead import ClientTime
from roofline_lab.ground_truth.deployment import Ran

LIGHTEST = "lightest"
US_PER_MS = 1000.0
# Student's t at 95 % one-sided, by degrees of freedom from 1 on; beyond the last the normal quantile (any table of it).
STUDENT_95 = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833)
NORMAL_95 = 1.645


def site_of(experiment: Ran) -> str:
    """Return the site of an experiment; where nobody names it, what was measured with and on stands for it."""
    return experiment.site or f"an unnamed site ({experiment.tool}, {experiment.hardware})"


def is_calibrated(experiment: Ran, values: Values) -> bool:
    """Whether constants hold the client's time of the very place an experiment was measured at."""
    return any(experiment.site == site.name and site.constant in values for site in SITES)


def further_site(values: Values) -> tuple[float, float] | None:
    """Return in which range a further site's time per request lies with 90 % probability, in us; None below two sites.

    Source of the formula: prediction interval of one more draw from a normal distribution of unknown mean and spread,
    over the sites of the fit; no time is negative.
    """
    known = [values[site.constant] for site in SITES if site.constant in values]
    freedom = len(known) - 1
    if freedom < 1:
        return None
    quantile = STUDENT_95[freedom - 1] if freedom <= len(STUDENT_95) else NORMAL_95
    half_us = quantile * stdev(known) * math.sqrt(1.0 + 1.0 / len(known))
    return max(0.0, fmean(known) - half_us), fmean(known) + half_us


def not_calibrated(experiment: Ran, values: Values, client: ClientTime) -> str:
    """Say what is taken for the client at a site outside the fit, and between what a further site's time lies."""
    own = any(site.tool == experiment.tool for site in SITES)
    whose = f"that of {experiment.tool} at a site of the fit" if own else "the mean of the sites of the fit"
    span = further_site(values)
    range_ms = "" if span is None else f", where a further site has {_ms(span[0])} to {_ms(span[1])} ms (90 %)"
    return (
        f"the client's time at {site_of(experiment)} was not calibrated: {_ms(client.request_us)} ms per request are "
        f"taken, {whose}{range_ms}; --site-from {LIGHTEST} estimates it from a load point"
    )


def _ms(time_us: float) -> str:
    return f"{time_us / US_PER_MS:.1f}"
