"""First-principles numbers beside observed ones, computed when a page is rendered (rule RCV-2).

They are published as `expectations.json`, so that the lint can judge them without repeating the runs,
and shown in the findings table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from roofline_lab.files import json_text
from roofline_lab.hypotheses.spec import Claim, Finding
from roofline_lab.scoring.numbers import report_record
from simulator.errors import ConfigError
from simulator.validation import Finite, NonNegativeInt, StrictModel

FILE = "expectations.json"
# Renders an author's template; the second argument says where it stands.
Text = Callable[[str, str], str]


def expectation_names(spec: Claim) -> list[str]:
    """Return the file a report has where findings state expectations."""
    return [FILE] if any(finding.expectation is not None for finding in spec.findings) else []


def expectation_files(spec: Claim, text: Text) -> dict[str, str]:
    """Return that file with its content; nothing where no finding states an expectation.

    Raises
    ------
    ConfigError
        If a template gives something else than a number.
    """
    found = list(_computed(spec, text))
    return {FILE: json_text(found)} if found else {}


class ComputedExpectation(StrictModel):
    """One entry of a committed `expectations.json`: a number from first principles beside the observed one."""

    finding: NonNegativeInt
    words: str
    expected: Finite | None
    observed: Finite | None
    within: Finite


class _File(StrictModel):
    expectations: tuple[ComputedExpectation, ...]


def read_expectations(content: bytes, source: str) -> tuple[ComputedExpectation, ...]:
    """Return the entries of a committed `expectations.json`.

    Raises
    ------
    ConfigError
        Naming the entry and the key that is not what the laboratory writes.
    """
    return report_record(_File, content, source, list_of="expectations").expectations


def finding_text(finding: Finding, index: int, text: Text) -> str:
    """Return a finding with its expectation in words."""
    said = text(finding.finding, f"hypothesis.yaml: findings.{index}")
    if finding.expectation is None:
        return said
    numbers = _pair(finding, index, text)
    expected, observed = ("n/a" if number is None else f"{number:.4g}" for number in numbers)
    return f"{said} (expected from first principles: {expected}, observed: {observed}; {finding.expectation.words})"


def _computed(spec: Claim, text: Text) -> Iterator[Mapping[str, Any]]:
    for index, finding in enumerate(spec.findings):
        if finding.expectation is not None:
            expected, observed = _pair(finding, index, text)
            yield {
                "finding": index,
                "words": finding.expectation.words,
                "expected": expected,
                "observed": observed,
                "within": finding.expectation.within,
            }


def _pair(finding: Finding, index: int, text: Text) -> tuple[float | None, float | None]:
    assert finding.expectation is not None
    where = f"hypothesis.yaml: findings.{index}.expectation"
    expected, observed = f"{where}.expected", f"{where}.observed"
    return (
        _number(text(finding.expectation.expected, expected), expected),
        _number(text(finding.expectation.observed, observed), observed),
    )


def _number(rendered: str, where: str) -> float | None:
    """Return the number a template gave; None where what it asks for was not run in this session."""
    if rendered == "None":
        return None
    try:
        value = float(rendered)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{where}: gives '{rendered}', which is not a number")
    # Ten digits: enough to judge by, and free of the last bits that differ between libraries.
    return float(f"{value:.10g}")
