"""Status by rule: criteria decide, nobody's opinion does.

1. A decisive criterion fails: Refuted. A decisive criterion was not measured: Inconclusive.
2. Any other criterion fails or was not measured: Partially confirmed, at most.
3. All criteria pass but a control does not, or any of them is passed and undecided: Confirmed with nuance.
4. All criteria and controls pass and are decided: Confirmed.

Criteria marked `decisive` decide; if none is marked, the first one does.

`verdict.json` is the verdict for programs: committed beside the page, where a later comparison finds status, criteria
and rows without a number without parsing prose. It holds words only: every number stands in `numbers.csv`, which is
compared with tolerances, while this file is compared byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from roofline_lab.files import json_text
from roofline_lab.hypotheses.outcome import CriterionOutcome
from roofline_lab.scoring.numbers import report_record
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.vocabulary import CriterionResult, Resolution, Status
from simulator.errors import ConfigError
from simulator.validation import suggest

VERDICT_FILE = "verdict.json"
DEFAULT_RESOLUTIONS: Mapping[Status, Resolution] = {
    Status.CONFIRMED: Resolution.CLEAN,
    Status.CONFIRMED_WITH_NUANCE: Resolution.WRONG_MECHANISM,
    Status.PARTIALLY_CONFIRMED: Resolution.PARTIAL_SURPRISE,
    Status.REFUTED: Resolution.REFUTED_MODEL,
    Status.INCONCLUSIVE: Resolution.OPEN_QUESTION,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one method says about the claim, and why."""

    method: str
    status: Status
    resolution: Resolution
    reason: str
    criteria: tuple[CriterionOutcome, ...]
    controls: tuple[CriterionOutcome, ...]

    @property
    def outcomes(self) -> tuple[CriterionOutcome, ...]:
        """Criteria and controls, in report order."""
        return (*self.criteria, *self.controls)

    def outcome(self, name: str) -> CriterionOutcome:
        """Return the outcome of one criterion or control.

        Raises
        ------
        ConfigError
            If the hypothesis has none of this name.
        """
        for outcome in self.outcomes:
            if outcome.id == name:
                return outcome
        known = [outcome.id for outcome in self.outcomes]
        raise ConfigError(f"no criterion or control '{name}' in this hypothesis; {suggest(name, known)}")


def judge(
    method: str,
    criteria: Sequence[CriterionOutcome],
    controls: Sequence[CriterionOutcome],
    resolutions: Mapping[Status, Resolution],
) -> Verdict:
    """Apply the rule to evaluated criteria (at least one) and controls."""
    marked = with_decisive(criteria)
    status, reason = _status(marked, controls)
    resolution = resolutions.get(status, _default_resolution(status, controls))
    return Verdict(method, status, resolution, reason, tuple(marked), tuple(controls))


def with_decisive(criteria: Sequence[CriterionOutcome]) -> list[CriterionOutcome]:
    """Mark the first criterion decisive when none is."""
    if any(outcome.decisive for outcome in criteria):
        return list(criteria)
    return [replace(criteria[0], decisive=True), *criteria[1:]]


def verdict_text(methods: Iterable[tuple[str, Verdict, Iterable[ErrorRow]]]) -> str:
    """Return the file of one report.

    Parameters
    ----------
    methods
        Id, verdict and rows without a number of each method, the one that gives the page its status last.
    """
    return json_text({"methods": [_method(*method) for method in methods]})


class UnscoredRow(BaseModel):
    """A row without a number, as a committed `verdict.json` states it; another revision may have said more."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    arm: str
    metric: str
    experiment: str
    load_point: str
    status: str


class Conclusion(BaseModel):
    """What one method concludes, as a committed `verdict.json` states it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    method: str
    status: str
    criteria: dict[str, str]
    unscored: tuple[UnscoredRow, ...] = ()


class _VerdictFile(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    methods: tuple[Conclusion, ...]


def read_conclusions(content: bytes, source: str) -> tuple[Conclusion, ...]:
    """Return what the methods of a committed `verdict.json` conclude, in its order.

    Raises
    ------
    ConfigError
        Naming the key that is not what the laboratory writes.
    """
    return report_record(_VerdictFile, content, source).methods


def _status(criteria: Sequence[CriterionOutcome], controls: Sequence[CriterionOutcome]) -> tuple[Status, str]:
    decisive = [outcome for outcome in criteria if outcome.decisive]
    if failed := _ids(decisive, CriterionResult.FAIL):
        return Status.REFUTED, f"the decisive criterion {failed} fails"
    if missing := _ids(decisive, CriterionResult.NOT_MEASURED):
        return Status.INCONCLUSIVE, f"the decisive criterion {missing} was not measured"
    if failed := _ids(criteria, CriterionResult.FAIL):
        return Status.PARTIALLY_CONFIRMED, f"the decisive criteria pass, {failed} fails"
    if missing := _ids(criteria, CriterionResult.NOT_MEASURED):
        return Status.PARTIALLY_CONFIRMED, f"the decisive criteria pass, {missing} was not measured"
    nuances = []
    if listed := ", ".join(outcome.id for outcome in _open(controls)):
        nuances.append(f"the control {listed} does not")
    if undecided := _ids((*criteria, *controls), CriterionResult.UNDECIDED):
        nuances.append(
            f"{undecided} cannot be told from {'their thresholds' if ', ' in undecided else 'its threshold'}"
        )
    if nuances:
        return Status.CONFIRMED_WITH_NUANCE, f"all criteria pass, {' and '.join(nuances)}"
    return Status.CONFIRMED, "all criteria and controls pass"


def _default_resolution(status: Status, controls: Sequence[CriterionOutcome]) -> Resolution:
    """Return how a status came about where the hypothesis does not say: what is only undecided stays open."""
    if status is Status.CONFIRMED_WITH_NUANCE and not _open(controls):
        return Resolution.OPEN_QUESTION
    return DEFAULT_RESOLUTIONS[status]


def _open(controls: Sequence[CriterionOutcome]) -> list[CriterionOutcome]:
    """Return the controls that failed or were not measured."""
    return [o for o in controls if o.result in (CriterionResult.FAIL, CriterionResult.NOT_MEASURED)]


def _ids(outcomes: Iterable[CriterionOutcome], result: CriterionResult) -> str:
    return ", ".join(outcome.id for outcome in outcomes if outcome.result is result)


def _method(method: str, verdict: Verdict, unscored: Iterable[ErrorRow]) -> dict[str, Any]:
    return {
        "method": method,
        "status": verdict.status.value,
        "criteria": {outcome.id: outcome.result.value for outcome in verdict.outcomes},
        "unscored": [
            {
                "arm": row.arm,
                "metric": row.metric.value,
                "experiment": row.experiment,
                "load_point": row.load_point,
                "status": row.status.value,
            }
            for row in unscored
        ],
    }
