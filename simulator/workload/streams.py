"""Independent random streams, one per named purpose.

Contract: `stream(seed, name)` depends on nothing but its two arguments, so that drawing more or
fewer lengths never moves an arrival, and adding a purpose never changes an existing one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from simulator.errors import ConfigError

if TYPE_CHECKING:
    from numpy.random import Generator


def stream(seed: int, name: str) -> Generator:
    """Return the generator of one purpose (`arrivals`, `prompt`, `output`).

    Raises
    ------
    ConfigError
        If `seed` is negative.
    """
    if seed < 0:
        raise ConfigError(f"seed: must be 0 or greater, got {seed}")
    from numpy.random import PCG64, Generator, SeedSequence

    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return Generator(PCG64(SeedSequence(seed, spawn_key=(key,))))
