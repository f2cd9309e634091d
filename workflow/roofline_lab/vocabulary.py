"""The laboratory's closed vocabularies: the only words a spec or a report may use for these things.

| enum             | answers                                                        |
|------------------|----------------------------------------------------------------|
| `Status`         | what the criteria say about the claim                           |
| `Resolution`     | how that came about                                             |
| `Family`         | what kind of claim it is                                        |
| `Purpose`        | verification, validation or uncertainty quantification          |
| `EvidenceType`   | deterministic, or which statistical statement                   |
| `FindingType`    | what kind of finding a table row reports                        |
| `CriterionResult`| PASS (decided or not), FAIL or NOT MEASURED                      |
| `RowStatus`      | what became of one simulated run                                |
| `Reproduction`   | what became of one published number                             |
| `Metric`         | which latency or rate a number describes                        |
| `Quantity`       | what an answer about capacity is judged by                      |
| `Scope`          | over which runs a number was aggregated                         |
| `Statistic`      | what the number is                                              |

Source: experiment standards of `inference-sim/inference-sim` (docs/contributing), closed lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

# What an imported measurement is taken for where neither files nor a person say it; the import names it.
DEFAULT_HARDWARE = "h100-sxm"
DEFAULT_WORKLOAD = "custom"


class Status(StrEnum):
    """What the criteria say about the claim."""

    CONFIRMED = "Confirmed"
    CONFIRMED_WITH_NUANCE = "Confirmed with nuance"
    PARTIALLY_CONFIRMED = "Partially confirmed"
    REFUTED = "Refuted"
    INCONCLUSIVE = "Inconclusive"


class Resolution(StrEnum):
    """How the status came about."""

    CLEAN = "Clean confirmation"
    WRONG_MECHANISM = "Confirmation with wrong mechanism"
    BUG_DISCOVERY = "Confirmation with bug discovery"
    PARTIAL_SURPRISE = "Partial confirmation with surprise"
    REFUTED_MECHANISM = "Refuted - mechanism not plausible"
    REFUTED_DESIGN = "Refuted - system design flaw"
    REFUTED_MODEL = "Refuted - wrong mental model"
    INCONCLUSIVE = "Inconclusive - parameter-dependent"
    OPEN_QUESTION = "Converged to open question"


class Family(StrEnum):
    """What kind of claim it is."""

    WORKLOAD_ARRIVAL = "workload-arrival"
    SCHEDULER_INVARIANTS = "scheduler-invariants"
    PERFORMANCE_REGIME = "performance-regime"
    STRUCTURAL_MODEL = "structural-model"
    ROBUSTNESS = "robustness"
    CROSS_POLICY = "cross-policy"


class Purpose(StrEnum):
    """Verification, validation or uncertainty quantification (VV&UQ)."""

    VERIFICATION = "verification"
    VALIDATION = "validation"
    UQ = "uq"


class EvidenceType(StrEnum):
    """Deterministic, or which statistical statement is made."""

    DETERMINISTIC = "deterministic"
    DOMINANCE = "statistical-dominance"
    MONOTONICITY = "statistical-monotonicity"
    EQUIVALENCE = "statistical-equivalence"
    PARETO = "statistical-pareto"


class FindingType(StrEnum):
    """What kind of finding a row of the findings table reports."""

    CONFIRMATION = "Confirmation"
    BUG_DISCOVERY = "Bug discovery"
    NEW_RULE = "New rule"
    NEW_INVARIANT = "New invariant"
    DESIGN_LIMITATION = "Design limitation"
    SURPRISE = "Surprise"
    OPEN_QUESTION = "Open question"


class CriterionResult(StrEnum):
    """Outcome of one criterion; one that holds, but cannot be told from its threshold, is passed and undecided."""

    PASS = "PASS"
    UNDECIDED = "PASS, undecided"
    FAIL = "FAIL"
    NOT_MEASURED = "NOT MEASURED"


class RowStatus(StrEnum):
    """Whether one metric of a load point has an error, and if not, of what kind the reason is."""

    OK = "ok"
    UNSUPPORTED = "unsupported"
    NOT_MEASURED = "not_measured"
    NOT_COMPARABLE = "not_comparable"
    SATURATED = "saturated"
    IN_SAMPLE = "in_sample"
    REFUSED = "refused"
    FAILED = "failed"
    NOT_ASKED = "not_asked"


class Reproduction(StrEnum):
    """What became of one published number."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    NOT_REPRODUCIBLE = "not reproducible"


