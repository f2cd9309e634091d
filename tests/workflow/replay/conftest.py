"""Fixtures of the replay tests: a project folder with one made-up experiment, and its trace."""

from __future__ import annotations

import pytest

from tests.workflow.replay import toy


class Toy:
    """A project folder with a made-up experiment and traces of it."""

    def __init__(self, root):
        self.root = root
        self.traces = root / "traces"
        self.traces.mkdir()

    def measured(self, rows, name=f"{toy.EXPERIMENT}.csv.gz", stages=(0,), point=None, **changes):
        """Write experiment and trace so that they fit together, and return the trace."""
        points = [toy.load_point(rows, stage, **(point or {})) for stage in stages]
        toy.write_experiment(self.root, toy.experiment(points, **changes))
        return toy.write_trace(self.traces / name, rows)


@pytest.fixture
def toy_run(tmp_path):
    """Return a project folder for made-up traces."""
    return Toy(tmp_path)
