"""What lengths without their scatter cost in a closed loop: `python -m benchmarks.closed_loop TABLE [--steptime ID]`.

TABLE has one row per server and number of requests in flight (docs/importing.md); those whose client drew its lengths
from a range are imported as they were sent, and once more with the nominal length for every request. Both are
evaluated, and one line each says the mean absolute error of TTFT and of the time per token over all load points. With
lengths of their own the requests of a loop drift apart; with one length for all they stay in step for ever.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import yaml

from roofline_lab.importers.common import Measurement
from roofline_lab.importers.overrides import Overrides
from roofline_lab.importers.table import Table, read
from roofline_lab.importers.writing import write_all
from roofline_lab.predict.evaluate import Request, prepare, simulate_all
from simulator.errors import RooflineLabError
from simulator.workload.lengths import VllmRandomLengths

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ("ttft_mean", "inter_token_mean")
AS_SENT, ONE_LENGTH = "lengths as sent", "one length for all"


@dataclass(frozen=True, slots=True)
class Errors:
    """Mean absolute errors over load points, percent."""

    points: int
    ttft_pct: float
    per_token_pct: float


def compare(
    table: Path, folder: Path, *, steptime: str = "h100_vllm", only: str = "", jobs: int = 1
) -> dict[str, Errors]:
    """Return the errors with lengths as they were sent, and with one length for all.

    Parameters
    ----------
    folder
        Where experiments are written.
    only
        Text that the names of the runs contain.
    """
    as_sent, one_length = folder / "as_sent", folder / "one_length"
    drawn = _drawn(read(table), only)
    for place in (as_sent, one_length):
        write_all({place / name: run for name, run in drawn.items()}, ROOT, Overrides(), each_alone=True)
    for path in one_length.glob("*/experiment.yaml"):
        _flatten(path)
    places = {AS_SENT: as_sent, ONE_LENGTH: one_length}
    return {words: _errors(place, steptime, jobs) for words, place in places.items()}


def _drawn(table: Table, only: str) -> dict[str, Measurement]:
    """Return the runs whose lengths are known to scatter."""
    return {name: run for name, run in table.found.items() if only in name and _scatters(run)}


def _scatters(run: Measurement) -> bool:
    return isinstance(run.experiment.workload.output, VllmRandomLengths)


def _flatten(path: Path) -> None:
    """Give every request of an experiment the longest length there is, as a description without scatter does."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for side in ("prompt", "output"):
        content["workload"][side] = {"kind": "constant", "tokens": content["workload"][side]["max_tokens"]}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _errors(folder: Path, steptime: str, jobs: int) -> Errors:
    evaluation = simulate_all(prepare(Request(ROOT, folder, steptime)), jobs, lambda _: None)
    found = [[result.error_pct(name) for result in evaluation.results] for name in FIGURES]
    ttft, per_token = ([abs(error) for error in errors if error is not None] for errors in found)
    return Errors(len(ttft), fmean(ttft), fmean(per_token))


def main() -> int:
    """Compare as the arguments say and return 0, or 2 if something is wrong with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--steptime", default="h100_vllm")
    parser.add_argument("--only", default="", help="text that the names of the runs contain")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = compare(
                arguments.table, Path(folder), steptime=arguments.steptime, only=arguments.only, jobs=arguments.jobs
            )
    except RooflineLabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for words, errors in found.items():
        means = f"TTFT {errors.ttft_pct:6.1f} %  time per token {errors.per_token_pct:5.1f} %"
        print(f"{words:20s} {means}  n = {errors.points}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