class Metric(StrEnum):
    """What claims can be about, with unit and usual name; `docs/metrics.md` has the definitions.

    Of the means (`MEANS`) a method chooses the definition; all others are predicted as they were measured, at load
    points that are repeated as they were.
    """

    TTFT_MEAN = "ttft_mean"
    TPOT_MEAN = "tpot_mean"
    E2E_MEAN = "e2e_mean"
    TTFT_P50 = "ttft_p50"
    TTFT_P90 = "ttft_p90"
    TTFT_P95 = "ttft_p95"
    TTFT_P99 = "ttft_p99"
    TPOT_P50 = "tpot_p50"
    TPOT_P90 = "tpot_p90"
    TPOT_P95 = "tpot_p95"
    TPOT_P99 = "tpot_p99"
    E2E_P50 = "e2e_p50"
    E2E_P90 = "e2e_p90"
    E2E_P95 = "e2e_p95"
    E2E_P99 = "e2e_p99"
    REQUEST_THROUGHPUT = "request_throughput"
    OUTPUT_TOKEN_THROUGHPUT = "output_token_throughput"
    TOTAL_TOKEN_THROUGHPUT = "total_token_throughput"
    GOODPUT = "goodput"

    @property
    def label(self) -> str:
        """The metric's usual name; a mean has no rank."""
        if self in RATE_LABELS:
            return RATE_LABELS[self]
        latency, rank = self.value.split("_")
        return latency.upper() if rank == "mean" else f"{latency.upper()} {rank}"

    @property
    def meaning(self) -> str:
        """What a latency is the time of, in words; empty for a rate, whose label says it."""
        if self.is_rate:
            return ""
        latency, rank = self.value.split("_")
        return LATENCY_WORDS[latency] if rank == "mean" else f"{rank[1:]}th percentile of the {LATENCY_WORDS[latency]}"

    @property
    def unit(self) -> str:
        """In which it is measured and predicted."""
        if not self.is_rate:
            return "ms"
        return "1/s" if self in (Metric.REQUEST_THROUGHPUT, Metric.GOODPUT) else "tokens/s"

    @property
    def is_rate(self) -> bool:
        """Whether more of it is faster; a saturated load point has an error of it."""
        return self in RATE_LABELS

    @property
    def in_words(self) -> str:
        """How a sentence or a figure calls it: of a mean, that it is one."""
        return f"mean {self.label}" if self in MEANS else self.label


MEANS = (Metric.TTFT_MEAN, Metric.TPOT_MEAN, Metric.E2E_MEAN)
LATENCY_WORDS = {"ttft": "time to the first token", "tpot": "time per output token", "e2e": "time of a whole request"}
RATE_LABELS = {
    Metric.REQUEST_THROUGHPUT: "request throughput",
    Metric.OUTPUT_TOKEN_THROUGHPUT: "output token throughput",
    Metric.TOTAL_TOKEN_THROUGHPUT: "total token throughput",
    Metric.GOODPUT: "goodput",
}


class Quantity(StrEnum):
    """What answers about capacity are judged by: errors, and shares of all answers in percent."""

    CAPACITY_ERROR = "capacity_error"
    KNEE_ERROR = "knee_error"
    CAPACITY_BEYOND = "capacity_beyond"
    CAPACITY_INSIDE = "capacity_inside"
    RANGE_OPEN = "range_open"
    VERDICT_RIGHT = "verdict_right"
    CLOSE_VERDICT_RIGHT = "close_verdict_right"
    WRONG_MET = "wrong_met"
    WRONG_NOT_MET = "wrong_not_met"
    VERDICT_COST = "verdict_cost"
    UPPER_WRONG_MET = "upper_wrong_met"
    UPPER_WRONG_NOT_MET = "upper_wrong_not_met"
    UPPER_VERDICT_COST = "upper_verdict_cost"

    @property
    def words(self) -> str:
        """What a mean of it is."""
        return {
            Quantity.CAPACITY_ERROR: "mean error of the capacity",
            Quantity.KNEE_ERROR: "mean error of the knee",
            Quantity.CAPACITY_BEYOND: "share of capacities predicted beyond the ladder",
            Quantity.RANGE_OPEN: "share of ranges of the interval that have no end on the ladder on one side or both",
            Quantity.CAPACITY_INSIDE: "share of measured capacities inside the range of the interval",
            Quantity.VERDICT_RIGHT: "share of verdicts that are right",
            Quantity.CLOSE_VERDICT_RIGHT: "share of close verdicts that are right",
            Quantity.WRONG_MET: "share of verdicts that are a wrong 'met'",
            Quantity.WRONG_NOT_MET: "share of verdicts that are a wrong 'not met'",
            Quantity.VERDICT_COST: "mean cost of verdicts",
            Quantity.UPPER_WRONG_MET: "share of verdicts by the upper end that are a wrong 'met'",
            Quantity.UPPER_WRONG_NOT_MET: "share of verdicts by the upper end that are a wrong 'not met'",
            Quantity.UPPER_VERDICT_COST: "mean cost of verdicts by the upper end",
        }[self]

    @property
    def more_is_better(self) -> bool:
        """Whether it is a share of what is right."""
        return self in (Quantity.CAPACITY_INSIDE, Quantity.VERDICT_RIGHT, Quantity.CLOSE_VERDICT_RIGHT)


