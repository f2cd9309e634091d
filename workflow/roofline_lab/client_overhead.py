"""Where a latency was taken: what lies between the engine's clock and the figure it is compared with."""

from __future__ import annotations

from roofline_lab.config import Client, Rules
from roofline_lab.ground_truth.experiment import Experiment
from simulator.request_times import MetricOptions

US_PER_MS = 1000.0


def at_the_meter(rules: Rules | None, experiment: Experiment, load_point: str, skip_first: int = 0) -> MetricOptions:
    """Return what lies between the engine and the figures of one load point.

    Figures taken at the client contain the time that the rules give it, else the constant the experiment states;
    those taken at the server contain neither.

    Parameters
    ----------
    skip_first
        Requests that only warmed the prefix cache.
    """
    client = rules.client if rules is not None else None
    if client is None:
        client = Client(request_us=round((experiment.server.settings.client_offset_ms or 0.0) * US_PER_MS))
    if experiment.side_of(load_point) != "client" and not client.also_at_server:
        return MetricOptions(skip_first=skip_first)
    return MetricOptions(
        client_offset_us=client.request_us,
        client_us_per_prompt_token=client.us_per_prompt_token,
        skip_first=skip_first,
    )
