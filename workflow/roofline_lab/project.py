"""Everything the laboratory knows, loaded and cross-checked before a single run.

`load_project` reads settings, methods and hypotheses with their experiments, resolves every arm
to a complete configuration and refuses, with all problems of a file at once, whatever could not be
run or would not be a fair comparison: an unknown experiment or method, an option that does not
exist, arms that differ in something undeclared (rule ED-1).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from roofline_lab.config import Arrivals, Method, Rules, Settings, load_methods, load_settings
from roofline_lab.formatting import natural_order
from roofline_lab.ground_truth.catalog import Catalog
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE, load_set, words_of
from roofline_lab.hypotheses.arms import Arm, digest, resolve_arm, undeclared
from roofline_lab.hypotheses.discussion import Discussion, load_discussion
from roofline_lab.hypotheses.references import check_names_and_cycles
from roofline_lab.hypotheses.spec import Claim, Hypothesis, kind_of, load_hypothesis
from roofline_lab.hypotheses.synthetic.resolve import check_synthetic, known_number
from roofline_lab.hypotheses.synthetic.spec import SyntheticHypothesis
from roofline_lab.places import listed, place_of
from roofline_lab.scoring.published import Published, load_published
from roofline_lab.simulators.description import Described, Simulator, StepTimeSimulator, load_simulators
from roofline_lab.simulators.table import read_table
from roofline_lab.vocabulary import MEANS, Metric
from simulator.engine.options import EngineOptions
from simulator.errors import AllAtOnce, ConfigError
from simulator.parallelism import require_runnable
from simulator.steptime.named import BUILT_IN
from simulator.validation import config_error, parse, suggest

# Where published documents with claims lie, those of hypotheses first.
CLAIMS = ("hypotheses/*/published/claims.yaml", "documents/*/claims.yaml")


@dataclass(frozen=True, slots=True)
class Run:
    """One job of the matrix: a method, an arm and an experiment with all its load points."""

    hypothesis: str
    method: Method
    arm: Arm
    experiment: Experiment
    digest: str

    @property
    def rules(self) -> Rules:
        """How the measurement is repeated and read: the method's rules, where the arm does not vary them."""
        return self.arm.rules or self.method


