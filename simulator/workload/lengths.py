"""How long prompts and outputs are: validated distributions and the draws they give.

Contract: `draw_lengths(spec, count, side, seed)` returns `count` whole token numbers that depend on
nothing but its arguments. They are at least 1, except that a GuideLLM adjustment may lower them;
whoever builds requests has the last word on that. Random draws use the stream named after the
side, so prompts and outputs never influence each other.
"""

from __future__ import annotations

import math
import random
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, Strict, model_validator

from simulator.errors import ConfigError
from simulator.validation import NonNegative, NonNegativeInt, StrictModel
from simulator.workload.streams import stream

Side = Literal["prompt", "output"]

# Tokens that GuideLLM's joint of prefix and prompt text loses when the server tokenises it again.
# Unit: tokens; source: client lengths of a recorded run (seed 42, prefix 1024) against the
# regenerated draws; method: equality request by request. A recorded run without a prefix loses
# none, which is what `adjustment_tokens: 0` expresses.
GUIDELLM_PROMPT_ADJUSTMENT_TOKENS = -2

GUIDELLM_DEFAULT_SEED = 42

# The largest context window announced so far; keeps a slip of the keyboard from filling the memory.
MAX_TOKENS = 10_000_000

Tokens = Annotated[int, Strict(), Field(ge=1, le=MAX_TOKENS)]


class ConstantLengths(StrictModel):
    """Every request has the same length.

    Attributes
    ----------
    tokens
        That length.
    """

    kind: Literal["constant"]
    tokens: Tokens


Limited = TypeVar("Limited", bound=StrictModel)


def _ordered(lengths: Limited, low: int, high: int) -> Limited:
    if low > high:
        raise ValueError(f"min_tokens {low} is above max_tokens {high}; swap or widen them")
    return lengths


class _Clipped(StrictModel):
    mean_tokens: NonNegative
    stdev_tokens: NonNegative
    min_tokens: Tokens
    max_tokens: Tokens

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        return _ordered(self, self.min_tokens, self.max_tokens)


class GaussianLengths(_Clipped):
    """Normal draws, clipped to the limits and rounded half away from zero.

    The mean may lie outside the limits; most draws then sit on a limit.
    """

    kind: Literal["gaussian"]


class UniformLengths(StrictModel):
    """Every whole number from `min_tokens` to `max_tokens`, both included, with the same chance.

    What a client sends that is told a length and a range: 1024 tokens and a range of 80 to 100 % are 819 to 1024.
    """

    kind: Literal["uniform"]
    min_tokens: Tokens
    max_tokens: Tokens

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        return _ordered(self, self.min_tokens, self.max_tokens)


class GuideLlmLengths(_Clipped):
    """The lengths a GuideLLM client sends for its synthetic data, draw by draw.

    Attributes
    ----------
    random_seed
        The client's `--random-seed`. It belongs to the recorded run, so the seed of a simulation
        does not touch it.
    benchmark_index
        Position of the load point in the client's run: 0 for the synchronous point of a sweep.
    adjustment_tokens
        Added to every draw. Default: -2 for prompts, 0 for outputs; a request keeps at least 1 token.
    """

    kind: Literal["guidellm"]
    random_seed: NonNegativeInt = GUIDELLM_DEFAULT_SEED
    benchmark_index: NonNegativeInt = 0
    adjustment_tokens: Annotated[int, Strict()] | None = None