class LoadFigure(StrEnum):
    """What numbers.csv says of one load point beyond the means of latencies."""

    TTFT_P50 = "ttft_p50"
    TTFT_P90 = "ttft_p90"
    TTFT_P99 = "ttft_p99"
    TPOT_P50 = "tpot_p50"
    TPOT_P90 = "tpot_p90"
    TPOT_P99 = "tpot_p99"
    E2E_P50 = "e2e_p50"
    E2E_P90 = "e2e_p90"
    E2E_P99 = "e2e_p99"
    REQUEST_THROUGHPUT = "request_throughput"
    SATURATED = "saturated"
    MIXED_STEPS = "mixed_steps"
    PREFILL_DOMINATES = "prefill_dominates"
    DECODE_DOMINATES = "decode_dominates"
    BY_TOKENS = "by_tokens"
    CAPACITY = "capacity"
    KNEE = "knee"


# What pages call the sides of a split.
SIDES: Mapping[str, str] = MappingProxyType({"train": "fitting set", "test": "test set"})


class Scope(StrEnum):
    """Over which runs, or rows of generated points, a number was aggregated."""

    ROW = "row"
    SWEEP = "sweep"
    EXPERIMENT = "experiment"
    WORKLOAD = "workload"
    FAMILY = "family"
    TP = "tp"
    HARDWARE = "hardware"
    LOAD_POINT = "load_point"
    LIMIT = "limit"
    STRATEGY = "strategy"
    DRIVER = "driver"
    TERM = "term"
    SPLIT = "split"
    OVERALL = "overall"
    SHARED = "shared"


class Statistic(StrEnum):
    """What a number is."""

    PREDICTED = "predicted"
    MEASURED = "measured"
    MAPE = "mape"
    SIGNED_ERROR = "signed_error"
    DELTA = "delta"
    HELD_OUT = "held_out"
    RANK_CORRELATION = "rank_correlation"
    VALUE = "value"
    POINTS = "points"
    COUNT = "count"
    SHARE = "share"
    MIN = "min"
    MAX = "max"
    MEAN = "mean"
    MEDIAN = "median"
    SUM = "sum"
    DISTINCT = "distinct"
    JUMPS = "jumps"
    LARGEST_JUMP = "largest_jump"
    LONGEST_FLAT = "longest_flat"
    BREAKS = "breaks"
    PREDICTED_POINTS = "predicted_points"
    ASKED_POINTS = "asked_points"


FAMILY_LABELS = {
    Family.WORKLOAD_ARRIVAL: "Workload / arrival",
    Family.SCHEDULER_INVARIANTS: "Scheduler invariants",
    Family.PERFORMANCE_REGIME: "Performance regime",
    Family.STRUCTURAL_MODEL: "Structural model",
    Family.ROBUSTNESS: "Robustness / failure mode",
    Family.CROSS_POLICY: "Cross-policy comparative",
}
PURPOSE_LABELS = {
    Purpose.VERIFICATION: "Verification",
    Purpose.VALIDATION: "Validation",
    Purpose.UQ: "Uncertainty quantification",
}
# What prices the steps of a synthetic hypothesis.
KERNEL_LABELS = {"embedded": "Embedded kernels", "tabulated": "Tabulated kernels", "measured": "Measured tables"}
