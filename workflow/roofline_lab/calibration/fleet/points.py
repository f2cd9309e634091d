"""The load points a fleet calibration is fitted to: their steps, what their servers are like, and what was measured.

Contract: `fleet_points` gives one `FleetPoint` per load point of some sets, saturated ones included, which have no
place in a fit; points that their source calls wrong are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from roofline_lab.calibration.fleet.steps import LoadPointSteps, weighted_steps
from roofline_lab.calibration.fleet.terms import PeakTimes, times_at_peak
from roofline_lab.calibration.plan import experiments_in
from roofline_lab.calibration.points import SOURCE, what_ran
from roofline_lab.config import RandomArrivals
from roofline_lab.ground_truth.assumed_server import served
from roofline_lab.ground_truth.deployment import Ran
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import ClosedLoop
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.server import vllm_version
from roofline_lab.load_point import Target, measured_server
from simulator.hardware import Hardware
from simulator.model import Model
from simulator.steptime.fleet import Conditions, conditions_of
from simulator.trust.distance import kind_of, precision_of

# Figures of a closed loop, in the order in which all tables of this room have them.
METRICS = ("ttft_mean", "tpot_mean")
# The lengths a loop sends are drawn with this seed where the client's own are not known.
ARRIVALS = RandomArrivals(seeds=(0,), requests=1)


@dataclass(frozen=True, slots=True)
class FleetPoint:
    """One load point.

    Attributes
    ----------
    measured_ms
        Mean TTFT and mean time per token; 0 where it was not measured.
    times
        Its steps in either figure at peak rates.
    """

    target: Target
    conditions: Conditions
    saturated: bool
    measured_ms: tuple[float, float]
    times: tuple[PeakTimes, PeakTimes]
    prompt_tokens: float
    output_tokens: float

    @property
    def experiment(self) -> str:
        """Its server configuration."""
        return self.target.experiment.id

    @property
    def concurrency(self) -> int:
        """Requests in flight."""
        arrivals = self.target.load_point.arrivals
        return arrivals.concurrency if isinstance(arrivals, ClosedLoop) else 1

    @property
    def kind(self) -> str:
        """Dense, mixture of experts or latent attention."""
        return kind_of(self.target.model)

    @property
    def precision(self) -> str:
        """How most weights are stored."""
        return precision_of(self.target.model)

    @property
    def cell(self) -> str:
        """Model, GPU and precision."""
        return cell_of(self.target.experiment, self.target.model)


def cell_of(ran: Ran, model: Model) -> str:
    """Return the cell of a server, as `held_out` of a calibration names it."""
    return f"{ran.model}/{ran.hardware}/{precision_of(model)}"


def conditions_at(ran: Ran, model: Model, hardware: Hardware, *, schedule_ahead: bool) -> Conditions:
    """Return what effects may ask of a measured or described server."""
    settings = ran.server.settings
    return conditions_of(
        model,
        hardware,
        schedule_ahead=schedule_ahead,
        software=vllm_version(settings.software),
        graph_mode=settings.cuda_graph_mode,
        graph_tokens=settings.cuda_graph_tokens,
        site=ran.site,
    )


def fleet_points(root: Path, sets: Iterable[str], only: str | None = None) -> tuple[FleetPoint, ...]:
    """Return the load points of some sets, every experiment once, or those of one experiment."""
    experiments = {experiment.id: experiment for experiment in experiments_in(root, tuple(sets))}
    targets = (
        Target(experiment, point, *served_by(root, experiment), ARRIVALS)
        for experiment in experiments.values()
        if only in (None, experiment.id)
        for point in experiment.load_points
        if not any(flag.flag is Flag.FIGURES_CONTRADICT for flag in experiment.flags_of(point.id))
    )
    return tuple(map(fleet_point, targets))


def served_by(root: Path, experiment: Experiment) -> tuple[Model, Hardware]:
    """Return model and GPU of an experiment of the project, the model as its server kept it."""
    model, hardware = what_ran(root, experiment)
    return served(experiment, model, hardware), hardware


def fleet_point(target: Target) -> FleetPoint:
    """Return a load point with its steps."""
    experiment, model, hardware, point = target.experiment, target.model, target.hardware, target.load_point
    engine = measured_server(experiment, model, hardware, {}, SOURCE)
    (replay,) = target.replays()
    found: LoadPointSteps = weighted_steps(replay, engine)
    conditions = conditions_at(experiment, model, hardware, schedule_ahead=engine.schedule_ahead)
    parallel = experiment.parallelism
    first, between = (
        times_at_peak(
            steps,
            model,
            hardware,
            parallel,
            graph_tokens=conditions.graph_tokens,
            schedule_ahead=conditions.schedule_ahead,
        )
        for steps in (found.ttft, found.per_token)
    )
    requests = replay.workload.requests
    measured = {name: figure.value for name, figure in point.measured.items()}
    return FleetPoint(
        target=target,
        conditions=conditions,
        saturated=bool(point.saturated),
        measured_ms=(measured.get(METRICS[0], 0.0), measured.get(METRICS[1], 0.0)),
        times=(first, between),
        prompt_tokens=found.prompt_tokens,
        output_tokens=sum(request.output_tokens for request in requests) / len(requests),
    )
