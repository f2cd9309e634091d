"""What a report covers, generated from its run matrix: models, hardware, load points, assumptions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from roofline_lab.config import Settings
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.quality import flag_lines
from roofline_lab.ground_truth.reading import Experiment
from roofline_lab.project import Project
from roofline_lab.report.findings import Report
from roofline_lab.scoring.uncertainty import CLUSTER
from simulator.hardware import Hardware


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
        ground_truth=_sources(experiments),
        seeds=seeds_in_words(report, settings),
        bootstrap=(
            f"{settings.bootstrap.level_pct:g} % percentile bootstrap intervals over model families "
            f"({settings.bootstrap.resamples} resamples)"
        ),
        statistics=_statistics(settings),
        held_out=_held_out(report),
        data_date=_dates(experiments),
        assumed=tuple(_assumptions(experiments)),
        flags=flag_lines((*experiments, *report.beyond)),
        runs=len(report.methods) * len(report.spec.arms) * len(experiments),
    )


def seeds_in_words(report: Report, settings: Settings) -> str:
    """Return every seed with what it decides; nothing else in a run is random."""
    experiments = (*report.experiments, *report.beyond)
    drawn = [point for experiment in experiments for point in experiment.load_points if _draws(experiment, point)]
    bootstrap = f"bootstrap {settings.seeds.bootstrap}, permutations {settings.seeds.permutation}"
    if not drawn:
        return f"{bootstrap}; requests are recorded or regenerated, the simulation draws nothing at random"
    arrivals = settings.arrivals
    return (
        f"{bootstrap}; arrivals {', '.join(map(str, arrivals.seeds))}: at {len(drawn)} of "
        f"{sum(len(one.load_points) for one in experiments)} load points the gaps between requests were not recorded "
        f"and are drawn, as many sequences as make up {arrivals.requests} requests, the same for every arm; a "
        "prediction is their mean. Near saturation other draws give other values, 99th percentiles of TTFT above all; "
        "nothing else is drawn"
    )


def _draws(experiment: Experiment, point: LoadPoint) -> bool:
    return point.draws_arrivals and not experiment.measured_requests(point.id)


def _statistics(settings: Settings) -> str:
    level = settings.bootstrap.level_pct
    return (
        f"Interval: {level:g} % percentile bootstrap; the cluster that is drawn is the {CLUSTER}, or the experiment "
        "where there is only one family; a single experiment has no interval. p: two-sided permutation test over "
        "experiments (signs of paired differences, labels of groups; load points of one experiment move together), "
        "exact unless marked as drawn. "
        f"Distinguishable from zero: the interval excludes zero and p is at most {(100 - level) / 100:g}. Experiments "
        "needed: n = ((z(1 - α/2) + z(power)) · s / effect)², for two groups n per group with s² = s₁² + s₂², at power "
        f"{settings.testing.power:g} and for the effect the criterion claims, or the observed one where it claims a "
        "mere direction. Median and trimmed mean decide nothing"
    )


def _held_out(report: Report) -> str:
    split = report.spec.split
    if split is None:
        return "No experiment was held out; nothing was fitted."
    shared = split.families_on_both_sides(report.experiments)
    text = f"{len(split.train)} experiments chose, {len(split.test)} others judge."
    if shared:
        text += f" The test is not independent: {', '.join(shared)} are on both sides. {split.shared_families}"
    return text


def _peaks(hardware: Hardware) -> str:
    flops, bandwidth = hardware.dense_bf16_tflops, hardware.memory_bandwidth_tbs
    return f"{hardware.id}: {flops.value:g} {flops.unit} dense BF16, {bandwidth.value:g} {bandwidth.unit}"


def _listed(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def _dates(experiments: Sequence[Experiment]) -> str:
    measured = sorted(experiment.date for experiment in experiments)
    published = max(experiment.source.date for experiment in experiments)
    span = str(measured[0]) if measured[0] == measured[-1] else f"{measured[0]} to {measured[-1]}"
    return f"{span} (published {published})"


def _sources(experiments: Iterable[Experiment]) -> str:
    parts = dict.fromkeys(
        f"{experiment.source.document} ({experiment.source.date}); "
        f"measured by {experiment.tool} on the {experiment.side} side"
        for experiment in experiments
    )
    return " ".join(f"{part}." for part in parts)


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
                f"{point.requests.completed} of {point.requests.sent} requests completed. {point.requests.basis}",
                place,
            )
