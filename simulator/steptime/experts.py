"""How many routed experts the tokens of a step visit, and how many of those the busiest GPU holds.

Routing is taken to be uniform: every token picks its experts at random, each set as likely as any other.

* All experts together: `experts_touched`, exact.
* Whole experts on each GPU (expert parallelism): a layer ends when the GPU with the most work has done its own. Given
  how many experts are visited, which ones is a draw without replacement by symmetry, so that the most on one GPU
  follows a multivariate hypergeometric distribution: `most_on_one_gpu` is its exact mean. The number visited is
  taken at its mean, between whole numbers on a line.
* Visits on the busiest GPU: a sum over tokens of independent draws, for which the mean of the largest of as many
  equally correlated normal variables stands (`most_visits`); never fewer than there are experts visited.

Both are checked against drawn routings in the tests.
"""

from __future__ import annotations

import math
from functools import lru_cache

from simulator.model import Model
from simulator.parallelism import Parallelism

# Half-width and steps of the integral over a standard normal variable; the integrand is smooth and below 1e-14 outside.
NORMAL_RANGE, NORMAL_STEPS = 8.0, 400


class ExpertLoad:
    """What the tokens of a step, those of all groups of GPUs, ask of a layer's routed experts on the busiest GPU.

    Experts are counted as that GPU holds them, as slices or whole.
    """

    __slots__ = ("_experts", "_gpus", "_per_token", "_whole")

    def __init__(self, model: Model, parallel: Parallelism) -> None:
        self._experts = model.num_local_experts
        self._per_token = model.num_experts_per_tok
        self._gpus = parallel.gpus
        self._whole = parallel.expert_parallel and parallel.gpus > 1

    def touched(self, tokens: int) -> float:
        """Return how many experts have their weights read."""
        everywhere = experts_touched(self._experts, self._per_token, tokens)
        return busiest(everywhere, most_on_one_gpu(self._experts, self._gpus)) if self._whole else everywhere

    def visits(self, tokens: int) -> float:
        """Return how many times a token is multiplied by an expert."""
        if not self._whole:
            return float(self._per_token * tokens)
        return max(most_visits(self._experts, self._per_token, self._gpus, tokens), self.touched(tokens))


def experts_touched(experts: int, per_token: int, new_tokens: int) -> float:
    """Return the expected number of distinct experts that `new_tokens` tokens visit under uniform routing."""
    return experts * (1.0 - (1.0 - per_token / experts) ** new_tokens)


def busiest(everywhere: float, most: tuple[float, ...]) -> float:
    """Return the most visited experts on one GPU, between the two whole numbers of experts visited everywhere."""
    below = min(int(everywhere), len(most) - 1)
    above = min(below + 1, len(most) - 1)
    return most[below] + (everywhere - below) * (most[above] - most[below])


@lru_cache(maxsize=64)
def most_on_one_gpu(experts: int, gpus: int) -> tuple[float, ...]:
    """Return the expected most visited experts on one of `gpus` GPUs, by how many are visited in all (from 0 on).

    Exact: of the sets of u experts, those with at most c on each GPU are counted by the coefficient of x^u in
    (sum over i <= c of C(experts / gpus, i) x^i) ^ gpus, where x is a power of two beyond every coefficient.
    """
    each, width = experts // gpus, experts // 8 + 1
    sets = [math.comb(experts, visited) for visited in range(experts + 1)]
    most = [0.0] * (experts + 1)
    on_one = 0
    for at_most in range(each):
        on_one += math.comb(each, at_most) << (8 * width * at_most)
        counted = (on_one**gpus).to_bytes(width * (experts + 1), "little")
        for visited, all_sets in enumerate(sets):
            within = int.from_bytes(counted[width * visited : width * (visited + 1)], "little")
            most[visited] += 1.0 - within / all_sets
    return tuple(most)


def most_visits(experts: int, per_token: int, gpus: int, tokens: int) -> float:
    """Return about the expected most visits of one GPU's experts by `tokens` tokens."""
    mean = tokens * per_token / gpus
    left_over = (experts - per_token) / (experts - 1) if experts > 1 else 0.0
    variance = mean * (1.0 - 1.0 / gpus) * left_over
    # Equally correlated variables with a fixed sum spread farther from their mean than independent ones do.
    return mean + largest_of_normals(gpus) * math.sqrt(variance * gpus / (gpus - 1))


@lru_cache(maxsize=64)
def largest_of_normals(count: int) -> float:
    """Return the expected largest of `count` independent standard normal variables."""
    step = 2 * NORMAL_RANGE / NORMAL_STEPS
    total = 0.0
    for place in range(NORMAL_STEPS):
        x = -NORMAL_RANGE + (place + 0.5) * step
        below = (0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))) ** count
        total += step * ((1.0 - below) if x > 0 else -below)
    return total
