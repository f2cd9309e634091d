"""What the rules of `snakemake calibrate` call: one function per rule, of the same name.

Imports nothing heavy before a job runs, because every Snakemake run loads this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from roofline_lab.files import write_text


def calibration_surface(root: Path, name: str, experiment: str, output: str) -> None:
    """Simulate one experiment over the constants a calibration may choose from."""
    from roofline_lab.calibration import jobs

    write_text(Path(output), jobs.surface_job(root, name, experiment))


def calibration_fit(root: Path, name: str, surfaces: Iterable[str], output: str) -> None:
    """Fit the constants of one calibration."""
    from roofline_lab.calibration import jobs

    write_text(Path(output), jobs.fit_job(root, name, list(surfaces)))


def calibration_waiting_surface(root: Path, name: str, experiment: str, output: str) -> None:
    """Simulate one experiment as if its server never scheduled ahead."""
    from roofline_lab.calibration import term_jobs

    write_text(Path(output), term_jobs.waiting_surface_job(root, name, experiment))


def calibration_subsets(
    root: Path, name: str, ahead: str, surfaces: Iterable[str], waiting: Iterable[str], output: str
) -> None:
    """Fit and judge every set of terms with or without scheduling ahead."""
    from roofline_lab.calibration import term_jobs

    write_text(Path(output), term_jobs.subsets_job(root, name, ahead, list(surfaces), list(waiting)))


def calibration_chain(root: Path, name: str, surfaces: Iterable[str], waiting: Iterable[str], output: str) -> None:
    """Fit and simulate one term more at a time."""
    from roofline_lab.calibration import term_jobs

    write_text(Path(output), term_jobs.chain_job(root, name, list(surfaces), list(waiting)))


def calibration_terms(root: Path, name: str, chain: str, subsets: Iterable[str]) -> None:
    """Write the page on terms of one calibration."""
    from roofline_lab.report.calibration.terms_page import publish

    publish(root, name, chain, list(subsets))


def calibration_judgement(root: Path, name: str, experiment: str, fit: str, output: str) -> None:
    """Judge a fit on one experiment."""
    from roofline_lab.calibration import jobs

    write_text(Path(output), jobs.judge_job(root, name, experiment, fit))


def calibration_report(root: Path, parameters: str, fit: str, judged: Iterable[str]) -> None:
    """Write the parameter file, whose stem names the calibration, and its report."""
    from roofline_lab.report.calibration.page import publish

    publish(root, Path(parameters).stem, fit, list(judged))
