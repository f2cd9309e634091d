"""`model`: what a model weighs on each GPU of a server, and what that leaves for its KV cache; one JSON document."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from simulator.cli.catalog import configs_folder, find_hardware, find_model
from simulator.cli.files import emit_document, say
from simulator.cli.run_spec import switched_on
from simulator.cli.server import ServerOptions, model_counts, server_of
from simulator.errors import AllAtOnce
from simulator.loading import as_loaded
from simulator.model import Model
from simulator.parallelism import Parallelism, require_linked, require_runnable
from simulator.validation import parse


def model_command(arguments: Namespace) -> int:
    """Print what a model is, spread as asked, and how the memory of a GPU is divided where one is named."""
    configs = configs_folder(arguments.configs)
    model = find_model(arguments.model, configs)
    if arguments.kv_cache_dtype is not None:
        model = model.with_kv_cache(arguments.kv_cache_dtype)
    parallel = Parallelism(
        arguments.tensor_parallel,
        arguments.attention_data_parallel,
        arguments.expert_parallel is not None and switched_on(arguments.expert_parallel),
    )
    report = _described(model, parallel)
    if arguments.hardware is None:
        require_runnable(model, parallel)
    else:
        hardware = find_hardware(arguments.hardware, configs)
        model, notes = as_loaded(model, hardware)
        told = AllAtOnce()
        with told:
            require_runnable(model, parallel)
        with told:
            require_linked(hardware, parallel)
        with told:
            server = server_of(_options(arguments, parallel), model, hardware, parallel)
        told.refuse()
        memory = server.report()
        report |= {name: memory.pop(name) for name in list(memory) if name in report}
        report |= {"hardware": hardware.id, "memory": memory, "warnings": [*notes, *report["warnings"]]}
    for warning in report["warnings"]:
        say(f"warning: {warning}")
    emit_document(report)
    return 0


def _options(arguments: Namespace, parallel: Parallelism) -> ServerOptions:
    stated = {
        "gpu_memory_utilization": arguments.gpu_memory_utilization,
        "token_budget": arguments.token_budget,
        "max_running": arguments.max_running,
        "attention_data_parallel": parallel.attention_data_parallel,
    }
    given = {name: value for name, value in stated.items() if value is not None}
    return parse(ServerOptions, given, source="command line")


def _described(model: Model, parallel: Parallelism) -> dict[str, Any]:
    return {
        "model": model.id,
        "source": model.source,
        "weights": model.quantization or model.torch_dtype,
        "kv_cache_value_bytes": model.kv_value_bytes,
        "tensor_parallel": parallel.tensor_parallel,
        "expert_parallel": parallel.expert_parallel,
        "attention_data_parallel": parallel.attention_data_parallel,
        **model_counts(model, parallel),
        "warnings": list(model.warnings),
    }
