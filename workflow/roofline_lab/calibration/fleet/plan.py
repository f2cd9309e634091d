"""What a fleet calibration is fitted to, and where every effect starts: one validated file per calibration.

Contract: `load_fleet_plan` reads `configs/calibration/fleet/<name>.yaml` or raises one `ConfigError`. Starts and how
far they are trusted come from physics, data sheets and other calibrations; nothing in the file is fitted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from roofline_lab.ground_truth.load import Id, Text
from simulator.steptime.fleet import ConstantName, Where
from simulator.validation import Count, Positive, StrictModel, config_error, parse, read_yaml

FOLDER = Path("configs/calibration/fleet")


class PlannedEffect(StrictModel):
    """A constant, or the factor on it under conditions, before anything is fitted.

    Attributes
    ----------
    spread
        Standard deviation of the logarithm of the start.
    why
        What start and spread rest on.
    """

    constant: ConstantName
    where: Where | None = None
    start: Positive
    spread: Positive
    unit: Text
    why: Text

    @property
    def name(self) -> str:
        """Constant and conditions."""
        return self.constant if self.where is None else f"{self.constant}@{self.where}"


class FleetPlan(StrictModel):
    """The content of the file.

    Attributes
    ----------
    scatter
        Relative scatter of TTFT and of the time per token around the model: what a start is weighed against.
    counted_as
        Load points of one cell count as so many independent ones, because they share what the model leaves out.
    aims
        Mean absolute error of cells left out that is aimed at, percent, by figure.
    """

    title: Text
    train_sets: Annotated[tuple[Id, ...], Field(min_length=1)]
    scatter: dict[Text, Positive]
    counted_as: Count
    configuration_folds: Count
    aims: dict[Text, Positive]
    effects: Annotated[tuple[PlannedEffect, ...], Field(min_length=1)]


def load_fleet_plan(root: Path, name: str) -> FleetPlan:
    """Read one plan.

    Raises
    ------
    ConfigError
        Naming file and every wrong key, and every effect that is given twice.
    """
    path = root / FOLDER / f"{name}.yaml"
    source = path.relative_to(root).as_posix()
    plan = parse(FleetPlan, read_yaml(path), source=source)
    names = [effect.name for effect in plan.effects]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise config_error(source, [f"effects: {name} is given twice; keep one" for name in twice])
    return plan


def fleet_plan_names(root: Path) -> tuple[str, ...]:
    """Return the names of all plans."""
    return tuple(path.stem for path in sorted((root / FOLDER).glob("*.yaml")))
