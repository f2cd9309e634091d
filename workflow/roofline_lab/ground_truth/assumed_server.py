"""Settings of a measured server that nobody stated: filled in for every prediction alike, and said so.

Contract: `with_assumed_server` returns the experiment with those settings assumed and one note per setting. What is
stated, as known or as assumed, is never changed.

KV blocks follow from the GPU's memory as `simulator.memory` divides it, the same for every command.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, cast

from roofline_lab.ground_truth.deployment import AnyRan, Ran, sends_one_at_a_time
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.server import SCHEDULES_AHEAD_FROM, Server, ServerSettings, vllm_version
from simulator import memory
from simulator.engine.options import EngineOptions
from simulator.errors import UnsupportedError
from simulator.hardware import Hardware
from simulator.loading import as_loaded
from simulator.memory import MemoryPlan, memory_plan
from simulator.model import KV_CACHE_BYTES, GenerationDefaults, KvCacheType, Model

DEFAULT = EngineOptions()
# Budgets and batch limits that vLLM's server takes by itself: the first on GPUs below 70 GiB, the second above
# (`max_num_batched_tokens`, `max_num_seqs`; vLLM 0.9 to 0.15). Units: tokens, requests.
BUDGETS = (2048, 8192)
BATCHES = (256, 1024)
# What a server does for requests that ask for the likeliest token.
GREEDY = GenerationDefaults(source="requests with temperature 0")
# Other words for a KV cache in 16 bits.
KV_CACHE_NAMES = {"bf16": "bfloat16", "fp16": "bfloat16", "float16": "bfloat16", "half": "bfloat16"}
# Where nobody names the serving software, measurements from this day on are taken to be of a version that schedules
# ahead (vLLM from 0.14 on): the day of the earliest measurement in the project that states such a version.
AHEAD_SINCE = date(2026, 2, 17)


def with_assumed_server(
    experiment: AnyRan, model: Model, hardware: Hardware, software: str | None = None
) -> tuple[AnyRan, tuple[str, ...]]:
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
        blocks = memory_of(_of_software(experiment, software), model, hardware).kv_blocks
        found |= {"kv_blocks": blocks} if blocks else {}
    notes = tuple(_notes(experiment, model, found))
    if not found:
        return experiment, notes
    server = experiment.server
    assumed = server.assumed.model_copy(update=found)
    filled = Server(known=server.known, assumed=assumed, note=server.note)
    return experiment.model_copy(update={"server": filled}), notes


def _of_software(experiment: AnyRan, software: str | None) -> AnyRan:
    """Return the experiment with the software a person names where it names none."""
    server = experiment.server
    if software is None or server.settings.software is not None:
        return experiment
    assumed = server.assumed.model_copy(update={"software": software})
    return experiment.model_copy(update={"server": server.model_copy(update={"assumed": assumed})})


def memory_of(experiment: Ran, model: Model, hardware: Hardware) -> MemoryPlan:
    """Return how the measured server's memory was divided; what nobody knows of it is vLLM's default."""
    known, settings = experiment.server.known, experiment.server.settings
    return memory_plan(
        model,
        hardware,
        experiment.parallelism,
        share=settings.gpu_memory_utilization,
        block_tokens=settings.block_tokens or DEFAULT.block_tokens,
        token_budget=known.token_budget,
        max_running=known.max_running,
        graphs_counted=_counts_graphs(settings, experiment.date),
    )


def served(experiment: Ran, model: Model, hardware: Hardware) -> Model:
    """Return a model as the measured server ran it: as its GPU loads it, with the KV cache it is said to have.

    Requests of temperature 0 make a server sort no logits, whatever the model's defaults are.

    Raises
    ------
    UnsupportedError
        If that is of a type that is not modelled.
    """
    model, _ = as_loaded(model, hardware)
    if isinstance(experiment, Experiment) and experiment.workload.temperature == 0:
        model = model.model_copy(update={"generation_config": GREEDY})
    stated = (experiment.server.settings.kv_cache_dtype or "auto").lower()
    stated = KV_CACHE_NAMES.get(stated, stated)
    if stated == "auto":
        return model
    if stated not in KV_CACHE_BYTES:
        allowed = ", ".join(sorted(KV_CACHE_BYTES))
        raise UnsupportedError(f"server: kv_cache_dtype: '{stated}' is not modelled; allowed: {allowed}")
    return model.with_kv_cache(cast(KvCacheType, stated))


def require_room(experiment: Ran, model: Model, hardware: Hardware) -> None:
    """Refuse a model that does not fit on its GPUs, for an experiment as `with_assumed_server` returns it.

    Raises
    ------
    UnsupportedError
        If no KV blocks are stated and none fit beside the weights, or the weights exceed the memory.
    """
    plan = memory_of(experiment, model, hardware)
    if experiment.server.settings.kv_blocks is None or plan.weights > hardware.usable_memory:
        memory.require_room(model, hardware, experiment.parallelism, plan)


def _counts_graphs(settings: ServerSettings, measured_on: date | None) -> bool:
    """Whether the server counted its CUDA graphs; one of unknown software does unless its day says it is old."""
    version = vllm_version(settings.software)
    if version is not None:
        return version >= memory.GRAPHS_COUNTED_FROM
    return settings.software is not None or measured_on is None or taken_ahead(measured_on)


def _notes(experiment: Ran, model: Model, found: dict[str, Any]) -> Iterator[str]:
    settings = experiment.server.settings
    if unknown_software(settings):
        yield f"serving software is not stated: {_taken(found, experiment.date)}"
    if sends_one_at_a_time(experiment):
        return
    if settings.kv_blocks is None:
        more = "; a server that takes images has fewer, by what its encoder needs" if model.encoder_parameters else ""
        yield f"KV blocks are not stated: estimated from GPU memory and weights, {found.get('kv_blocks', 0):,}{more}"
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
