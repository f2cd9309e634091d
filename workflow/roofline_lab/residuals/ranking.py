"""Which single additional term would reduce the residuals most, and with which constant.

Contract: `ranked_terms` fits every candidate on its own by least squares on relative residuals, within its
bounds, and ranks by what the term does for model families it was not fitted to:

    constant   = -sum(a r) / sum(a a),  a = column / measured,  r = (predicted - measured) / measured
    MAPE       = mean |r + constant * a|
    held out   = the same with the constant of all other families, family by family

Deterministic: intervals are percentiles of a seeded bootstrap over families, of which too few give none
(`roofline_lab.scoring.statistics.fewest_units`). The rule was fixed before it was
looked at what it ranks first: no term has a weight or a prior of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from roofline_lab.residuals.record import Residual, scored
from roofline_lab.residuals.terms import TERMS, Term
from roofline_lab.scoring.errors import PERCENT, mean
from roofline_lab.scoring.statistics import fewest_units, weighted_sums

Vector = NDArray[np.float64]
Bounds = tuple[float, float]

# Fewest families of which one can be held out.
MIN_FAMILIES = 2
# Two columns whose cosine is at least this cannot be told apart: scaled to fit, they differ by less than a tenth
# of their size (the root of 1 - cosine^2).
TIE_COSINE = 0.995
# Held-out errors this close, in percent, are not told apart: published means have a last digit of 0.1 ms, about half a
# percent of a step.
CLOSE_PCT = 0.5
# Errors closer than this, in percent, are rounding of floats.
ROUNDING_PCT = 1e-9


@dataclass(frozen=True, slots=True)
class Resampling:
    """Percentile bootstrap over families."""

    resamples: int = 4000
    level_pct: float = 95.0
    seed: int = 20260224


DEFAULT = Resampling()


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What one candidate would do.

    Attributes
    ----------
    constant, low, high
        In the term's unit, and its interval over families; None where it could not be fitted, or families are too few
        for an interval.
    least, spent
        Lowest constant beside 0 that physics allows, and what the prediction already spends on the term where that is
        known and the same everywhere.
    most
        Highest plausible constant.
    at_bound
        The residuals ask for less than physics allows, or for more than is plausible.
    mape_before, mape_after
        Percent over all load points, without the term and with it fitted to all of them.
    held_out
        Percent with every family predicted by the constant of the others; None below two families.
    gain_low, gain_high
        Interval over families of `mape_before - held_out`, percentage points; None with too few families.
    beyond_noise
        Whether that interval lies above zero.
    tied
        Candidates whose columns cannot be told from this one's.
    rivals
        Of the first one: other candidates that lower the held-out error too and may be as good: the interval of the
        difference reaches below `CLOSE_PCT`, or there is none to tell them apart.
    points, families
        Load points fitted to, and how many families they are of.
    reason
        Why there is no constant, or no held-out error.
    """

    term: Term
    mape_before: float | None
    points: int
    families: int
    constant: float | None = None
    low: float | None = None
    high: float | None = None
    least: float = 0.0
    most: float = math.inf
    spent: float | None = None
    at_bound: bool = False
    mape_after: float | None = None
    held_out: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    beyond_noise: bool = False
    tied: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Data:
    """Relative errors of the load points, their measured means in ms, and their families by number."""

    relative: Vector
    measured: Vector
    family: NDArray[np.int64]
    families: int
    draws: Vector

    @property
    def mape_before(self) -> float:
        return mean(np.abs(self.relative).tolist()) * PERCENT


@dataclass(frozen=True, slots=True)
class _Fit:
    """A fitted candidate with what comparing it to others needs: its column, and held-out errors by load point."""

    suggestion: Suggestion
    column: Vector
    errors: Vector


