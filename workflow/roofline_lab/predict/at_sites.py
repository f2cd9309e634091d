"""Time of client and host at a site that the fit does not know, estimated from one light load point.

Contract: `estimated` simulates the lightest load point of a site (or the one that is named) with a predictor and takes
for the client what the engine's mean TTFT and the client's time per prompt token leave of the measured one. `AtSites`
predicts every experiment of that site with it; the TTFT of the load point it was taken from is then no test.
What a predictor takes without an estimate, and how far off that may be, is said by `sites`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from roofline_lab.client_overhead import ClientTime
from roofline_lab.ground_truth.deployment import Ran
from roofline_lab.ground_truth.experiment import Replay
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.load_point import Prediction, Setup, Target, simulate
from roofline_lab.predict.fleet import FleetPredictor
from roofline_lab.predict.predictors import CalibratedPredictor, Flag, Holdout, Note, Predictor
from roofline_lab.predict.sites import LIGHTEST, US_PER_MS, site_of
from simulator.errors import ConfigError, RooflineLabError
from simulator.hardware import Hardware
from simulator.model import Model
from simulator.validation import suggest
from simulator.workload.arrivals import ClosedLoop

TTFT = "ttft_mean"
FITTED = "the client's time at {site} was fitted to, and a load point of it tells nothing better"


@dataclass(frozen=True, slots=True)
class SiteTime:
    """The client's time at a site, as one load point shows it.

    Attributes
    ----------
    place
        Experiment and load point it was taken from.
    left_ms
        What engine and prompt tokens leave of the measured TTFT; negative where they are predicted too slow alone.
    """

    site: str
    place: str
    client: ClientTime
    left_ms: float


@dataclass(frozen=True, slots=True)
class AtSites:
    """A predictor whose client takes the time that was estimated at each site."""

    predictor: Predictor
    times: Mapping[str, SiteTime]

    @property
    def name(self) -> str:
        """Label of the predictor."""
        return self.predictor.name

    @property
    def described(self) -> str:
        """What the predictor says of itself."""
        return self.predictor.described

    def holdout(self, experiment: Ran, model: Model) -> Holdout:
        """Return how much of a test a prediction is."""
        return self.predictor.holdout(experiment, model)

    def fitted_as(self, experiment: Ran, model: Model) -> str | None:
        """Return the family under which a model was fitted to, or None."""
        return self.predictor.fitted_as(experiment, model)

    def notes(self, experiment: Ran, model: Model, hardware: Hardware) -> tuple[Note, ...]:
        """Return the predictor's notes, with where the client's time comes from."""
        notes = self.predictor.notes(experiment, model, hardware)
        found = self.times.get(site_of(experiment))
        if found is None:
            return notes
        return (*(note for note in notes if note.flag is not Flag.SITE), Note(Flag.SITE_ESTIMATED, _words(found)))

    def setup(self, experiment: Ran, model: Model, hardware: Hardware) -> Setup:
        """Return steps and server of the predictor, and the client of the site."""
        setup = self.predictor.setup(experiment, model, hardware)
        found = self.times.get(site_of(experiment))
        return setup if found is None else replace(setup, client=found.client)

    def predict(self, target: Target, replays: Sequence[Replay] | None = None) -> Prediction:
        """Return one load point as simulated."""
        return simulate(target, self.setup(target.experiment, target.model, target.hardware), replays)

    def taken_from(self, target: Target) -> bool:
        """Whether a site's time was estimated from this load point."""
        return any(found.place == target.name for found in self.times.values())


