"""Names of step-time models, and what is documented per GPU, are in the reference as the code has them."""

from __future__ import annotations

import re

import pytest

from simulator.hardware import Sustained, load_hardware, with_sustained
from simulator.steptime.calibration import load_calibration
from simulator.steptime.fleet import is_fleet
from simulator.steptime.named import BUILT_IN
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "step-time.md").read_text(encoding="utf-8")
CALIBRATIONS = sorted((ROOT / "configs" / "calibration").glob("*.yaml"))


def row(name: str, *, heading: str) -> list[str]:
    """Return the cells of an option's row below a heading."""
    below = PAGE[PAGE.index(heading) :].splitlines()
    line = next(line for line in below if line.startswith("| `") and f"`{name}`" in line.split("|")[1])
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_every_name_has_a_row():
    for name in (*BUILT_IN, *(path.stem for path in CALIBRATIONS)):
        assert row(name, heading="## Names")


def test_what_is_documented_per_gpu_is_what_its_file_says():
    for name in Sustained.model_fields:
        assert row(name, heading="## What is documented per GPU")
    for gpu, column in (("h100-sxm", 2), ("a100-sxm", 3), ("h200-sxm", 4)):
        path = ROOT / "configs" / "hardware" / f"{gpu}.yaml"
        stated = with_sustained(load_hardware(path), path).sustained
        for name in ("bandwidth_efficiency", "causal_divisor", "link_efficiency"):
            cells = row(name, heading="## What is documented per GPU")
            assert float(cells[column]) == getattr(stated, name).value
        assert float(row("all_reduce", heading="## What is documented per GPU")[column]) == stated.all_reduce.value_us


@pytest.mark.parametrize("path", [path for path in CALIBRATIONS if not is_fleet(path)], ids=lambda path: path.stem)
def test_how_far_a_calibration_is_validated_is_what_its_report_says(path):
    report = (ROOT / "reports" / "calibration" / path.stem / "CALIBRATION.md").read_text(encoding="utf-8")
    validated = load_calibration(path).validated
    for kind, stated in (("dense", validated.dense), ("mixture of experts", validated.mixture_of_experts)):
        line = next(
            row for row in report.splitlines() if re.match(rf"\| all client load points, {kind} +\| held out ", row)
        )
        cells = line.split("|")[3:7]
        found = [float(re.search(r"\d+(\.\d+)?", cell).group()) for cell in cells]
        assert found == [stated.load_points, stated.ttft_pct, stated.itl_pct, stated.e2e_pct]


@pytest.mark.parametrize("path", [path for path in CALIBRATIONS if is_fleet(path)], ids=lambda path: path.stem)
def test_how_far_a_calibration_of_a_fleet_is_validated_is_what_its_report_says(path):
    report = (ROOT / "reports" / "calibration" / path.stem / "CALIBRATION.md").read_text(encoding="utf-8")
    line = next(line for line in report.splitlines() if line.startswith("| **all load points**"))
    points, ttft, per_token = (cell.strip() for cell in line.split("|")[2:5])
    assert (
        f"mean error {ttft} TTFT, {per_token} per token over {points} load points"
        in row(path.stem, heading="## Names")[2]
    )
