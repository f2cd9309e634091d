"""What an assumption about a server costs: the prediction as assumed, beside the one with it the other way round.

Contract: `costs_of` names every setting of the server that nobody stated and simulates one load point again with each
of them changed alone, by the same `simulate` and the same requests. Nothing is scored by it.

Looked at is the busiest load point that is not saturated, and one sequence of arrivals of it: an assumption about
batches or memory shows there first, and a page costs one more simulation per assumption and experiment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from roofline_lab.ground_truth.assumed_server import BATCHES, BUDGETS
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.server import Server
from roofline_lab.load_point import Prediction, Target
from roofline_lab.predict.predictors import Predictor
from roofline_lab.predict.records import AssumptionCost
from simulator.engine.options import EngineOptions
from simulator.errors import RooflineLabError

DEFAULT = EngineOptions()
# What simulated definitions stand for the mean latencies of the page.
DEFINITIONS = {"TTFT": "ttft_mean", "ITL": "itl_ratio_of_means", "E2E": "e2e_mean"}
SHARED_NOTHING = "prompts share nothing, as far as is known: no effect"


@dataclass(frozen=True, slots=True)
class _Assumption:
    """One setting nobody stated, in words, and what the server may have had instead."""

    assumed: str
    otherwise: str
    change: dict[str, Any]
    without_effect: str = ""


def costs_of(
    experiment: Experiment, predicted: Sequence[tuple[Target, Prediction]], predictor: Predictor
) -> tuple[AssumptionCost, ...]:
    """Return what each assumption about the server of an experiment costs, those it has been filled with included.

    Parameters
    ----------
    predicted
        Load points as they were predicted; none saturated.
    """
    assumptions = tuple(_assumptions(experiment))
    if not assumptions or not predicted:
        return ()
    target, as_assumed = max(predicted, key=lambda each: _load(each[0].load_point))
    first = replace(as_assumed, draws=as_assumed.draws[:1])
    return tuple(_cost(target, predictor, each, first) for each in assumptions)


def _load(point: LoadPoint) -> tuple[float, float]:
    arrivals = point.arrivals
    return point.rate_per_s or 0.0, float(getattr(arrivals, "concurrency", 0))


def _assumptions(experiment: Experiment) -> Iterator[_Assumption]:
    """Yield what is assumed of a server and is a setting of the simulated one."""
    assumed, settings = experiment.server.assumed, experiment.server.settings
    if assumed.prefix_caching is not None:
        words = ("on", "off") if assumed.prefix_caching else ("off", "on")
        effect = "" if _shares(experiment) else SHARED_NOTHING
        yield _Assumption(
            f"prefix caching {words[0]}", words[1], {"prefix_caching": not assumed.prefix_caching}, effect
        )
    if settings.schedule_ahead is not None and assumed.schedule_ahead is not None:
        words = ("on", "off") if assumed.schedule_ahead else ("off", "on")
        change = {"schedule_ahead": not assumed.schedule_ahead}
        yield _Assumption(f"asynchronous scheduling {words[0]}", words[1], change)
    elif assumed.software is not None:
        ahead = bool(experiment.server.engine_settings.get("schedule_ahead"))
        yield _Assumption(f"software {assumed.software}", "the other scheduling", {"schedule_ahead": not ahead})
    if assumed.token_budget is not None:
        other = BUDGETS[1] if assumed.token_budget < BUDGETS[1] else BUDGETS[0]
        yield _Assumption(f"a budget of {assumed.token_budget} tokens", str(other), {"token_budget": other})
    if settings.max_running is None or assumed.max_running is not None:
        taken = assumed.max_running or DEFAULT.max_running
        other = BATCHES[1] if taken < BATCHES[1] else BATCHES[0]
        yield _Assumption(f"at most {taken} requests in a batch", str(other), {"max_running": other})
    if assumed.kv_blocks is not None:
        other = max(1, assumed.kv_blocks // 2)
        yield _Assumption(f"{assumed.kv_blocks} KV blocks", f"half of them, {other}", {"kv_blocks": other})


def _shares(experiment: Experiment) -> bool:
    """Whether prompts share a beginning, as far as anybody knows."""
    recorded = experiment.recorded()
    if recorded:
        return any(request.prefix_group is not None for request in recorded)
    return experiment.workload.prefix.kind != "none"


def _cost(target: Target, predictor: Predictor, assumption: _Assumption, as_assumed: Prediction) -> AssumptionCost:
    empty = AssumptionCost(target.name, assumption.assumed, assumption.otherwise, {}, assumption.without_effect)
    if assumption.without_effect:
        return empty
    otherwise = as_assumed if _same_run(target, assumption, as_assumed) else _predicted(target, predictor, assumption)
    if isinstance(otherwise, str):
        return replace(empty, reason=otherwise)
    moves = {}
    for label, definition in DEFINITIONS.items():
        before, after = as_assumed.value(definition), otherwise.value(definition)
        if before and after is not None:
            moves[label] = (before, after)
    return replace(empty, moves=moves)


def _same_run(target: Target, assumption: _Assumption, as_assumed: Prediction) -> bool:
    """Whether a run never comes to the limit that is assumed of its server, nor to the other one."""
    engine, change = as_assumed.setup.engine, assumption.change
    if "max_running" in change:
        clients: int | None = getattr(target.load_point.arrivals, "concurrency", None)
        return clients is not None and clients <= min(int(change["max_running"]), engine.max_running)
    if "kv_blocks" in change and not _shares(target.experiment):
        # Blocks of prompts that share nothing are all alike, so that it is no matter how many more there are.
        return as_assumed.counters.peak_kv_blocks <= min(int(change["kv_blocks"]), engine.kv_blocks)
    return False


def _predicted(target: Target, predictor: Predictor, assumption: _Assumption) -> Prediction | str:
    """Return one sequence of arrivals as simulated with the assumption changed, or why it cannot be."""
    changed = replace(target, experiment=_changed(target.experiment, assumption.change))
    try:
        return predictor.predict(changed, target.replays()[:1])
    except RooflineLabError as error:
        return str(error)


def _changed(experiment: Experiment, change: dict[str, Any]) -> Experiment:
    server = experiment.server
    assumed = server.assumed.model_copy(update=change)
    return experiment.model_copy(update={"server": Server(known=server.known, assumed=assumed, note=server.note)})
