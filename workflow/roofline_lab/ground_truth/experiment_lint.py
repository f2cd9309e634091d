"""Pitfalls that a measured experiment shows in its own figures and requests, whatever read or wrote it.

Contract: `seen_in` looks at one experiment, `seen_among` at one beside others; both are pure and yield quality flags by
the checks of `lint`. `unflagged` leaves what the experiment's flags do not say yet. Importing adds that to the flags;
`roofline-lab lint` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from statistics import fmean

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.metrics import LATENCIES
from roofline_lab.ground_truth.quality import Finding, Flag, QualityFlag, Treatment
from roofline_lab.ground_truth.requests import MeasuredRequest
from simulator.workload.arrivals import ClosedLoop
from simulator.workload.lengths import ConstantLengths

# How far the mean over recorded requests may lie from the mean that is written down: clients differ
# in the last token by less than this. Two runs of one configuration may differ by as much again.
SAME_MEAN = 0.02
SAME_CONFIGURATION = 0.05

# Arrivals that leave no room for chance.
EVEN_ARRIVALS = ("constant_interval", "constant_rate")


def seen_in(experiment: Experiment) -> Iterator[QualityFlag]:
    """Yield what one experiment shows by itself.

    Raises
    ------
    ConfigError
        If its file of requests cannot be read.
    """
    for point in experiment.load_points:
        requests = experiment.measured_requests(point.id)
        for finding in (*_of_figures(point), *_of_requests(point, requests), _in_step(experiment, point, requests)):
            if finding is not None:
                yield finding.quality(_treatment(finding.flag, requests), (point.id,))
    cold = _cold_first_stage(experiment.load_points)
    if cold is not None:
        yield cold.quality("noted", (experiment.load_points[0].id,))
    recorded = experiment.recorded()
    repeat = lint.prompts_repeat([request.prompt_tokens for request in recorded])
    if repeat is not None:
        yield repeat.quality(_treatment(repeat.flag, recorded))


def seen_among(experiment: Experiment, others: Iterable[Experiment], *, newest: bool = False) -> Iterator[QualityFlag]:
    """Yield what an experiment shows beside others: copies of their figures, contradictions to them.

    Of two runs with the same figures only the later one is the copy: `newest` says that this one is added to the
    others, else it is the one with the later date, or of one day the later id, unless the other is flagged already.
    """
    for other in sorted(others, key=lambda other: other.id):
        if other.id == experiment.id:
            continue
        if _begin_alike(experiment, other) and lint.copy_of_another_run(
            {run.id: _latencies(run) for run in (other, experiment)}
        ):
            if newest or _is_later(experiment, other):
                text = (
                    f"Every latency equals that of {other.id}, as printed; two measurements never agree in all digits."
                )
                yield Finding(Flag.COPY_OF_ANOTHER_RUN, text).quality("noted")
        elif _configuration(experiment) == _configuration(other):
            yield from _contradictions(experiment, other)


def unflagged(experiment: Experiment, seen: Iterable[QualityFlag]) -> list[QualityFlag]:
    """Return what the experiment's flags do not name for the load points concerned."""
    points = tuple(point.id for point in experiment.load_points)
    said = {point: {flag.flag for flag in experiment.flags_of(point)} for point in points}
    return [flag for flag in seen if not all(flag.flag in said[point] for point in flag.load_points or points)]


def _is_later(experiment: Experiment, other: Experiment) -> bool:
    said = [any(flag.flag is Flag.COPY_OF_ANOTHER_RUN for flag in run.quality) for run in (experiment, other)]
    if said[0] != said[1]:
        return said[0]
    return (experiment.date or date.max, experiment.id) > (other.date or date.max, other.id)


def _of_figures(point: LoadPoint) -> Iterator[Finding | None]:
    counts = point.requests
    # Requests that are known by position are explained; what is left out of a simulation is left out of the figures.
    if counts.lost_positions == "unknown":
        yield lint.part_of_the_run(counted=counts.completed, sent=counts.sent, failed=counts.failed or 0)
    completed = point.measured.get("request_throughput")
    if completed is not None and point.arrivals.kind in EVEN_ARRIVALS:
        # Evenly spaced, n requests take n - 1 intervals.
        intervals_per_s = completed.value * (counts.completed - 1) / counts.completed
        yield lint.arrivals_irregular(requested_per_s=_requested_per_s(point), completed_per_s=intervals_per_s)