class VllmRandomLengths(StrictModel):
    """The lengths vLLM's serving benchmark sends for its random prompts, draw by draw.

    Attributes
    ----------
    min_tokens, max_tokens
        Limits of the draws, both included.
    after_tokens
        Of answers: the limits of the prompts. The client draws those first, one for every request, from the same
        generator.
    random_seed
        The client's `--seed`. It belongs to the recorded run, so the seed of a simulation does not touch it.
    """

    kind: Literal["vllm_random"]
    min_tokens: Tokens
    max_tokens: Tokens
    after_tokens: tuple[Tokens, Tokens] | None = None
    random_seed: Annotated[int, Strict(), Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        if self.after_tokens is not None and self.after_tokens[0] > self.after_tokens[1]:
            raise ValueError(f"after_tokens {list(self.after_tokens)} fall; give the least tokens first")
        return _ordered(self, self.min_tokens, self.max_tokens)


class EmpiricalLengths(StrictModel):
    """Recorded lengths.

    Attributes
    ----------
    tokens
        The recorded lengths.
    order
        `recorded`: request i has the i-th length, and there must be enough of them. `resampled`:
        each request draws one with replacement.
    """

    kind: Literal["empirical"]
    tokens: tuple[Tokens, ...] = Field(min_length=1)
    order: Literal["recorded", "resampled"] = "recorded"


AnyLengths = ConstantLengths | GaussianLengths | UniformLengths | GuideLlmLengths | VllmRandomLengths | EmpiricalLengths
LengthSpec = Annotated[AnyLengths, Field(discriminator="kind")]


def draw_lengths(spec: AnyLengths, count: int, side: Side, seed: int) -> list[int]:
    """Draw `count` lengths in tokens.

    Raises
    ------
    ConfigError
        If recorded lengths are to be used in order and there are fewer than `count`.
    """
    match spec:
        case ConstantLengths():
            return [spec.tokens] * count
        case GaussianLengths():
            return _gaussian(spec, count, side, seed)
        case UniformLengths():
            return stream(seed, side).integers(spec.min_tokens, spec.max_tokens + 1, size=count).tolist()
        case GuideLlmLengths():
            return _guidellm(spec, count, side)
        case VllmRandomLengths():
            return _vllm_random(spec, count)
        case EmpiricalLengths():
            return _empirical(spec, count, side, seed)


def expected_tokens(spec: GaussianLengths | UniformLengths | VllmRandomLengths) -> tuple[float, float]:
    """Return mean and standard deviation of what is drawn, in tokens.

    Method: of whole numbers with the same chance, (low + high) / 2 and sqrt((n^2 - 1) / 12); of normal draws clipped
    to limits, the moments of the censored normal distribution, rounding left aside.
    """
    if isinstance(spec, UniformLengths | VllmRandomLengths):
        numbers = spec.max_tokens - spec.min_tokens + 1
        return (spec.min_tokens + spec.max_tokens) / 2, math.sqrt((numbers**2 - 1) / 12)
    low, high, mean, deviation = spec.min_tokens, spec.max_tokens, spec.mean_tokens, spec.stdev_tokens
    if deviation == 0:
        return min(max(mean, low), high), 0.0
    from statistics import NormalDist  # few runs ask for it

    normal = NormalDist()
    a, b = (low - mean) / deviation, (high - mean) / deviation
    below, above = normal.cdf(a), 1 - normal.cdf(b)
    inside = 1 - below - above
    slope = normal.pdf(a) - normal.pdf(b)
    first = below * a + above * b + slope
    second = below * a**2 + above * b**2 + inside + a * normal.pdf(a) - b * normal.pdf(b)
    return mean + deviation * first, deviation * math.sqrt(max(second - first**2, 0.0))


def guidellm_draws(seed: int, count: int, *, mean: float, stdev: float, minimum: int, maximum: int) -> list[int]:
    """Repeat GuideLLM's sampler: `round(clip(gauss(mean, stdev)))` from one `random.Random(seed)`.

    Python's `round` sends halves to the even neighbour, which is part of the recipe. Source:
    GuideLLM v0.5.2 and v0.6.0, `utils/random.py` and `data/deserializers/synthetic.py`.
    """
    source = random.Random(seed)
    return [round(min(max(source.gauss(mean, stdev), minimum), maximum)) for _ in range(count)]


def _guidellm(spec: GuideLlmLengths, count: int, side: Side) -> list[int]:
    seed = spec.random_seed + spec.benchmark_index + (1 if side == "output" else 0)
    draws = guidellm_draws(
        seed,
        count,
        mean=spec.mean_tokens,
        stdev=spec.stdev_tokens,
        minimum=spec.min_tokens,
        maximum=spec.max_tokens,
    )
    default = GUIDELLM_PROMPT_ADJUSTMENT_TOKENS if side == "prompt" else 0
    adjustment = default if spec.adjustment_tokens is None else spec.adjustment_tokens
    return [draw + adjustment for draw in draws]


def _vllm_random(spec: VllmRandomLengths, count: int) -> list[int]:
    """Repeat `sample_random_requests` of vLLM's benchmark_serving.py: prompts, then answers, from one `np.random`."""
    from numpy.random import RandomState

    source = RandomState(spec.random_seed)
    if spec.after_tokens is not None:
        source.randint(spec.after_tokens[0], spec.after_tokens[1] + 1, count)
    return source.randint(spec.min_tokens, spec.max_tokens + 1, count).tolist()


def _gaussian(spec: GaussianLengths, count: int, side: Side, seed: int) -> list[int]:
    import numpy as np

    draws = stream(seed, side).normal(spec.mean_tokens, abs(spec.stdev_tokens), count)  # abs: numpy refuses -0.0
    clipped = np.clip(draws, spec.min_tokens, spec.max_tokens)
    # All values are positive here, so adding a half and flooring rounds half away from zero.
    return [int(value) for value in np.floor(clipped + 0.5).tolist()]


def _empirical(spec: EmpiricalLengths, count: int, side: Side, seed: int) -> list[int]:
    if spec.order == "resampled":
        picks = stream(seed, side).integers(len(spec.tokens), size=count)
        return [spec.tokens[pick] for pick in picks.tolist()]
    if count > len(spec.tokens):
        raise ConfigError(
            f"{side}.tokens: {len(spec.tokens)} recorded lengths for {count} requests; "
            "record more, lower 'requests', or set order: resampled"
        )
    return list(spec.tokens[:count])