def at_sites(predictor: Predictor, targets: Sequence[Target], wanted: str) -> AtSites:
    """Return a predictor with the client's time of sites estimated from their load points.

    Parameters
    ----------
    wanted
        `lightest` for every site that was not fitted to and that some load point can tell of, or EXPERIMENT/LOAD_POINT
        for its site alone.

    Raises
    ------
    ConfigError
        If the load point that is named is none of them, or cannot tell; if every site was fitted to.
    """
    usable = [target for target in targets if _refusal(target) is None]
    if wanted == LIGHTEST:
        fitted = [target for target in usable if _is_fitted(predictor, target)]
        if usable and len(fitted) == len(usable):
            raise ConfigError(f"--site-from: {FITTED.format(site=site_of(fitted[0].experiment))}; leave it away")
        usable = [target for target in usable if target not in fitted]
        sites = sorted({site_of(target.experiment) for target in usable})
        found = (_lightest(predictor, [each for each in usable if site_of(each.experiment) == site]) for site in sites)
        return AtSites(predictor, {time.site: time for time in found if time is not None})
    named = [target for target in targets if target.name == wanted]
    if not named:
        known = [target.name for target in usable]
        raise ConfigError(f"--site-from: no load point '{wanted}'; {suggest(wanted, known)} (or '{LIGHTEST}')")
    refusal = _refusal(named[0])
    if refusal is not None:
        raise ConfigError(f"--site-from: {wanted} cannot tell the client's time: {refusal}")
    if _is_fitted(predictor, named[0]):
        raise ConfigError(f"--site-from: {wanted}: {FITTED.format(site=site_of(named[0].experiment))}")
    try:
        time = estimated(predictor, named[0])
    except RooflineLabError as error:
        raise ConfigError(f"--site-from: {wanted} cannot be predicted: {error}") from None
    return AtSites(predictor, {time.site: time})


def estimated(predictor: Predictor, target: Target) -> SiteTime:
    """Return the client's time that a measured mean TTFT leaves beside the predicted engine.

    Raises
    ------
    UnsupportedError
        If the load point cannot be simulated.
    ConfigError
        If no request completes in the simulation.
    """
    setup = predictor.setup(target.experiment, target.model, target.hardware)
    without = replace(setup, client=ClientTime(0.0, setup.client.us_per_prompt_token))
    predicted_ms = simulate(target, without).value(TTFT)
    if predicted_ms is None:
        raise ConfigError(f"{target.name}: no request completes in the simulation")
    left_ms = target.load_point.measured[TTFT].value - predicted_ms
    client = ClientTime(max(0.0, left_ms * US_PER_MS), setup.client.us_per_prompt_token)
    return SiteTime(site_of(target.experiment), target.name, client, left_ms)


def _lightest(predictor: Predictor, targets: Iterable[Target]) -> SiteTime | None:
    """Return what the lightest load point tells that can be simulated."""
    for target in sorted(targets, key=_load):
        try:
            return estimated(predictor, target)
        except RooflineLabError:
            continue
    return None


def _load(target: Target) -> tuple[float, float, str]:
    """Return requests in flight as they were measured (Little's law), then TTFT, of which the client is part."""
    point = target.load_point
    return _in_flight(point), point.measured[TTFT].value, target.name


def _in_flight(point: LoadPoint) -> float:
    if isinstance(point.arrivals, ClosedLoop):
        return float(point.arrivals.concurrency)
    e2e = point.measured.get("e2e_mean")
    if point.rate_per_s is None or e2e is None:
        return math.inf
    return point.rate_per_s * e2e.value / US_PER_MS


def _refusal(target: Target) -> str | None:
    """Return why a load point says nothing of a client's time, or None."""
    experiment, point = target.experiment, target.load_point
    if experiment.side_of(point.id) != "client":
        return "it was measured at the server"
    if TTFT not in point.measured:
        return "it has no mean TTFT"
    return "it is saturated" if point.saturated else None


def _is_fitted(predictor: Predictor, target: Target) -> bool:
    """Whether the client's time at the site of a load point is a constant of what predicts."""
    if not isinstance(predictor, CalibratedPredictor | FleetPredictor):
        return False
    notes = predictor.notes(target.experiment, target.model, target.hardware)
    return not any(note.flag is Flag.SITE for note in notes)


def _words(found: SiteTime) -> str:
    client = found.client
    each = f" and {client.us_per_prompt_token:.2g} us per prompt token" if client.us_per_prompt_token else ""
    text = f"the client's time at {found.site} is {client.request_us / US_PER_MS:.1f} ms per request{each}"
    if found.left_ms < 0:
        text += f" (the engine alone is predicted {-found.left_ms:.1f} ms above the measured TTFT)"
    return f"{text}: taken from the measured TTFT of {found.place}, which is then no test of TTFT"
