"""What a page says about its design: what differs between arms, the design rules, physical checks, scope.

Generated from resolved arms, run matrix and finished rows, never typed. The first functions serve hypotheses of either
kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from roofline_lab.config import Settings
from roofline_lab.formatting import counted, table
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.quality import flag_lines
from roofline_lab.hypotheses.arms import Arm, differences
from roofline_lab.hypotheses.expectations import finding_text
from roofline_lab.hypotheses.spec import Claim, Finding
from roofline_lab.project import Project
from roofline_lab.report.results import MethodReport, Report
from roofline_lab.report.searches import by_sweep
from roofline_lab.scoring.statistics import fewest_units
from roofline_lab.scoring.uncertainty import CLUSTER
from roofline_lab.vocabulary import RowStatus
from simulator.hardware import Hardware
from simulator.model import Model
from simulator.steptime.options import CurvedOverhead, MfuRooflineOptions, NoOverhead
from simulator.steptime.overhead import TOKEN_CURVES, build_overhead

# Renders an author's template; the second argument says where it stands.
Text = Callable[[str, str], str]
# Front page of a report, which pages of others link to.
PAGE = "FINDINGS.md"
# Rates that are checked against a peak of the GPU.
RATES = {"flops": "FLOP rate", "bytes": "byte rate"}
# Whole microseconds and float sums may put a step this far above a peak it exactly reaches.
PEAK_SLACK = 1e-6


def difference_table(arms: Sequence[Arm]) -> str:
    """Return the options in which any arm differs from the first, one column per arm."""
    found = {arm.name: differences(arms[0], arm) for arm in arms[1:]}
    keys = list(dict.fromkeys(key for changed in found.values() for key in changed))
    rows = []
    for key in keys:
        base = next(changed[key][0] for changed in found.values() if key in changed)
        others = [found[arm.name].get(key, (base, base))[1] for arm in arms[1:]]
        rows.append([f"`{key}`", *(_shown(value) for value in (base, *others))])
    return table(["Option", *(arm.name for arm in arms)], rows)


def builds_on(project: Project, report: Report) -> list[str]:
    """Return, for every hypothesis that is referenced, how the first arm here differs from the arm it ends with.

    In the options of the deciding method: rule ED-6, generated. A reference that method does not run, or that is no
    hypothesis on measurements, is named without.
    """
    return [_builds_on(project, report, name) for name in report.spec.references]


def _builds_on(project: Project, report: Report, name: str) -> str:
    link, method = f"[{name}](../{name}/{PAGE})", report.headline.method.id
    other = project.hypotheses.get(name)
    if other is None or method not in other.all_methods:
        return f"Builds on {link}."
    ends_with = other.adopts or other.reference_arm
    theirs = next(arm for arm in project.arms(name, method) if arm.name == ends_with)
    changed = differences(theirs, report.headline.arms[0])
    told = "; ".join(f"`{key}` {_shown(was)} becomes {_shown(now)}" for key, (was, now) in sorted(changed.items()))
    what = f"with {told}" if told else "configured the same"
    return f"Builds on {link}: `{report.spec.reference_arm}` here is `{ends_with}` there, {what}."


def findings_table(spec: Claim, text: Text) -> str:
    """Return the author's findings."""
    rows = [
        [finding_text(finding, index, text), finding.type.value, text(finding.action, "action") + _corrected(finding)]
        for index, finding in enumerate(spec.findings)
    ]
    return table(["Finding", "Type", "Action"], rows, left=3)


def _corrected(finding: Finding) -> str:
    """Return which later hypothesis refuted what the action once advised; empty where none did."""
    name = finding.corrected_by
    return f" (corrected by [{name}](../{name}/{PAGE}))" if name else ""


def evidence_table(spec: Claim, text: Text) -> str:
    """Return the author's evidence, with its confidence."""
    rows = [
        [
            evidence.metric,
            text(evidence.value, f"hypothesis.yaml: evidence.{i}"),
            text(evidence.confidence, f"evidence.{i}"),
        ]
        for i, evidence in enumerate(spec.evidence)
    ]
    return table(["Metric", "Value", "Confidence"], rows, left=3)


