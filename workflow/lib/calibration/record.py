"""A finished calibration: constants with their intervals, what they rest on, and how to use them.

Contract: `load_calibration` reads `configs/calibration/<name>.yaml` or raises one `ConfigError`; the
same file always means the same prediction. `Calibration.options` is what `build_step_time` takes,
`Calibration.metric_options` puts the client's time around the engine's, `Calibration.warnings` says
where a prediction leaves what was calibrated on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from simulator.engine.options import EngineOptions
from simulator.request_times import MetricOptions
from simulator.steptime.physics_options import CalibratedPhysicsOptions
from simulator.validation import Finite, StrictModel, config_error, parse, read_yaml, suggest
from workflow.lib.calibration.client import client_time
from workflow.lib.calibration.constants import CONSTANTS, options_of
from workflow.lib.experiment import Tool
from workflow.lib.load_point import Side, Text


class Interval(StrictModel):
    """Percentile interval of a constant over resampled families."""

    low: Finite
    high: Finite


class Constant(StrictModel):
    """One fitted constant.

    Attributes
    ----------
    bounds
        Range of the search.
    at_bound
        On which end of it the fit ended, if it did: a finding, not a value to trust.
    """

    value: Finite
    unit: Text
    interval_95_pct: Interval
    bounds: Interval
    at_bound: Literal["low", "high"] | None = None
    meaning: Text


class TrainedOn(StrictModel):
    """What the constants rest on."""

    sets: tuple[Text, ...]
    experiments: int
    load_points: int
    families: tuple[Text, ...]
    hardware: tuple[Text, ...]
    data_sha256: Text


class Calibration(StrictModel):
    """The content of `configs/calibration/<name>.yaml`."""

    name: Text
    title: Text
    loss: Text
    trained_on: TrainedOn
    constants: dict[Text, Constant]
    fixed: dict[Text, Finite]

    @property
    def values(self) -> dict[str, float]:
        """The constants by name."""
        return {name: one.value for name, one in self.constants.items()}

    def options(self, engine: EngineOptions) -> CalibratedPhysicsOptions:
        """Return the step-time model these constants mean on a server."""
        return options_of(self.values, schedule_ahead=engine.schedule_ahead)

    def metric_options(self, tool: Tool, side: Side) -> MetricOptions:
        """Return how engine times become what `tool` measured on `side`."""
        return client_time(self.values, tool, side).metric_options()

    def warnings(self, hardware: str, family: str) -> tuple[str, ...]:
        """Say where a prediction leaves what was calibrated on."""
        found = []
        if hardware not in self.trained_on.hardware:
            known = ", ".join(self.trained_on.hardware)
            found.append(
                f"hardware {hardware} was not calibrated on ({known} was): same efficiencies on its data sheet"
            )
        if family in self.trained_on.families:
            found.append(f"family {family} was calibrated on: no test of transfer")
        return tuple(found)


def load_calibration(path: Path) -> Calibration:
    """Read one calibration.

    Raises
    ------
    ConfigError
        Naming file and every wrong key; a constant that is missing or unknown is one.
    """
    calibration = parse(Calibration, read_yaml(path), source=str(path))
    known = {one.name for one in CONSTANTS}
    problems = [f"constants.{name}: missing; it is required" for name in sorted(known - set(calibration.constants))]
    problems += [
        f"constants.{name}: unknown constant; {suggest(name, known)}"
        for name in sorted(set(calibration.constants) - known)
    ]
    if problems:
        raise config_error(str(path), problems)
    return calibration
