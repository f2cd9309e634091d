"""From the files of one side to tables: rows, numbers and verdicts of every report.

Frozen records without behaviour beyond their own arithmetic. Metrics, scopes and states are plain words here, not the
laboratory's present vocabulary: an older revision may have used others. Means over groups of rows are not read but for
the overall one: the rows say the same, and more. A damaged `numbers.csv` is an error, because a row that is silently
missing changes every mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from roofline_lab.hypotheses.verdict import VERDICT_FILE, read_conclusions
from roofline_lab.regression.noise import Figure, Measurement, Scored, read_experiment
from roofline_lab.regression.sources import GROUND_TRUTH, NUMBERS, REPORTS, Source
from roofline_lab.scoring.numbers import finite, read_numbers, report_records
from simulator.errors import ConfigError

PAGE = "FINDINGS.md"
PREDICTIONS = "predictions.csv"
# State of a row that has a number on both sides, as in `roofline_lab.vocabulary.RowStatus`.
SCORED = "ok"
# States of a yes-or-no prediction (does the server saturate?), which is right or wrong but has no error.
RIGHT = "predicted rightly"
WRONG = "predicted wrongly"
NOT_PREDICTED = "not_predicted"
# Load points that stand for generated points, and for all load points together.
SYNTHETIC = "synthetic"
ALL_LOAD_POINTS = "all"
# Units of numbers that have an error in percent, and of those that are right or wrong.
QUANTITIES = ("ms", "per_s")
FLAG = "flag"
SIDES = ("predicted", "measured")
# Scope of single rows, and scopes that are means over rows.
EXPERIMENT = "experiment"
OVERALL = "overall"
AGGREGATES = ("workload", "family", "tp", "hardware", "load_point", "strategy", "split", "shared", OVERALL)
# Statistics that follow from the two sides.
DERIVED = ("mape", "signed_error", "delta")
PREDICTION_COLUMNS = ("load_point", "variant", "metric", "predicted_ms", "measured_ms")
CALIBRATION_METHOD = "calibration"
SERVER_SIDE = "server"
# Where a load point was measured, by (experiment, load point).
MeasuredAt = Mapping[tuple[str, str], str]


class NumberKey(NamedTuple):
    """What a line of `numbers.csv` is about: all its columns but the value."""

    method: str
    arm: str
    load_point: str
    scope: str
    key: str
    metric: str
    statistic: str
    unit: str

    @property
    def row(self) -> RowKey:
        """The row a prediction or a measurement belongs to."""
        return RowKey(self.method, self.arm, self.metric, self.key, self.load_point)


class RowKey(NamedTuple):
    """One metric of one load point, as one arm under one method predicts it."""

    method: str
    arm: str
    metric: str
    experiment: str
    load_point: str

    @property
    def group(self) -> GroupKey:
        """What the row's error is averaged in."""
        return GroupKey(self.method, self.arm, self.metric)

    @property
    def measurement(self) -> Measurement:
        """What the row is compared with."""
        return Measurement(self.experiment, self.load_point, self.metric)


class GroupKey(NamedTuple):
    """The rows of one mean error."""

    method: str
    arm: str
    metric: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one method says about a claim: its status and the result of every criterion and control."""

    status: str
    criteria: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """One report at one revision.

    Attributes
    ----------
    rows
        Every row with a number.
    means
        Overall error in percent as the report gives it.
    values
        Numbers that have no error: of a generated point, a share of steps, of an analysis.
    rulings
        By method, in the order of the report; empty where the report has no verdict.
    unscored
        State of every row without a number, and of every prediction that is right or wrong.
    is_split
        Whether overall errors are over test experiments alone.
    """

    name: str
    rows: Mapping[RowKey, Scored] = field(default_factory=dict)
    means: Mapping[GroupKey, float] = field(default_factory=dict)
    values: Mapping[NumberKey, float] = field(default_factory=dict)
    rulings: Mapping[str, Ruling] = field(default_factory=dict)
    unscored: Mapping[RowKey, str] = field(default_factory=dict)
    is_split: bool = False

    @property
    def states(self) -> dict[RowKey, str]:
        """The state of every row, scored or not."""
        return {**self.unscored, **dict.fromkeys(self.rows, SCORED)}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All reports of one side.

    Attributes
    ----------
    label
        How a reader knows the revision, as markdown.
    figures
        Measured figures of its ground truth; empty where that was not at hand.
    skipped
        What could not be read, one sentence each.
    """

    label: str
    reports: Mapping[str, Report]
    figures: Mapping[Measurement, Figure]
    skipped: tuple[str, ...] = ()


