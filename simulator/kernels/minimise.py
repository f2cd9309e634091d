"""A small deterministic minimiser (Nelder-Mead), so that no optimiser has to be a dependency.

Contract: `minimise(objective, start)` returns the best point found, from the same bits every time. The
objective may have kinks; it must be finite around the start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Point = tuple[float, ...]
Objective = Callable[[Point], float]

# Edge of the first simplex and of each restart; parameters are logarithms, so about 25 %.
EDGES = (0.25, 0.05, 0.01)
# Steps per restart, and the spread of the objective (absolute plus relative) at which one ends early.
STEPS = 400
SPREAD = 1e-8


def minimise(objective: Objective, start: Sequence[float]) -> Point:
    """Return the best point after three restarts with shrinking simplexes."""
    best = tuple(start)
    for edge in EDGES:
        best = _descend(objective, best, edge)
    return best


def _descend(objective: Objective, start: Point, edge: float) -> Point:
    corners = [start] + [
        tuple(x + edge * (axis == place) for place, x in enumerate(start)) for axis in range(len(start))
    ]
    simplex = sorted((objective(corner), corner) for corner in corners)
    for _ in range(STEPS):
        if simplex[-1][0] - simplex[0][0] <= SPREAD * (1.0 + abs(simplex[0][0])):
            break
        simplex = sorted(_improved(objective, simplex))
    return simplex[0][1]


def _improved(objective: Objective, simplex: list[tuple[float, Point]]) -> list[tuple[float, Point]]:
    """Replace the worst corner by reflection, expansion or contraction, else shrink towards the best."""
    *kept, (worst_value, worst) = simplex
    centre = tuple(sum(xs) / len(kept) for xs in zip(*(point for _, point in kept), strict=True))

    def along(factor: float) -> tuple[float, Point]:
        point = tuple(c + factor * (c - w) for c, w in zip(centre, worst, strict=True))
        return objective(point), point

    reflected = along(1.0)
    if reflected[0] < simplex[0][0]:
        return [*kept, min(along(2.0), reflected)]
    if reflected[0] < kept[-1][0]:
        return [*kept, reflected]
    contracted = along(0.5 if reflected[0] < worst_value else -0.5)
    if contracted[0] < min(worst_value, reflected[0]):
        return [*kept, contracted]
    best = simplex[0][1]
    shrunk = [tuple(b + 0.5 * (x - b) for b, x in zip(best, point, strict=True)) for _, point in simplex[1:]]
    return [simplex[0], *((objective(point), point) for point in shrunk)]
