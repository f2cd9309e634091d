"""A finished calibration: constants with their intervals, what they rest on, and how to use them.

Contract: `load_calibration` reads `configs/calibration/<name>.yaml` or raises one `ConfigError`; the
same file always means the same prediction. `Calibration.options` is what `build_step_time` takes,
`Calibration.metric_options` puts the client's time around the engine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from roofline_lab.calibration.constants import BY_NAME, Values, calibrated_client, options_of
from roofline_lab.ground_truth.experiment import Tool
from roofline_lab.ground_truth.load import Side, Text
from simulator.engine.options import EngineOptions
from simulator.request_times import MetricOptions
from simulator.steptime.options import CalibratedPhysicsOptions
from simulator.validation import Count, Finite, StrictModel, config_error, parse, read_yaml, suggest


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
    """What the constants rest on.

    Attributes
    ----------
    models
        Family of every model that was fitted to, so that a model is recognised under another family's name.
    tensor_parallel
        Degrees that were fitted to; empty where a file does not say.
    """

    sets: tuple[Text, ...]
    experiments: int
    load_points: int
    families: tuple[Text, ...]
    models: dict[Text, Text] = Field(default={})
    hardware: tuple[Text, ...]
    tensor_parallel: tuple[Count, ...] = ()
    data_sha256: Text


class Calibration(StrictModel):
    """The content of `configs/calibration/<name>.yaml`.

    Attributes
    ----------
    held_out
        Family -> constants fitted to all other families: what a family that was fitted to is predicted
        with where a prediction shall be a test. Empty in files that do not keep them.
    """

    name: Text
    title: Text
    loss: Text
    trained_on: TrainedOn
    constants: dict[Text, Constant]
    fixed: dict[Text, Finite]
    held_out: dict[Text, dict[Text, Finite]] = Field(default={})

    @property
    def values(self) -> dict[str, float]:
        """The constants by name."""
        return {name: constant.value for name, constant in self.constants.items()}

    def options(self, engine: EngineOptions) -> CalibratedPhysicsOptions:
        """Return the step-time model these constants mean on a server."""
        return options_of(self.values, schedule_ahead=engine.schedule_ahead)

    def metric_options(self, tool: Tool, side: Side) -> MetricOptions:
        """Return how engine times become what `tool` measured on `side`."""
        return calibrated_client(self.values, tool).in_figures_on(side).metric_options()


def load_calibration(path: Path) -> Calibration:
    """Read one calibration.

    Raises
    ------
    ConfigError
        Naming file and every wrong key; a constant that is missing or unknown is one.
    """
    calibration = parse(Calibration, read_yaml(path), source=str(path))
    vectors = {"constants": calibration.values}
    vectors |= {f"held_out.{family}": values for family, values in calibration.held_out.items()}
    problems = [problem for key, values in vectors.items() for problem in _problems(key, values)]
    if problems:
        raise config_error(str(path), problems)
    return calibration


def _problems(key: str, values: Values) -> Iterator[str]:
    """Yield constants that are missing, unknown or outside their physical range."""
    for name in sorted(BY_NAME.keys() - values.keys()):
        yield f"{key}.{name}: missing; it is required"
    for name in sorted(values):
        if name not in BY_NAME:
            yield f"{key}.{name}: unknown constant; {suggest(name, BY_NAME)}"
        elif not BY_NAME[name].low <= values[name] <= BY_NAME[name].high:
            yield f"{key}.{name}: {values[name]:g} is outside {BY_NAME[name].low:g} to {BY_NAME[name].high:g}"
