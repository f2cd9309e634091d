"""The numbers prose may quote: every figure in a report's text comes through one of these calls.

Asking for something that was not measured is an error of the page, reported with the call that
failed; text never falls back to a default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from roofline_lab.hypotheses.outcome import CriterionOutcome
from roofline_lab.hypotheses.proportional import ProportionalArm
from roofline_lab.hypotheses.sweep import ALL, Search
from roofline_lab.hypotheses.synthetic.resolve import MEASURED
from roofline_lab.hypotheses.synthetic.rows import RowTable, summarise
from roofline_lab.hypotheses.synthetic.spec import SyntheticHypothesis
from roofline_lab.hypotheses.verdict import Verdict
from roofline_lab.report.results import Report
from roofline_lab.report.synthetic_results import EVERYTHING, RowReport
from roofline_lab.run_files import Row
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, Number
from roofline_lab.scoring.published import Published
from roofline_lab.scoring.scores import Moved, Scores
from roofline_lab.vocabulary import Metric, RowStatus, Scope, Statistic
from simulator.errors import ConfigError
from simulator.validation import suggest

Entry = TypeVar("Entry")


def values_of(report: Report) -> Values:
    """Return the numbers of a hypothesis on measurements."""
    methods = {method.method.id: method for method in report.methods}
    return Values(
        report.numbers,
        {name: method.scores for name, method in methods.items()},
        {name: method.verdict for name, method in methods.items()},
        {name: method.rows for name, method in methods.items()},
        tuple(report.spec.arms),
        {arm.name: arm.configuration for arm in report.headline.arms},
        {name: method.proportional for name, method in methods.items()},
        {name: method.searches for name, method in methods.items()},
        {experiment.id: report.names[experiment.id] for experiment in report.experiments},
    )


def row_values_of(report: RowReport) -> RowValues:
    """Return the numbers of a synthetic hypothesis."""
    return RowValues(
        report.spec,
        {method.method: method.table for method in report.methods},
        {method.method: method.verdict for method in report.methods},
        {arm.name: arm.configuration for arm in report.headline.arms},
        report.published,
    )


class Values:
    """Numbers of one hypothesis by method; the last arm is meant where none is named."""

    def __init__(
        self,
        numbers: Sequence[Number],
        scores: Mapping[str, Scores],
        verdicts: Mapping[str, Verdict],
        rows: Mapping[str, Sequence[Row]],
        arms: Sequence[str],
        options: Mapping[str, Mapping[str, Any]],
        proportional: Mapping[str, Sequence[ProportionalArm]] | None = None,
        searches: Mapping[str, Sequence[Search]] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._numbers: dict[tuple[str, ...], list[float]] = {}
        # Where there are several load points, a name without one means all of them together.
        self._over_all: dict[tuple[str, ...], float] = {}
        for n in numbers:
            key = (n.method, n.arm, n.scope.value, n.key, n.metric.value, n.statistic.value)
            if n.load_point == ALL_LOAD_POINTS:
                self._over_all[key] = n.value
            self._numbers.setdefault(key, []).append(n.value)
        self._scores = scores
        self._verdicts = verdicts
        self._rows = rows
        self._arms = tuple(arms)
        self._options = options
        self._proportional = proportional or {}
        self._searches = searches or {}
        self._names = names or {}

    def experiments(self) -> list[tuple[str, str]]:
        """Return id and readable name of every experiment, in the order of the pages."""
        return list(self._names.items())

    def mape(self, method: str, arm: str, metric: str, scope: str = "overall", key: str = "all") -> float:
        """Return a mean error, percent."""
        return self._number(method, arm, scope, key, metric, Statistic.MAPE)

    def signed(self, method: str, arm: str, metric: str, scope: str = "overall", key: str = "all") -> float:
        """Return a mean signed error, percent."""
        return self._number(method, arm, scope, key, metric, Statistic.SIGNED_ERROR)

    def gain(self, method: str, metric: str, arm: str | None = None, scope: str = "overall", key: str = "all") -> float:
        """Return a mean gain over the first arm, percentage points."""
        return self._number(method, arm or self._arms[-1], scope, key, metric, Statistic.DELTA)

    def predicted(self, method: str, arm: str, experiment: str, metric: str) -> float:
        """Return a predicted mean, ms."""
        return self._number(method, arm, Scope.EXPERIMENT, experiment, metric, Statistic.PREDICTED)

    def measured(self, method: str, experiment: str, metric: str) -> float:
        """Return a measured mean, ms."""
        return self._number(method, self._arms[0], Scope.EXPERIMENT, experiment, metric, Statistic.MEASURED)

    def option(self, arm: str, key: str) -> Any:
        """Return the value of one option of an arm, by its dotted name."""
        if key not in self._options.get(arm, {}):
            raise ConfigError(f"no option '{key}' of arm '{arm}'")
        return self._options[arm][key]

    def answer(self, method: str, arm: str, quantity: str, scope: str = "overall", key: str = "all") -> float:
        """Return the mean of what answers about capacity are judged by, in percent."""
        return self._number(method, arm, scope, key, quantity, "mean")

    def median_answer(self, method: str, arm: str, quantity: str, scope: str = "overall", key: str = "all") -> float:
        """Return its median."""
        return self._number(method, arm, scope, key, quantity, "median")

    def answers(self, method: str, arm: str, quantity: str, scope: str = "overall", key: str = "all") -> int:
        """Return how many answers such a mean is over."""
        return int(self._number(method, arm, scope, key, quantity, "points"))

    def coverage(self, method: str, metric: str, arm: str | None = None) -> str:
        """Return at how many load points of those asked an arm predicts a metric, as in `41 of 45`."""
        return str(self._of(self._scores, method).coverage(arm or self._arms[-1], _metric(metric)))

    def improving(self, method: str, metric: str, arm: str | None = None) -> int:
        """Return how many experiments an arm improves."""
        gains = self._of(self._scores, method).gains(_metric(metric), arm or self._arms[-1], self._arms[0])
        return sum(gain.value > 0 for gain in gains)

    def moved(self, method: str, metric: str, of: str, over: str) -> Moved:
        """Return how many rows an arm predicts slower and faster than another, and what becomes of either's errors."""
        return self._of(self._scores, method).moved(_metric(metric), of, over)

    def count(self, method: str, metric: str, arm: str | None = None) -> int:
        """Return how many experiments were scored."""
        return len(self._of(self._scores, method).select(arm or self._arms[-1], _metric(metric)))

    def observed(self, method: str, criterion: str) -> float:
        """Return what a criterion observed, percentage points."""
        value = self._outcome(method, criterion).observed
        if value is None:
            raise ConfigError(f"observed({method!r}, {criterion!r}): the criterion was not measured")
        return value

    def result(self, method: str, criterion: str) -> str:
        """Return PASS, FAIL or NOT MEASURED."""
        return self._outcome(method, criterion).result.value

    def detail(self, method: str, criterion: str) -> str:
        """Return what stands beside a criterion's result, as in `9 of 9 experiments improve, from ...`."""
        return self._outcome(method, criterion).detail

    def p_value(self, method: str, criterion: str) -> float:
        """Return the p-value of the permutation test that tells a criterion's mean from its threshold."""
        evidence = self._outcome(method, criterion).evidence
        if evidence is None or evidence.p_value is None:
            raise ConfigError(f"p_value({method!r}, {criterion!r}): the criterion has no permutation test")
        return evidence.p_value.value

    def needed(self, method: str, criterion: str) -> int:
        """Return how many experiments (per group) detect the effect a criterion claims."""
        evidence = self._outcome(method, criterion).evidence
        if evidence is None or evidence.needed is None:
            raise ConfigError(f"needed({method!r}, {criterion!r}): the criterion has no sample size")
        return evidence.needed

    def factor(self, method: str, metric: str, arm: str | None = None) -> float:
        """Return by how much an arm's predictions exceed the first arm's, as one factor."""
        return self._proportional_arm(method, metric, arm).scale

    def explained(self, method: str, metric: str, arm: str | None = None) -> float:
        """Return the share of an arm's gains that a constant factor accounts for, percent."""
        found = self._proportional_arm(method, metric, arm)
        if not found.is_constant_multiple or found.explained_pct is None:
            raise ConfigError(f"explained({method!r}, {metric!r}): the arm is no constant multiple of the first one")
        return found.explained_pct

    def chosen(self, method: str, arm: str | None = None, fold: str | None = None, option: str | None = None) -> float:
        """Return the value a sweep chose, in the option's unit; in cross-validation that of all experiments, or a fold.

        Where several sweeps choose, an arm is named, and its option where several are searched.
        """
        return self._search(method, arm, fold, option).chosen

    def fitted(self, method: str, arm: str | None = None, fold: str | None = None, option: str | None = None) -> float:
        """Return the mean error of a chosen value on the experiments that chose it, percent; keys as of `chosen`."""
        found = self._search(method, arm, fold, option)
        return found.errors[found.chosen]

    def chosen_interval(self, method: str, arm: str | None = None) -> str:
        """Return the interval of the value a sweep chose in words, or why there is none; keys as of `chosen`."""
        return self._search(method, arm, None, None).interval_text

    def searched(self, method: str, value: float, arm: str | None = None) -> float:
        """Return the mean error at one value of a sweep where it was chosen, percent; keys as of `chosen`."""
        errors = self._search(method, arm, None, None).errors
        if value not in errors:
            raise ConfigError(f"searched({method!r}, {value!r}): the sweep has no such value")
        return errors[value]

    def _search(self, method: str, arm: str | None, fold: str | None, option: str | None) -> Search:
        named = [one for one in self._of(self._searches, method) if arm is None or arm in one.sweep.arms]
        found = [one for one in named if option in (None, one.sweep.option) and one.fold.name in ("", fold or ALL)]
        if len(found) != 1:
            known = [f"{one.sweep.arm} {one.sweep.option} {one.fold.name}".strip() for one in named]
            raise ConfigError(f"{method}: {len(found)} searches are meant; there are: {', '.join(known) or 'none'}")
        return found[0]

    def status(self, method: str) -> str:
        """Return the status of the claim under one method."""
        return self._of(self._verdicts, method).status.value

    def max_rate(self, method: str, kind: str) -> float:
        """Return the largest rate any step of any run implies, as a share of the GPU's peak.

        `kind` is `flops` (per GPU, against the dense peak) or `bytes` (against peak bandwidth).
        """
        done = [row for row in self._of(self._rows, method) if row["status"] == RowStatus.OK]
        scored = [row["peak_shares"] for row in done if "peak_shares" in row]
        if not scored or kind not in scored[0]:
            raise ConfigError(f"max_rate({method!r}, {kind!r}): no run has such a rate; kinds: flops, bytes")
        return max(shares[kind] for shares in scored)

    def _proportional_arm(self, method: str, metric: str, arm: str | None) -> ProportionalArm:
        wanted = (arm or self._arms[-1], _metric(metric))
        for known in self._of(self._proportional, method):
            if (known.arm, known.metric) == wanted:
                return known
        raise ConfigError(f"no arm '{wanted[0]}' with predictions of {metric} beside the first arm's")

    def _outcome(self, method: str, criterion: str) -> CriterionOutcome:
        return self._of(self._verdicts, method).outcome(criterion)

    def _number(self, *identity: Any) -> float:
        key = tuple(str(part) for part in identity)
        found = [self._over_all[key]] if key in self._over_all else self._numbers.get(key, [])
        if not found:
            raise ConfigError(f"no number {', '.join(key)}; see numbers.csv for what there is")
        if len(found) > 1:
            raise ConfigError(f"{len(found)} load points have a number {', '.join(key)}; prose cannot name one of them")
        return found[0]

    def _of(self, by_method: Mapping[str, Entry], method: str) -> Entry:
        if method not in by_method:
            raise ConfigError(f"no method '{method}' in this hypothesis; {suggest(method, by_method)}")
        return by_method[method]


