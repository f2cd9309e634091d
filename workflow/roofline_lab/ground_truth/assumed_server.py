"""Settings of a measured server that nobody stated: filled in for every prediction alike, and said so.

Contract: `with_assumed_server` returns the experiment with those settings assumed and one note per setting. What is
stated, as known or as assumed, is never changed.

    KV blocks = 0.95 * (0.9 * GPU memory * TP - weights) / bytes of one token's keys and values / block size
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.server import SCHEDULES_AHEAD_FROM, Server, ServerSettings
from simulator.engine.options import EngineOptions
from simulator.errors import UnsupportedError
from simulator.hardware import Hardware
from simulator.model import Model
from simulator.steptime.traffic import Weights

# vLLM's default share of GPU memory it may use (`gpu_memory_utilization`), dimensionless.
MEMORY_SHARE = 0.9
# Share of what weights leave of that which KV blocks get; activations and CUDA graphs take the rest. Dimensionless;
# the logs of eleven dense servers (one to four H100) give 0.94 to 0.98, that of a mixture of experts 0.57.
KV_SHARE = 0.95
# How many times too many blocks that makes for a mixture of experts: 0.95 / 0.57, from the same logs.
MIXTURE_EXCESS = 1.7
GIB = 2**30
# As many tokens in a step as make every expert of a mixture one that is read.
ALL_EXPERTS = 1_000_000_000
NO_ROOM = (
    "its weights leave no room for a KV cache in nine tenths of the memory of {gpus}; no server runs like that (if one "
    "did, state its server.known.kv_blocks)"
)
DEFAULT = EngineOptions()
# Where nobody names the serving software, measurements from this day on are taken to be of a version that schedules
# ahead (vLLM from 0.14 on): the day of the earliest measurement in the project that states such a version.
AHEAD_SINCE = date(2026, 2, 17)


def with_assumed_server(
    experiment: Experiment, model: Model, hardware: Hardware, software: str | None = None
) -> tuple[Experiment, tuple[str, ...]]:
    """Return the experiment with every setting an engine needs, and what had to be assumed for it.

    Parameters
    ----------
    software
        Serving software where the experiment names none; it decides whether steps are composed ahead.
    """
    settings = experiment.server.settings
    found: dict[str, Any] = {}
    if unknown_software(settings):
        found |= {"software": software} if software else {"schedule_ahead": taken_ahead(experiment.date)}
    if settings.kv_blocks is None:
        blocks = kv_blocks(model, hardware, experiment.tensor_parallel, settings.block_tokens or DEFAULT.block_tokens)
        found |= {"kv_blocks": blocks} if blocks else {}
    notes = tuple(_notes(experiment, model, found))
    if not found:
        return experiment, notes
    server = experiment.server
    assumed = server.assumed.model_copy(update=found)
    filled = Server(known=server.known, assumed=assumed, note=server.note)
    return experiment.model_copy(update={"server": filled}), notes


def kv_blocks(model: Model, hardware: Hardware, tensor_parallel: int, block_tokens: int) -> int | None:
    """Return how many KV blocks a server has room for, or None if the weights alone do not fit."""
    room = MEMORY_SHARE * _memory(hardware, tensor_parallel) - _weights(model)
    blocks = int(KV_SHARE * room / kv_bytes_per_token(model) / block_tokens)
    return blocks if blocks > 0 else None


def kv_bytes_per_token(model: Model) -> int:
    """Return bytes of one token's keys and values in all layers, of all GPUs together."""
    return 2 * model.num_hidden_layers * model.kv_width * model.activation_bytes


def require_room(experiment: Experiment, model: Model, hardware: Hardware) -> None:
    """Refuse a model that does not fit on its GPUs, for an experiment as `with_assumed_server` returns it.

    Raises
    ------
    UnsupportedError
        If no KV blocks are stated and none fit beside the weights, or the weights exceed the memory.
    """
    tensor_parallel = experiment.tensor_parallel
    fits = _weights(model) <= _memory(hardware, tensor_parallel)
    if experiment.server.settings.kv_blocks is None or not fits:
        raise UnsupportedError(f"{model.id}: {NO_ROOM.format(gpus=f'{tensor_parallel} x {hardware.id}')}")


def _memory(hardware: Hardware, tensor_parallel: int) -> float:
    """Return bytes of all GPUs of an instance."""
    return hardware.memory_gib.value * GIB * tensor_parallel


def _weights(model: Model) -> float:
    """Return bytes of all weights, the embedding included."""
    embedding = 0 if model.tie_word_embeddings else model.vocab_size * model.hidden_size * model.activation_bytes
    return Weights(model, lm_head=True).bytes(ALL_EXPERTS) + embedding


def _notes(experiment: Experiment, model: Model, found: dict[str, Any]) -> Iterator[str]:
    settings = experiment.server.settings
    if unknown_software(settings):
        yield f"serving software is not stated: {_taken(found, experiment.date)}"
    if all(point.strategy == "synchronous" for point in experiment.load_points):
        return
    if settings.kv_blocks is None:
        more = f", {MIXTURE_EXCESS:g} times as many as the one mixture of experts with a log has"
        how = f"estimated from GPU memory and weights{more if model.num_local_experts else ''}"
        yield f"KV blocks are not stated: {how}"
    if settings.max_running is None:
        yield f"the largest batch is not stated: {DEFAULT.max_running} requests"


def taken_ahead(measured_on: date | None) -> bool:
    """Return whether a server of unknown software is taken to compose steps ahead; of unknown day, it is not."""
    return measured_on is not None and measured_on >= AHEAD_SINCE


def unknown_software(settings: ServerSettings) -> bool:
    """Whether nothing says if the server composes steps ahead."""
    return settings.software is None and settings.schedule_ahead is None


def _taken(found: dict[str, Any], measured_on: date | None) -> str:
    version = ".".join(map(str, SCHEDULES_AHEAD_FROM))
    if "software" in found:
        return f"taken to be {found['software']}, as --software says"
    if measured_on is None:
        return f"nor is the day, so taken not to schedule ahead, as vLLM before {version}"
    if found["schedule_ahead"]:
        return f"measured since {AHEAD_SINCE}, so taken to schedule ahead, as vLLM does from {version} on"
    return f"measured before {AHEAD_SINCE}, so taken not to schedule ahead, as vLLM before {version}"