class Project(Catalog):
    """All hypotheses of one project folder, ready to run."""

    def __init__(
        self,
        root: Path,
        settings: Settings,
        methods: Mapping[str, Method],
        hypotheses: Mapping[str, Hypothesis],
        tables_folder: Path | None = None,
        synthetic: Mapping[str, SyntheticHypothesis] = MappingProxyType({}),
        simulators: Mapping[str, Described] = MappingProxyType({}),
    ) -> None:
        super().__init__(root, tables_folder)
        self.settings = settings
        self.methods = methods
        self.hypotheses = hypotheses
        self.synthetic = synthetic
        self.simulators = simulators
        self.discussions: dict[str, Discussion] = {}
        self.published: dict[str, Published | None] = {}
        # What was simulated so far, by method, configuration, experiment and load point: hypotheses share arms.
        self.outcomes: dict[tuple[str, ...], dict[str, Any]] = {}
        # Programs of others are asked all anew, whatever answers of them are known.
        self.ask_again = False
        # Hypotheses that are broken, or build on one that is, with what is wrong; all else is as if there were none.
        self.left_out: Mapping[str, str] = MappingProxyType({})
        self._predictions: dict[tuple[str, str], dict[str, list[object]]] = {}
        self._sets: dict[str, tuple[Experiment, ...]] = {}
        self._loaded: dict[str, Experiment] = {}
        self._arms: dict[tuple[str, str], tuple[Arm, ...]] = {}
        self._runs: dict[str, dict[tuple[str, str, str], Run]] = {}

    def experiments(self, hypothesis: str) -> tuple[Experiment, ...]:
        """Return the measured experiments of a hypothesis, in the set's order."""
        return self._set(hypothesis, self.hypotheses[hypothesis].ground_truth.set, "ground_truth.set")

    def extra_experiments(self, hypothesis: str) -> tuple[Experiment, ...]:
        """Return the experiments of a hypothesis that decide nothing, in their set's order; mostly none."""
        extra = self.hypotheses[hypothesis].extra_experiments
        return () if extra is None else self._set(hypothesis, extra.set, "beyond.set")

    def compared_sets(self, hypothesis: str) -> dict[str, tuple[Experiment, ...]]:
        """Return the sets on which the page of all simulators compares the arms of a hypothesis; mostly none."""
        names = self.hypotheses[hypothesis].compared_on
        return {name: self._set(hypothesis, name, "compared_on") for name in names}

    def all_experiments(self, hypothesis: str) -> tuple[Experiment, ...]:
        """Return every experiment of a hypothesis once: those that decide, and those that do not."""
        compared = (one for members in self.compared_sets(hypothesis).values() for one in members)
        found = (*self.experiments(hypothesis), *self.extra_experiments(hypothesis), *compared)
        return tuple({experiment.id: experiment for experiment in found}.values())

    def _set(self, hypothesis: str, name: str, key: str) -> tuple[Experiment, ...]:
        if name not in self._sets:
            try:
                self._sets[name] = load_set(self.root, name, self._loaded)
            except ConfigError as error:
                raise ConfigError(f"{error} ({key} of hypotheses/{hypothesis}/hypothesis.yaml)") from None
        return self._sets[name]

    def arms(self, hypothesis: str, method: str) -> tuple[Arm, ...]:
        """Return the resolved arms of a hypothesis under one method."""
        key = (hypothesis, method)
        if key not in self._arms:
            spec = self.hypotheses[hypothesis]
            resolved = (resolve_arm(spec, self.methods[method], name, {}, self.simulators) for name in spec.arms)
            self._arms[key] = tuple(resolved)
        return self._arms[key]

    def predictions(self, hypothesis: str, simulator: Simulator) -> dict[str, list[object]]:
        """Return the answers of a table, which an arm of a hypothesis names, by experiment and load point.

        Raises
        ------
        ConfigError
            If there is no such file, it is no such table, or it names something that is not there.
        """
        name = simulator.table_file or ""
        if (hypothesis, name) not in self._predictions:
            own = self.all_experiments(hypothesis)
            others = (path.parent.name for path in (self.root / "ground_truth").glob(f"*/{EXPERIMENT_FILE}"))
            points = {experiment.id: [point.id for point in experiment.load_points] for experiment in own}
            known: dict[str, list[str]] = {**{other: [] for other in others}, **points}
            self._predictions[hypothesis, name] = read_table(place_of(self.root, name), name, known)
        return self._predictions[hypothesis, name]

    def swept_arm(self, hypothesis: str, method: str, arm: str, values: Mapping[str, float]) -> tuple[Arm, str]:
        """Return an arm that sweeps set, at some values of its options, with the digest of its configuration.

        Raises
        ------
        ConfigError
            If an option cannot take its value.
        """
        resolved = resolve_arm(self.hypotheses[hypothesis], self.methods[method], arm, values, self.simulators)
        return resolved, digest(self.methods[method], resolved)

    def runs(self, hypothesis: str) -> tuple[Run, ...]:
        """Return the run matrix: methods x arms x experiments, and behind it those of runs that do not decide."""
        return tuple(self._matrix(hypothesis).values())

    def run(self, hypothesis: str, method: str, arm: str, experiment: str) -> Run:
        """Return one job of the matrix by name.

        Raises
        ------
        ConfigError
            If the matrix has no such job.
        """
        found = self._matrix(hypothesis).get((method, arm, experiment))
        if found is None:
            raise ConfigError(f"{hypothesis}: no run {method}/{arm}/{experiment} in the matrix")
        return found

    def arm_digests(self, hypothesis: str, method: str) -> dict[str, str]:
        """Return the configuration digest of every arm under one method."""
        return {run.arm.name: run.digest for run in self.runs(hypothesis) if run.method.id == method}

    def _matrix(self, hypothesis: str) -> dict[tuple[str, str, str], Run]:
        if hypothesis not in self._runs:
            self._runs[hypothesis] = {
                (method, arm.name, experiment.id): Run(hypothesis, self.methods[method], arm, experiment, hashed)
                for method in self.hypotheses[hypothesis].methods
                for arm in self.arms(hypothesis, method)
                for hashed in (digest(self.methods[method], arm),)
                for experiment in self.experiments(hypothesis)
            }
            # What both ask for is run once: the runs that decide come first, and stay.
            beyond = self._beyond_matrix(hypothesis) | self._compared_matrix(hypothesis)
            self._runs[hypothesis] |= {
                place: run for place, run in beyond.items() if place not in self._runs[hypothesis]
            }
        return self._runs[hypothesis]

    def _compared_matrix(self, hypothesis: str) -> dict[tuple[str, str, str], Run]:
        """Return the runs of the page of all simulators; one experiment may be in two sets, under two methods."""
        chosen = self.hypotheses[hypothesis].compared_on
        return {
            (method.id, arm.name, experiment.id): Run(hypothesis, method, arm, experiment, hashed)
            for name, experiments in self.compared_sets(hypothesis).items()
            for method in (self.methods[chosen[name]],)
            for arm in self.arms(hypothesis, method.id)
            for hashed in (digest(method, arm),)
            for experiment in experiments
        }

    def _beyond_matrix(self, hypothesis: str) -> dict[tuple[str, str, str], Run]:
        extra = self.hypotheses[hypothesis].extra_experiments
        if extra is None:
            return {}
        method, arms = self.methods[extra.method], {arm.name: arm for arm in self.arms(hypothesis, extra.method)}
        return {
            (method.id, name, experiment.id): Run(hypothesis, method, arms[name], experiment, hashed)
            for name in extra.arms
            for hashed in (digest(method, arms[name]),)
            for experiment in self.extra_experiments(hypothesis)
        }

    @property
    def comparing(self) -> str | None:
        """The hypothesis whose arms the page of all simulators compares."""
        return next((name for name, spec in self.hypotheses.items() if spec.compared_on), None)

    @property
    def has_documents(self) -> bool:
        """Whether there are published documents with claims, of which errata tell."""
        return any(True for pattern in CLAIMS for _ in self.root.glob(pattern))

    @property
    def names(self) -> tuple[str, ...]:
        """Every hypothesis of either kind, numbers in their natural order."""
        return tuple(sorted([*self.hypotheses, *self.synthetic], key=natural_order))


