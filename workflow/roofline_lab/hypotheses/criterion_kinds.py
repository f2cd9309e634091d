"""What a criterion may say: typed kinds, written in `hypothesis.yaml` before a run.

Gains follow one sign convention: error of arm `over` minus error of arm `of`, in percentage points,
positive = `of` is better. `where` narrows a criterion to some rows; `side` to one side of a split.
`roofline_lab.hypotheses.criteria` evaluates them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from roofline_lab.scoring.errors import ErrorRow
from roofline_lab.vocabulary import Metric, Scope
from simulator.validation import Count, Finite, NonNegative, NonNegativeInt, Positive, StrictModel

Names = Annotated[tuple[str, ...], Field(min_length=1)]
# Every group but the other one that is named.
OTHERS = "*"
# Keys of a condition that are no field of a row.
NOT_A_FIELD = ("except_load_point",)


class Where(StrictModel):
    """Rows a criterion looks at: all given keys must match; a key left out matches everything.

    Attributes
    ----------
    except_load_point
        Load points left out.
    strategy
        Kinds of load, such as `synchronous`, `constant`, `throughput` or `stage`.
    at_least_per_s
        Only load points with at least so many requests per second.
    """

    experiment: Names | None = None
    workload: Names | None = None
    family: Names | None = None
    tensor_parallel: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    load_point: Names | None = None
    except_load_point: Names | None = None
    strategy: Names | None = None
    at_least_per_s: Positive | None = None

    def matches(self, row: ErrorRow) -> bool:
        """Say whether a row is one of them."""
        if row.load_point in (self.except_load_point or ()):
            return False
        if self.at_least_per_s is not None and (row.rate_per_s or 0.0) < self.at_least_per_s:
            return False
        return all(getattr(row, key) in allowed for key, allowed in self._given() if key not in NOT_A_FIELD)

    def __str__(self) -> str:
        """Return the condition in words."""
        words = {"tensor_parallel": "TP", "load_point": "load point", "except_load_point": "every load point but"}
        parts = [f"{words.get(key, key)} {', '.join(map(str, names))}" for key, names in self._given()]
        if self.at_least_per_s is not None:
            parts.append(f"{self.at_least_per_s:g} requests per second or more")
        return "; ".join(parts)

    def _given(self) -> Iterator[tuple[str, tuple[object, ...]]]:
        for key in type(self).model_fields:
            allowed = getattr(self, key)
            if allowed is not None and key != "at_least_per_s":
                yield key, allowed


class _Judged(StrictModel):
    """What every kind says.

    Attributes
    ----------
    decisive
        Whether its failure refutes the claim.
    side
        `train` or `test`: look at one side of the hypothesis' split only.
    """

    id: str
    metric: Metric = Metric.TPOT_MEAN
    decisive: bool = False
    where: Where | None = None
    side: Literal["train", "test"] | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms the criterion names."""
        raise NotImplementedError

    @property
    def named_groups(self) -> Iterator[tuple[str, str]]:
        """(kind, name) of every family, workload and experiment the criterion names."""
        if self.where is not None:
            for kind in ("family", "workload", "experiment"):
                for name in getattr(self.where, kind) or ():
                    yield kind, name


class _OneArm(_Judged):
    of: str = "treatment"

    @property
    def arms(self) -> tuple[str, ...]:
        """The arm looked at."""
        return (self.of,)


class _TwoArms(_Judged):
    of: str = "treatment"
    over: str = "baseline"

    @property
    def arms(self) -> tuple[str, ...]:
        """The two arms compared."""
        return self.of, self.over


class Improvement(_TwoArms):
    """The mean error over all rows falls by at least so much."""

    kind: Literal["improvement"]
    at_least_pp: Finite


class ImprovementOrder(_TwoArms):
    """The first group gains more than the second, by more than so much."""

    kind: Literal["improvement_order"]
    by: Literal["workload", "family", "load_point", "strategy"] = "workload"
    groups: Annotated[tuple[str, str], Field()]
    more_than_pp: NonNegative = 0.0

    @property
    def named_groups(self) -> Iterator[tuple[str, str]]:
        """The two groups, and what `where` names."""
        yield from super().named_groups
        yield from ((self.by, name) for name in self.groups if self.by in ("workload", "family") and name != OTHERS)

    def members(self, row: ErrorRow) -> tuple[bool, bool]:
        """Say whether a row is in the first and in the second group."""
        group = row.group(Scope(self.by))
        first, second = self.groups
        return (
            group == first or (first == OTHERS and group != second),
            group == second or (second == OTHERS and group != first),
        )


class NoRowWorse(_TwoArms):
    """No row's error rises by more than so much."""

    kind: Literal["no_row_worse"]
    by_more_than_pp: NonNegative = 0.0


class Below(_OneArm):
    """The mean error of an arm is below a limit."""

    kind: Literal["below"]
    than_pct: Positive


class BelowArm(_TwoArms):
    """The mean error of one arm is below that of another."""

    kind: Literal["below_arm"]


class Vanishes(_TwoArms):
    """The mean effect is smaller than so much in a regime where it should vanish; `where` names the regime."""

    kind: Literal["vanishes"]
    less_than_pp: Positive

    @model_validator(mode="after")
    def _names_a_regime(self) -> Vanishes:
        if self.where is None:
            raise ValueError("where: name the regime in which the effect should vanish")
        return self


class Equivalence(_TwoArms):
    """The mean difference lies within so much of zero with its whole interval."""

    kind: Literal["equivalence"]
    within_pp: Positive


class CountOfRows(_TwoArms):
    """So many rows gain at least so much: at least, or at most, a number of them."""

    kind: Literal["count_of_rows"]
    gaining_at_least_pp: Finite = 0.0
    at_least: NonNegativeInt | None = None
    at_most: NonNegativeInt | None = None

    @model_validator(mode="after")
    def _has_one_bound(self) -> CountOfRows:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give exactly one of at_least and at_most")
        return self


class Trend(_TwoArms):
    """The gain moves in one direction along TP, in every model and workload measured at several TP."""

    kind: Literal["trend"]
    by: Literal["tensor_parallel"]
    expect: Literal["decreasing", "increasing"]


class SignOfError(_OneArm):
    """The mean signed error has a predicted sign: too fast (negative) or too slow (positive)."""

    kind: Literal["sign_of_error"]
    expect: Literal["too_fast", "too_slow"]


class LatencyRatio(_TwoArms):
    """Predictions of one arm over those of another stay within bounds in every row."""

    kind: Literal["latency_ratio"]
    at_least: Positive | None = None
    at_most: Positive | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> LatencyRatio:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least, at_most or both")
        return self


class TestGap(_OneArm):
    """The error on the test experiments exceeds the one on the train experiments by at most so much.

    With `either_way` the two may not differ by more in either direction.
    """

    kind: Literal["test_gap"]
    at_most_pp: NonNegative
    either_way: bool = False


Criterion = Annotated[
    Improvement
    | ImprovementOrder
    | NoRowWorse
    | Below
    | BelowArm
    | Vanishes
    | Equivalence
    | CountOfRows
    | Trend
    | SignOfError
    | LatencyRatio
    | TestGap,
    Field(discriminator="kind"),
]
