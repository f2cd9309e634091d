"""Pitfalls that a measured experiment shows in its own figures and requests, whatever read or wrote it.

Contract: `seen_in` looks at one experiment, `seen_among` at one beside others; both are pure and use
the checks of `lint`. `unflagged` leaves what the experiment's quality flags do not say
yet. Importing adds that to the flags; `roofline-lab lint` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.metrics import LATENCIES
from roofline_lab.ground_truth.quality import Finding, Flag, QualityFlag, Treatment
from roofline_lab.ground_truth.requests import MeasuredRequest

# How far the mean over recorded requests may lie from the mean that is written down: clients differ
# in the last token by less than this. Two runs of one configuration may differ by as much again.
SAME_MEAN = 0.02
SAME_CONFIGURATION = 0.05

# Arrivals that leave no room for chance.
EVEN_ARRIVALS = ("constant_interval", "constant_rate")


@dataclass(frozen=True, slots=True)
class Seen:
    """One pitfall of an experiment.

    Attributes
    ----------
    finding
        What was found.
    treatment
        Whether figures and workload, as written down, are free of it.
    load_points
        Where; none means everywhere.
    """

    finding: Finding
    treatment: Treatment
    load_points: tuple[str, ...] = ()

    def quality(self) -> QualityFlag:
        """Return it as a flag of the experiment."""
        return self.finding.quality(self.treatment, self.load_points)


def seen_in(experiment: Experiment) -> Iterator[Seen]:
    """Yield what one experiment shows by itself.

    Raises
    ------
    ConfigError
        If its file of requests cannot be read.
    """
    for point in experiment.load_points:
        requests = experiment.measured_requests(point.id)
        for finding in (*_of_figures(point), *_of_requests(point, requests)):
            yield Seen(finding, _treatment(finding.flag, requests), (point.id,))
    yield from _over_stages(experiment)
    recorded = experiment.recorded()
    repeat = lint.prompts_repeat([request.prompt_tokens for request in recorded]) if recorded else None
    if repeat is not None:
        yield Seen(repeat, _treatment(repeat.flag, recorded))


def seen_among(experiment: Experiment, others: Iterable[Experiment], *, newest: bool = False) -> Iterator[Seen]:
    """Yield what an experiment shows beside others: copies of their figures, contradictions to them.

    Of two runs with the same figures only the later one is the copy: `newest` says that this one is added to the
    others, else it is the one with the later date, or of one day the later id, unless the other is flagged already.
    """
    for other in sorted(others, key=lambda one: one.id):
        if other.id == experiment.id:
            continue
        runs = {one.id: _latencies(one) for one in (other, experiment)}
        if lint.copy_of_another_run(runs):
            if not newest and not _is_later(experiment, other):
                continue
            text = f"Every latency equals that of {other.id}, as printed; two measurements never agree in all digits."
            yield Seen(Finding(Flag.COPY_OF_ANOTHER_RUN, text), "noted")
        elif _configuration(experiment) == _configuration(other):
            yield from _contradictions(experiment, other)


def _is_later(experiment: Experiment, other: Experiment) -> bool:
    said = [any(flag.flag is Flag.COPY_OF_ANOTHER_RUN for flag in one.quality) for one in (experiment, other)]
    if said[0] != said[1]:
        return said[0]
    return (experiment.date, experiment.id) > (other.date, other.id)


def unflagged(experiment: Experiment, seen: Iterable[Seen]) -> list[Seen]:
    """Return what the experiment's flags do not name for the load points concerned."""
    missing = []
    for one in seen:
        points = one.load_points or tuple(point.id for point in experiment.load_points)
        if not all(any(flag.flag is one.finding.flag for flag in experiment.flags_of(point)) for point in points):
            missing.append(one)
    return missing


def _of_figures(point: LoadPoint) -> Iterator[Finding]:
    counts = point.requests
    # Requests that are known by position are explained; what is left out of a simulation is left out of the figures.
    if counts.lost_positions == "unknown":
        part = lint.part_of_the_run(counted=counts.completed, sent=counts.sent, failed=counts.failed or 0)
        yield from _present(part)
    rate = point.rate.requested_per_s if point.rate else None
    completed = point.measured.get("request_throughput")
    if completed is not None and point.arrivals.kind in EVEN_ARRIVALS:
        # Evenly spaced, n requests take n - 1 intervals.
        intervals_per_s = completed.value * (counts.completed - 1) / counts.completed
        yield from _present(lint.arrivals_irregular(requested_per_s=rate, completed_per_s=intervals_per_s))


