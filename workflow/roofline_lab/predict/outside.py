"""Arms that another simulator predicts: what it is asked of a load point, and its answer as the same rows as ours.

Contract: `question_of` says of a load point what our engine is given, and no measured latency; `rows_of` makes of what
was answered one row per load point of a run, whatever became of the answer. Time outside the engine is added as it is
to our own predictions, unless the simulator says that it predicts what a client sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from roofline_lab.client_overhead import client_time
from roofline_lab.config import Arrivals
from roofline_lab.ground_truth.assumed_server import with_assumed_server
from roofline_lab.ground_truth.experiment import Replay
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.predict.arms import figures_of, identity_of, load_of, measured, replay_of, target_of
from roofline_lab.project import Project, Run
from roofline_lab.scoring.under_load import prediction_of
from roofline_lab.simulators.answers import Predicted, read_answers, without
from roofline_lab.simulators.contract import (
    CONTRACT,
    AskedModel,
    AskedRequest,
    AskedWorkload,
    LengthSummary,
    Parallelism,
    Precision,
    Question,
    asked_metric,
)
from roofline_lab.simulators.description import CommandSimulator, program_digest
from roofline_lab.simulators.recording import Recorded, answers_in, question_digest
from roofline_lab.vocabulary import RowStatus
from simulator.engine.records import Request
from simulator.errors import UnsupportedError
from simulator.model import Model
from simulator.workload.arrivals import ArrivalSpec, ClosedLoop, RecordedArrivals

US_PER_MS = 1000.0
US_PER_S = 1e6
# Settings that are no property of the server, or stand elsewhere in a question.
ELSEWHERE = ("client_offset_ms", "expert_parallel", "attention_data_parallel")
# Definitions that contain the time a client adds: once per request, or once per token.
PER_REQUEST, PER_TOKEN = ("ttft_", "e2e_"), ("tpot_guidellm",)
NOT_ASKED = "no recorded answer of {name}, and it was not asked: {why}"
NO_WORD = "the answer does not say {}"
Finder = Callable[[Question], Predicted]


# --- what is asked ------------------------------------------------------------------------------------


def question_of(project: Project, run: Run, point: LoadPoint) -> Question:
    """Return what a simulator is asked of one load point, under the rules of a run.

    Raises
    ------
    UnsupportedError
        If the requests cannot be sent as the rules want them, or the server is one nobody could describe.
    """
    experiment, target = run.experiment, target_of(project, run.experiment, point)
    filled, _ = with_assumed_server(experiment, target.model, target.hardware)
    server = filled.server.settings.model_dump(mode="json", exclude_none=True)
    stated = filled.server.assumed.model_dump(exclude_none=True)
    return Question(
        contract=CONTRACT,
        id=f"{experiment.id}/{point.id}",
        model=AskedModel(id=target.model.id, config=target.model.model_dump(mode="json", exclude_none=True)),
        gpu=target.hardware.model_dump(mode="json", exclude_none=True),
        parallelism=Parallelism(
            tensor_parallel=experiment.tensor_parallel,
            expert_parallel=server.get("expert_parallel", False),
            attention_data_parallel=server.get("attention_data_parallel", 1),
        ),
        precision=_precision(target.model),
        server={name: value for name, value in server.items() if name not in ELSEWHERE},
        assumed=tuple(sorted(name for name in stated if name not in ELSEWHERE)),
        workload=_workload(project, run, point),
        asked=tuple(asked_metric(name) for name in _asked(run, point)),
        options=dict(run.arm.simulator.options),
    )


def _precision(model: Model) -> Precision:
    cache = model.torch_dtype if model.kv_cache_dtype == "auto" else model.kv_cache_dtype
    return Precision(weights=model.quantization or model.torch_dtype, activations=model.torch_dtype, kv_cache=cache)


def _asked(run: Run, point: LoadPoint) -> list[str]:
    """Return the definitions that are compared: those of the rules, and of everything measured if load is replayed."""
    names = {definition.predicted for definition in run.rules.definitions.values()}
    if run.rules.workload.arrivals is Arrivals.AS_MEASURED:
        found = (prediction_of(name, figure.definition) for name, figure in point.measured.items())
        names |= {name for name in found if name is not None}
    return sorted(names)


def _workload(project: Project, run: Run, point: LoadPoint) -> AskedWorkload:
    target = target_of(project, run.experiment, point)
    draws = 1
    if run.rules.workload.arrivals is Arrivals.AS_MEASURED:
        draws = target.draws
        once = target.arrivals.model_copy(update={"seeds": target.arrivals.seeds[:1]})
        replay, arrivals = replace(target, arrivals=once).replays()[0], point.arrivals
    else:
        replay = replay_of(project, run, point.id)
        arrivals = _arrivals(replay)
    sent = tuple(enumerate(replay.workload.requests))
    counted = replay.workload.requests[replay.warm_up :]
    return AskedWorkload(
        requests_counted=len(counted),
        arrivals=arrivals,
        arrivals_drawn=draws,
        prompt_tokens=_summary([request.prompt_tokens for request in counted]),
        output_tokens=_summary([_output_tokens(request) for request in counted]),
        requests=tuple(_request(request, place < replay.warm_up) for place, request in sent),
    )


def _arrivals(replay: Replay) -> ArrivalSpec:
    sent = replay.workload
    if sent.concurrency is not None:
        return ClosedLoop(kind="closed_loop", concurrency=sent.concurrency, ramp_s=sent.ramp_us / US_PER_S)
    return RecordedArrivals(kind="recorded", arrival_us=tuple(request.arrival_us for request in sent.requests))


def _summary(tokens: Sequence[int]) -> LengthSummary:
    return LengthSummary(mean=math.fsum(tokens) / len(tokens), min=min(tokens), max=max(tokens))


def _output_tokens(request: Request) -> int:
    return max(1, request.output_tokens)


def _request(request: Request, warm_up: bool) -> AskedRequest:
    return AskedRequest(
        id=request.id,
        arrival_ms=request.arrival_us / US_PER_MS,
        prompt_tokens=request.prompt_tokens,
        output_tokens=_output_tokens(request),
        prefix_group=request.prefix_group,
        prefix_tokens=request.prefix_tokens,
        warm_up=warm_up,
    )


# --- what was answered --------------------------------------------------------------------------------


def recorded_answers(run: Run, answers: Mapping[tuple[str, str], Recorded], program: str, why: str) -> Finder:
    """Return what finds the answer of a program to a question.

    Parameters
    ----------
    program
        Digest of the program whose answers count.
    why
        Why questions without one were not asked.
    """
    reason = NOT_ASKED.format(name=run.arm.simulator.name, why=why)

    def find(question: Question) -> Predicted:
        answer = answers.get((question_digest(question), program))
        return without(RowStatus.NOT_ASKED, reason) if answer is None else answer.predicted

    return find


def tabulated_answers(project: Project, run: Run) -> Finder:
    """Return what finds the prediction of a table."""
    simulator = run.arm.simulator
    table = project.predictions(run.hypothesis, simulator)

    def find(question: Question) -> Predicted:
        found = table.get(question.id)
        nothing = without(RowStatus.FAILED, f"{simulator.table_file} has no line of this load point")
        return nothing if found is None else read_answers(found, question)

    return find


def rows_of_arm(
    project: Project, hypothesis: str, method: str, arm: str, answers: str, why: str
) -> list[dict[str, Any]]:
    """Return the rows of every run of an arm, in matrix order.

    Parameters
    ----------
    answers
        Those of its program, as they are recorded; of a table empty.
    why
        Why questions without one were not asked.
    """
    runs = [run for run in project.runs(hypothesis) if (run.method.id, run.arm.name) == (method, arm)]
    described = runs[0].arm.simulator.described
    if isinstance(described, CommandSimulator):
        digest = program_digest(described, project.root)
        find = recorded_answers(runs[0], answers_in(answers, f"answers of {runs[0].arm.simulator.name}"), digest, why)
    else:
        find = tabulated_answers(project, runs[0])
    return [row for run in runs for row in rows_of(project, run, find)]


def rows_of(project: Project, run: Run, find: Finder) -> list[dict[str, Any]]:
    """Return one row per load point of the run's experiment."""
    return [_row(project, run, point, find) for point in run.experiment.load_points]


