"""Held-out rows of a made-up calibration: cells that miss by amounts of their own, more the farther they are."""

from __future__ import annotations

import math

import numpy as np

from roofline_lab.trust.held_out import HeldOut
from simulator.trust.distance import Cell

# Model, kind, GPU, precision: as the fleet that is fitted to.
CELLS = (
    Cell("llama", "dense", "h100-sxm", "fp8"),
    Cell("llama", "dense", "h200-sxm", "fp8"),
    Cell("llama", "dense", "b200-sxm", "fp8"),
    Cell("qwen", "dense", "h100-sxm", "bf16"),
    Cell("minimax", "moe", "h200-sxm", "fp8"),
    Cell("kimi-fp4", "mla", "b200-sxm", "nvfp4"),
    Cell("kimi-int4", "mla", "h200-sxm", "int4"),
)
FOLDS = ("configuration", "cell", "gpu", "kind")
CONCURRENCIES = (4, 16, 64)
# How far predictions of a fold miss: of all of a cell alike, and of one server of it.
APART = {"configuration": (0.0, 0.03), "model": (0.05, 0.03), "cell": (0.1, 0.04), "gpu": (0.2, 0.05)}


def row(cell=CELLS[0], **changes):
    """Return one row; figures as they are if only their error matters."""
    given = {
        "fold": "configuration",
        "experiment": "server",
        "load_point": "c16",
        "model": cell.model,
        "kind": cell.kind,
        "hardware": cell.hardware,
        "precision": cell.precision,
        "tensor_parallel": 4,
        "concurrency": 16,
        "prompt_tokens": 900,
        "output_tokens": 900,
        "saturated": False,
        "metric": "tpot_mean",
        "measured_ms": 10.0,
        "predicted_ms": 10.0,
        "noise": None,
    }
    return HeldOut(**{**given, **changes})


def rows(seed=1, cells=CELLS, folds=FOLDS, servers=6, metrics=("ttft_mean", "tpot_mean"), scale=1.0):
    """Return rows of every fold, drawn with a seed; every number but the errors is the same."""
    generator, found = np.random.default_rng(seed), []
    for fold in folds:
        between, within = APART.get(fold, APART["gpu"])
        for cell in cells:
            own = scale * between * generator.standard_normal()
            for server in range(servers):
                shared = own + scale * within * generator.standard_normal()
                found += _points(generator, fold, cell, server, shared, metrics, scale)
    return found


def _points(generator, fold, cell, server, shared, metrics, scale):
    name = f"{cell.model}-{cell.hardware}-{cell.precision}-{server}"
    for concurrency in CONCURRENCIES:
        for metric in metrics:
            error = shared + scale * 0.01 * generator.standard_normal()
            place = {"fold": fold, "experiment": name, "load_point": f"c{concurrency}", "concurrency": concurrency}
            yield row(cell, **place, metric=metric, predicted_ms=10.0 * math.exp(error))
