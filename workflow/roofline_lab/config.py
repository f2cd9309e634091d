"""What the laboratory is set to (`configs/lab.yaml`) and the methods it knows (`configs/methods/`).

A method says how a recorded experiment is turned into a simulator run and how its latencies are
defined on both sides; it is written once and shared by every hypothesis.
"""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from roofline_lab.places import listed, name_of, place_of
from roofline_lab.vocabulary import MEANS, Metric
from simulator.metrics import DEFINITIONS
from simulator.validation import (
    Count,
    NonNegative,
    NonNegativeInt,
    Positive,
    StrictModel,
    config_error,
    parse,
    read_yaml,
    suggest,
)
from simulator.workload.build import RequestCount

# Draws of a statistic: at a million the third digit of a p-value stands, and a page still takes minutes.
MOST_DRAWS = 1_000_000
Draws = Annotated[Count, Field(le=MOST_DRAWS)]


class Tolerances(StrictModel):
    """Largest accepted difference per unit of `numbers.csv`."""

    ms: NonNegative
    pct: NonNegative
    pp: NonNegative
    us: NonNegative
    ratio: NonNegative
    mfu: NonNegative
    count: NonNegative
    flag: NonNegative
    gflop: NonNegative
    gb: NonNegative
    per_s: NonNegative

    def of(self, unit: str) -> float:
        """Return the tolerance for `unit`."""
        return float(getattr(self, unit))


class Seeds(StrictModel):
    """Every source of randomness of the statistics, by name.

    Attributes
    ----------
    bootstrap, permutation
        Seed of its draws; another one moves intervals and p-values within their own scatter.
    """

    bootstrap: int
    permutation: int


class RandomArrivals(StrictModel):
    """Sequences of arrivals that were random and were not recorded; a prediction is the mean over several.

    Attributes
    ----------
    seeds
        One per sequence; never more than these are drawn.
    requests
        As many sequences are drawn as together make up this number of requests.
    """

    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1, max_length=1_000)]
    requests: RequestCount

    def draws(self, sent: int) -> int:
        """Return how many sequences of `sent` requests are drawn."""
        return min(len(self.seeds), math.ceil(self.requests / sent))


class Bootstrap(StrictModel):
    """Percentile bootstrap over experiments.

    Attributes
    ----------
    resamples
        How many; more make the ends of intervals steadier, and pages slower.
    level_pct
        Level of every interval, percent.
    """

    resamples: Draws
    level_pct: Annotated[float, Field(gt=50, lt=100)]


class Testing(StrictModel):
    """Permutation tests, sample sizes and robust variants.

    Attributes
    ----------
    permutations
        Seeded rearrangements where there are too many to visit all.
    power
        Chance of detecting an effect of the claimed size that a sample size is computed for.
    trim_pct
        Share of experiments a trimmed mean leaves out at either end, percent.
    """

    permutations: Draws
    power: Annotated[float, Field(gt=0.5, lt=1)]
    trim_pct: Annotated[float, Field(ge=0, lt=50)]


class Tolerance(StrictModel):
    """A table of tolerances under its own key.

    Attributes
    ----------
    tolerance
        Largest accepted difference, by the unit of the number.
    """

    tolerance: Tolerances


class Settings(StrictModel):
    """`configs/lab.yaml`.

    Attributes
    ----------
    arrivals
        How often random arrivals that were not recorded are drawn.
    seeds
        Of the statistics.
    bootstrap
        Intervals.
    testing
        Permutation tests and robust variants.
    bold_above_pp
        Gains above this are bold on pages.
    check
        What `snakemake check` accepts between a committed number and the one made now.
    reproduction
        What counts as a published number that comes out again.
    """

    arrivals: RandomArrivals
    seeds: Seeds
    bootstrap: Bootstrap
    testing: Testing
    bold_above_pp: NonNegative
    check: Tolerance
    reproduction: Tolerance


class Lengths(StrEnum):
    """Where a run's request lengths come from; of one phase alone, the other has one token per request."""

    RECORDED = "recorded"
    REGENERATED = "regenerated"
    PREFILL_ALONE = "prefill_alone"
    DECODE_ALONE = "decode_alone"


# The one metric that requests of a single phase have in common with the measured ones.
METRIC_OF_PHASE = {Lengths.PREFILL_ALONE: Metric.TTFT_MEAN, Lengths.DECODE_ALONE: Metric.TPOT_MEAN}


class Arrivals(StrEnum):
    """When a run's requests arrive."""

    RECORDED_INTERVALS = "recorded_intervals"
    CLOSED_LOOP = "closed_loop"
    AS_MEASURED = "as_measured"


class MeasuredDefinition(StrEnum):
    """How the measured side of a metric is obtained from the ground truth."""

    AS_REPORTED = "as_reported"
    ITL_FROM_MEANS = "itl_from_means"


