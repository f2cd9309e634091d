"""What an overhead rule amounts to, per model and TP: computed from the resolved arms, never typed."""

from __future__ import annotations

from collections.abc import Sequence

from roofline_lab.formatting import table
from roofline_lab.ground_truth.reading import Experiment
from roofline_lab.hypotheses.arms import Arm
from roofline_lab.project import Project
from simulator.model import Model
from simulator.steptime.options import MfuRooflineOptions, NoOverhead
from simulator.steptime.overhead import build_overhead

OPTION = "overhead"


def overhead_table(project: Project, experiments: Sequence[Experiment], arms: Sequence[Arm]) -> str:
    """Return us per step, and on top per prefill request of a pure and of a mixed step, for every arm that has any.

    Empty where no arm has an overhead.
    """
    described = [(arm.name, arm.steptime) for arm in arms if _has_overhead(arm)]
    if not described:
        return ""
    header = ["Model", "Layers", "TP"]
    for name, _ in described:
        header += [f"{name}: per step [us]", "per prefill request [us]", "the same in a mixed step [us]"]
    rows = []
    for identifier, tensor_parallel in dict.fromkeys(
        (experiment.model, experiment.tensor_parallel) for experiment in experiments
    ):
        model = project.model(identifier)
        cells = [f"`{identifier}`", str(model.num_hidden_layers), str(tensor_parallel)]
        for _, options in described:
            assert isinstance(options, MfuRooflineOptions), "checked by _has_overhead"
            cells += [f"{value:,.0f}" for value in overhead_parts_us(options, model, tensor_parallel)]
        rows.append(cells)
    return table(header, rows)


def overhead_parts_us(options: MfuRooflineOptions, model: Model, tensor_parallel: int) -> tuple[float, float, float]:
    """Return us per step, and us a prefill request adds alone and beside a decode; at batch sizes without growth."""
    overhead = build_overhead(options.overhead, model.num_hidden_layers, tensor_parallel)
    step = overhead(0, 1)
    return step, overhead(1, 0) - step, overhead(1, 1) - step


def _has_overhead(arm: Arm) -> bool:
    return isinstance(arm.steptime, MfuRooflineOptions) and not isinstance(arm.steptime.overhead, NoOverhead)
