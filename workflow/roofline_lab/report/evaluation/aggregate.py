"""Errors of groups of load points: means three ways, with intervals over model families.

Contract: pure functions of results. The error of a load point is that of its figure (predicted mean
against measured mean). A group's error is the plain mean over load points, over experiments (each the
mean of its load points) and over families (each the mean of its experiments). Intervals resample
whole families, because experiments on one model share its errors; a model that was fitted to is of the
family it was fitted as, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from roofline_lab.config import Settings
from roofline_lab.predict.predictors import OUT_OF_SAMPLE, Standing
from roofline_lab.predict.records import APART, HEADLINE, PointResult
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.statistics import Interval, bootstrap_mean, median

NOT_IN_THE_FIT = "not in the fit"
Key = Callable[[PointResult], str]

# What results are grouped by, beside the family: title of the group, and its key.
GROUPS: Mapping[str, Key] = {
    "family": lambda result: result.family,
    "tp": lambda result: str(result.place.tensor_parallel),
    "hardware": lambda result: result.place.hardware,
    "workload": lambda result: result.place.workload,
    "strategy": lambda result: result.place.strategy,
    "architecture": lambda result: result.place.architecture,
    "tool": lambda result: f"{result.place.tool}, {result.place.side} side",
}


@dataclass(frozen=True, slots=True)
class Means:
    """Mean absolute errors of one group in percent, and how many stand behind each.

    Attributes
    ----------
    signed
        Mean signed error over load points; negative: predicted too fast.
    medians
        Of the absolute errors of load points, experiments and families.
    experiments_interval, families_interval
        None below two.
    """

    points: float
    experiments: float
    families: float
    signed: float
    medians: tuple[float, float, float]
    experiments_interval: Interval | None
    families_interval: Interval | None
    counts: tuple[int, int, int]


def standing_groups(results: Iterable[PointResult]) -> dict[str, list[PointResult]]:
    """Return results by how much of a test they are: what is in no fit first, in sample and no record apart.

    Never seen and held out are given together and each, where both occur. Results that stand apart (`APART`) are in
    none of these groups but in groups of their own behind them.
    """
    by_reason: dict[str, list[PointResult]] = {name: [] for name in ("", *APART)}
    for result in results:
        by_reason[result.apart].append(result)
    return {
        group_name(standing, apart): members
        for apart, own in by_reason.items()
        for standing, members in _by_standing(own).items()
    }


def group_name(standing: str, apart: str) -> str:
    """Return what results of one standing are called that stand apart for a reason, or for none."""
    return f"{standing}, {apart}" if apart else standing


def group_of(result: PointResult) -> str:
    """Return the group of `standing_groups` a result is in, unions left out."""
    return group_name(result.standing.value, result.apart)


def scored_experiments(results: Iterable[PointResult]) -> int:
    """Return how many experiments have an error in any figure of the headline."""
    members = list(results)
    return len({result.place.experiment for metric in HEADLINE for result, _ in scored(members, metric)})


def _by_standing(results: Iterable[PointResult]) -> dict[str, list[PointResult]]:
    found: dict[Standing, list[PointResult]] = {one: [] for one in Standing}
    for result in results:
        found[result.standing].append(result)
    tests = [one for standing in OUT_OF_SAMPLE for one in found[standing]]
    both = all(found[standing] for standing in OUT_OF_SAMPLE)
    groups = {NOT_IN_THE_FIT: tests} if both else {}
    return groups | {standing.value: members for standing, members in found.items() if members}


def grouped(results: Iterable[PointResult], key: Key) -> dict[str, list[PointResult]]:
    """Return results by key, keys in their natural order."""
    found: dict[str, list[PointResult]] = {}
    for result in results:
        found.setdefault(key(result), []).append(result)
    return dict(sorted(found.items(), key=lambda entry: _natural(entry[0])))


def scored(results: Iterable[PointResult], metric: str) -> list[tuple[PointResult, float]]:
    """Return the results that have an error in one figure, with that signed error in percent."""
    return [(result, error) for result in results if (error := result.error_pct(metric)) is not None]


def means(results: Iterable[PointResult], metric: str, settings: Settings | None = None) -> Means | None:
    """Return the errors of a group, or None if nothing was scored.

    Parameters
    ----------
    settings
        Of the bootstrap; None leaves the intervals out.
    """
    errors = scored(results, metric)
    if not errors:
        return None
    by_experiment: dict[str, list[float]] = {}
    family_of: dict[str, str] = {}
    for result, error in errors:
        by_experiment.setdefault(result.place.experiment, []).append(abs(error))
        family_of[result.place.experiment] = result.family
    experiments = {name: mean(values) for name, values in by_experiment.items()}
    by_family: dict[str, list[float]] = {}
    for name, value in experiments.items():
        by_family.setdefault(family_of[name], []).append(value)
    families = [mean(values) for values in by_family.values()]
    clusters = [family_of[name] for name in experiments]
    return Means(
        points=mean([abs(error) for _, error in errors]),
        experiments=mean(list(experiments.values())),
        families=mean(families),
        signed=mean([error for _, error in errors]),
        medians=(median([abs(error) for _, error in errors]), median(list(experiments.values())), median(families)),
        experiments_interval=_interval(list(experiments.values()), clusters, settings),
        families_interval=_interval(families, None, settings),
        counts=(len(errors), len(experiments), len(families)),
    )


def _interval(values: Sequence[float], clusters: Sequence[str] | None, settings: Settings | None) -> Interval | None:
    if settings is None:
        return None
    return bootstrap_mean(
        values,
        resamples=settings.bootstrap.resamples,
        level_pct=settings.bootstrap.level_pct,
        seed=settings.seeds.bootstrap,
        clusters=clusters,
    )


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (0, name)
