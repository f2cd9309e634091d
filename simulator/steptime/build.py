"""From validated options to a step-time model bound to one model, GPU and way to spread it.

Contract: `build_step_time` is the only constructor other rooms use. It refuses what contradicts
(`ConfigError`) or lies outside the formulas (`UnsupportedError`). Heads that do not divide by TP
only become a warning here, because a recorded step may be priced without it; whoever starts a run
calls `simulator.parallelism.require_runnable` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from simulator.steptime.base import KnowsWork

if TYPE_CHECKING:
    from simulator.hardware import Hardware
    from simulator.kernels.base import Kernels
    from simulator.model import Model
    from simulator.parallelism import Parallelism
    from simulator.steptime.options import AnyOptions


class BuiltStepTime(KnowsWork, Protocol):
    """What `build_step_time` returns: a step-time model that knows its warnings and its peaks."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know about this combination; empty when nothing is odd."""
        ...


def build_step_time(
    options: AnyOptions,
    model: Model,
    hardware: Hardware,
    parallelism: Parallelism | int,
    kernels: Kernels | None = None,
) -> BuiltStepTime:
    """Bind a step-time model.

    Parameters
    ----------
    options
        Validated options; their class chooses the family.
    model, hardware, parallelism
        What is run, on which GPU, over how many of them and how; a whole number is tensor parallelism alone.
    kernels
        Kernel efficiencies; needed by `mfu: {kind: kernels}` and ignored by everything else.

    Raises
    ------
    ConfigError
        If a degree is below 1, or kernels are asked for and not given.
    UnsupportedError
        If the model or a shape lies outside what the formulas describe.
    """
    # Whoever has validated options has paid for the import of validation; who only imports this function has not.
    from simulator.parallelism import as_parallelism, require_degrees
    from simulator.steptime.families import bind

    parallel = as_parallelism(parallelism)
    require_degrees(parallel)
    return bind(options, model, hardware, parallel, kernels)
