"""From the rows of all arms to everything a synthetic findings page shows.

Pure: rows, spec and published cells go in, a `RowReport` comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from roofline_lab.hypotheses.arms import Arm
from roofline_lab.hypotheses.synthetic.criteria import Judge
from roofline_lab.hypotheses.synthetic.resolve import methods_of, resolve_arms
from roofline_lab.hypotheses.synthetic.rows import RowTable
from roofline_lab.hypotheses.synthetic.spec import SyntheticHypothesis
from roofline_lab.hypotheses.synthetic.table import Line, build_table
from roofline_lab.hypotheses.verdict import Verdict, judge
from roofline_lab.project import Project
from roofline_lab.report.synthetic.numbers import RowNumber, compare, numbers_of
from roofline_lab.report.synthetic.values import RowValues
from roofline_lab.scoring.published import Comparison, Published
from roofline_lab.vocabulary import KERNEL_LABELS


@dataclass(frozen=True)
class KernelReport:
    """What one choice of kernels found.

    Attributes
    ----------
    peak_shares
        Largest FLOP and byte rate any step implies, as a share of the GPU's peak, and where.
    """

    method: str
    kernels: str
    arms: tuple[Arm, ...]
    table: RowTable
    verdict: Verdict
    peak_shares: Mapping[str, tuple[float, str]]

    @property
    def title(self) -> str:
        """The choice in words."""
        return KERNEL_LABELS[self.method]


@dataclass(frozen=True)
class RowReport:
    """One synthetic hypothesis, evaluated under all its kernels."""

    spec: SyntheticHypothesis
    methods: tuple[KernelReport, ...]
    published: Published | None
    comparisons: tuple[Comparison, ...]
    numbers: tuple[RowNumber, ...]

    @property
    def headline(self) -> KernelReport:
        """The kernels that give the page its status: the last ones listed."""
        return self.methods[-1]

    @cached_property
    def values(self) -> RowValues:
        """What prose may quote."""
        return RowValues(
            self.spec,
            {method.method: method.table for method in self.methods},
            {method.method: method.verdict for method in self.methods},
            {arm.name: arm.configuration for arm in self.headline.arms},
            self.published,
        )


def build_row_report(
    project: Project, spec: SyntheticHypothesis, lines: Sequence[Line], published: Published | None
) -> RowReport:
    """Work out, judge and compare everything one synthetic hypothesis ran.

    Parameters
    ----------
    lines
        What the arms wrote, under all kernels.
    """
    methods = tuple(_kernel_report(spec, name, lines) for name in methods_of(project, spec))
    numbers = tuple(number for method in methods for number in numbers_of(spec, method.method, method.table))
    ordered = tuple(sorted(numbers, key=lambda one: (one.method, one.arm, *one.identity)))
    comparisons = () if published is None else compare(published, methods[-1].method, ordered)
    return RowReport(spec, methods, published, comparisons, ordered)


def _kernel_report(spec: SyntheticHypothesis, method: str, lines: Sequence[Line]) -> KernelReport:
    own = [line for line in lines if line["method"] == method]
    table = build_table(spec, own, f"hypotheses/{spec.id}/hypothesis.yaml")
    labels = {column.id: column.label for column in spec.columns}
    units = {column.id: column.unit for column in spec.columns}
    judged = Judge(table, labels, units, {summary.id: summary for summary in spec.summaries})
    verdict = judge(
        method,
        [judged.evaluate(criterion) for criterion in spec.criteria],
        [judged.evaluate(control) for control in spec.controls],
        spec.resolutions,
    )
    kernels = "; ".join(dict.fromkeys(line["kernels"] for line in own))
    return KernelReport(method, kernels, resolve_arms(spec, method), table, verdict, _peak_shares(own))


def _peak_shares(lines: Sequence[Line]) -> dict[str, tuple[float, str]]:
    found: dict[str, tuple[float, str]] = {}
    for line in lines:
        for name, share in line["peak_shares"].items():
            if name not in found or share > found[name][0]:
                found[name] = (share, f"{line['key']}, {line['arm']}")
    return found
