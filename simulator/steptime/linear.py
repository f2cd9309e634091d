"""Step time linear in the number of new tokens (alpha/beta model).

    duration = trunc(step_us + prefill_us_per_token * prefill tokens + decode_us_per_token * decodes)

The alpha half of that model (queueing delay before a request may run, output processing reported
per token) does not enter the step time; `AlphaModel` computes both in whole microseconds.
"""

from __future__ import annotations

from simulator.hardware import Hardware
from simulator.model import Model
from simulator.parallelism import Parallelism
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.cost import StepCost
from simulator.steptime.options import LinearOptions, PhaseFactors
from simulator.steptime.traffic import DynamicTraffic, Weights, WorkCount
from simulator.validation import NonNegative, StrictModel

EVERYTHING = PhaseFactors(prefill=1.0, decode=1.0)


class AlphaModel(StrictModel):
    """Delays outside the engine's steps.

    Attributes
    ----------
    queueing_us, queueing_us_per_prompt_token
        Delay between arrival and entering the queue: constant part, and per prompt token.
    output_processing_us
        Delay added to every reported token time; it does not hold up the engine.
    """

    queueing_us: NonNegative = 0.0
    queueing_us_per_prompt_token: NonNegative = 0.0
    output_processing_us: NonNegative = 0.0

    def queueing_delay_us(self, prompt_tokens: int) -> int:
        """Return the whole microseconds before a request enters the queue."""
        return int(self.queueing_us + self.queueing_us_per_prompt_token * prompt_tokens)

    def output_delay_us(self) -> int:
        """Return the whole microseconds added to every reported token time."""
        return int(self.output_processing_us)


class Linear:
    """The linear model; model and hardware only serve the check against the peaks."""

    kv_breakpoints: tuple[int, ...] = ()

    def __init__(
        self,
        options: LinearOptions,
        model: Model,
        hardware: Hardware,
        parallel: Parallelism,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.warnings = warnings
        self.peak_flops = hardware.peak_flops
        self.peak_bandwidth = hardware.peak_bandwidth
        weights = Weights(model, parallel=parallel)
        traffic = DynamicTraffic(model, EVERYTHING, EVERYTHING, parallel.tensor_parallel)
        self.work = WorkCount(model, parallel, weights, traffic, lm_head=False)
        self._step_us = options.step_us
        self._prefill_us = options.prefill_us_per_token
        self._decode_us = options.decode_us_per_token

    def step_time_us(self, sums: BatchSums) -> int:
        """Return the step's duration in whole microseconds, at least 1."""
        return max(1, int(self._duration_us(sum(new for _, new in sums.prefill), sums.decode_count)))

    def explain(self, batch: Batch) -> StepCost:
        """Return the same duration with its three terms; there are no phases to speak of."""
        prefill_tokens, decodes = sum(new for _, new in batch.prefill), len(batch.decode)
        unrounded_us = self._duration_us(prefill_tokens, decodes)
        return StepCost(
            family="linear",
            total_us=max(1, int(unrounded_us)),
            unrounded_us=unrounded_us,
            branch="linear",
            overhead_us=unrounded_us,
            notes=(
                f"{self._step_us:g} us + {self._prefill_us:g} us x {prefill_tokens} prefill tokens "
                f"+ {self._decode_us:g} us x {decodes} decodes",
                *self.warnings,
            ),
        )

    def _duration_us(self, prefill_tokens: int, decodes: int) -> float:
        return self._step_us + self._prefill_us * prefill_tokens + self._decode_us * decodes
