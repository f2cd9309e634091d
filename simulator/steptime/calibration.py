"""A finished calibration as a step-time model: what was fitted, to what, and where it holds.

Contract: `load_calibration` reads `configs/calibration/<name>.yaml` or raises one `ConfigError`; the same file always
means the same step times. How constants are searched, and what the measuring client adds, is no business of a
step-time model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from simulator.steptime.options import CalibratedPhysicsOptions
from simulator.validation import Count, Finite, NonNegative, StrictModel, config_error, parse, read_yaml

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

# Becomes the model's `step_us` where the server does not schedule ahead; one that composes the next step while one
# runs spends its host time then.
HOST_STEP = "host_step_us"
# Terms that only a calibration of several GPUs and precisions has data for (`simulator.steptime.fleet`).
FLEET_TERMS = frozenset(
    {
        *("wide_batch_slowdown", "expert_bandwidth_efficiency", "expert_gemm_efficiency", "expert_padding_tokens"),
        *("host_kernel_us", "graph_tokens"),
    }
)
# Options that are no constants of a calibration of one GPU: choices, and what `HOST_STEP` becomes.
NOT_FITTED = FLEET_TERMS | {"family", "lm_head", "step_us", "corner_sharpness"}


VALIDATED_FOLDER = "validated"


class Interval(StrictModel):
    """Percentile interval of a constant over resampled families; of one carried over, that of the posterior."""

    low: Finite
    high: Finite


class Constant(StrictModel):
    """One fitted constant.

    Attributes
    ----------
    bounds
        Range of the search.
    at_bound
        On which end of it the fit ended, if it did: a finding, not a value to trust.
    origin
        Of a calibration carried over: whether its run says something of the constant, or the donor alone does.
    told_share
        By which share the run shrinks the variance that the constant had before, 0 to 1.
    """

    value: Finite
    unit: Text
    interval_95_pct: Interval
    bounds: Interval
    at_bound: Literal["low", "high"] | None = None
    origin: Literal["fitted", "borrowed"] | None = None
    told_share: Annotated[NonNegative, Field(le=1)] | None = None
    meaning: Text


class TrainedOn(StrictModel):
    """What the constants rest on.

    Attributes
    ----------
    models
        Family of every model that was fitted to, so that a model is recognised under another family's name.
    tensor_parallel
        Degrees that were fitted to; empty where a file does not say.
    """

    sets: tuple[Text, ...]
    experiments: int
    load_points: int
    families: tuple[Text, ...]
    models: dict[Text, Text] = Field(default={})
    hardware: tuple[Text, ...]
    tensor_parallel: tuple[Count, ...] = ()
    data_sha256: Text


class HeldOutErrors(StrictModel):
    """Mean absolute errors of mean latencies on families not fitted to, percent."""

    load_points: Count
    ttft_pct: NonNegative
    itl_pct: NonNegative
    e2e_pct: NonNegative

    def __str__(self) -> str:
        return (
            f"mean error TTFT {self.ttft_pct:g} %, ITL {self.itl_pct:g} %, E2E {self.e2e_pct:g} % "
            f"({self.load_points} load points)"
        )


class Validated(StrictModel):
    """How far a calibration has been validated, by kind of model; the content of `validated/<name>.yaml`."""

    dense: HeldOutErrors
    mixture_of_experts: HeldOutErrors


class Calibration(StrictModel):
    """The content of `configs/calibration/<name>.yaml`.

    Attributes
    ----------
    validated
        Errors on families the constants were not fitted to; None where nobody stated them beside the file.
    held_out
        Family -> constants fitted to all other families: what a family that was fitted to is predicted
        with where a prediction shall be a test. Empty in files that do not keep them.
    borrowed_from
        Calibration from which everything was taken that the runs on its own GPU could not show; None where all
        constants were fitted.
    """

    name: Text
    title: Text
    loss: Text
    trained_on: TrainedOn
    constants: dict[Text, Constant]
    fixed: dict[Text, Finite]
    held_out: dict[Text, dict[Text, Finite]] = Field(default={})
    borrowed_from: Text | None = None
    validated: Validated | None = None

    @property
    def values(self) -> dict[str, float]:
        """The constants by name."""
        return {name: constant.value for name, constant in self.constants.items()}

    @property
    def rests_on(self) -> str:
        """What the constants were fitted to, in words."""
        trained = self.trained_on
        points, gpus = f"{trained.load_points} load points", ", ".join(trained.hardware)
        if self.borrowed_from is None:
            return f"fitted to {points} of {len(trained.families)} model families on {gpus}"
        return f"constants of {self.borrowed_from}, as far as {points} on {gpus} say nothing else"

    def covers(self, hardware_id: str) -> bool:
        """Say whether the constants were fitted on a GPU."""
        return hardware_id in self.trained_on.hardware

    def step_time(self, *, schedule_ahead: bool) -> CalibratedPhysicsOptions:
        """Return the step-time model these constants mean on a server."""
        return calibrated_options({**self.values, **self.fixed}, schedule_ahead=schedule_ahead)

    def departures(self, model_id: str, hardware_id: str, tensor_parallel: int) -> Iterator[str]:
        """Yield where a run leaves what the constants rest on."""
        trained = self.trained_on
        if not self.covers(hardware_id):
            known = ", ".join(trained.hardware)
            yield f"{hardware_id} was not calibrated on ({known} was): same efficiencies on its data sheet"
        if trained.tensor_parallel and tensor_parallel not in trained.tensor_parallel:
            known = ", ".join(map(str, trained.tensor_parallel))
            yield f"TP {tensor_parallel} was not calibrated on ({known} were)"
        if trained.models and model_id not in trained.models:
            yield f"{model_id} is none of the {len(trained.models)} models fitted to"


def calibrated_options(
    values: Mapping[str, float], *, schedule_ahead: bool, lm_head: bool = True
) -> CalibratedPhysicsOptions:
    """Return the step-time options that constants mean on a server; others than of a step are left aside."""
    step = {name: values[name] for name in sorted(step_constants() & values.keys())}
    step_us = 0.0 if schedule_ahead else values[HOST_STEP]
    return CalibratedPhysicsOptions(family="calibrated_physics", step_us=step_us, lm_head=lm_head, **step)


def step_constants() -> frozenset[str]:
    """Return the names of the constants that are options of the step-time model."""
    return frozenset(CalibratedPhysicsOptions.model_fields) - NOT_FITTED


def load_calibration(path: Path) -> Calibration:
    """Read one calibration as a step-time model.

    Raises
    ------
    ConfigError
        Naming file and every wrong key; a constant of a step that is missing is one.
    """
    calibration = parse(Calibration, read_yaml(path), source=str(path))
    given = calibration.constants.keys() | calibration.fixed.keys()
    missing = sorted((step_constants() | {HOST_STEP}) - given)
    if missing:
        raise config_error(str(path), [f"constants.{name}: missing; it is required" for name in missing])
    values = {**calibration.values, **calibration.fixed}
    data = {"family": "calibrated_physics"} | {name: values[name] for name in step_constants()}
    parse(CalibratedPhysicsOptions, data, source=f"{path}: constants")
    beside = path.parent / VALIDATED_FOLDER / path.name
    if not beside.is_file():
        return calibration
    return calibration.model_copy(update={"validated": parse(Validated, read_yaml(beside), source=str(beside))})
