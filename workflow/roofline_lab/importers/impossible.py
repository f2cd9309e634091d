"""Mean latencies of one load point that cannot be right, refused under the names the user's own file has.

Contract: `refuse_impossible` looks at means in milliseconds as a file gave them and raises one `ConfigError` with
file, key and both values; figures that are possible pass. It runs before any conversion, so that mixed units are not
met later as a wrong number of tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from roofline_lab.ground_truth.metrics import CONSISTENCY_TOLERANCE, PLAUSIBLE_MS
from roofline_lab.importers.imported import MS_PER_S
from simulator.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean latency in ms, and the key of the file that holds it."""

    key: str
    value_ms: float


def refuse_impossible(
    source: str, *, ttft: Mean | None, e2e: Mean | None, itl: Mean | None = None, tokens: float = math.nan
) -> None:
    """Refuse means that no server has.

    Parameters
    ----------
    source
        The file as the user named it, and the place in it.
    ttft, e2e, itl
        What the file says; `itl` is the time between tokens, weighted by their number. None was not measured.
    tokens
        Mean output length, if the file says it.

    Raises
    ------
    ConfigError
        If a mean is implausible by itself, TTFT is not below E2E, or a thousandth or the thousandfold of TTFT is
        what E2E and the time between tokens leave for it.
    """
    for kind, mean in (("ttft", ttft), ("e2e", e2e)):
        if mean is not None and mean.value_ms:
            _refuse_implausible(source, kind, mean)
    if ttft is None or e2e is None or not ttft.value_ms or not e2e.value_ms:
        return
    # An answer of one token may end with its first token.
    if ttft.value_ms > e2e.value_ms or (ttft.value_ms == e2e.value_ms and tokens > 1):
        raise ConfigError(
            f"{source}: {ttft.key}: a mean of {ttft.value_ms:g} ms is not below {e2e.key}, {e2e.value_ms:g} ms; are "
            "seconds and milliseconds mixed?"
        )
    if itl is not None and tokens > 1:
        _refuse_thousandfold(source, ttft, e2e, itl.value_ms * (tokens - 1))


def _refuse_implausible(source: str, kind: str, mean: Mean) -> None:
    low, high = PLAUSIBLE_MS[kind]
    if not low <= mean.value_ms <= high:
        raise ConfigError(
            f"{source}: {mean.key}: a mean of {mean.value_ms:g} ms, but {low:g} to {high:g} are plausible; are seconds "
            "and milliseconds mixed?"
        )


def _refuse_thousandfold(source: str, ttft: Mean, e2e: Mean, gaps_ms: float) -> None:
    allowed_ms = CONSISTENCY_TOLERANCE * e2e.value_ms
    if abs(e2e.value_ms - gaps_ms - ttft.value_ms) <= allowed_ms:
        return
    for factor in (MS_PER_S, 1 / MS_PER_S):
        if abs(e2e.value_ms - gaps_ms - factor * ttft.value_ms) <= allowed_ms:
            raise ConfigError(
                f"{source}: {ttft.key}: a mean of {ttft.value_ms:g} ms, but {e2e.key} and the time between tokens "
                f"leave {e2e.value_ms - gaps_ms:.4g} ms for it; are seconds and milliseconds mixed?"
            )
