"""What is left out of a fleet's fit to see how far it carries: server configurations, cells, GPUs, kinds of model.

Contract: `folds_of` names the folds of some load points; every point is left out once by each kind of fold that leaves
others to fit to. The client of a site that no other point knows is estimated from the site's lightest load point of
every prompt length: those stay in the fit, and are not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from roofline_lab.calibration.fleet.points import METRICS, FleetPoint
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.trust.held_out import Fold, HeldOut, site_of


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One fold, by places in the list of load points.

    Attributes
    ----------
    judged
        Points that are predicted by the fit without them.
    fitted
        Points the fit rests on.
    light
        Those of them that belong to the fold and tell of its site's client alone.
    """

    fold: Fold
    name: str
    judged: tuple[int, ...]
    fitted: tuple[int, ...]
    light: tuple[int, ...] = ()


def folds_of(points: Sequence[FleetPoint], configuration_folds: int) -> tuple[LeftOut, ...]:
    """Return all folds, sorted by kind and name."""
    experiments = sorted({point.experiment for point in points})
    turn = {name: f"{place % configuration_folds + 1}" for place, name in enumerate(experiments)}
    kinds: dict[Fold, list[str]] = {
        "cell": [point.cell for point in points],
        "configuration": [turn[point.experiment] for point in points],
        "gpu": [point.conditions.gpu for point in points],
        "kind": [point.kind for point in points],
    }
    return tuple(fold for kind, names in kinds.items() for fold in _folds(points, kind, names))


def _folds(points: Sequence[FleetPoint], kind: Fold, names: Sequence[str]) -> Iterator[LeftOut]:
    for name in sorted(set(names)):
        out = [place for place, own in enumerate(names) if own == name]
        kept = [place for place, own in enumerate(names) if own != name]
        if not kept:
            continue
        light = _light(points, out, {points[place].conditions.site for place in kept})
        judged = tuple(place for place in out if place not in light)
        yield LeftOut(kind, name, judged, tuple(sorted([*kept, *light])), light)


def _light(points: Sequence[FleetPoint], out: Sequence[int], known: set[str | None]) -> tuple[int, ...]:
    """Return the lightest point of every site that is not known, and of every prompt length there."""
    lightest: dict[tuple[str | None, int], int] = {}
    for place in out:
        point = points[place]
        if point.conditions.site in known:
            continue
        key = point.conditions.site, round(point.prompt_tokens, -3)
        best = lightest.get(key)
        if best is None or _load(point) < _load(points[best]):
            lightest[key] = place
    return tuple(sorted(lightest.values()))


def _load(point: FleetPoint) -> tuple[float, float, str]:
    return point.concurrency, point.measured_ms[0], point.experiment


def held_out_rows(
    fold: LeftOut, points: Sequence[FleetPoint], predicted_ms: Sequence[tuple[float, float]]
) -> Iterator[HeldOut]:
    """Return the rows of the judged points of a fold; `predicted_ms` in their order."""
    for place, values in zip(fold.judged, predicted_ms, strict=True):
        point = points[place]
        for metric, measured, predicted in zip(METRICS, point.measured_ms, values, strict=True):
            yield HeldOut(
                fold=fold.fold,
                metric=metric,
                measured_ms=measured,
                predicted_ms=predicted,
                noise=noise_of(point.target.load_point, point, metric),
                **_described(point),
            )


def noise_of(load_point: LoadPoint, point: FleetPoint, metric: str) -> float | None:
    """Return the relative spread of one measurement of a metric, where its experiment states it."""
    noise = point.target.experiment.noise
    return None if noise is None else noise.relative_sd.get(metric)


def _described(point: FleetPoint) -> dict[str, object]:
    experiment = point.target.experiment
    return {
        "experiment": experiment.id,
        "load_point": point.target.load_point.id,
        "model": experiment.model,
        "kind": point.kind,
        "hardware": experiment.hardware,
        "precision": point.precision,
        "site": site_of(experiment, point.target.load_point.id),
        "tensor_parallel": experiment.tensor_parallel,
        "concurrency": point.concurrency,
        "prompt_tokens": point.prompt_tokens,
        "output_tokens": point.output_tokens,
        "saturated": point.saturated,
    }
