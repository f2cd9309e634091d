"""What a findings page says, read from its markdown: a second opinion on `verdict.json`.

Its status lines ("- As published: **Refuted**, because ..."), criteria tables and tables of runs without a number are
read by their form, which every page shares.
"""

from __future__ import annotations

import re

from roofline_lab.regression.reading import RowKey, Ruling
from roofline_lab.vocabulary import KERNEL_LABELS, Metric

_STATUS = re.compile(r"^- (?P<title>[^:]+): \*\*(?P<status>[^*]+)\*\*, because ", re.MULTILINE)
_METHOD = re.compile(r"^- \*\*(?P<title>[^*]+)\*\* \(`configs/methods/(?P<id>[^`]+)\.yaml`\)", re.MULTILINE)
_SECTION = re.compile(r"^#{2,3} (?P<title>.+?)\s*$", re.MULTILINE)
_METHOD_SUFFIX = " method"
_CELL_BORDER = re.compile(r"(?<!\\)\|")
_METRICS = {metric.label: metric.value for metric in Metric}
CRITERIA_COLUMNS = ("Id", "Role", "Statement", "Result")
GROUPED_COLUMNS = ("Arm", "Metric", "Status", "Reason", "Load points", "First")
LISTED_COLUMNS = ("Experiment", "Load point", "Arm", "Metric", "Status", "Reason")
UNSCORED_COLUMNS = ("Experiment", "Arm", "Load point", "Metric", "Status", "Reason")


def read_page(text: str):
    """Return rulings and rows without a number from a findings page; both are empty if it has none."""
    methods = {one["title"]: one["id"] for one in _METHOD.finditer(text)}
    methods |= {title: name for name, title in KERNEL_LABELS.items()}
    rulings = {}
    unscored = {}
    sections = _sections(text)
    for found in _STATUS.finditer(text):
        title = found["title"]
        body = sections.get(f"{title}{_METHOD_SUFFIX}") or sections.get(title, "")
        method = methods.get(title, title)
        rulings.setdefault(method, Ruling(found["status"], _criteria(body)))
        unscored |= _unscored(method, body)
    return rulings, unscored


def counted_by_reason(text):
    """Return of how many rows without a number a page of several simulators tells, which counts them by reason.

    One line stands for every arm and metric it names, at so many load points.
    """
    return sum(
        int(row["Load points"]) * len(row["Arm"].split(", ")) * len(row["Metric"].split(", "))
        for section in _sections(text).values()
        for row in _table(section, GROUPED_COLUMNS)
    )


def listed(text, method, names):
    """Return the rows without a number that a page of findings lists, which calls experiments by readable names.

    One line stands for every arm and metric it names.
    """
    ids = {name: key for key, name in names.items()}
    return {
        RowKey(method, arm, _METRICS.get(metric, metric), ids[row["Experiment"]], row["Load point"]): row["Status"]
        for section in _sections(text).values()
        for row in _table(section, LISTED_COLUMNS)
        for arm in row["Arm"].split(", ")
        for metric in row["Metric"].split(", ")
    }


def _sections(text):
    """Return the text below every heading of level 2 or 3, up to the next one."""
    parts = _SECTION.split(text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _criteria(section):
    rows = _table(section, CRITERIA_COLUMNS)
    return {row["Id"]: row["Result"].strip("*") for row in rows}


def _unscored(method, section):
    return {
        RowKey(
            method, row["Arm"], _METRICS.get(row["Metric"], row["Metric"]), row["Experiment"], row["Load point"]
        ): row["Status"]
        for row in _table(section, UNSCORED_COLUMNS)
    }


def _table(section, columns):
    """Yield the rows of the first table whose header begins with `columns`."""
    lines = iter(section.splitlines())
    for line in lines:
        if _cells(line)[: len(columns)] == list(columns):
            break
    next(lines, None)
    for line in lines:
        if not line.startswith("|"):
            return
        yield dict(zip(columns, _cells(line), strict=False))


def _cells(line):
    return [cell.strip() for cell in _CELL_BORDER.split(line)[1:-1]]