def design_table(spec: Claim, preconditions: str, seeds: str) -> str:
    """Return rules ED-1 to ED-6 with what was done about each.

    The rules are the ED list of the upstream experiment standards; what a machine can check was checked before the run.

    Parameters
    ----------
    preconditions, seeds
        What is said about rules ED-3 and ED-4.
    """
    references = ", ".join(f"`{name}`" for name in spec.references) or "no earlier hypothesis is referenced"
    varied = ", ".join(f"`{name}`" for name in spec.varied)
    rows = [
        ["ED-1", "one dimension varies", f"checked before the run: arms differ only in {varied}"],
        ["ED-2", "a regime where the effect vanishes", spec.vanishing or "none declared"],
        ["ED-3", "preconditions", f"checked before the run: {preconditions}"],
        ["ED-4", "seeds", seeds],
        ["ED-5", "reproducible", "one command; content hashes of every input in provenance.json"],
        ["ED-6", "difference to the referenced experiment", references],
    ]
    return table(["Rule", "Asks for", "Here"], rows, left=3)


def check_line(title: str, check: str, holds: bool, observed: str) -> list[str]:
    """Return one line of an audit table: what was checked on finished rows, and whether it holds."""
    return [title, check, "holds" if holds else "**violated**", observed]


def peak_line(title: str, rate: str, share: float, where: str) -> list[str]:
    """Return the line that says whether any step implies more than the GPU's peak.

    Parameters
    ----------
    rate
        A key of `RATES`.
    share
        Largest rate any step implies, as a share of the peak.
    where
        The step.
    """
    check = f"no step implies a {RATES[rate]} above the GPU's peak"
    return check_line(title, check, share <= 1 + PEAK_SLACK, f"{share * 100:.1f} % of the peak ({where})")


def _shown(value: object) -> str:
    return "not set" if value is None else str(value)


def preconditions(report: Report) -> str:
    """Return what was checked about experiments, models and options before anything ran."""
    points = sum(len(experiment.load_points) for experiment in report.experiments)
    return (
        f"{counted(len(report.experiments), 'experiment')} with {counted(points, 'load point')}: source, "
        "units and means are plausible and consistent, models and GPUs described, every option known"
    )


def audit_table(report: Report, names: Mapping[str, str]) -> str:
    """Return what was checked on the finished runs, one line per method and check.

    Parameters
    ----------
    names
        What readers call the experiments.
    """
    rows = [row for method in report.methods for row in _method_audit(method, names)]
    return table(["Method", "Check", "Result", "Observed"], rows, left=4)


def _method_audit(report: MethodReport, names: Mapping[str, str]) -> list[list[str]]:
    title = report.title
    done = [row for row in report.rows if row["status"] == RowStatus.OK]
    complete, observed = len(done) == len(report.rows), f"{len(done)} of {len(report.rows)}"
    lines = [check_line(title, "every run of the matrix has a number", complete, observed)]
    inside = "the chosen value lies inside the range that was searched"
    for searches in by_sweep(report.searches).values():
        worst = next((search for search in searches if search.is_at_edge), searches[-1])
        lines.append(check_line(title, inside, not worst.is_at_edge, f"{worst.place}{worst.range_text}"))
    priced = [row for row in done if "peak_shares" in row]
    for rate in RATES if priced else ():
        worst = max(priced, key=lambda row: (row["peak_shares"][rate], row["experiment"], row["arm"]))
        lines.append(
            peak_line(title, rate, worst["peak_shares"][rate], f"{names[worst['experiment']]}, {worst['arm']}")
        )
    return lines


OPTION = "overhead"


def overhead_table(project: Project, experiments: Sequence[Experiment], arms: Sequence[Arm]) -> str:
    """Return us per step, and on top per prefill request of a pure and of a mixed step, for every arm that has any.

    Empty where no arm has an overhead.
    """
    described = [(arm.name, arm.steptime) for arm in arms if _has_overhead(arm)]
    if not described:
        return ""
    header = ["Model", "Layers", "TP"]
    for name, _ in described:
        header += [f"{name}: per step [us]", "per prefill request [us]", "the same in a mixed step [us]"]
    rows = []
    for identifier, tensor_parallel in dict.fromkeys(
        (experiment.model, experiment.tensor_parallel) for experiment in experiments
    ):
        model = project.model(identifier)
        cells = [f"`{identifier}`", str(model.num_hidden_layers), str(tensor_parallel)]
        for _, options in described:
            assert isinstance(options, MfuRooflineOptions), "checked by _has_overhead"
            cells += [f"{value:,.0f}" for value in overhead_parts_us(options, model, tensor_parallel)]
        rows.append(cells)
    return table(header, rows)