def read_snapshot(source: Source) -> Snapshot:
    """Return everything a source says.

    Raises
    ------
    ConfigError
        If a `numbers.csv` or a `verdict.json` is damaged, or a report has a verdict but no `numbers.csv`.
    """
    paths = _paths(source, GROUND_TRUTH, "experiment.yaml")
    experiments = [read_experiment(source.files[path], f"{source.where}{path}") for path in paths]
    measured_at = {point: side for experiment in experiments for point, side in experiment.measured_at.items()}
    figures = {name: figure for experiment in experiments for name, figure in experiment.figures.items()}
    skipped: list[str] = []
    reports = [*_reports(source, skipped), *_calibrations(source, measured_at, skipped)]
    skipped += [experiment.problem for experiment in experiments if experiment.problem]
    return Snapshot(source.label, {report.name: report for report in reports}, figures, tuple(skipped))


def _reports(source: Source, skipped: list[str]) -> Iterator[Report]:
    without_verdict = []
    for name in sorted({path.split("/")[1] for path in source.files if path.startswith(f"{REPORTS}/")}):
        folder = f"{REPORTS}/{name}"
        where = f"{source.where}{folder}"
        numbers, verdict = (source.files.get(f"{folder}/{file}") for file in (NUMBERS, VERDICT_FILE))
        has_page = f"{folder}/{PAGE}" in source.files
        if numbers is None and verdict is not None:
            raise ConfigError(
                f"{where}: has a verdict but no {NUMBERS}; restore the file or regenerate the report (or "
                "remove the whole folder, if the report is meant to go)"
            )
        if numbers is None:
            skipped += [f"{where}: has no {NUMBERS}"] if has_page else []
            continue
        # A report without a findings page claims nothing (recorded requests replayed, for example).
        if verdict is None and has_page:
            without_verdict.append(name)
        rulings, stated = read_verdict(verdict, f"{where}/{VERDICT_FILE}") if verdict is not None else ({}, {})
        yield read_report(name, numbers, f"{where}/{NUMBERS}", rulings, stated)
    if without_verdict:
        skipped.append(
            f"{source.where}{REPORTS}: verdicts and rows without a number of {', '.join(without_verdict)} "
            f"(no {VERDICT_FILE}: older than that file, or not regenerated)"
        )


def _calibrations(source: Source, measured_at: MeasuredAt, skipped: list[str]) -> Iterator[Report]:
    for path in _paths(source, REPORTS, PREDICTIONS):
        try:
            rows = read_predictions(source.files[path], f"{source.where}{path}", measured_at)
        except ConfigError as error:
            # Not part of any finding, and its form is younger than this one's.
            skipped.append(str(error))
            continue
        yield Report(path.removeprefix(f"{REPORTS}/").removesuffix(f"/{PREDICTIONS}"), rows)


def _paths(source: Source, folder: str, name: str) -> list[str]:
    return sorted(path for path in source.files if path.startswith(f"{folder}/") and path.endswith(f"/{name}"))


# --- verdict.json ---------------------------------------------------------------------------------


def read_verdict(content: bytes, source: str) -> tuple[dict[str, Ruling], dict[RowKey, str]]:
    """Return rulings and rows without a number from a `verdict.json`.

    Raises
    ------
    ConfigError
        If it is not what the laboratory writes.
    """
    conclusions = read_conclusions(content, source)
    rulings = {found.method: Ruling(found.status, found.criteria) for found in conclusions}
    unscored = {
        RowKey(found.method, row.arm, row.metric, row.experiment, row.load_point): row.status
        for found in conclusions
        for row in found.unscored
    }
    return rulings, unscored


# --- numbers.csv ----------------------------------------------------------------------------------


def read_report(
    name: str,
    content: bytes,
    source: str,
    rulings: Mapping[str, Ruling] | None = None,
    stated: Mapping[RowKey, str] | None = None,
) -> Report:
    """Return a report from its `numbers.csv` and what its verdict states.

    Raises
    ------
    ConfigError
        Naming file, line and problem.
    """
    numbers = {key: finite(text, f"{source}: line {line}") for key, (text, line) in read_table(content, source).items()}
    if not numbers:
        raise ConfigError(f"{source}: holds no number; regenerate the report or restore the file")
    by_part: dict[str, dict[NumberKey, float]] = {"row": {}, "value": {}, "mean": {}, "": {}}
    for key, value in numbers.items():
        by_part[_part(key)][key] = value
    rows, unscored = _rows(by_part["row"], source)
    return Report(
        name,
        rows,
        _means(by_part["mean"]),
        by_part["value"],
        rulings or {},
        unscored | {key: state for key, state in (stated or {}).items() if key not in rows},
        any(key.scope == "split" for key in numbers),
    )


