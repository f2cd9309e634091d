"""What the findings pages of both kinds of hypotheses share: their files, and what their templates say alike.

The author's texts are templates too: their numbers come through `v` (see `roofline_lab.report.values`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from roofline_lab.author_texts import render_text
from roofline_lab.hypotheses.discussion import Discussion
from roofline_lab.hypotheses.expectations import expectation_files, expectation_names
from roofline_lab.hypotheses.spec import Claim
from roofline_lab.hypotheses.verdict import VERDICT_FILE, Verdict
from roofline_lab.project import Project
from roofline_lab.rendering import render
from roofline_lab.report import tables
from roofline_lab.report.design import PAGE, Text, difference_table, evidence_table, findings_table
from roofline_lab.report.results import Report
from roofline_lab.report.synthetic_results import RowReport
from roofline_lab.report.values import RowValues, Values
from roofline_lab.scoring.numbers import numbers_text
from roofline_lab.vocabulary import FAMILY_LABELS, PURPOSE_LABELS, Status

# What a front page has no room for.
DETAILS = "DETAILS.md"


def file_names(project: Project, spec: Claim, figures: Iterable[str]) -> list[str]:
    """Return the names of all files a report has, the page last."""
    published = ["reproduction.md"] if project.published[spec.id] is not None else []
    return [
        "numbers.csv",
        VERDICT_FILE,
        "provenance.json",
        *expectation_names(spec),
        *figures,
        *published,
        DETAILS,
        PAGE,
    ]


def page_files(
    report: Report | RowReport,
    values: Values | RowValues,
    verdict: str,
    figures: Mapping[str, str],
    templates: tuple[str, str],
    context: Mapping[str, Any],
) -> dict[str, str]:
    """Return every file of a report folder, name to text, the page last; provenance is added by the caller.

    Parameters
    ----------
    templates
        Of the details and of the page.

    Raises
    ------
    ConfigError
        If a text asks for a number that is not there.
    """
    spec = report.spec
    files = {"numbers.csv": numbers_text(report.numbers), VERDICT_FILE: verdict, **figures}
    if report.published is not None:
        of_published = {"tables": tables, "spec": spec, "source": report.published.source}
        files["reproduction.md"] = render("reproduction.md.j2", {**of_published, "comparisons": report.comparisons})
    details, page = (render(template, dict(context)) for template in templates)
    return {**files, **expectation_files(spec, _author_text(spec, values)), DETAILS: details, PAGE: page}


def context_of(project: Project, report: Report | RowReport, values: Values | RowValues) -> dict[str, Any]:
    """Return what the templates of both kinds need.

    Raises
    ------
    ConfigError
        If a text asks for a number that is not there.
    """
    spec = report.spec
    text = _author_text(spec, values)
    discussion, status = project.discussions[spec.id], report.headline.verdict.status
    return {
        "tables": tables,
        "spec": spec,
        "headline": report.headline,
        "reports": report.methods,
        "comparisons": report.comparisons,
        "family": FAMILY_LABELS[spec.family],
        "purpose": PURPOSE_LABELS[spec.vvuq],
        "type": spec.type.value.replace("-", " ").capitalize(),
        "status_reasons": [
            f"{method.title}: **{method.verdict.status}**, because {_told(method.verdict)}" for method in report.methods
        ],
        "reason": _told(report.headline.verdict),
        "diff_table": difference_table(report.headline.arms),
        "outdated_texts": outdated_texts(spec, discussion, status),
        "discussion": {name: text(body, f"discussion.md: {name}") for name, body in discussion.sections.items()},
        "findings_table": findings_table(spec, text),
        "evidence_table": evidence_table(spec, text),
    }


def _told(verdict: Verdict) -> str:
    """Return why a verdict is what it is, with the names of criteria marked as such."""
    names = {outcome.id for outcome in verdict.outcomes}
    return re.sub(r"\w+", lambda word: f"`{word[0]}`" if word[0] in names else word[0], verdict.reason)


def outdated_texts(spec: Claim, discussion: Discussion, status: Status) -> str:
    """Return which texts were written for another status than the page has; empty where all fit."""
    texts = {"reasoning and implications": discussion.written_for, "findings and evidence": spec.written_for}
    return "; ".join(f"{name} for *{written}*" for name, written in texts.items() if written not in (None, status))


def _author_text(spec: Claim, values: Values | RowValues) -> Text:
    """Return what renders a text of the author, with the numbers it may quote."""
    return lambda template, where: render_text(template, {"v": values}, f"hypotheses/{spec.id}/{where}")
