"""Sharing a gain among the players that made it, exactly.

Contract: `shares` takes the worth of every coalition of n players and returns each player's Shapley share:
its mean gain over all orders in which the players could join. Shares sum to the worth of all players less
that of none; players that always gain the same get the same; one that never gains gets nothing.

A coalition is a number whose bit i says whether player i belongs to it.
Source: L. Shapley, A value for n-person games, Contributions to the Theory of Games II (1953).
"""

from __future__ import annotations

from math import comb

import numpy as np

from roofline_lab.calibration.constants import Vector
from simulator.errors import ConfigError


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