def read_table(content: bytes, source: str) -> dict[NumberKey, tuple[str, int]]:
    """Return the lines of a `numbers.csv`: value as written and line number, by everything else.

    Raises
    ------
    ConfigError
        If it has other columns, an incomplete line or a row twice.
    """
    return {NumberKey(*key): found for key, found in read_numbers(content, source).items()}


def _part(key: NumberKey) -> str:
    """Return what a line is part of; empty for a mean over some rows, which says nothing new."""
    if key.load_point == SYNTHETIC:
        return "value"
    if key.scope == OVERALL and key.statistic == "mape":
        return "mean"
    if key.scope in AGGREGATES or (key.scope == EXPERIMENT and key.statistic in DERIVED):
        return ""
    is_side = key.statistic in SIDES and key.unit in (*QUANTITIES, FLAG)
    return "row" if key.scope == EXPERIMENT and is_side else "value"


def _rows(numbers: Mapping[NumberKey, float], source: str) -> tuple[dict[RowKey, Scored], dict[RowKey, str]]:
    """Return rows with an error, and the state of rows that are right or wrong or have no prediction."""
    sides: dict[tuple[RowKey, str], dict[str, float]] = {}
    for key, value in numbers.items():
        sides.setdefault((key.row, key.unit), {})[key.statistic] = value
    rows: dict[RowKey, Scored] = {}
    unscored: dict[RowKey, str] = {}
    for (row, unit), side in sides.items():
        if unit == FLAG and len(side) == len(SIDES):
            unscored[row] = RIGHT if side["predicted"] == side["measured"] else WRONG
        elif "predicted" not in side:
            unscored[row] = NOT_PREDICTED
        elif unit != FLAG:
            rows[row] = _scored(row, side, unit, source)
    return rows, unscored


def _scored(key: RowKey, sides: Mapping[str, float], unit: str, source: str) -> Scored:
    named = f"{source}: {', '.join(key)}"
    if "measured" not in sides:
        raise ConfigError(f"{named}: is predicted, but has no measured value; restore the file or regenerate")
    if sides["measured"] <= 0:
        raise ConfigError(f"{named}: measured must be above 0, got {sides['measured']:g}")
    return Scored(sides["predicted"], sides["measured"], unit)


def _means(numbers: Mapping[NumberKey, float]) -> dict[GroupKey, float]:
    """Return the error over all load points, by arm and metric: the one that says so, or the only one."""
    by_group: dict[GroupKey, dict[str, float]] = {}
    for key, value in numbers.items():
        by_group.setdefault(key.row.group, {})[key.load_point] = value
    found = {}
    for group, by_load_point in by_group.items():
        if len(by_load_point) == 1:
            found[group] = next(iter(by_load_point.values()))
        elif ALL_LOAD_POINTS in by_load_point:
            found[group] = by_load_point[ALL_LOAD_POINTS]
    return found


# --- predictions.csv ------------------------------------------------------------------------------


def read_predictions(content: bytes, source: str, measured_at: MeasuredAt | None = None) -> dict[RowKey, Scored]:
    """Return the rows of a calibration's `predictions.csv`, one arm per variant and side of the measurement.

    Figures of the server are no part of what a calibration reports for clients; where nothing says on which side a load
    point was measured, it counts as one of the client.

    Raises
    ------
    ConfigError
        If it lacks a column or gives a row twice.
    """
    lines = report_records(content, source)
    _, header = next(lines, (1, []))
    if missing := [name for name in PREDICTION_COLUMNS if name not in header]:
        raise ConfigError(f"{source}: line 1: has no column {missing[0]}; known are {','.join(PREDICTION_COLUMNS)}")
    found: dict[RowKey, Scored] = {}
    for line, values in lines:
        cells = dict(zip(header, values, strict=True))
        experiment, _, load_point = cells["load_point"].rpartition("/")
        at_server = (measured_at or {}).get((experiment, load_point)) == SERVER_SIDE
        arm = f"{cells['variant']} (server side)" if at_server else cells["variant"]
        key = RowKey(CALIBRATION_METHOD, arm, cells["metric"], experiment, load_point)
        if key in found:
            raise ConfigError(f"{source}: line {line}: row given twice: {', '.join(key)}")
        sides = {name: finite(cells[f"{name}_ms"], f"{source}: line {line}") for name in SIDES}
        found[key] = _scored(key, sides, "ms", source)
    return found
