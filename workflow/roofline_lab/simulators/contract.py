"""What a simulator is asked and what it answers: one JSON object a line, in both directions.

Contract: a `Question` is one load point and everything a simulator may want to know of it, and no measured latency.
An `Answer` has its `id`, and either metrics under the names of `simulator.metrics.DEFINITIONS`, or the times of single
requests, or says that and why the simulator does not support the load point. `docs/simulator-contract.md` is the page
for people, `configs/simulators/contract.schema.json` the same for programs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic.json_schema import models_json_schema

from roofline_lab.files import json_text, write_text
from simulator.metrics import DEFINITIONS
from simulator.validation import Count, Finite, NonNegative, NonNegativeInt, StrictModel
from simulator.workload.arrivals import ArrivalSpec

CONTRACT = 1
SIMULATORS = Path("configs/simulators")
SCHEMA_FILE = "contract.schema.json"
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class AskedModel(StrictModel):
    """The model.

    Attributes
    ----------
    id
        Of `configs/models`.
    config
        Its shape under Hugging Face's names, as the server ran it.
    """

    id: Text
    config: dict[str, Any]


class Parallelism(StrictModel):
    """Over how many GPUs the model is split, and how.

    Attributes
    ----------
    expert_parallel
        Whether experts are spread over the GPUs whole instead of each being split over all.
    attention_data_parallel
        Copies of the attention layers, each of which serves its own requests.
    """

    tensor_parallel: Count
    expert_parallel: bool = False
    attention_data_parallel: Count = 1


class Precision(StrictModel):
    """Types of numbers: weights as `simulator.model` names their quantization, the others as PyTorch names them."""

    weights: Text
    activations: Text
    kv_cache: Text


class AskedRequest(StrictModel):
    """One request as the client sent it.

    Attributes
    ----------
    arrival_ms
        When it was sent; 0 in a closed loop, where it is sent when another one ends.
    prompt_tokens, output_tokens
        Lengths; the prompt with its shared prefix.
    prefix_group, prefix_tokens
        Requests of one group share their first so many tokens.
    warm_up
        Whether it is sent before the others and stands in no figure.
    """

    id: Text
    arrival_ms: NonNegative
    prompt_tokens: Count
    output_tokens: Count
    prefix_group: Text | None = None
    prefix_tokens: NonNegativeInt = 0
    warm_up: bool = False


class LengthSummary(StrictModel):
    """Lengths of the requests that stand in the figures, tokens."""

    mean: NonNegative
    min: Count
    max: Count


class AskedWorkload(StrictModel):
    """What was sent, in short and request by request.

    Attributes
    ----------
    requests_counted
        How many requests stand in the figures, warm-up left out.
    arrivals
        How requests arrived, as in `experiment.yaml`.
    arrivals_drawn
        How many equally likely sequences of random arrivals or lengths the laboratory's own simulator averages over;
        `requests` is the first of them. 1: nothing is random.
    """

    requests_counted: Count
    arrivals: ArrivalSpec
    arrivals_drawn: Count = 1
    prompt_tokens: LengthSummary
    output_tokens: LengthSummary
    requests: tuple[AskedRequest, ...]


class AskedMetric(StrictModel):
    """A metric that is compared, by the name of its definition in `simulator.metrics`, and what that means."""

    name: Text
    unit: Text
    definition: Text


class Question(StrictModel):
    """One load point.

    Attributes
    ----------
    contract
        Version of this format.
    id
        Experiment and load point; the answer repeats it.
    gpu
        Data sheet, as in `configs/hardware`.
    server
        Settings of the server under the names of `experiment.yaml`; absent where nobody stated them.
    assumed
        Those of them that the laboratory assumed.
    options
        What the arm sets of the simulator's own options.
    """

    contract: Literal[1]
    id: Text
    model: AskedModel
    gpu: dict[str, Any]
    parallelism: Parallelism
    precision: Precision
    server: dict[str, Any]
    assumed: tuple[str, ...] = ()
    workload: AskedWorkload
    asked: tuple[AskedMetric, ...]
    options: dict[str, Any] = Field(default_factory=dict)


class AnsweredMetric(StrictModel):
    """A predicted metric, in the unit that was asked for."""

    value: Finite
    unit: Text


class AnsweredRequest(StrictModel):
    """When one request was sent, and when its first and its last token were there, on the simulator's clock."""

    id: Text
    sent_ms: NonNegative
    first_token_ms: NonNegative
    last_token_ms: NonNegative


class Answer(StrictModel):
    """What a simulator says of one load point: metrics, or times of requests, or that it does not support it.

    Attributes
    ----------
    metrics
        By name of definition; those that were not asked for are ignored, those that are missing have no error.
    requests
        Times of every request that is no warm-up; the laboratory takes all metrics from them.
    reason
        Why the load point is not supported.
    saturated
        Whether waiting grows through the load point, so that latencies depend on when it ends; left out where the
        simulator does not say.
    """

    id: Text
    status: Literal["ok", "unsupported"] = "ok"
    metrics: dict[str, AnsweredMetric] | None = None
    requests: tuple[AnsweredRequest, ...] | None = None
    reason: Text | None = None
    saturated: bool | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        given = [name for name in ("metrics", "requests") if getattr(self, name)]
        if self.status == "unsupported" and (given or self.reason is None):
            raise ValueError('status unsupported: give a reason and nothing else, such as "reason": "no such GPU"')
        if self.status == "ok" and len(given) != 1:
            raise ValueError("give either metrics or requests, and at least one of them")
        return self


def asked_metric(name: str) -> AskedMetric:
    """Return what a question says of one definition of `simulator.metrics`."""
    definition = DEFINITIONS[name]
    return AskedMetric(name=name, unit=definition.unit, definition=definition.description)


def json_schema() -> dict[str, Any]:
    """Return both sides of the contract as one JSON schema: a line is a question or an answer."""
    _, found = models_json_schema([(Question, "validation"), (Answer, "validation")])
    either = [{"$ref": f"#/$defs/{record.__name__}"} for record in (Question, Answer)]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "anyOf": either, **found}


def write_schema(root: Path) -> None:
    """Write the schema to where `docs/simulator-contract.md` says it is."""
    write_text(root / SIMULATORS / SCHEMA_FILE, json_text(json_schema()))


if __name__ == "__main__":
    write_schema(Path())
