"""Fixtures of the laboratory's tests: the real project as loaded, and a copy that may be damaged."""

from __future__ import annotations

import json

import pytest

from simulator.errors import ConfigError
from tests.workflow.builders import HYPOTHESIS, ROOT, copy_project, edit_yaml
from workflow.lib.laboratory import load_laboratory
from workflow.lib.report import build_report
from workflow.lib.simulate import simulate


class Copy:
    """A copy of the laboratory's inputs, with short ways to change them."""

    def __init__(self, root):
        self.root = root
        self.spec = root / "hypotheses" / HYPOTHESIS / "hypothesis.yaml"
        self.discussion = root / "hypotheses" / HYPOTHESIS / "discussion.md"

    def edit(self, change, file=None):
        """Change one YAML file, by default the hypothesis."""
        edit_yaml(self.root / file if file else self.spec, change)

    def load(self):
        """Load the laboratory from this copy."""
        return load_laboratory(self.root)

    def refusal(self, change=None, file=None):
        """Return the message with which a changed copy is refused."""
        if change is not None:
            self.edit(change, file)
        with pytest.raises(ConfigError) as caught:
            self.load()
        return str(caught.value)


@pytest.fixture
def project(tmp_path):
    """Return a copy of what the laboratory reads, free to be damaged."""
    return Copy(copy_project(tmp_path / "project"))


@pytest.fixture(scope="session")
def lab():
    """Return the project's own laboratory; read only."""
    return load_laboratory(ROOT)


@pytest.fixture(scope="session")
def h1_rows(lab):
    """Return every result line of H1, simulated once."""
    return [json.loads(line) for run in lab.runs(HYPOTHESIS) for line in simulate(lab, run).splitlines()]


@pytest.fixture(scope="session")
def h1_report(lab, h1_rows):
    """Return H1 scored, judged and compared."""
    return build_report(lab, HYPOTHESIS, h1_rows, lab.published[HYPOTHESIS])
