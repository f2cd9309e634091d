"""A discrete-event model of an LLM server with interchangeable step-time models.

Contract: the names in `__all__` are the public interface. Each is loaded on first use, so that importing
the package costs next to nothing and a command only pays for what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from simulator.compiled import use_compiled

COMPILED = use_compiled()

# Public name -> module that defines it.
_HOMES = {
    "AlphaModel": "simulator.steptime.linear",
    "AnalyticKernels": "simulator.kernels.analytic",
    "Batch": "simulator.steptime.batch",
    "BatchSums": "simulator.steptime.batch",
    "ConfigError": "simulator.errors",
    "EngineOptions": "simulator.engine.options",
    "Hardware": "simulator.hardware",
    "InvariantError": "simulator.errors",
    "MeasuredKernels": "simulator.kernels.measured",
    "MetricOptions": "simulator.request_times",
    "Model": "simulator.model",
    "Request": "simulator.engine.records",
    "RequestResult": "simulator.engine.records",
    "RequestState": "simulator.engine.records",
    "RooflineLabError": "simulator.errors",
    "RunResult": "simulator.engine.records",
    "StepCost": "simulator.steptime.cost",
    "TableError": "simulator.errors",
    "UnsupportedError": "simulator.errors",
    "Workload": "simulator.workload.build",
    "WorkloadSpec": "simulator.workload.build",
    "at_rate": "simulator.workload.build",
    "build_step_time": "simulator.steptime.build",
    "build_workload": "simulator.workload.build",
    "load_analytic": "simulator.kernels.analytic",
    "load_hardware": "simulator.hardware",
    "load_model": "simulator.model_files",
    "load_tables": "simulator.kernels.tables",
    "load_trace": "simulator.workload.trace",
    "measure": "simulator.metrics",
    "measure_all": "simulator.metrics",
    "parse_options": "simulator.steptime.options",
    "run": "simulator.engine.loop",
    "upstream_options": "simulator.steptime.options",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *_HOMES})
