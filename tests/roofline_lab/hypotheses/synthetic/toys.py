"""A small synthetic hypothesis whose numbers can be worked out in the head, and ways to run one.

It prices decode steps by memory alone: halving the bandwidth doubles the time.
"""

from __future__ import annotations

import copy
import json

from roofline_lab.hypotheses.synthetic.resolve import methods_of
from roofline_lab.hypotheses.synthetic.rows import Row, RowTable
from roofline_lab.predict.synthetic import price_arm
from roofline_lab.report.synthetic_results import build_row_report

TOY = {
    "id": "toy_half_bandwidth",
    "kind": "synthetic",
    "title": "Half the bandwidth",
    "claim": "Half the bandwidth makes a decode step twice as long.",
    "diagnostic": "If not, the step is not bound by memory.",
    "family": "structural-model",
    "vvuq": "verification",
    "tier": 0,
    "setup": {"model": "llama-3.1-8b", "hardware": "h100-sxm"},
    "kernels": ["embedded"],
    "base": {"family": "mfu_roofline", "compute_term": False},
    "arms": {"full": {"bandwidth_efficiency": 1.0}, "half": {"bandwidth_efficiency": 0.5}},
    "varied": ["bandwidth_efficiency"],
    "sweeps": [
        {
            "id": "batch",
            "title": "Batches of short requests",
            "axes": {"requests": [1, 2, 4]},
            "batches": {"decode": {"decode": [{"kv": 128, "count": "requests"}]}},
        }
    ],
    "columns": [
        {"id": "full_us", "label": "full", "unit": "us", "value": "full.unrounded_us"},
        {"id": "ratio", "label": "half over full", "unit": "ratio", "value": "half.unrounded_us / full_us"},
    ],
    "summaries": [{"id": "largest", "label": "largest ratio", "kind": "max", "column": "ratio"}],
    "criteria": [
        {"id": "doubles", "kind": "every_row", "column": "ratio", "at_least": 1.999999, "at_most": 2.000001},
    ],
    "figures": [
        {
            "id": "ratio",
            "kind": "lines",
            "title": "Half over full",
            "sweeps": ["batch"],
            "columns": ["ratio"],
            "along": "requests",
            "x": {"label": "requests"},
            "y": {"label": "ratio"},
        }
    ],
    "findings": [
        {"finding": "It is {{ v.summary('largest') | quantity('ratio') }}", "type": "Confirmation", "action": "None"}
    ],
}
DISCUSSION = "\n".join(
    f"## {name}\n\nText.\n"
    for name in ("Root Cause Analysis", "Devil's Advocate", "Implications for Users", "Parameters and Generality")
)


def toy(**changes):
    """Return the toy hypothesis with top-level `changes`."""
    return copy.deepcopy(TOY) | changes


def row(key="s/1", sweep="s", reason="", axes=None, **cells):
    """Return one row with `cells`."""
    return Row(sweep, key, key, axes or {}, cells, reason)


def table(values, sweep="s", column="x"):
    """Return a table of one column, one row per value, along an axis `n`."""
    return RowTable(
        row(f"{sweep}/{place}", sweep, axes={"n": place}, **{column: value}) for place, value in enumerate(values)
    )


def run(project, hypothesis):
    """Return the report of one synthetic hypothesis, evaluated from scratch."""
    spec = project.synthetic[hypothesis]
    lines = [
        json.loads(line)
        for method in methods_of(project, spec)
        for arm in spec.arms
        for line in price_arm(project, hypothesis, method, arm).splitlines()
    ]
    return build_row_report(project, spec, lines, project.published[hypothesis])
