"""Time outside the engine: what the API and the measuring client add to TTFT and E2E of a request.

Contract: a client-side figure contains `request_us + us_per_prompt_token * prompt tokens` of the tool
that measured it; an engine-side figure contains neither. A tool without a constant of its own gets the
mean of those that have one.
"""

from __future__ import annotations

from dataclasses import dataclass

from roofline_lab.calibration.constants import Values
from roofline_lab.ground_truth.experiment import Tool
from roofline_lab.ground_truth.load import Side
from simulator.request_times import MetricOptions

REQUEST_CONSTANTS: dict[str, str] = {
    "guidellm": "guidellm_request_us",
    "inference-perf": "inference_perf_request_us",
}
PER_PROMPT_TOKEN = "client_us_per_prompt_token"


@dataclass(frozen=True, slots=True)
class ClientTime:
    """Microseconds per request, and per prompt token."""

    request_us: float = 0.0
    us_per_prompt_token: float = 0.0

    def metric_options(self) -> MetricOptions:
        """Return the options with which metrics are taken at the client."""
        return MetricOptions(
            client_offset_us=round(self.request_us), client_us_per_prompt_token=self.us_per_prompt_token
        )


def client_time(values: Values, tool: Tool, side: Side) -> ClientTime:
    """Return what a side's figures contain beside the engine's time."""
    if side == "server":
        return ClientTime()
    own = REQUEST_CONSTANTS.get(tool)
    known = [values[name] for name in REQUEST_CONSTANTS.values()]
    request_us = values[own] if own else sum(known) / len(known)
    return ClientTime(request_us, values[PER_PROMPT_TOKEN])
