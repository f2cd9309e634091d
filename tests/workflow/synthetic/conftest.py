"""Fixtures of the synthetic tests: a project that holds only toy hypotheses, and measured tables."""

from __future__ import annotations

import pytest
import yaml

from simulator.errors import ConfigError
from tests.workflow.builders import ROOT, copy_project
from tests.workflow.synthetic.toys import DISCUSSION, run, toy
from workflow.lib.laboratory import load_laboratory


class Bench:
    """A project folder without hypotheses, to which toys are added."""

    def __init__(self, root):
        self.root = root

    def add(self, spec, discussion=DISCUSSION):
        """Write one hypothesis folder."""
        folder = self.root / "hypotheses" / spec["id"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hypothesis.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
        (folder / "discussion.md").write_text(discussion, encoding="utf-8")
        return spec["id"]

    def load(self, spec=None, tables_folder=None):
        """Load the project, with one more hypothesis if given."""
        if spec is not None:
            self.add(spec)
        return load_laboratory(self.root, tables_folder)

    def run(self, spec):
        """Return the report of one toy."""
        return run(self.load(spec), spec["id"])

    def refusal(self, **changes):
        """Return the message with which a changed toy is refused."""
        with pytest.raises(ConfigError) as caught:
            self.load(toy(**changes))
        return str(caught.value)


@pytest.fixture
def bench(tmp_path):
    """Return a project that holds configs alone."""
    return Bench(copy_project(tmp_path / "project", ("configs", "ground_truth")))


@pytest.fixture(scope="session")
def measured_lab(shared_dir):
    """Return the project's laboratory on the measured tables."""
    return load_laboratory(ROOT, shared_dir / "bench_data")


@pytest.fixture(scope="session")
def measured(measured_lab):
    """Return a function that evaluates a hypothesis on the measured tables, once."""
    known = {}

    def report(hypothesis):
        if hypothesis not in known:
            known[hypothesis] = run(measured_lab, hypothesis)
        return known[hypothesis]

    return report


@pytest.fixture(scope="session")
def shipped(lab):
    """Return a function that evaluates a hypothesis on the kernels the project ships, once."""
    known = {}

    def report(hypothesis):
        if hypothesis not in known:
            known[hypothesis] = run(lab, hypothesis)
        return known[hypothesis]

    return report
