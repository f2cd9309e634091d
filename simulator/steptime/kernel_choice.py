"""Which kernels a step-time model's options ask for.

Contract: `choose_kernels` is pure; files are read by whoever calls it. The result is what
`build_step_time` takes as `kernels`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.errors import ConfigError, UnsupportedError
from simulator.hardware import Hardware
from simulator.kernels.analytic import AnalyticKernels
from simulator.kernels.base import Kernels
from simulator.steptime.options import AnyOptions, KernelMfuOptions, MfuRooflineOptions
from simulator.steptime.traffic import bandwidth_shares

if TYPE_CHECKING:
    from simulator.kernels.tables import KernelTables


def choose_kernels(
    options: AnyOptions,
    hardware: Hardware,
    *,
    embedded: AnalyticKernels | None = None,
    tables: KernelTables | None = None,
) -> Kernels | None:
    """Return the kernels that `options` name, or None where they use none.

    Parameters
    ----------
    options
        Validated options of any family.
    hardware
        The GPU; fitted curves of another GPU keep their efficiencies on its peaks.
    embedded
        The project's fitted curves.
    tables
        Measured tables of a folder the user gave.

    Raises
    ------
    ConfigError
        If the options ask for a source that was not given.
    UnsupportedError
        If curves or tables of one GPU cannot answer for `hardware`.
    """
    if not isinstance(options, MfuRooflineOptions) or not isinstance(options.mfu, KernelMfuOptions):
        return None
    if not options.compute_term:
        return None
    chosen = options.mfu
    if chosen.source == "measured":
        if tables is None:
            raise ConfigError("mfu.source: 'measured' needs a folder of kernel tables, and none was given")
        from simulator.kernels.measured import MeasuredKernels  # most runs use the fitted curves alone

        return MeasuredKernels(tables, chosen.policy)
    if embedded is None:
        raise ConfigError(f"mfu.source: '{chosen.source}' needs the fitted curves of a GPU, and none were given")
    peaks = embedded.peaks
    same = (peaks.bf16_flops, peaks.bandwidth) == (hardware.peak_flops, hardware.peak_bandwidth)
    if chosen.source == "embedded":
        kernels = embedded if same else embedded.on(hardware)
        return kernels.reading_weights_at(*bandwidth_shares(options)) if chosen.bandwidth == "stated" else kernels
    if chosen.style == "seconds" and not same:
        raise UnsupportedError(
            f"mfu.source: 'tabulated' holds seconds of {embedded.fit.gpu}, not of {hardware.id}; "
            "use style 'mfu' or source 'embedded'"
        )
    from simulator.kernels.tabulated import tabulated_kernels

    return tabulated_kernels(embedded, chosen.policy)