def load_project(root: Path, tables_folder: Path | None = None, leaving_out: Collection[str] = ()) -> Project:
    """Load and cross-check a project folder.

    Parameters
    ----------
    root
        The project.
    tables_folder
        Measured kernel tables in InferSim layout, if the user has some.
    leaving_out
        Hypotheses that are not looked at.

    Raises
    ------
    ConfigError
        For the first file with problems, naming all of them.
    """
    root = root.resolve()
    paths = sorted((root / "hypotheses").glob("*/hypothesis.yaml"))
    if not paths:
        raise ConfigError("hypotheses/: no */hypothesis.yaml found; `roofline-lab new my_claim --set SET` writes one")
    kinds = {path: kind_of(path, root) for path in paths if path.parent.name not in leaving_out}
    synthetic_paths = [path for path, kind in kinds.items() if kind == "synthetic"]
    paths = [path for path, kind in kinds.items() if kind != "synthetic"]
    hypotheses = [load_hypothesis(path, root) for path in paths]
    synthetic = {path.parent.name: load_hypothesis(path, root, SyntheticHypothesis) for path in synthetic_paths}
    methods = load_methods(root)
    _check_methods(methods)
    by_id = {one.id: one for one in hypotheses}
    check_names_and_cycles([*hypotheses, *synthetic.values()])
    _refuse_two_comparisons(hypotheses)
    project = Project(root, load_settings(root), methods, by_id, tables_folder, synthetic, load_simulators(root))
    for path, hypothesis in zip(paths, hypotheses, strict=True):
        _check(hypothesis, project)
        project.discussions[hypothesis.id] = load_discussion(hypothesis, path.parent, root)
        project.published[hypothesis.id] = _published(hypothesis, path.parent / "published", root)
    for path, claim in zip(synthetic_paths, synthetic.values(), strict=True):
        check_references(claim, project)
        check_synthetic(claim, project)
        project.discussions[claim.id] = load_discussion(claim, path.parent, root)
        project.published[claim.id] = load_published(path.parent / "published", known_number(claim))
    return project


def _refuse_two_comparisons(hypotheses: Sequence[Hypothesis]) -> None:
    """Refuse a second hypothesis that wants to be the page of all simulators."""
    comparing = [spec.id for spec in hypotheses if spec.compared_on]
    if len(comparing) > 1:
        source = f"hypotheses/{comparing[1]}/hypothesis.yaml"
        told = f"compared_on: {comparing[0]} fills the page reports/simulators already; leave it to one of them"
        raise config_error(source, [told])


def check_references(spec: Claim, project: Project) -> None:
    """Refuse a reference to a hypothesis that does not exist."""
    unknown = [name for name in spec.references if name not in project.names]
    if unknown:
        told = [f"references: unknown hypothesis '{name}'; {suggest(name, project.names)}" for name in unknown]
        raise config_error(f"hypotheses/{spec.id}/hypothesis.yaml", told)


def engine_options(arm: Arm, experiment: Experiment, source: str) -> EngineOptions:
    """Return the server of one experiment as the arm wants it scheduled, with the settings that matter to one request.

    Load points that are repeated as measured run on `load_point.measured_server`.
    """
    settings = experiment.server.settings
    stated = {"token_budget": settings.token_budget, "prefix_caching": settings.prefix_caching}
    return parse(EngineOptions, {**stated, **arm.engine}, source=source)


