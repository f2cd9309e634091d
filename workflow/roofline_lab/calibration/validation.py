"""How far a fit carries: folds, resamples of families, correlations, a learning curve.

Contract: pure functions of a `Problem`. The unit of every split is the model family, never a
request, a load point or an experiment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from roofline_lab.calibration.constants import CONSTANTS, Vector
from roofline_lab.calibration.fit import Fit, Problem, fit


def families_of(problem: Problem) -> tuple[str, ...]:
    """Return every family once, sorted."""
    return tuple(sorted(set(problem.families)))


def resamples(problem: Problem, count: int, seed: int) -> Vector:
    """Return constants fitted to families drawn with replacement, shape (count, constants)."""
    families = families_of(problem)
    members = {name: [i for i, family in enumerate(problem.families) if family == name] for name in families}
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        drawn = generator.choice(len(families), size=len(families))
        fitted = fit(problem.take([i for place in drawn for i in members[families[place]]]))
        rows.append([fitted.values[constant.name] for constant in CONSTANTS])
    return np.array(rows)


def intervals(samples: Vector, level_pct: float = 95.0) -> list[tuple[float, float]]:
    """Return the percentile interval of every constant."""
    tail = (100.0 - level_pct) / 2
    ends = np.percentile(samples, [tail, 100.0 - tail], axis=0)
    return [(float(low), float(high)) for low, high in ends.T]


def correlations(fitted: Fit) -> Vector:
    """Return how the uncertainties of two constants go together, shape (constants, constants).

    From the inverse of J^T J at the solution, starts included as observations.
    """
    jacobian = fitted.solution.jacobian
    covariance = np.linalg.inv(jacobian.T @ jacobian)
    deviations = np.sqrt(np.diag(covariance))
    # Positions of efficiencies run against their values.
    signs = np.array([-1.0 if constant.inverse else 1.0 for constant in CONSTANTS])
    return covariance / np.outer(deviations, deviations) * np.outer(signs, signs)


def learning_curve(problem: Problem, subsets: int, seed: int) -> Iterator[tuple[int, list[list[float]]]]:
    """Yield, per number of families in a fit, the mean absolute errors of all others.

    Each entry holds one row per random subset: mean absolute relative error of TTFT, ITL and E2E over the
    load points of the families left out.
    """
    families = families_of(problem)
    generator = np.random.default_rng(seed)
    for size in range(1, len(families)):
        rows = []
        for _ in range(subsets):
            chosen = frozenset(families[i] for i in generator.choice(len(families), size=size, replace=False))
            place = fit(problem.of_families(chosen)).solution.x
            rows.append(np.abs(problem.without(chosen).errors(place)).mean(axis=0).tolist())
        yield size, rows


def held_out_errors(problem: Problem, ideal: Collection[str] = ()) -> list[float]:
    """Return the mean absolute errors of TTFT, ITL and E2E when every family is predicted from the others."""
    errors = []
    for family in families_of(problem):
        group = frozenset([family])
        errors.append(np.abs(problem.of_families(group).errors(fit(problem.without(group), ideal).solution.x)))
    return np.concatenate(errors).mean(axis=0).tolist()


# Constants that are one physical statement, and what their absence would mean.
TERMS: Mapping[str, tuple[str, ...]] = {
    "bandwidth below peak": ("weight_bandwidth_efficiency", "kv_bandwidth_efficiency"),
    "GEMMs below peak": ("gemm_efficiency",),
    "launches per layer": ("layer_us",),
    "host time between steps": ("host_step_us",),
    "cost per request in a step": ("request_us",),
    "collectives beyond the link's peak": ("all_reduce_us", "link_efficiency"),
    "cutting off unlikely tokens": ("sampling_us_per_kilotoken", "sampling_us_per_kilotoken_request"),
    "client and API": ("guidellm_request_us", "inference_perf_request_us", "client_us_per_prompt_token"),
    "client time per prompt token": ("client_us_per_prompt_token",),
}


def ablations(problem: Problem) -> dict[str, list[float]]:
    """Return the held-out errors with every term, under the empty name, and without one term each."""
    return {"": held_out_errors(problem)} | {name: held_out_errors(problem, left) for name, left in TERMS.items()}


# By how much less the starts are trusted in turn; below 1, more.
DISTRUST = (0.1, 1 / 3, 1.0, 3.0, 10.0)


def start_dependence(problem: Problem) -> list[dict[str, Any]]:
    """Return the held-out errors when starts are trusted ever less, from more than planned on."""
    return [
        {"divisor": divisor, "errors": held_out_errors(replace(problem, scatter=problem.scatter / divisor))}
        for divisor in DISTRUST
    ]