class WorkloadRule(StrictModel):
    """How a recorded workload becomes simulated requests.

    `as_measured` arrivals take everything else as measured too: repeated prompts, every stated limit of the server,
    and the side the latencies were taken on.

    Attributes
    ----------
    lengths
        As recorded one by one, or drawn again as the client drew them (`regenerated`); or these with one phase alone:
        `prefill_alone` answers every prompt with one token, `decode_alone` sends prompts of one token. Errors are then
        those of that phase.
    arrivals
        At recorded intervals, one request at a time, or as the measurement was made.
    recordings
        The method in whose folder recorded lengths and intervals are; None means its own.
    """

    lengths: Lengths
    arrivals: Arrivals
    recordings: str | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> WorkloadRule:
        if self.arrivals is Arrivals.AS_MEASURED and self.lengths is not Lengths.REGENERATED:
            raise ValueError("arrivals as_measured need lengths regenerated: both are the recorded run's")
        return self

    def compares(self, metric: Metric) -> bool:
        """Say whether what is sent makes a metric comparable with the measured one."""
        return METRIC_OF_PHASE.get(self.lengths, metric) is metric


class Definition(StrictModel):
    """One metric on both sides.

    Attributes
    ----------
    predicted
        A definition of `docs/metrics.md`.
    measured
        The figure as it was reported, or the time between tokens that follows from mean E2E and TTFT.
    """

    predicted: str
    measured: MeasuredDefinition


class Client(StrictModel):
    """Time outside the engine, in place of the constant an experiment states.

    Attributes
    ----------
    request_us, us_per_prompt_token
        Added to TTFT and E2E of what was measured at the client: per request, and per token of its prompt.
    also_at_server
        Add it to what was measured at the server too, where by its meaning it must not be: a control.
    """

    request_us: NonNegativeInt = 0
    us_per_prompt_token: NonNegative = 0.0
    also_at_server: bool = False


class Limits(StrictModel):
    """Within which latencies a request counts for goodput, in ms; one that is not given does not limit."""

    ttft_ms: Positive | None = None
    tpot_ms: Positive | None = None
    e2e_ms: Positive | None = None

    @model_validator(mode="after")
    def _one_limits(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("give ttft_ms, tpot_ms or e2e_ms, or several")
        return self

    @property
    def by_latency(self) -> dict[str, float]:
        """Every limit that is given, in ms: `ttft`, `tpot` and `e2e`."""
        return {name.removesuffix("_ms"): limit for name, limit in self.model_dump(exclude_none=True).items()}


class Rules(StrictModel):
    """How a measurement is repeated and read: what is sent, how metrics are defined, what lies around the engine.

    Attributes
    ----------
    workload
        What is sent, and when.
    definitions
        Of the three means; every other metric is predicted as it was measured.
    client
        Time outside the engine; None: the constant that an experiment states.
    limits
        Of goodput, which is counted over single requests.
    """

    workload: WorkloadRule
    definitions: dict[Metric, Definition]
    client: Client | None = None
    limits: Limits | None = None

    @model_validator(mode="after")
    def _the_means_are_defined(self) -> Self:
        missing = [metric.value for metric in MEANS if metric not in self.definitions]
        if missing:
            raise ValueError(f"definitions: missing for {', '.join(missing)}")
        others = [metric.value for metric in self.definitions if metric not in MEANS]
        if others:
            raise ValueError(f"definitions: {', '.join(others)}: predicted as measured; leave it away")
        return self

    @property
    def unknown_definitions(self) -> list[str]:
        """Return what is wrong with the names of predicted metrics."""
        return [
            f"definitions.{metric.value}.predicted: unknown definition '{definition.predicted}'; "
            f"{suggest(definition.predicted, DEFINITIONS)}"
            for metric, definition in self.definitions.items()
            if definition.predicted not in DEFINITIONS
        ]


class Method(Rules):
    """`configs/methods/<id>.yaml`.

    `steptime`, `engine` and the rules override the hypothesis' base; an arm overrides both.

    Attributes
    ----------
    id
        The file's name.
    title, summary
        How pages call it, and what they say of it.
    steptime, engine
        Options that every hypothesis run by it has.
    """

    id: str
    title: str
    summary: str
    steptime: dict[str, Any] = Field(default_factory=dict)
    engine: dict[str, Any] = Field(default_factory=dict)


def load_settings(root: Path) -> Settings:
    """Read `configs/lab.yaml`.

    Raises
    ------
    ConfigError
        Naming every wrong key.
    """
    path = place_of(root, "configs/lab.yaml")
    return parse(Settings, read_yaml(path), source=name_of(path, root))


def load_methods(root: Path) -> dict[str, Method]:
    """Read every method, by id.

    Raises
    ------
    ConfigError
        Naming file and key; also when an id is not the file's name, which the method's files go by.
    """
    methods = {}
    for path in listed(root, "configs/methods", "*.yaml"):
        source = name_of(path, root)
        method = parse(Method, read_yaml(path), source=source)
        if method.id != path.stem:
            raise config_error(source, [f"id: must be the file's name '{path.stem}' (got '{method.id}')"])
        methods[method.id] = method
    return methods