def _of_requests(point: LoadPoint, requests: Sequence[MeasuredRequest]) -> Iterator[Finding]:
    done = [request for request in requests if request.completed]
    ttft = [request.ttft_ms for request in done if request.ttft_ms is not None]
    timed = [(request.output_tokens, request.e2e_ms) for request in done if request.e2e_ms is not None]
    yield from _present(lint.cold_start(ttft))
    yield from _present(lint.lengths_unrelated_to_time([tokens for tokens, _ in timed], [e2e for _, e2e in timed]))
    if point.arrivals.kind in EVEN_ARRIVALS:
        yield from _present(lint.constant_is_poisson([request.arrival_us for request in requests]))
    if point.saturation is None or point.saturation.state != "saturated":
        yield from _present(lint.queue_grows(ttft))
    yield from _present(_mean_of_others(point, done))


def _mean_of_others(point: LoadPoint, done: Sequence[MeasuredRequest]) -> Finding | None:
    """Find means that are not those of the recorded requests."""
    columns = {
        "ttft_mean": [request.ttft_ms for request in done if request.ttft_ms is not None],
        "e2e_mean": [request.e2e_ms for request in done if request.e2e_ms is not None],
    }
    stated = {name: point.measured[name].value for name in columns if name in point.measured}
    recorded = {name: fmean(values) for name, values in columns.items() if values and len(values) == len(done)}
    return lint.figures_contradict(stated, recorded, SAME_MEAN)


def _over_stages(experiment: Experiment) -> Iterator[Seen]:
    """Yield a first stage whose tail is longer than that of a later, busier one."""
    for first, later in pairwise(experiment.load_points):
        tails = [point.measured.get("ttft_p99") for point in (first, later)]
        bulks = [point.measured.get("ttft_p90") for point in (first, later)]
        rates = [point.rate.requested_per_s if point.rate else None for point in (first, later)]
        if first is not experiment.load_points[0] or None in rates or (rates[0] or 0.0) >= (rates[1] or 0.0):
            continue
        if tails[0] and tails[1] and bulks[0] and bulks[1]:
            finding = lint.cold_first_stage(
                p90=(bulks[0].value, bulks[1].value), p99=(tails[0].value, tails[1].value), later=later.id
            )
            yield from (Seen(one, "noted", (first.id,)) for one in _present(finding))


def _treatment(flag: Flag, requests: Sequence[MeasuredRequest]) -> Treatment:
    """Say what a replay of the recorded requests repeats as it was."""
    pooled = any(request.prefix_group is not None for request in requests)
    repeated = flag is Flag.CONSTANT_IS_POISSON or (flag is Flag.PROMPTS_REPEAT and pooled)
    return "corrected" if repeated else "noted"


def _latencies(experiment: Experiment) -> dict[str, float]:
    return {
        f"{position} {name}": figure.value
        for position, point in enumerate(experiment.load_points)
        for name, figure in sorted(point.measured.items())
        if name.rpartition("_")[0] in LATENCIES
    }


def _configuration(experiment: Experiment) -> tuple[object, ...]:
    """Return what a repeated measurement has in common with the first one."""
    return (
        *(experiment.model, experiment.hardware, experiment.tensor_parallel, experiment.date, experiment.tool),
        *(experiment.workload.prompt, experiment.workload.output, experiment.workload.prefix),
    )


def _contradictions(experiment: Experiment, other: Experiment) -> Iterator[Seen]:
    for point in experiment.load_points:
        for twin in other.load_points:
            if (point.arrivals, point.requests.sent) != (twin.arrivals, twin.requests.sent):
                continue
            finding = lint.figures_contradict(_means(point), _means(twin), SAME_CONFIGURATION)
            if finding is not None:
                named = Finding(finding.flag, f"{other.id} has the same configuration. {finding.text}")
                yield Seen(named, "noted", (point.id,))


def _means(point: LoadPoint) -> dict[str, float]:
    return {name: figure.value for name, figure in point.measured.items() if name.endswith("_mean")}


def _present(finding: Finding | None) -> list[Finding]:
    return [] if finding is None else [finding]
