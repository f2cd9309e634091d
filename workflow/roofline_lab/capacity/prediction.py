"""What a server does at a load that is given, or from idle to saturation where none is.

Contract: `prediction` returns an `Answer` whose `best` is the load asked for, or the highest the server keeps up with.
A closed loop never overloads its server; its sweep ends where twice as many clients get hardly more done.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from roofline_lab.capacity.answer import MOST_CLIENTS, Answer, described, highest_load, lightest_load, unanswered
from roofline_lab.capacity.question import Variant
from roofline_lab.capacity.serve import Served, Simulated
from simulator.cli.run import simulate
from simulator.cli.why import explain_run
from simulator.workload.build import build_workload

# Of loads between saturation and a 64th of it.
SWEPT = 8
WIDTH = 64.0
# Throughput that twice as many clients must add for a sweep to go on, as a share.
GAIN = 0.05
# Requests of the run whose steps are looked at one by one.
EXPLAINED = 400


def prediction(variant: Variant, at: float | None, configs: Path) -> Answer:
    """Return what a server does at a load; None: from idle to saturation.

    Raises
    ------
    RooflineLabError
        If there is no such server.
    """
    server = Simulated(variant, configs)
    top = at if at is not None else _top(server, variant)
    if at is None and variant.load == "rate":
        _sweep(server, top)
    best = server.at(top)
    return unanswered(variant).model_copy(
        update={
            **described(server),
            "highest": top,
            "best": best,
            "alone": server.served[0],
            "points": server.served,
            "memory": server.setup.server.report(),
            "bottleneck": _bottleneck(server, variant, top),
            "binding": best.overloaded,
        }
    )


def _top(server: Simulated, variant: Variant) -> float:
    """Return the highest load a server keeps up with, or where more clients get hardly more done."""
    if variant.load == "rate":
        found = highest_load(server, variant, lightest_load(server, variant), lambda served: not served.overloaded)
        return found.meets or lightest_load(server, variant)
    clients, before = 1.0, _rate(server.at(1.0))
    while clients < MOST_CLIENTS:
        now = _rate(server.at(clients * 2))
        if now < before * (1 + GAIN):
            return clients
        clients, before = clients * 2, now
    return clients


def _rate(served: Served) -> float:
    return served.values.get("output_token_throughput") or 0.0


def swept(variant: Variant, found: Answer, configs: Path) -> Answer:
    """Return an answer with more loads below its highest one, for whoever looks at them."""
    if found.highest is None or variant.load == "concurrency":
        return found
    server = Simulated(variant, configs)
    _sweep(server, found.highest)
    points = {each.load: each for each in (*server.served, *found.points)}
    return found.model_copy(update={"points": tuple(points[load] for load in sorted(points))})


def _sweep(server: Simulated, top: float) -> None:
    for place in range(SWEPT):
        server.at(top / WIDTH ** (place / (SWEPT - 1)))


def _bottleneck(server: Simulated, variant: Variant, load: float) -> tuple[str, ...]:
    """Return what bounds the typical step of a short run at a load, in sentences."""
    spec = variant.spec_at(load, EXPLAINED)
    setup = replace(server.setup, spec=spec, workload=build_workload(spec.workload, spec.seed))
    result = simulate(setup, setup.step_time, record_steps=True)
    explained = explain_run(setup.step_time, result.steps)["typical_step"]
    return tuple(explained["why"][:2]) if explained else ()
