"""Runs the command line inside the test's process and collects what it wrote."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.cli.catalog import SHIPPED_CONFIGS
from simulator.cli.main import main
from simulator.kernels.analytic import load_analytic
from simulator.kernels.tabulated import tabulate, write_tables

SMALL_RUN = ["run", "--model", "llama-2-7b-hf", "--num-requests", "4", "--rate", "5"]
SMALL_LENGTHS = ["--prompt-tokens", "40", "--output-tokens", "5"]
SMALL = [*SMALL_RUN, *SMALL_LENGTHS]

STEP = {
    "model": "llama-2-7b-hf",
    "tp": 1,
    "tflops_peak": 989.5,
    "bw_peak_tbs": 3.35,
    "bw_eff": 0.82,
    "per_layer_overhead": 100,
    "prefill": [],
    "decode": [[1024, 1]],
}

LINEAR_CASE = {"steptime": "linear alpha/beta", "beta_coeffs": [5000, 17.5, 6], "model": "not-described-here"}
REQUESTS = "id,arrival_us,input_tokens,output_tokens,prefix_group,shared_prefix_tokens\n"


@dataclass(frozen=True)
class Outcome:
    """Exit code and everything written."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def invoke(*argv: object, stdin: str | bytes = b"") -> Outcome:
    """Run one command; a traceback would reach the test as the exception it is."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    out, err = io.StringIO(), io.StringIO()
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(given))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(argument) for argument in argv])
    finally:
        sys.stdin = before
    return Outcome(code, out.getvalue(), err.getvalue())


def refused(*argv: object, stdin: str | bytes = b"") -> str:
    """Return the message of a command that must fail as an expected failure does."""
    outcome = invoke(*argv, stdin=stdin)
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    assert outcome.err.strip()
    return outcome.err


def json_lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def write_case(folder: Path, config: dict[str, object], requests: str) -> Path:
    """Write a recorded run with plain CSV rows (without the header)."""
    folder.mkdir(exist_ok=True)
    (folder / "case.json").write_text(json.dumps(config))
    (folder / "requests.csv").write_text(REQUESTS + requests)
    return folder


def write_small_tables(folder: Path) -> Path:
    """Write kernel tables that need no third-party file: the fitted curves on the tables' grid."""
    write_tables(tabulate(load_analytic(SHIPPED_CONFIGS / "kernels" / "h100" / "analytic.yaml")), folder)
    return folder