def _check_methods(methods: Mapping[str, Method]) -> None:
    for method in methods.values():
        if method.unknown_definitions:
            raise config_error(f"configs/methods/{method.id}.yaml", method.unknown_definitions)


def _check(spec: Hypothesis, project: Project) -> None:
    source = f"hypotheses/{spec.id}/hypothesis.yaml"
    problems = [
        f"methods: unknown method '{name}'; {suggest(name, project.methods)}"
        for name in spec.all_methods
        if name not in project.methods
    ]
    if problems:
        raise config_error(source, problems)
    check_references(spec, project)
    told = AllAtOnce()
    for experiment in project.all_experiments(spec.id):
        with told:
            require_runnable(project.model(experiment.model), experiment.parallelism)
        with told:
            project.hardware(experiment.hardware)
    told.refuse()
    problems += _unknown_groups(spec, project)
    problems += _not_repeated(spec, project)
    if spec.division is not None:
        problems += spec.division.problems(project.experiments(spec.id))
    for method in spec.methods:
        for sweep in spec.all_sweeps:
            for arm in sweep.arms:
                project.swept_arm(spec.id, method, arm, {sweep.option: sweep.stop})
        problems += undeclared(spec.varied, project.arms(spec.id, method), f"method {method}")
        for resolved in project.arms(spec.id, method):
            if resolved.simulator.table_file is not None:
                project.predictions(spec.id, resolved.simulator)
            problems += _unknown_steps(resolved, project)
    if problems:
        raise config_error(source, list(dict.fromkeys(problems)))


def _unknown_steps(arm: Arm, project: Project) -> Iterator[str]:
    """Yield the name of steps that neither a calibration nor a step-time model has."""
    if isinstance(arm.simulator.described, StepTimeSimulator):
        known = [path.stem for path in listed(project.root, "configs/calibration", "*.yaml")]
        name, allowed = arm.simulator.name, [*known, *BUILT_IN]
        if name not in allowed:
            told = f"unknown calibration or step-time model '{name}'; {suggest(name, allowed)}"
            yield f"arms.{arm.name}.simulator.name: {told}"


def _not_repeated(spec: Hypothesis, project: Project) -> Iterator[str]:
    """Yield metrics that a method cannot tell of: all but means need load points repeated as they were measured."""
    others = [metric for metric in spec.metrics if metric not in MEANS]
    methods = (*spec.methods, *((spec.extra_experiments.method,) if spec.extra_experiments else ()))
    for method in methods if others else ():
        if project.methods[method].workload.arrivals is not Arrivals.AS_MEASURED:
            yield (
                f"metrics: {', '.join(others)}: method '{method}' does not repeat load points as they were measured; "
                "use one that does, such as multi_rate"
            )
        for arm in project.arms(spec.id, method) if Metric.GOODPUT in others else ():
            if (arm.rules or project.methods[method]).limits is None:
                yield (
                    f"metrics: goodput: arms.{arm.name} (method {method}) has no limits; write into base: "
                    "method: {limits: {ttft_ms: 500, tpot_ms: 50}}, with those of your service"
                )


def _unknown_groups(spec: Hypothesis, project: Project) -> Iterator[str]:
    """Yield groups of a criterion that no experiment can belong to: they would pass for not measured."""
    words = words_of(project.root)
    experiments = [experiment.id for experiment in project.experiments(spec.id)]
    known = {
        "family": words.families or (),
        "workload": words.workloads or (),
        "hardware": project.hardware_ids,
        "experiment": experiments,
    }
    for criterion in spec.judged:
        for kind, name in criterion.named_groups:
            if name not in known[kind]:
                yield f"criteria.{criterion.id}.groups: unknown {kind} '{name}'; {suggest(name, known[kind])}"


def _published(spec: Hypothesis, folder: Path, root: Path) -> Published | None:
    """Read the published tables and check that the hypothesis has the method and the arms they name."""
    published = load_published(folder)
    if published is None:
        return None
    problems = []
    method = published.source.method
    if method not in spec.methods:
        problems.append(f"method: unknown method '{method}'; {suggest(method, spec.methods)}")
    arms = dict.fromkeys(cell.arm for cell in published.cells)
    problems += [f"*.csv: unknown arm '{arm}'; {suggest(arm, spec.arms)}" for arm in arms if arm not in spec.arms]
    if problems:
        raise config_error((folder / "source.yaml").relative_to(root).as_posix(), problems)
    return published
