"""How the prefill and decode seconds of one step become one duration.

`max`, `sum`, `weighted_average` (thresholded weights), `smooth` (always token-proportional);
`additive` is not a function of the two durations and lives with the roofline. A step with a single
phase costs that phase, whatever the rule.
"""

from __future__ import annotations

from collections.abc import Callable

from simulator.steptime.options import PhaseCombination

# Thresholds and weights of the weighted average: upstream's tuned constants (dimensionless; token
# and request counts), stated in its mixed-batch hypothesis (`weighted-average` mode).
PREFILL_DOMINANCE = 4
PREFILL_MIN_TOKENS = 100
PREFILL_WEIGHT = 0.75
DECODE_DOMINANCE = 2
DECODE_MIN_REQUESTS = 50
DECODE_WEIGHT = 0.65

Combine = Callable[[float, float, int, int], float]


def longest(prefill_s: float, decode_s: float, prefill_tokens: int, decode_requests: int) -> float:
    """Return the longer phase: both run fully overlapped."""
    return prefill_s if prefill_s >= decode_s else decode_s


def one_after_the_other(prefill_s: float, decode_s: float, prefill_tokens: int, decode_requests: int) -> float:
    """Return the sum: nothing overlaps."""
    return prefill_s + decode_s


def token_proportional(prefill_s: float, decode_s: float, prefill_tokens: int, decode_requests: int) -> float:
    """Return the mean weighted by new tokens of each phase."""
    return (prefill_tokens * prefill_s + decode_requests * decode_s) / (prefill_tokens + decode_requests)


def thresholded(prefill_s: float, decode_s: float, prefill_tokens: int, decode_requests: int) -> float:
    """Return the mean with fixed weights where one phase dominates, else token-proportional."""
    if _prefill_dominates(prefill_tokens, decode_requests):
        return PREFILL_WEIGHT * prefill_s + (1.0 - PREFILL_WEIGHT) * decode_s
    if _decode_dominates(prefill_tokens, decode_requests):
        return (1.0 - DECODE_WEIGHT) * prefill_s + DECODE_WEIGHT * decode_s
    return token_proportional(prefill_s, decode_s, prefill_tokens, decode_requests)


COMBINATIONS: dict[PhaseCombination, Combine] = {
    "max": longest,
    "sum": one_after_the_other,
    "smooth": token_proportional,
    "weighted_average": thresholded,
}


def branch(rule: PhaseCombination, prefill_requests: int, prefill_tokens: int, decode_requests: int) -> str:
    """Name the rule that combined a step's phases."""
    if not prefill_requests:
        return "decode_only" if decode_requests else "empty"
    if not decode_requests:
        return "prefill_only"
    if rule == "weighted_average":
        if _prefill_dominates(prefill_tokens, decode_requests):
            return "weighted_average_prefill_dominates"
        if _decode_dominates(prefill_tokens, decode_requests):
            return "weighted_average_decode_dominates"
        return "weighted_average_by_tokens"
    return rule


def _prefill_dominates(prefill_tokens: int, decode_requests: int) -> bool:
    return prefill_tokens > PREFILL_DOMINANCE * decode_requests and prefill_tokens > PREFILL_MIN_TOKENS


def _decode_dominates(prefill_tokens: int, decode_requests: int) -> bool:
    return decode_requests > DECODE_DOMINANCE * prefill_tokens and decode_requests > DECODE_MIN_REQUESTS
