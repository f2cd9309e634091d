"""A finished calibration: constants with their intervals, what they rest on, and how to use them.

Contract: `load_calibration` reads `configs/calibration/<name>.yaml` or raises one `ConfigError`; the
same file always means the same prediction. `Calibration.options` is what `build_step_time` takes,
`Calibration.metric_options` puts the client's time around the engine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from roofline_lab.calibration.constants import BY_NAME, Values, calibrated_client
from roofline_lab.calibration.ownership import OWNERSHIP
from roofline_lab.ground_truth.experiment import Tool
from roofline_lab.ground_truth.load import Side
from simulator.engine.options import EngineOptions
from simulator.request_times import MetricOptions
from simulator.steptime import calibration
from simulator.steptime.options import CalibratedPhysicsOptions
from simulator.validation import config_error, parse, read_yaml, suggest


class Calibration(calibration.Calibration):
    """The content of `configs/calibration/<name>.yaml`, with the client's time."""

    def options(self, engine: EngineOptions) -> CalibratedPhysicsOptions:
        """Return the step-time model these constants mean on a server."""
        return self.step_time(schedule_ahead=engine.schedule_ahead)

    def metric_options(self, tool: Tool, side: Side, site: str | None = None) -> MetricOptions:
        """Return how engine times become what `tool` measured on `side`, at a site if it is known."""
        return calibrated_client(self.values, tool, site).in_figures_on(side).metric_options()


def load_calibration(path: Path) -> Calibration:
    """Read one calibration.

    Raises
    ------
    ConfigError
        Naming file and every wrong key; a constant that is missing or unknown is one.
    """
    found = parse(Calibration, read_yaml(path), source=str(path))
    vectors = {"constants": found.values}
    vectors |= {f"held_out.{family}": values for family, values in found.held_out.items()}
    problems = [problem for key, values in vectors.items() for problem in _problems(key, values)]
    if problems:
        raise config_error(str(path), problems)
    return found


def _problems(key: str, values: Values) -> Iterator[str]:
    """Yield constants that are missing, unknown or outside what any GPU, server or site has."""
    for name in sorted(BY_NAME.keys() - values.keys()):
        yield f"{key}.{name}: missing; it is required"
    for name in sorted(values):
        if name not in BY_NAME:
            yield f"{key}.{name}: unknown constant; {suggest(name, BY_NAME)}"
        elif not OWNERSHIP[name].low <= values[name] <= OWNERSHIP[name].high:
            yield f"{key}.{name}: {values[name]:g} is outside {OWNERSHIP[name].low:g} to {OWNERSHIP[name].high:g}"