def ranked_terms(
    residuals: Iterable[Residual], metric: str, terms: Sequence[Term] = TERMS, resampling: Resampling = DEFAULT
) -> tuple[Suggestion, ...]:
    """Return every candidate, the one that helps unseen families most first.

    Candidates that come out as 0 follow behind, and then those without a constant, with the reason. With fewer than
    two families nothing can be held out; the order is then that of the error after the fit, and none counts as more
    than noise.

    Parameters
    ----------
    metric
        `ttft`, `itl` or `e2e`.
    """
    chosen = scored(residuals, metric)
    if not chosen:
        reason = "no load point has a residual of this metric"
        return tuple(Suggestion(term, None, 0, 0, reason=reason) for term in terms)
    data = _data(chosen, metric, resampling)
    tried = [_assessed(term, chosen, metric, data, resampling) for term in terms]
    fits = sorted((one for one in tried if isinstance(one, _Fit)), key=_order)
    tied = [replace(one.suggestion, tied=_tied(one, fits)) for one in fits]
    best = [replace(one, rivals=_rivals(fits, data, resampling)) for one in tied[:1]]
    return (*best, *tied[1:], *(one for one in tried if isinstance(one, Suggestion)))


def mean_error_pct(residuals: Iterable[Residual], metric: str) -> float | None:
    """Return the mean absolute error of a metric, in percent; None where it has no residual."""
    chosen = scored(residuals, metric)
    return mean([abs(one.figure(metric).relative) for one in chosen]) * PERCENT if chosen else None


def error_with(residuals: Iterable[Residual], metric: str, one: Suggestion) -> float | None:
    """Return the MAPE of a metric, in percent, when a term acts on it with the constant found from another.

    None where the metric has no residual, the term no constant, or a driver is not known.
    """
    chosen = scored(residuals, metric)
    amounts = [one.term.column_ms(each, metric) for each in chosen]
    if not chosen or one.constant is None or None in amounts:
        return None
    figures = [each.figure(metric) for each in chosen]
    measured = np.array([each.measured_ms for each in figures], dtype=float)
    relative = np.array([each.relative for each in figures])
    return mean(np.abs(relative + one.constant * np.array(amounts, dtype=float) / measured).tolist()) * PERCENT


def _order(fit: _Fit) -> tuple[bool, float]:
    """Sort by held-out error, terms that come out as nothing last; equal ones keep the catalogue's order."""
    one = fit.suggestion
    error = one.held_out if one.held_out is not None else one.mape_after
    assert error is not None, "a fitted term has an error"
    return one.constant == 0.0, round(error / ROUNDING_PCT) * ROUNDING_PCT


def _data(chosen: Sequence[Residual], metric: str, resampling: Resampling) -> _Data:
    figures = [one.figure(metric) for one in chosen]
    names = sorted({one.family for one in chosen})
    number = {name: index for index, name in enumerate(names)}
    generator = np.random.default_rng(resampling.seed)
    picks = generator.integers(0, len(names), size=(resampling.resamples, len(names)))
    draws = np.array([np.count_nonzero(picks == index, axis=1) for index in range(len(names))], dtype=float).T
    return _Data(
        relative=np.array([one.relative for one in figures]),
        measured=np.array([one.measured_ms for one in figures], dtype=float),
        family=np.array([number[one.family] for one in chosen]),
        families=len(names),
        draws=draws,
    )


def _assessed(
    term: Term, chosen: Sequence[Residual], metric: str, data: _Data, resampling: Resampling
) -> _Fit | Suggestion:
    """Fit one candidate, or say why that is not possible."""
    blank = Suggestion(term, data.mape_before, len(chosen), data.families)
    amounts = [term.column_ms(one, metric) for one in chosen]
    unknown = sum(one is None for one in amounts)
    if unknown:
        return replace(blank, reason=f"what it depends on is not known at {unknown} of {len(chosen)} load points")
    column = np.array(amounts, dtype=float) / data.measured
    if not column.any():
        return replace(blank, reason="it is zero at every load point")
    spent = {one.priced.get(term.name) for one in chosen}
    blank = replace(blank, spent=spent.pop() if len(spent) == 1 else None)
    bounds = max(term.least(one) for one in chosen), min(term.most(one) for one in chosen)
    return _fitted(blank, column, bounds, data, resampling)


