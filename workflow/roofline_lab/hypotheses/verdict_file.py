"""`verdict.json`: what a report concludes, for programs.

Committed beside the page, where a later comparison finds status, criteria and rows without a number without parsing
prose. It holds words only: every number stands in `numbers.csv`, which is compared with tolerances, while this file is
compared byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from roofline_lab.files import json_text
from roofline_lab.hypotheses.verdict import Verdict
from roofline_lab.scoring.scores import ErrorRow

VERDICT_FILE = "verdict.json"


def verdict_text(methods: Iterable[tuple[str, Verdict, Iterable[ErrorRow]]]) -> str:
    """Return the file of one report.

    Parameters
    ----------
    methods
        Id, verdict and rows without a number of each method, the one that gives the page its status last.
    """
    return json_text({"methods": [_method(*method) for method in methods]})


def _method(method: str, verdict: Verdict, unscored: Iterable[ErrorRow]) -> dict[str, Any]:
    return {
        "method": method,
        "status": verdict.status.value,
        "criteria": {outcome.id: outcome.result.value for outcome in (*verdict.criteria, *verdict.controls)},
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
