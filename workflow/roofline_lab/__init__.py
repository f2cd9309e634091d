"""The laboratory: hypotheses, ground truth, scoring, verdicts and reports."""

from __future__ import annotations

import os

# How many threads solve a system of equations shows in its last digits, and with them in the files of a calibration. A
# run has as many processes as cores, so threads beside them gain nothing. Read by numpy when it is first loaded.
for _library in ("OPENBLAS", "OMP", "MKL"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
