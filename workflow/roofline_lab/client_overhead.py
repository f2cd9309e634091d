"""Time outside the engine: what the API and the measuring client add to TTFT and E2E of a request.

Contract: a figure taken at the client contains `request_us + us_per_prompt_token * prompt tokens`; one taken at the
server contains neither, whoever says how long the client takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from roofline_lab.config import Client
from roofline_lab.ground_truth.deployment import Ran
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import Side
from simulator.request_times import MetricOptions

US_PER_MS = 1000.0


@dataclass(frozen=True, slots=True)
class ClientTime:
    """Microseconds per request, and per token of its prompt.

    Attributes
    ----------
    also_at_server
        Whether figures of the server contain it too, where by its meaning they must not: a control.
    """

    request_us: float = 0.0
    us_per_prompt_token: float = 0.0
    also_at_server: bool = False

    def in_figures_of(self, experiment: Experiment, load_point: str) -> ClientTime:
        """Return what of it the measured figures of one load point contain."""
        return self.in_figures_on(experiment.side_of(load_point))

    def in_figures_on(self, side: Side) -> ClientTime:
        """Return what of it figures contain that were taken on a side."""
        return self if side == "client" or self.also_at_server else ClientTime()

    def metric_options(self) -> MetricOptions:
        """Return the options with which metrics of a simulation contain it."""
        return MetricOptions(
            client_offset_us=round(self.request_us), client_us_per_prompt_token=self.us_per_prompt_token
        )


def client_time(client: Client | None, experiment: Ran) -> ClientTime:
    """Return the time that rules give the client; without such a rule, the constant the experiment states."""
    if client is None:
        return ClientTime((experiment.server.settings.client_offset_ms or 0.0) * US_PER_MS)
    return ClientTime(client.request_us, client.us_per_prompt_token, client.also_at_server)
