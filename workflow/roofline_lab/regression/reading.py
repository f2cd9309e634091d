"""From the files of one side to a `Snapshot`: every report, what is known of the measurements, and what was skipped."""

from __future__ import annotations

from collections.abc import Iterator

from roofline_lab.hypotheses.verdict_file import VERDICT_FILE
from roofline_lab.regression.findings import Rulings, Unscored, read_page, read_verdict
from roofline_lab.regression.measurements import Figures, read_figures, read_sides
from roofline_lab.regression.numbers import read_numbers, read_predictions
from roofline_lab.regression.records import Report, Snapshot
from roofline_lab.regression.sources import GROUND_TRUTH, NUMBERS, REPORTS, Source
from simulator.errors import ConfigError

PAGE = "FINDINGS.md"
PREDICTIONS = "predictions.csv"


def read_snapshot(source: Source) -> Snapshot:
    """Return everything a source says.

    Raises
    ------
    ConfigError
        If a `numbers.csv` or a `verdict.json` is damaged, or a report has a verdict but no `numbers.csv`.
    """
    skipped: list[str] = []
    reports = [*_hypotheses(source, skipped), *_calibrations(source, skipped)]
    figures: Figures = {}
    for path in _paths(source, GROUND_TRUTH, "experiment.yaml"):
        found, problem = read_figures(source.files[path], f"{source.where}{path}")
        figures |= found
        skipped += [problem] if problem else []
    return Snapshot(source.label, {report.name: report for report in reports}, figures, tuple(skipped))


def _hypotheses(source: Source, skipped: list[str]) -> Iterator[Report]:
    names = sorted({path.split("/")[1] for path in source.files if path.startswith(f"{REPORTS}/") and _is_report(path)})
    for name in names:
        folder = f"{REPORTS}/{name}"
        content = source.files.get(f"{folder}/{NUMBERS}")
        if content is None:
            _require_no_verdict(source, folder)
            skipped.append(f"{source.where}{folder}: has no {NUMBERS}")
            continue
        numbers = read_numbers(content, f"{source.where}{folder}/{NUMBERS}")
        rulings, stated = _conclusion(source, folder)
        unscored = {**numbers.unscored, **{key: state for key, state in stated.items() if key not in numbers.rows}}
        # A report without a findings page claims nothing (recorded requests replayed, for example).
        if not rulings and f"{folder}/{PAGE}" in source.files:
            skipped.append(f"{source.where}{folder}: no verdict can be read from {VERDICT_FILE} or {PAGE}")
        yield Report(name, numbers.rows, numbers.means, numbers.values, rulings, unscored, numbers.is_split)


def _require_no_verdict(source: Source, folder: str) -> None:
    """Refuse a report that concludes something from numbers that are gone: it would pass for one removed on purpose."""
    if f"{folder}/{VERDICT_FILE}" in source.files or _conclusion(source, folder)[0]:
        raise ConfigError(
            f"{source.where}{folder}: has a verdict but no {NUMBERS}; restore the file or regenerate the report (or "
            "remove the whole folder, if the report is meant to go)"
        )


def _conclusion(source: Source, folder: str) -> tuple[Rulings, Unscored]:
    verdict = source.files.get(f"{folder}/{VERDICT_FILE}")
    if verdict is not None:
        return read_verdict(verdict, f"{source.where}{folder}/{VERDICT_FILE}")
    return read_page(source.files.get(f"{folder}/{PAGE}", b"").decode("utf-8", errors="replace"))


def _calibrations(source: Source, skipped: list[str]) -> Iterator[Report]:
    sides: dict[tuple[str, str], str] = {}
    for path in _paths(source, GROUND_TRUTH, "experiment.yaml"):
        sides |= read_sides(source.files[path], path)
    for path in _paths(source, REPORTS, PREDICTIONS):
        try:
            numbers = read_predictions(source.files[path], f"{source.where}{path}", sides)
        except ConfigError as error:
            # Not part of any finding, and its form is younger than this one's.
            skipped.append(str(error))
            continue
        yield Report(path.removeprefix(f"{REPORTS}/").removesuffix(f"/{PREDICTIONS}"), numbers.rows)


def _paths(source: Source, folder: str, name: str) -> list[str]:
    return sorted(path for path in source.files if path.startswith(f"{folder}/") and path.endswith(f"/{name}"))


def _is_report(path: str) -> bool:
    return path.endswith((f"/{NUMBERS}", f"/{PAGE}", f"/{VERDICT_FILE}"))