def overhead_note(arms: Sequence[Arm]) -> str:
    """Return what the table of overheads assumes where one grows with new tokens; empty where none does."""
    rules = (arm.own.overhead for arm in arms if isinstance(arm.own, MfuRooflineOptions))
    grows = any(isinstance(rule, CurvedOverhead) and rule.of in TOKEN_CURVES for rule in rules)
    return "; where it grows with new tokens, this is with one per request" if grows else ""


def overhead_parts_us(options: MfuRooflineOptions, model: Model, tensor_parallel: int) -> tuple[float, float, float]:
    """Return us per step, and us a prefill request adds alone and beside a decode; at one token."""
    overhead = build_overhead(options.overhead, model.num_hidden_layers, tensor_parallel)
    step = overhead(0, 1, 1)
    return step, overhead(1, 0, 1) - step, overhead(1, 1, 2) - step


def _has_overhead(arm: Arm) -> bool:
    return isinstance(arm.own, MfuRooflineOptions) and not isinstance(arm.own.overhead, NoOverhead)


@dataclass(frozen=True)
class ReportScope:
    """Operating point of one report, ready to print."""

    hardware: str
    peaks: str
    models: str
    tensor_parallel: str
    workloads: str
    load_points: str
    ground_truth: str
    ground_truth_in_short: str
    seeds: str
    bootstrap: str
    statistics: str
    held_out: str
    data_date: str
    assumed: tuple[str, ...]
    flags: tuple[str, ...]
    runs: int


def scope_of(project: Project, report: Report) -> ReportScope:
    """Describe what was run."""
    experiments = report.experiments
    settings = project.settings
    return ReportScope(
        hardware=_listed(project.hardware(experiment.hardware).name for experiment in experiments),
        peaks=_listed(_peaks(project.hardware(experiment.hardware)) for experiment in experiments),
        models=_listed(f"`{experiment.model}`" for experiment in experiments),
        tensor_parallel=_listed(str(experiment.tensor_parallel) for experiment in experiments),
        workloads=_listed(experiment.workload.name for experiment in experiments),
        load_points=_listed(point.id for experiment in experiments for point in experiment.load_points),
        ground_truth=" ".join(_sources(experiments)),
        ground_truth_in_short=_first_source(experiments),
        seeds=seeds_in_words(report, settings),
        bootstrap=(
            f"{settings.bootstrap.level_pct:g} % percentile bootstrap intervals over model families "
            f"({settings.bootstrap.resamples} resamples)"
        ),
        statistics=_statistics(settings),
        held_out=_held_out(report),
        data_date=_dates(experiments),
        assumed=tuple(_assumptions(experiments)),
        flags=flag_lines((*experiments, *report.extra_experiments)),
        runs=len(report.methods) * len(report.spec.arms) * len(experiments),
    )


def seeds_in_words(report: Report, settings: Settings) -> str:
    """Return every seed with what it decides; nothing else in a run is random."""
    experiments = (*report.experiments, *report.extra_experiments)
    drawn = [point for experiment in experiments for point in experiment.load_points if _draws(experiment, point)]
    bootstrap = f"bootstrap {settings.seeds.bootstrap}, permutations {settings.seeds.permutation}"
    if not drawn:
        return f"{bootstrap}; requests are recorded or regenerated, the simulation draws nothing at random"
    arrivals = settings.arrivals
    points = sum(len(experiment.load_points) for experiment in experiments)
    return (
        f"{bootstrap}; arrivals {', '.join(map(str, arrivals.seeds))}: at {len(drawn)} of "
        f"{points} load points the gaps between requests were not recorded and are drawn, as many sequences as make up "
        f"{arrivals.requests} requests, the same for every arm; a "
        "prediction is their mean. Near saturation other draws give other values, 99th percentiles of TTFT above all; "
        "nothing else is drawn"
    )


def _draws(experiment: Experiment, point: LoadPoint) -> bool:
    return point.draws_arrivals and not experiment.measured_requests(point.id)


def _statistics(settings: Settings) -> str:
    level = settings.bootstrap.level_pct
    return (
        f"Interval: {level:g} % percentile bootstrap; the cluster that is drawn is the {CLUSTER}, or the experiment "
        f"where there is only one family; fewer than {fewest_units(level)} have no interval, because its ends would be "
        "single ones of them at any level; two groups are drawn each for itself. p: two-sided permutation test over "
        "experiments of whether the value is the threshold (signs of differences from it, labels of groups; load "
        "points of one experiment move together), exact unless marked as drawn. "
        f"Told from the threshold: the interval excludes it and p is at most {(100 - level) / 100:g}; a criterion that "
        "passes without that is undecided. Experiments "
        "needed: n = ((z(1 - α/2) + z(power)) · s / effect)², for two groups n per group with s² = s₁² + s₂², at power "
        f"{settings.testing.power:g} and for the effect the criterion claims, or the observed one where it claims a "
        "mere direction. Median and trimmed mean decide nothing"
    )


