"""A response surface without the LM head, worked out from the one with it.

A step reads the head's weights once, whatever the batch (up to some hundred requests, where arithmetic
would take over), and so does a cost per layer count once per step. A step without the head is therefore
the step of a server whose cost per layer is lower by the head's time over the layers, and the surface
without it is the surface with that cost moved. Both positions are linear in what is moved, so that
the result is a quadratic again: with z = (1, x) and surface z' Q z, moving z to M z gives M' Q M.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np

from roofline_lab.calibration.constants import BY_NAME, STEP_CONSTANTS, Vector
from roofline_lab.calibration.points import Point
from roofline_lab.calibration.surface import Surface
from simulator.steptime.physics import DENSE_KERNELS, kernels_per_layer

LAYER, BANDWIDTH = "layer_us", "weight_bandwidth_efficiency"
_PLACES = {constant.name: 1 + place for place, constant in enumerate(STEP_CONSTANTS)}


def without_head(surface: Surface, point: Point) -> Surface:
    """Return the surface of the same load point on a server whose steps have no LM head."""
    moved = _moved(point)
    return replace(surface, ttft=_substituted(surface.ttft, moved), decode=_substituted(surface.decode, moved))


def _moved(point: Point) -> Vector:
    """Return M: the position of the cost per layer less the head's time, which depends on the bandwidth."""
    model, hardware = point.target.model, point.target.hardware
    head_bytes = model.hidden_size * model.vocab_size * model.activation_bytes
    at_peak_us = head_bytes / (hardware.peak_bandwidth * point.experiment.tensor_parallel) * 1e6
    launches = model.num_hidden_layers * kernels_per_layer(model) / DENSE_KERNELS
    layer, bandwidth = BY_NAME[LAYER], BY_NAME[BANDWIDTH]
    per_position_us = launches * (layer.high - layer.low) / 2
    # The inverse of an efficiency is linear in its position.
    middle = (1 / bandwidth.high + 1 / bandwidth.low) / 2
    half_width = (1 / bandwidth.low - 1 / bandwidth.high) / 2
    matrix = np.eye(1 + len(STEP_CONSTANTS))
    matrix[_PLACES[LAYER], 0] = -at_peak_us * middle / per_position_us
    matrix[_PLACES[LAYER], _PLACES[BANDWIDTH]] = -at_peak_us * half_width / per_position_us
    return matrix


def _substituted(coefficients: Sequence[float], moved: Vector) -> tuple[float, ...]:
    """Return the coefficients of a quadratic in which z is replaced by M z."""
    whole = moved.T @ _matrix(coefficients) @ moved
    count = len(whole)
    pairs = [(0, 0), *((0, place) for place in range(1, count)), *combinations_with_replacement(range(1, count), 2)]
    return tuple(float(whole[a, b] if a == b else 2.0 * whole[a, b]) for a, b in pairs)


def _matrix(coefficients: Sequence[float]) -> Vector:
    """Return Q of a quadratic whose terms are ordered as in `surface.quadratic`."""
    count = 1 + len(STEP_CONSTANTS)
    pairs = [(0, 0), *((0, place) for place in range(1, count)), *combinations_with_replacement(range(1, count), 2)]
    matrix = np.zeros((count, count))
    for (a, b), value in zip(pairs, coefficients, strict=True):
        matrix[a, b] += value / 2
        matrix[b, a] += value / 2
    return matrix