class RowValues:
    """Numbers of one synthetic hypothesis."""

    def __init__(
        self,
        spec: SyntheticHypothesis,
        tables: Mapping[str, RowTable],
        verdicts: Mapping[str, Verdict],
        options: Mapping[str, Mapping[str, Any]],
        published: Published | None,
    ) -> None:
        self._spec = spec
        self._tables = tables
        self._verdicts = verdicts
        self._options = options
        self._published = published
        self._headline = tuple(tables)[-1]

    def cell(self, key: str, column: str, on: str | None = None) -> float | None:
        """Return one cell by row key and column."""
        table = self._table(on)
        if table is None:
            return None
        row = table.row(key)
        if row is None:
            raise ConfigError(f"no row '{key}'; {suggest(key, (row.key for row in table.rows))}")
        if column not in row.cells:
            raise ConfigError(f"row '{key}' has no column '{column}'; {suggest(column, row.cells)}")
        return row.cells[column]

    def summary(self, name: str, sweep: str | None = None, on: str | None = None) -> float | None:
        """Return a summary, overall or of one sweep."""
        found = {summary.id: summary for summary in self._spec.summaries}
        if name not in found:
            raise ConfigError(f"no summary '{name}'; {suggest(name, found)}")
        table = self._table(on)
        return None if table is None else summarise(found[name], table, sweep)

    def observed(self, criterion: str, on: str | None = None) -> float | None:
        """Return what a criterion observed."""
        outcome = self._outcome(criterion, on)
        return None if outcome is None else outcome.observed

    def result(self, criterion: str, on: str | None = None) -> str:
        """Return PASS, FAIL or NOT MEASURED."""
        outcome = self._outcome(criterion, on)
        return "not run" if outcome is None else outcome.result.value

    def status(self, on: str | None = None) -> str:
        """Return the status of the claim."""
        verdict = self._verdicts.get(self._checked(on))
        return "not run" if verdict is None else verdict.status.value

    def points(self, sweep: str | None = None) -> int:
        """Return how many points were evaluated."""
        return sum(sweep in (None, row.sweep) for row in self._tables[self._headline].rows)

    def option(self, arm: str, key: str) -> Any:
        """Return the value of one option of an arm, by its dotted name."""
        if key not in self._options.get(arm, {}):
            raise ConfigError(f"no option '{key}' of arm '{arm}'")
        return self._options[arm][key]

    def published(self, metric: str, key: str = EVERYTHING) -> float:
        """Return one published number by column or summary, and row key, sweep or `all`."""
        for cell in self._published.cells if self._published else ():
            if (cell.metric, cell.key) == (metric, key):
                return cell.value
        raise ConfigError(f"nothing published about '{metric}' of '{key}'")

    def _checked(self, on: str | None) -> str:
        if on is not None and on not in (*self._spec.kernels, *self._tables):
            raise ConfigError(f"no kernels '{on}' in this hypothesis; {suggest(on, self._spec.kernels)}")
        return MEASURED if on == "tabulated" and MEASURED in self._tables else on or self._headline

    def _table(self, on: str | None) -> RowTable | None:
        return self._tables.get(self._checked(on))

    def _outcome(self, criterion: str, on: str | None) -> CriterionOutcome | None:
        found = self._verdicts[self._headline].outcome(criterion)
        chosen = self._checked(on)
        if chosen == self._headline:
            return found
        return self._verdicts[chosen].outcome(criterion) if chosen in self._verdicts else None


def _metric(name: str) -> Metric:
    if name not in list(Metric):
        raise ConfigError(f"no metric '{name}'; {suggest(name, list(Metric))}")
    return Metric(name)
