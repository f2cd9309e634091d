"""A hypothesis as its author writes it: one YAML file, validated as a whole before anything runs.

`load_hypothesis` reads `hypotheses/<id>/hypothesis.yaml` and reports every problem at once.
Cross-checks that need the rest of the project (experiments, methods, resolved arms) live in
`roofline_lab.project`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, StringConstraints, model_validator

from roofline_lab.hypotheses.capacity import CapacityAnswers, CapacityGain, CapacityQuestion
from roofline_lab.hypotheses.criteria import Criterion, TestGap
from roofline_lab.hypotheses.factorial import shown_arms_of
from roofline_lab.hypotheses.sweep import COARSE, FINE, TEST, CrossValidation, Split, Sweep
from roofline_lab.vocabulary import EvidenceType, Family, FindingType, Metric, Purpose, Resolution, Status
from simulator.validation import Count, NonNegative, StrictModel, config_error, parse, read_yaml, suggest

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
# Keys of an arm that are no option of the step-time model: how the engine schedules, rules of the method, who predicts.
ENGINE_KEY = "engine"
METHOD_KEY = "method"
SIMULATOR_KEY = "simulator"

# Targets and rules of the pipeline; a hypothesis becomes a rule of its own name.
RESERVED_IDS = frozenset(
    {
        "all",
        "check",
        "calibrate",
        "calibration",
        "errata",
        "index",
        "inputs",
        "project",
        "measured",
        "predict",
        "ask",
        "record",
        "simulators",
        "score",
        "render",
        "sweep",
    }
)
RESERVED_PREFIXES = ("publish_", "render_", "calibration_")


class GroundTruthChoice(StrictModel):
    """Which measured experiments the arms are compared with."""

    set: Text


class ExtraExperiments(StrictModel):
    """Experiments beyond those the claim is judged by, as an extra section that decides nothing.

    Attributes
    ----------
    set, method
        Which experiments, and how they are run.
    arms
        Which arms, the reference of every difference first.
    """

    set: Text
    method: Name
    arms: Annotated[tuple[Name, ...], Field(min_length=2)]


class MechanismControl(StrictModel):
    """An arm in which the mechanism is disabled: its effect over another arm is bounded (rule RCV-4)."""

    arm: str
    over: str
    at_most_pp: NonNegative


class Mechanism(StrictModel):
    """One causal statement (rules RCV-1, RCV-3 and RCV-4).

    Attributes
    ----------
    statement
        What causes what, in words.
    of, over
        The arms it speaks of: times of `of` compared with times of `over`.
    by
        How experiments are grouped.
    predicts
        Per group: are the predicted times of `of` longer, shorter or equal?
    cites
        Where in the code it happens: `path` or `path:line`.
    control
        The arm that disables the mechanism and nothing else.
    methods
        Methods under which it is claimed; None means all.
    contradicted
        The numbers contradict this cause; it is kept to show that. The lint then demands that they do.
    """

    statement: Text
    metric: Metric = Metric.TPOT_MEAN
    of: str = "treatment"
    over: str = "baseline"
    by: Literal["workload", "family", "tp", "experiment"] = "workload"
    predicts: Annotated[dict[str, Literal["longer", "shorter", "equal"]], Field(min_length=1)]
    cites: Annotated[tuple[Text, ...], Field(min_length=1)]
    control: MechanismControl | None = None
    methods: tuple[str, ...] | None = None
    contradicted: bool = False

    def is_claimed_for(self, method: str) -> bool:
        """Say whether the cause is claimed under a method."""
        return self.methods is None or method in self.methods


class Expectation(StrictModel):
    """A first-principles number for a surprise (rule RCV-2); templates over the results that give one number."""

    words: Text
    expected: Text
    observed: Text
    within: NonNegative


class Finding(StrictModel):
    """One row of the findings table; `finding` and `action` are templates over the results.

    A finding of type Surprise carries an `expectation` computed from first principles (rule RCV-2).

    Attributes
    ----------
    id
        Named where a later hypothesis tests the action.
    corrected_by
        The later hypothesis that refuted what the action once advised; the action says what follows now.
    """

    finding: Text
    type: FindingType
    action: Text
    expectation: Expectation | None = None
    id: Name | None = None
    corrected_by: Name | None = None


class ActionTest(StrictModel):
    """What a hypothesis says about the action of a finding it refers to: with which outcome that advice is refuted."""

    of: Name
    finding: Name
    falls_if: Literal["confirmed", "refuted"]

    def falls_with(self, status: str) -> bool:
        """Whether the advice is refuted when the hypothesis that tests it has a status."""
        refuting = (
            (Status.CONFIRMED, Status.CONFIRMED_WITH_NUANCE) if self.falls_if == "confirmed" else (Status.REFUTED,)
        )
        return status in refuting


class Evidence(StrictModel):
    """One row of the evidence table; `value` and `confidence` are templates over the results."""

    metric: Text
    value: Text
    confidence: Text


KINDS = ("validation", "synthetic")


class Claim(StrictModel):
    """What every hypothesis says, whatever it is judged by: the claim and the arms that test it.

    Attributes
    ----------
    id
        The folder's name, and the target of `snakemake`.
    aliases
        Other names it may be asked for by.
    title
        Its line in lists, and the heading of its page.
    claim
        The sentence that may turn out to be wrong.
    diagnostic
        What it means if it is, and where to look next.
    vvuq
        What it is for.
    type
        The kind of evidence.
    tier
        What a test needs: 0 no measurement of its own, 1 one trace, 2 a measurement of every pattern.
    rounds
        How often it was reviewed.
    references
        Hypotheses it builds on.
    base
        Step-time options common to all arms; a method may override them, an arm overrides both.
    arms
        Named overlays on the base; the first arm is the reference of every difference.
    varied
        Dotted option names in which the arms may differ, and no others (rule ED-1).
    vanishing
        Where the effect should vanish and why no arm runs there (rule ED-2).
    resolutions
        How each status is resolved, where the default of `roofline_lab.hypotheses.verdict` does not fit.
    written_for
        The status that findings and evidence were written for.
    findings, evidence
        Rows of the table of this name on the page.
    not_tested
        What a reader might take for tested.
    tests_actions
        Advice of findings of `references` that this one refutes with one of its outcomes.
    """

    id: Name
    aliases: tuple[Text, ...] = ()
    title: Text
    claim: Text
    diagnostic: Text
    family: Family
    vvuq: Purpose
    type: EvidenceType = EvidenceType.DETERMINISTIC
    tier: Annotated[int, Field(ge=0, le=2)]
    rounds: Count = 1
    references: tuple[Name, ...] = ()
    tests_actions: tuple[ActionTest, ...] = ()
    base: dict[str, Any] = Field(default_factory=dict)
    arms: Annotated[dict[Name, dict[str, Any]], Field(min_length=2)]
    varied: Annotated[tuple[Text, ...], Field(min_length=1)]
    vanishing: Text | None = None
    resolutions: dict[Status, Resolution] = Field(default_factory=dict)
    written_for: Status | None = None
    findings: tuple[Finding, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    not_tested: tuple[Text, ...] = ()

    @property
    def reference_arm(self) -> str:
        """The arm every difference is taken against."""
        return next(iter(self.arms))

    @model_validator(mode="after")
    def _nested_options_are_mappings(self) -> Claim:
        given = {"base": self.base, **{f"arms.{name}": arm for name, arm in self.arms.items()}}
        nested = {ENGINE_KEY: "engine options", METHOD_KEY: "rules of the method"}
        problems = [
            f"{where}.{key}: must be a mapping of {words} to values"
            for where, options in given.items()
            for key, words in nested.items()
            if not isinstance(options.get(key, {}), Mapping)
        ]
        problems += [
            f"tests_actions: '{tested.of}' is not in references; {suggest(tested.of, self.references)}"
            for tested in self.tests_actions
            if tested.of not in self.references
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Hypothesis(Claim):
    """A claim that is judged against measured ground truth.

    Attributes
    ----------
    methods
        Files of `configs/methods/`; the last one gives the page its status.
    ground_truth
        The experiments it is judged by.
    metrics
        What is compared.
    criteria
        Decide the status; exactly the ones marked `decisive` (by default the first) can refute.
    controls
        Evaluated and reported beside the criteria; a failed control takes "clean" away.
    mechanisms
        Causal statements with predicted directions, cited code and controls (rules RCV-1, 3 and 4).
    differs
        Options in which the first arm may differ from the arm a referenced hypothesis adopts (rule ED-6).
    adopts
        The arm later hypotheses build on; None if nothing is adopted. With `references` it makes the
        chain of cumulative corrections.
    split
        Experiments that may choose a parameter and those that judge it; all aggregates are then over
        the test experiments.
    cross_validation
        In place of a split: every experiment is judged with the values that experiments of other folds chose.
    sweep
        The search of one arm's option on the experiments that choose.
    sweeps
        Several such searches, each for itself with the other searched options at their first value.
    capacity
        Limits that every experiment measured at several loads is asked about.
    extra_experiments
        Further experiments (key `beyond`), reported beside those that decide.
    compared_on
        Sets, each with the method by which all arms run on it, for the page `reports/simulators` alone: who predicts
        what how well. They decide nothing here.
    """

    kind: Literal["validation"] = "validation"
    methods: Annotated[tuple[Name, ...], Field(min_length=1)]
    ground_truth: GroundTruthChoice
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)]
    criteria: Annotated[tuple[Criterion, ...], Field(min_length=1)]
    controls: tuple[Criterion, ...] = ()
    mechanisms: tuple[Mechanism, ...] = ()
    differs: dict[Name, tuple[Text, ...]] = Field(default_factory=dict)
    adopts: Name | None = None
    split: Split | None = None
    cross_validation: CrossValidation | None = None
    sweep: Sweep | None = None
    sweeps: tuple[Sweep, ...] = ()
    capacity: CapacityQuestion | None = None
    extra_experiments: Annotated[ExtraExperiments | None, Field(alias="beyond")] = None
    compared_on: dict[Text, Name] = Field(default_factory=dict)

    @property
    def all_methods(self) -> tuple[str, ...]:
        """The methods that decide, and those of experiments that do not."""
        extra = () if self.extra_experiments is None else (self.extra_experiments.method,)
        return tuple(dict.fromkeys((*self.methods, *extra, *self.compared_on.values())))

    @property
    def all_sweeps(self) -> tuple[Sweep, ...]:
        """Every search of the hypothesis."""
        return (*((self.sweep,) if self.sweep is not None else ()), *self.sweeps)

    @property
    def sweep_arms(self) -> tuple[str, ...]:
        """The arms for which a sweep chooses a value; none without one."""
        return tuple(dict.fromkeys(arm for sweep in self.all_sweeps for arm in sweep.arms))

    @property
    def sweep_stages(self) -> tuple[str, ...]:
        """Stages of the searches, in order; none without one."""
        return tuple(stage for stage in (COARSE, FINE) if any(stage in sweep.stages for sweep in self.all_sweeps))

    @property
    def division(self) -> Split | CrossValidation | None:
        """What says which experiments choose and which judge."""
        return self.split if self.split is not None else self.cross_validation

    @property
    def shown_arms(self) -> tuple[str, ...]:
        """The reference and every arm a criterion names: those of figures and tables per experiment."""
        named = {self.reference_arm, *(arm for criterion in self.criteria for arm in shown_arms_of(criterion))}
        return tuple(arm for arm in self.arms if arm in named)

    @property
    def judged(self) -> tuple[Criterion, ...]:
        """Criteria and controls, in report order."""
        return (*self.criteria, *self.controls)

    @model_validator(mode="after")
    def _is_consistent(self) -> Hypothesis:
        problems = list(_inconsistencies(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self


AnyClaim = TypeVar("AnyClaim", bound=Claim)


def kind_of(path: Path, root: Path) -> str:
    """Return the kind one hypothesis file says it is; without a word, `validation`.

    Raises
    ------
    ConfigError
        If there is no such kind.
    """
    data = read_yaml(path)
    kind = data.get("kind", KINDS[0]) if isinstance(data, dict) else KINDS[0]
    if kind not in KINDS:
        source = path.relative_to(root).as_posix()
        raise config_error(source, [f"kind: unknown kind {kind!r}; {suggest(str(kind), KINDS)}"])
    return str(kind)


def load_hypothesis(path: Path, root: Path, record: type[AnyClaim] = Hypothesis) -> AnyClaim:  # type: ignore[assignment]
    """Read one hypothesis of the kind `record` describes.

    Raises
    ------
    ConfigError
        Naming the file and every wrong key; also when the id is not the folder's name.
    """
    source = path.relative_to(root).as_posix()
    hypothesis = parse(record, read_yaml(path), source=source)
    if hypothesis.id in RESERVED_IDS or hypothesis.id.startswith(RESERVED_PREFIXES):
        raise config_error(source, [f"id: '{hypothesis.id}' is the name of a command or rule; choose another id"])
    if hypothesis.id != path.parent.name:
        raise config_error(source, [f"id: must be the folder's name '{path.parent.name}' (got '{hypothesis.id}')"])
    return hypothesis


def _inconsistencies(hypothesis: Hypothesis) -> Iterator[str]:
    seen: set[str] = set()
    for criterion in hypothesis.judged:
        if criterion.id in seen:
            yield f"criteria: id '{criterion.id}' is used twice"
        seen.add(criterion.id)
        if criterion.metric not in hypothesis.metrics:
            yield f"criteria.{criterion.id}.metric: '{criterion.metric}' is not in metrics"
        for arm in criterion.arms:
            if arm not in hypothesis.arms:
                yield f"criteria.{criterion.id}: unknown arm '{arm}'; {suggest(arm, hypothesis.arms)}"
    yield from _unfounded(hypothesis)
    yield from _unfounded_mechanisms(hypothesis)
    for name in hypothesis.differs:
        if name not in hypothesis.references:
            yield f"differs: '{name}' is not in references"
    for name, values in (("methods", hypothesis.methods), ("metrics", hypothesis.metrics)):
        if len(set(values)) != len(values):
            yield f"{name}: an entry is given twice"


def _unfounded(hypothesis: Hypothesis) -> Iterator[str]:
    """Yield what names an arm or a side of a split that is not there."""
    if hypothesis.adopts is not None and hypothesis.adopts not in hypothesis.arms:
        yield f"adopts: unknown arm '{hypothesis.adopts}'; {suggest(hypothesis.adopts, hypothesis.arms)}"
    for criterion in hypothesis.judged:
        if hypothesis.capacity is None and isinstance(criterion, CapacityAnswers | CapacityGain):
            yield f"criteria.{criterion.id}: no limits are given; add the key capacity"
        if hypothesis.split is None and (criterion.side is not None or isinstance(criterion, TestGap)):
            yield f"criteria.{criterion.id}: train and test are not defined; add a split"
    if hypothesis.extra_experiments is not None:
        yield from _unfounded_extra(hypothesis, hypothesis.extra_experiments)
    yield from _unfounded_division(hypothesis)
    for sweep in hypothesis.all_sweeps:
        yield from _unfounded_sweep(hypothesis, sweep)


def _unfounded_division(hypothesis: Hypothesis) -> Iterator[str]:
    """Yield two ways to divide experiments, folds without a search, and an option that two searches would set."""
    if hypothesis.cross_validation is not None and hypothesis.split is not None:
        yield "cross_validation: a split divides the experiments already; give one of both"
    if hypothesis.cross_validation is not None and not hypothesis.all_sweeps:
        yield "cross_validation: no value is chosen; add a sweep, or drop it"
    set_by = [(arm, sweep.option) for sweep in hypothesis.all_sweeps for arm in sweep.arms]
    for arm, option in dict.fromkeys(place for place in set_by if set_by.count(place) > 1):
        yield f"sweeps: '{option}' of arm '{arm}' is searched twice; leave one"


def _unfounded_extra(hypothesis: Hypothesis, extra: ExtraExperiments) -> Iterator[str]:
    """Yield arms that cannot be run on further experiments, and a method that decides already."""
    for arm in extra.arms:
        if arm not in hypothesis.arms:
            yield f"beyond.arms: unknown arm '{arm}'; {suggest(arm, hypothesis.arms)}"
        elif arm in hypothesis.sweep_arms:
            yield f"beyond.arms: the value of arm '{arm}' depends on the method; name arms whose options are fixed"
    if extra.method in hypothesis.methods:
        yield f"beyond.method: '{extra.method}' is one of methods; further experiments need a method of their own"


def _unfounded_sweep(hypothesis: Hypothesis, sweep: Sweep) -> Iterator[str]:
    """Yield what a sweep lacks, and criteria that judge its arm by what chose it."""
    for key, arm in (("arm", sweep.arm), *(("followed_by", name) for name in sweep.followed_by)):
        if arm not in hypothesis.arms:
            yield f"sweep.{key}: unknown arm '{arm}'; {suggest(arm, hypothesis.arms)}"
        elif arm == hypothesis.reference_arm:
            yield f"sweep.{key}: '{arm}' is the first arm, the reference of every difference; sweep another one"
    if hypothesis.division is None:
        yield (
            "sweep: a chosen value can only be judged by experiments that did not choose it; add a split or "
            "cross_validation"
        )
    if sweep.select.metric not in hypothesis.metrics:
        yield f"sweep.select.metric: '{sweep.select.metric}' is not in metrics"
    for criterion in hypothesis.judged:
        chosen = [arm for arm in criterion.arms if arm in sweep.arms]
        if hypothesis.split and chosen and criterion.side != TEST and not isinstance(criterion, TestGap):
            yield (
                f"criteria.{criterion.id}: the value of arm '{chosen[0]}' is chosen on the train experiments, so its "
                "error there is no result; add `side: test`"
            )


def _unfounded_mechanisms(hypothesis: Hypothesis) -> Iterator[str]:
    """Yield what a causal statement names and the hypothesis lacks."""
    for index, mechanism in enumerate(hypothesis.mechanisms):
        named = [mechanism.of, mechanism.over]
        named += [mechanism.control.arm, mechanism.control.over] if mechanism.control is not None else []
        for arm in dict.fromkeys(named):
            if arm not in hypothesis.arms:
                yield f"mechanisms.{index}: unknown arm '{arm}'; {suggest(arm, hypothesis.arms)}"
        for method in mechanism.methods or ():
            if method not in hypothesis.methods:
                yield f"mechanisms.{index}.methods: '{method}' is not in methods"
        if mechanism.metric not in hypothesis.metrics:
            yield f"mechanisms.{index}.metric: '{mechanism.metric}' is not in metrics"
        if mechanism.metric.is_rate:
            yield f"mechanisms.{index}.metric: '{mechanism.metric}' is a rate; a cause makes times longer or shorter"
