"""Residuals of simulated result lines: what a job wrote, back in terms of models, bytes and means.

Contract: `residuals_of` gives one `Residual` per line of one arm. A line that was not simulated or not measured, or of
which either server was saturated, keeps its reason; a line without occupancy has unknown drivers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from roofline_lab.hypotheses.arms import Arm
from roofline_lab.project import Project
from roofline_lab.residuals.build import priced_by, residual_of
from roofline_lab.residuals.record import NOTHING_PRICED, Figure, Residual
from roofline_lab.run_files import Row, error_rows
from roofline_lab.vocabulary import Metric
from simulator.occupancy import Occupancy

# A method that measures the time between tokens calls it by the older name.
NAMES: Mapping[Metric, str] = MappingProxyType(
    {Metric.TTFT_MEAN: "ttft", Metric.TPOT_MEAN: "itl", Metric.E2E_MEAN: "e2e"}
)


def residuals_of(project: Project, rows: Iterable[Row], arm: Arm, metrics: Iterable[Metric]) -> tuple[Residual, ...]:
    """Return the residuals of one arm, in the order of its lines."""
    wanted = tuple(metrics)
    return tuple(_residual(project, row, arm, wanted) for row in rows if row["arm"] == arm.name)


def _residual(project: Project, row: Row, arm: Arm, metrics: tuple[Metric, ...]) -> Residual:
    model = project.model(row["model"])
    seen, load, counters = row.get("occupancy"), row.get("load", {}), row.get("counters", {})
    figures = {NAMES[one.metric]: Figure(one.measured, one.predicted, one.reason) for one in error_rows([row], metrics)}
    found = residual_of(
        experiment=row["experiment"],
        load_point=row["load_point"],
        family=row["family"],
        model=model,
        hardware=project.hardware(row["hardware"]),
        tensor_parallel=row["tensor_parallel"],
        occupancy=Occupancy(**seen) if seen else None,
        figures=figures,
        rate_per_s=load.get("requested_per_s") or load.get("achieved_per_s"),
        mixed_share=counters["mixed_steps"] / counters["steps"] if counters.get("steps") else None,
        prefill_steps=_prefill_steps(row, counters),
        priced=priced_by(arm.own, model) if arm.own else None,
    )
    # Of another simulator nobody knows what it spends on what, on queues neither.
    return found if arm.own else replace(found, priced=NOTHING_PRICED)


def _prefill_steps(row: Row, counters: Mapping[str, Any]) -> float | None:
    requests = row.get("requests")
    return (counters["prefill_steps"] + counters["mixed_steps"]) / requests if requests else None
