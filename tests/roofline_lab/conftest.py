"""Fixtures of the laboratory's tests: the real project as loaded, and a copy that may be damaged."""

from __future__ import annotations

import json

import pytest
import yaml

from roofline_lab.predict.arms import run_lines
from roofline_lab.project import load_project
from roofline_lab.report.results import build_report
from simulator.errors import ConfigError
from tests.roofline_lab.builders import HYPOTHESIS, ROOT, copy_project, edit_yaml
from tests.roofline_lab.hypotheses.synthetic.toys import DISCUSSION, run, toy
from tests.roofline_lab.predict.strangers import Stranger
from tests.roofline_lab.report import replay_toy


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
        return load_project(self.root)

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
    return load_project(ROOT)


@pytest.fixture(scope="session")
def h1_rows(lab):
    """Return every result line of H1, simulated once."""
    return [json.loads(line) for run in lab.runs(HYPOTHESIS) for line in run_lines(lab, run).splitlines()]


@pytest.fixture(scope="session")
def h1_report(lab, h1_rows):
    """Return H1 scored, judged and compared."""
    return build_report(lab, HYPOTHESIS, h1_rows, lab.published[HYPOTHESIS])


class Toy:
    """A project folder with a made-up experiment and traces of it."""

    def __init__(self, root):
        self.root = root
        self.traces = root / "traces"
        self.traces.mkdir()

    def measured(self, rows, name=f"{replay_toy.EXPERIMENT}.csv.gz", stages=(0,), point=None, **changes):
        """Write experiment and trace so that they fit together, and return the trace."""
        points = [replay_toy.load_point(rows, stage, **(point or {})) for stage in stages]
        replay_toy.write_experiment(self.root, replay_toy.experiment(points, **changes))
        return replay_toy.write_trace(self.traces / name, rows)


@pytest.fixture
def toy_run(tmp_path):
    """Return a project folder for made-up traces."""
    return Toy(tmp_path)


@pytest.fixture
def stranger(tmp_path):
    """Return an empty folder with a model nobody has seen beside it."""
    return Stranger(tmp_path)


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
        return load_project(self.root, tables_folder)

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
    return load_project(ROOT, shared_dir / "bench_data")


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