def _of_requests(point: LoadPoint, requests: Sequence[MeasuredRequest]) -> Iterator[Finding | None]:
    done = [request for request in requests if request.completed]
    ttft = [request.ttft_ms for request in done if request.ttft_ms is not None]
    timed = [(request.output_tokens, request.e2e_ms) for request in done if request.e2e_ms is not None]
    yield lint.cold_start(ttft)
    yield lint.lengths_unrelated_to_time([tokens for tokens, _ in timed], [e2e for _, e2e in timed])
    if point.arrivals.kind in EVEN_ARRIVALS:
        yield lint.constant_is_poisson([request.arrival_us for request in requests])
    if point.saturation is None or point.saturation.state != "saturated":
        yield lint.queue_grows(ttft)
    # Means that are not those of the recorded requests.
    columns = {"ttft_mean": ttft, "e2e_mean": [e2e for _, e2e in timed]}
    stated = {name: point.measured[name].value for name in columns if name in point.measured}
    recorded = {name: fmean(values) for name, values in columns.items() if values and len(values) == len(done)}
    yield lint.figures_contradict(stated, recorded, SAME_MEAN)


def _in_step(experiment: Experiment, point: LoadPoint, requests: Sequence[MeasuredRequest]) -> Finding | None:
    """Find a closed loop whose answers all have one length, so that nothing pulls its requests apart."""
    loop = point.arrivals
    lengths = {request.output_tokens for request in requests}
    one_length = len(lengths) == 1 if lengths else isinstance(experiment.workload.output, ConstantLengths)
    if not isinstance(loop, ClosedLoop) or not one_length or loop.ramp_s or point.requests.sent <= loop.concurrency:
        return None
    if loop.concurrency < 2:
        return None
    return Finding(
        Flag.LOCK_STEP,
        f"Answers of one length keep all {loop.concurrency} requests in flight in step for ever: the mean TTFT that is "
        "predicted lies 2 to 10 times above that of a loop whose clients are spread. An evaluation gives both ends; "
        "lengths with their scatter (workload.output), or clients that start over a time (arrivals.ramp_s), decide.",
    )


def _cold_first_stage(points: Sequence[LoadPoint]) -> Finding | None:
    """Find a first stage whose tail is longer than that of the second, if that is busier."""
    if len(points) < 2:
        return None
    first, later = points[:2]
    rates = [_requested_per_s(point) for point in (first, later)]
    if rates[0] is None or rates[1] is None or rates[0] >= rates[1]:
        return None
    if not all(name in point.measured for point in (first, later) for name in ("ttft_p90", "ttft_p99")):
        return None
    p90 = (first.measured["ttft_p90"].value, later.measured["ttft_p90"].value)
    p99 = (first.measured["ttft_p99"].value, later.measured["ttft_p99"].value)
    return lint.cold_first_stage(p90=p90, p99=p99, later=later.id)


def _requested_per_s(point: LoadPoint) -> float | None:
    return point.rate.requested_per_s if point.rate else None


def _treatment(flag: Flag, requests: Sequence[MeasuredRequest]) -> Treatment:
    """Say what a replay of the recorded requests repeats as it was."""
    pooled = any(request.prefix_group is not None for request in requests)
    repeated = flag is Flag.CONSTANT_IS_POISSON or (flag is Flag.PROMPTS_REPEAT and pooled)
    return "corrected" if repeated else "noted"


def _begin_alike(one: Experiment, other: Experiment) -> bool:
    """Whether the first latency both measured at their first load points is the same; that of nearly no two runs is."""
    first, second = (run.load_points[0].measured for run in (one, other))
    shared = (name for name in first if name in second and name.rpartition("_")[0] in LATENCIES)
    name = next(shared, None)
    return name is None or abs(first[name].value - second[name].value) <= lint.PRINTED_AGAIN * first[name].value


def _latencies(experiment: Experiment) -> dict[str, float]:
    return {
        f"{position} {name}": metric.value
        for position, point in enumerate(experiment.load_points)
        for name, metric in sorted(point.measured.items())
        if name.rpartition("_")[0] in LATENCIES
    }


def _configuration(experiment: Experiment) -> tuple[object, ...]:
    """Return what a repeated measurement has in common with the first one."""
    return (
        *(experiment.model, experiment.hardware, experiment.parallelism, experiment.date, experiment.tool),
        experiment.server.settings.kv_cache_dtype or "auto",
        *(experiment.workload.prompt, experiment.workload.output, experiment.workload.prefix),
    )


def _contradictions(experiment: Experiment, other: Experiment) -> Iterator[QualityFlag]:
    for point in experiment.load_points:
        for twin in other.load_points:
            if (point.arrivals, point.requests.sent) != (twin.arrivals, twin.requests.sent):
                continue
            finding = lint.figures_contradict(_means(point), _means(twin), SAME_CONFIGURATION)
            if finding is not None:
                text = f"{other.id} has the same configuration. {finding.text}"
                yield Finding(finding.flag, text).quality("noted", (point.id,))


def _means(point: LoadPoint) -> dict[str, float]:
    return {name: metric.value for name, metric in point.measured.items() if name.endswith("_mean")}