def _row(project: Project, run: Run, point: LoadPoint, find: Finder) -> dict[str, Any]:
    try:
        question = question_of(project, run, point)
        predicted = find(question)
    except UnsupportedError as error:
        question, predicted = None, without(RowStatus.UNSUPPORTED, str(error))
    values = _as_seen(run, point, question, predicted)
    metrics = {
        metric.value: _figure(predicted, definition.predicted, values) | measured(metric, definition, run, point)
        for metric, definition in run.rules.definitions.items()
    }
    outcome = {
        "status": predicted.status.value,
        "reason": predicted.reason,
        "metrics": metrics,
        "simulator": run.arm.simulator.name,
        "version": predicted.version,
        "seconds": predicted.seconds,
    }
    if run.rules.workload.arrivals is not Arrivals.AS_MEASURED:
        return identity_of(run, point) | outcome
    return identity_of(run, point) | outcome | {"load": _load(run, point, predicted, values)}


def _figure(predicted: Predicted, definition: str, values: Mapping[str, float]) -> dict[str, Any]:
    """Return the predicted side of a metric, with status and reason where there is none."""
    if definition in values or predicted.status is not RowStatus.OK:
        return {"predicted": values.get(definition)}
    status, reason = predicted.refused.get(definition, (RowStatus.NOT_COMPARABLE, NO_WORD.format(definition)))
    return {"predicted": None, "status": status.value, "reason": reason}


def _load(run: Run, point: LoadPoint, predicted: Predicted, values: Mapping[str, float]) -> dict[str, Any]:
    figures = figures_of(run.experiment, point, values.get)
    for name, figure in figures.items():
        definition = prediction_of(name, point.measured[name].definition)
        if definition is not None and figure["predicted"] is None:
            figure["reason"] = predicted.refused.get(definition, (predicted.status, predicted.reason))[1]
    return load_of(point, predicted.saturated, figures)


def _as_seen(run: Run, point: LoadPoint, question: Question | None, predicted: Predicted) -> dict[str, float]:
    """Return predictions as the measuring side sees them."""
    if question is None or run.arm.simulator.side == "client":
        return dict(predicted.metrics)
    client = client_time(run.rules.client, run.experiment).in_figures_of(run.experiment, point.id)
    prompt_tokens, output_tokens = question.workload.prompt_tokens.mean, question.workload.output_tokens.mean
    added_ms = (client.request_us + client.us_per_prompt_token * prompt_tokens) / US_PER_MS
    shares = {PER_REQUEST: added_ms, PER_TOKEN: added_ms / output_tokens}
    return {
        name: value + math.fsum(share for stems, share in shares.items() if name.startswith(stems))
        for name, value in predicted.metrics.items()
    }
