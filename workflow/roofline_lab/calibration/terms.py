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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from roofline_lab.calibration.constants import Vector
from roofline_lab.calibration.fit import Problem, fit
from roofline_lab.calibration.points import Point
from roofline_lab.calibration.validation import families_of, held_out_errors
from roofline_lab.scoring.errors import relative_difference

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
