"""What predictions cost, measured once: a number that every run would measure anew is no part of a page.

`configs/costs.yaml` is written by `python -m benchmarks.simulators` and says on which machine, how, and when.
"""

from __future__ import annotations

from pathlib import Path

from roofline_lab.simulators.contract import Text
from simulator.validation import Positive, StrictModel, parse, read_yaml

FILE = Path("configs/costs.yaml")


class Costs(StrictModel):
    """Seconds of one core per load point, by arm and set.

    Attributes
    ----------
    machine, method
        Where, and how it was measured.
    """

    machine: Text
    method: Text
    seconds_per_load_point: dict[str, dict[str, Positive]]


def read_costs(root: Path) -> Costs | None:
    """Return what was measured, or None where nobody has measured it.

    Raises
    ------
    ConfigError
        Naming every wrong key.
    """
    path = root / FILE
    return parse(Costs, read_yaml(path), source=FILE.as_posix()) if path.is_file() else None