def _held_out(report: Report) -> str:
    split = report.spec.split
    if report.spec.cross_validation is not None:
        return cross_validated(report)
    if split is None:
        return "No experiment was held out; nothing was fitted."
    shared = split.families_on_both_sides(report.experiments)
    text = f"{counted(len(split.train), 'experiment')} chose, {counted(len(split.test), 'other')} judge."
    if shared:
        text += f" The test is not independent: {', '.join(shared)} are on both sides. {split.shared_families}"
    return text


def cross_validated(report: Report) -> str:
    """Say how the experiments of a cross-validated hypothesis were dealt."""
    dealt = report.spec.cross_validation
    assert dealt is not None, "only asked where experiments are dealt into folds"
    what = "single experiments" if dealt.shared_families else "whole model families"
    reason = f" {dealt.shared_families}" if dealt.shared_families else ""
    return (
        f"{len(report.experiments)} experiments in {dealt.fold_count} folds, {what} dealt in the order of the set: "
        f"each is judged with the values that the other folds chose, none with what it chose itself.{reason}"
    )


def _peaks(hardware: Hardware) -> str:
    flops, bandwidth = hardware.dense_bf16_tflops, hardware.memory_bandwidth_tbs
    return f"{hardware.id}: {flops.value:g} {flops.unit} dense BF16, {bandwidth.value:g} {bandwidth.unit}"


def _listed(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def _dates(experiments: Sequence[Experiment]) -> str:
    measured = sorted({experiment.date for experiment in experiments if experiment.date})
    published = [experiment.source.date for experiment in experiments if experiment.source.date]
    span = " to ".join(dict.fromkeys(map(str, (*measured[:1], *measured[-1:]))))
    unknown = "" if all(experiment.date for experiment in experiments) else "not known"
    days = ", others ".join(filter(None, (span, unknown)))
    return f"{days} (published {max(published)})" if published else days


def _sources(experiments: Iterable[Experiment]) -> list[str]:
    parts = dict.fromkeys(
        f"{experiment.source.document} ({experiment.source.date or 'day not known'}); "
        f"measured by {experiment.tool} on the {experiment.side} side"
        for experiment in experiments
    )
    return [f"{part}." for part in parts]


def _first_source(experiments: Iterable[Experiment]) -> str:
    first, *more = _sources(experiments)
    return f"{first} {counted(len(more), 'more source')}: [DETAILS.md](DETAILS.md)." if more else first


def _assumptions(experiments: Sequence[Experiment]) -> Iterator[str]:
    """Yield every assumption once, with the experiments it was made for."""
    by_text: dict[str, list[str]] = {}
    for experiment in experiments:
        for text, place in _assumed_of(experiment):
            by_text.setdefault(text, []).append(place)
    for text, names in by_text.items():
        everywhere = names == [experiment.id for experiment in experiments]
        yield f"{text} ({'all experiments' if everywhere else ', '.join(names)})"


def _assumed_of(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield what was assumed, and of what: the experiment, or one of several load points."""
    assumed = experiment.server.assumed
    if assumed.token_budget is not None:
        yield f"token budget: {assumed.token_budget} tokens per step", experiment.id
    if assumed.prefix_caching is not None:
        yield f"prefix caching: {'on' if assumed.prefix_caching else 'off'}", experiment.id
    if assumed.client_offset_ms is not None:
        yield f"time between client and engine: {assumed.client_offset_ms:g} ms", experiment.id
    if experiment.workload.note:
        yield f"request lengths: {experiment.workload.note}", experiment.id
    for point in experiment.load_points:
        place = experiment.id if len(experiment.load_points) == 1 else f"{experiment.id}/{point.id}"
        shortest = sum(request.prompt_tokens == 1 for request in experiment.completed_workload(point.id).requests)
        if shortest:
            yield (
                (
                    f"{shortest} of {point.requests.completed} prompts are empty after the tokens the client takes "
                    "off; each is simulated as one token, the least a server can prefill"
                ),
                place,
            )
        if point.requests.lost_positions:
            yield (
                f"{point.requests.completed} of {counted(point.requests.sent, 'request')} completed. "
                f"{point.requests.basis}",
                place,
            )