def _fitted(blank: Suggestion, column: Vector, bounds: Bounds, data: _Data, resampling: Resampling) -> _Fit:
    # What a term adds has to make up for what the prediction lacks: errors are negative where it is too fast.
    products = np.bincount(data.family, -column * data.relative, data.families)
    squares = np.bincount(data.family, column * column, data.families)
    free = products.sum() / squares.sum()
    constant = float(_bounded(np.array([free]), bounds)[0])
    after = np.abs(data.relative + constant * column)
    drawn = _bounded(_ratio(weighted_sums(data.draws, products), weighted_sums(data.draws, squares)), bounds)
    low, high = _percentiles(drawn, resampling) if _tells(data, resampling) else (None, None)
    found = replace(
        blank,
        constant=constant,
        low=low,
        high=high,
        least=bounds[0],
        most=bounds[1],
        at_bound=bool(constant != free),
        mape_after=float(np.mean(after)) * PERCENT,
    )
    if data.families < MIN_FAMILIES:
        return _Fit(replace(found, low=None, high=None, reason="one model family; none can be held out"), column, after)
    others = _bounded(_ratio(products.sum() - products, squares.sum() - squares), bounds)
    errors = np.abs(data.relative + others[data.family] * column)
    found = replace(found, held_out=float(np.mean(errors)) * PERCENT)
    if not _tells(data, resampling):
        fewest = fewest_units(resampling.level_pct)
        return _Fit(
            replace(found, reason=f"{data.families} model families; an interval needs {fewest}"), column, errors
        )
    gain_low, gain_high = _gain_interval(np.abs(data.relative) - errors, data, resampling)
    return _Fit(replace(found, gain_low=gain_low, gain_high=gain_high, beyond_noise=gain_low > 0.0), column, errors)


def _tells(data: _Data, resampling: Resampling) -> bool:
    return data.families >= fewest_units(resampling.level_pct)


def _ratio(products: Vector, squares: Vector) -> Vector:
    """Return constants; where nothing speaks about one, it is 0 and the prediction stays as it is."""
    known = squares > 0.0
    return np.where(known, products / np.where(known, squares, 1.0), 0.0)


def _bounded(constants: Vector, bounds: Bounds) -> Vector:
    """Return the allowed constants closest to these: 0, which leaves everything as it is, or one within the bounds."""
    least, most = bounds
    if least <= 0.0:
        return np.clip(constants, least, most)
    allowed = np.where(constants >= least, constants, np.where(constants >= least / 2, least, 0.0))
    return np.minimum(allowed, most)


def _percentiles(values: Vector, resampling: Resampling) -> tuple[float, float]:
    tail = (100.0 - resampling.level_pct) / 2
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return float(low), float(high)


def _gain_interval(gains: Vector, data: _Data, resampling: Resampling) -> tuple[float, float]:
    """Return the interval of the mean of `gains` over load points when whole families are drawn, in percent."""
    sums = np.bincount(data.family, gains, data.families)
    counts = np.bincount(data.family, minlength=data.families).astype(float)
    drawn = weighted_sums(data.draws, sums) / weighted_sums(data.draws, counts)
    return _percentiles(drawn * PERCENT, resampling)


def _tied(fit: _Fit, fits: Sequence[_Fit]) -> tuple[str, ...]:
    others = (one for one in fits if one is not fit and _cosine(fit.column, one.column) >= TIE_COSINE)
    return tuple(one.suggestion.term.name for one in others)


def _rivals(fits: Sequence[_Fit], data: _Data, resampling: Resampling) -> tuple[str, ...]:
    """Return the candidates behind the first one whose held-out error cannot be told from its error."""
    first, found = fits[0], []
    for other in fits[1:]:
        held_out = other.suggestion.held_out
        if held_out is None or held_out >= data.mape_before or _cosine(first.column, other.column) >= TIE_COSINE:
            continue
        if (
            not _tells(data, resampling)
            or _gain_interval(other.errors - first.errors, data, resampling)[0] <= CLOSE_PCT
        ):
            found.append(other.suggestion.term.name)
    return tuple(found)


def _cosine(one: Vector, other: Vector) -> float:
    return float(np.sum(one * other) / np.sqrt(np.sum(one * one) * np.sum(other * other)))
