"""What each term of the model buys on families it has not seen: chain, drops and Shapley shares.

Contract: a set of terms is worth the held-out errors it leads to: absent terms are ideal (no cost, all of
the peak, or switched off), the constants of the others are fitted anew to all families but one, and that
one is predicted. `subset_errors` answers for every set of terms from response surfaces; `chain_errors`
simulates the load points with one term more at a time. A set is a number whose bit i stands for
`TERMS[i]`.

Constants are fitted anew for every set, because a term is worth what the model loses when the others have
done their best to replace it; with constants kept from the full fit, two terms that can trade places would
both look indispensable.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from roofline_lab.calibration.constants import Vector
from roofline_lab.calibration.fit import Problem, fit, problem_of
from roofline_lab.calibration.plan import Plan, load_plan
from roofline_lab.calibration.points import Point, load_points
from roofline_lab.calibration.surface import Surface, surface_of, without_head
from roofline_lab.calibration.validation import families_of, held_out_errors
from roofline_lab.files import json_text
from roofline_lab.scoring.errors import relative_difference
from simulator.errors import ConfigError

Switch = Literal["lm_head", "schedule_ahead"]


@dataclass(frozen=True, slots=True)
class Term:
    """One physical statement of the model.

    Attributes
    ----------
    name
        What is added.
    absent
        What the model says without it.
    constants
        Fitted constants that make it up.
    switch
        What switches it, where it has no constant.
    """

    name: str
    absent: str
    constants: tuple[str, ...] = ()
    switch: Switch | None = None


# In the order in which the hypotheses suggest them, from the GPU's memory outwards.
TERMS: tuple[Term, ...] = (
    Term(
        "bandwidth below peak",
        "weights and KV cache stream at the data sheet's bandwidth",
        ("weight_bandwidth_efficiency", "kv_bandwidth_efficiency"),
    ),
    Term("LM head", "the projection to the vocabulary takes no time", switch="lm_head"),
    Term("launches per layer", "kernels follow each other without a gap", ("layer_us",)),
    Term(
        "cutting off unlikely tokens",
        "sampling takes no time",
        ("sampling_us_per_kilotoken", "sampling_us_per_kilotoken_request"),
    ),
    Term("cost per request in a step", "requests cost nothing beside their tokens", ("request_us",)),
    Term(
        "collectives beyond the link's peak",
        "all-reduces have no latency and run at the link's peak",
        ("all_reduce_us", "link_efficiency"),
    ),
    Term("host time between steps", "the next step starts when one ends", ("host_step_us",)),
    Term("GEMMs below peak", "large GEMMs run at the data sheet's FLOP/s", ("gemm_efficiency",)),
    Term(
        "scheduling ahead",
        "every server composes a step when the last one has ended, and the GPU waits for it",
        switch="schedule_ahead",
    ),
    Term(
        "client time per request",
        "API and client take no time",
        ("guidellm_request_us", "inference_perf_request_us"),
    ),
    Term("client time per prompt token", "prompts are tokenised and sent at once", ("client_us_per_prompt_token",)),
)
ALL_TERMS = (1 << len(TERMS)) - 1


class Switches(NamedTuple):
    """The choices of a set of terms that are no constants."""

    lm_head: bool
    schedule_ahead: bool


def contains(subset: int, place: int) -> bool:
    """Say whether a set holds the term at `place`."""
    return bool(subset >> place & 1)


def ideal_of(subset: int) -> tuple[str, ...]:
    """Return the constants that cost nothing, or run at peak, under a set of terms."""
    absent = (term for place, term in enumerate(TERMS) if not contains(subset, place))
    return tuple(name for term in absent for name in term.constants)


def switches_of(subset: int) -> Switches:
    """Return what a set of terms switches on."""
    on = {term.switch for place, term in enumerate(TERMS) if contains(subset, place)}
    return Switches(lm_head="lm_head" in on, schedule_ahead="schedule_ahead" in on)


def chain() -> list[int]:
    """Return the sets of the cumulative chain: none, the first term, the first two, and so on."""
    return [(1 << length) - 1 for length in range(len(TERMS) + 1)]


def subset_errors(problems: Mapping[Switches, Problem], subsets: Iterable[int]) -> Iterator[tuple[int, list[float]]]:
    """Yield the held-out mean absolute errors of TTFT, ITL and E2E of sets of terms, from response surfaces."""
    for subset in subsets:
        yield subset, held_out_errors(problems[switches_of(subset)], ideal_of(subset))


def chain_errors(points: Sequence[Point], problems: Mapping[Switches, Problem]) -> list[list[float]]:
    """Return the same errors of every set of the chain, predicted by the engine."""
    return [_simulated_errors(points, problems[switches_of(subset)], subset) for subset in chain()]


def _simulated_errors(points: Sequence[Point], problem: Problem, subset: int) -> list[float]:
    switches, rows = switches_of(subset), []
    for family in families_of(problem):
        values = fit(problem.without(frozenset([family])), ideal_of(subset)).values
        rows += [_errors(point.switched(**switches._asdict()), values) for point in points if point.family == family]
    return np.abs(np.array(rows)).mean(axis=0).tolist()


def _errors(point: Point, values: Mapping[str, float]) -> Vector:
    """Return the relative errors of mean TTFT, ITL and E2E at the client."""
    means, client = point.engine_means(values), point.client(values)
    ttft_us = means.ttft_us + client.request_us + client.us_per_prompt_token * means.prompt_tokens
    predicted_us = np.array([ttft_us, means.decode_us / means.gaps, ttft_us + means.decode_us])
    return relative_difference(predicted_us, np.array(point.measured) * 1000.0)


def shares(worth: Vector) -> Vector:
    """Return the share of every player.

    Parameters
    ----------
    worth
        Worth of every coalition, shape (2^players, quantities), coalition 0 being nobody.

    Returns
    -------
    Shape (players, quantities).

    Raises
    ------
    ConfigError
        If the number of coalitions is no power of two.
    """
    coalitions = np.arange(len(worth))
    players = len(worth).bit_length() - 1
    if not len(worth) or 1 << players != len(worth):
        raise ConfigError(f"worth: {len(worth)} coalitions; n players have 2^n, nobody among them")
    sizes = np.array([one.bit_count() for one in range(len(worth))])
    weights = np.array([1.0 / (players * comb(players - 1, size)) for size in range(players)])
    found = []
    for player in range(players):
        without = coalitions[coalitions >> player & 1 == 0]
        gains = worth[without | 1 << player] - worth[without]
        found.append((gains * weights[sizes[without]][:, None]).sum(axis=0))
    return np.array(found).reshape(players, *worth.shape[1:])


# Digits an error is kept with: far below what any page shows, far above the noise of linear algebra.
DIGITS = 8


def waiting_surface_job(root: Path, name: str, experiment: str) -> str:
    """Return the surfaces of one experiment as if its server never scheduled ahead, as JSON."""
    plan = load_plan(root, name)
    points = [point.switched(lm_head=True, schedule_ahead=False) for point in _points(root, plan)]
    found = [surface_of(point, plan.samples, plan.seed) for point in points if point.experiment.id == experiment]
    return json_text([surface.as_dict() for surface in found])


def subsets_job(root: Path, name: str, ahead: str, surfaces: Iterable[str], waiting: Iterable[str]) -> str:
    """Return the held-out errors of every set of terms with (`ahead`) or without scheduling ahead, as JSON."""
    problems = _problems(root, load_plan(root, name), surfaces, waiting)
    wanted = [one for one in range(ALL_TERMS + 1) if switches_of(one).schedule_ahead == (ahead == "ahead")]
    return json_text({str(error): _rounded(errors) for error, errors in subset_errors(problems, wanted)})


def chain_job(root: Path, name: str, surfaces: Iterable[str], waiting: Iterable[str]) -> str:
    """Return the held-out errors along the chain, by the engine, as JSON."""
    plan = load_plan(root, name)
    found = chain_errors(_points(root, plan), _problems(root, plan, surfaces, waiting))
    return json_text({"terms": [term.name for term in TERMS], "errors": [_rounded(errors) for errors in found]})


def _problems(root: Path, plan: Plan, surfaces: Iterable[str], waiting: Iterable[str]) -> dict[Switches, Problem]:
    """Return the fitting problem under every choice of switches.

    A server that never schedules ahead has the same surface with and without that switch.
    """
    points = _points(root, plan)
    normal = _read(root, surfaces)
    by_ahead = {True: normal, False: {**normal, **_read(root, waiting)}}
    return {
        Switches(lm_head, ahead): problem_of(
            points, _with_or_without_head(points, found, lm_head=lm_head), plan.weights.model_dump(), plan.scatter
        )
        for ahead, found in by_ahead.items()
        for lm_head in (True, False)
    }


def _with_or_without_head(
    points: Iterable[Point], surfaces: Mapping[str, Surface], *, lm_head: bool
) -> dict[str, Surface]:
    return {
        point.name: surfaces[point.name] if lm_head else without_head(surfaces[point.name], point) for point in points
    }


def _points(root: Path, plan: Plan) -> tuple[Point, ...]:
    return load_points(root, plan.train_sets, plan.requests_per_point, plan.seed)


def _read(root: Path, files: Iterable[str]) -> dict[str, Surface]:
    entries: list[dict[str, Any]] = [
        one for path in files for one in json.loads((root / path).read_text(encoding="utf-8"))
    ]
    return {entry["name"]: Surface.from_dict(entry) for entry in entries}


def _rounded(errors: Iterable[float]) -> list[float]:
    return [round(error, DIGITS) for error in errors]
