"""Closed loops whose requests stay in step: all of one wave start together, end together, and start together again.

With answers of one length nothing ever pulls the clients apart, so that every wave prefills all its prompts at once. A
real client's answers differ, or its clients start at different times; then prompts arrive one by one between decodes.
The mean TTFT of both can lie a factor of ten apart, so a prediction of such a load is a range: as sent, and `spread`.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.workload.build import Workload


def keeps_in_step(workload: Workload) -> bool:
    """Whether all requests of a closed loop stay in step: answers of one length, all clients started at once."""
    sent, clients = workload.requests, workload.concurrency
    if clients is None or clients < 2 or workload.ramp_us or len(sent) <= clients:
        return False
    return all(request.output_tokens == sent[0].output_tokens and not request.think_us for request in sent)


def spread(workload: Workload, request_us: float) -> Workload:
    """Return the same loop with its clients started evenly over the time of one request.

    Parameters
    ----------
    request_us
        Mean time from sending a request to its end, microseconds.
    """
    return replace(workload, ramp_us=max(1, round(request_us)))
