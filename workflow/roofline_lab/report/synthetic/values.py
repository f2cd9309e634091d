"""The numbers prose may quote about a synthetic hypothesis.

Every call takes `on`, the kernels meant; by default those that give the page its status. Where measured
tables are given they answer for the tabulated kernels; the embedded ones were not run then and answer
None, which prints as a dash. Anything that does not exist at all is an error of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roofline_lab.hypotheses.criteria import CriterionOutcome
from roofline_lab.hypotheses.synthetic.resolve import MEASURED
from roofline_lab.hypotheses.synthetic.rows import RowTable
from roofline_lab.hypotheses.synthetic.spec import SyntheticHypothesis
from roofline_lab.hypotheses.synthetic.summaries import summarise
from roofline_lab.hypotheses.verdict import Verdict
from roofline_lab.report.synthetic.numbers import EVERYTHING
from roofline_lab.scoring.published import Published
from simulator.errors import ConfigError
from simulator.validation import suggest


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
            raise ConfigError(f"no row '{key}'; {suggest(key, (one.key for one in table.rows))}")
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
        known: Sequence[str] = [one.id for one in self._spec.judged]
        if criterion not in known:
            raise ConfigError(f"no criterion or control '{criterion}'; {suggest(criterion, known)}")
        verdict = self._verdicts.get(self._checked(on))
        if verdict is None:
            return None
        return next(outcome for outcome in (*verdict.criteria, *verdict.controls) if outcome.id == criterion)
