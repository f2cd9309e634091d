"""The tables of the page that compares all simulators.

Every function returns markdown, empty where it has nothing to say. A mean stands beside of how many of the load points
asked it is; what is no test of an arm is set in italics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from roofline_lab.formatting import MISSING, counted, pct, pp, signed_pct, table
from roofline_lab.predict.predictors import OUT_OF_SAMPLE
from roofline_lab.report.comparison import Comparison, Question
from roofline_lab.report.simulators import missing_table
from roofline_lab.report.tables import interval_cell, p_value_cell
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, VALUE_DECIMALS
from roofline_lab.scoring.ranks import Standing
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.scoring.statistics import Interval, median
from roofline_lab.simulators.description import Simulator
from roofline_lab.vocabulary import MEANS, Metric, Scope, Statistic

Key = Callable[[ErrorRow], str]
EVERYWHERE = "all sets"


def answer_table(found: Comparison) -> str:
    """Return who is closest in every question, and who comes next."""
    lines = [
        [f"{question.title} (`{question.name}`)", *(_answer(question.standings.get(metric, ())) for metric in MEANS)]
        for question in found.questions
    ]
    return table(["Measured", *(metric.label for metric in MEANS)], lines, left=4)


def _answer(standings: Sequence[Standing]) -> str:
    ranked = [each for each in standings if each.rank is not None]
    if not ranked:
        return "not measured" if not standings else "nobody competes"
    shown = (
        f"**{each.arm}** {pct(each.shared_pct)}" if each.rank == 1 else f"{each.arm} {pct(each.shared_pct)}"
        for each in ranked
    )
    return f"{', '.join(shown)} ({counted(ranked[0].shared_points, 'load point')})"


def who_table(found: Comparison) -> str:
    """Return who predicts, in which version, and what each set is to it."""
    lines = [
        [arm.name, _title(found, arm.simulator), *(_holdout(question, arm.name) for question in found.questions)]
        for arm in found.arms
    ]
    return table(["Arm", "Simulator", *(question.name for question in found.questions)], lines, left=9)


def _title(found: Comparison, simulator: Simulator) -> str:
    options = ", ".join(f"{name}: {value}" for name, value in simulator.options.items())
    version = found.versions.get(simulator.name, "").removeprefix(simulator.title).strip()
    return ", ".join(filter(None, (f"{simulator.title} {version}".strip(), options)))


def _holdout(question: Question, arm: str) -> str:
    """Return how much of a test a set is, with the metrics where these differ."""
    own = question.holdouts[arm]
    whole = all(len(metrics) == len(MEANS) for metrics in own.values())
    told = (holdout.value if whole else f"{holdout.value} ({_labels(metrics)})" for holdout, metrics in own.items())
    return ", ".join(told)


def _labels(metrics: Sequence[Metric]) -> str:
    return ", ".join(metric.label for metric in metrics)


def fitted_lines(found: Comparison) -> list[str]:
    """Return what each arm was fitted to, and where its predictions are from."""
    return [
        f"`{arm.name}`: {found.fitted[arm.name]}."
        + (f" Source: {arm.simulator.source}." if arm.simulator.source else "")
        for arm in found.arms
    ]


def standing_table(question: Question, metric: Metric) -> str:
    """Return everybody who competes in a question, in order."""
    ranked = [each for each in question.standings[metric] if each.rank is not None]
    lines = [
        [
            str(each.rank),
            each.arm,
            pct(each.shared_pct),
            *_behind(each),
            pct(each.error_pct),
            _ends(each.interval),
            signed_pct(each.signed_pct),
            str(each.coverage),
        ]
        for each in ranked
    ]
    points = ranked[0].shared_points if ranked else 0
    head = ["Rank", "Arm", f"error on the {points} that all predict", "behind the first", "interval", "p"]
    header = [*head, "error on its own", "interval", "signed", "predicted of asked"]
    return table(header, lines, left=2) if lines else ""


def _ends(interval: Interval | None) -> str:
    return MISSING if interval is None else f"{interval.low:.1f} to {interval.high:.1f} %"


def _behind(each: Standing) -> list[str]:
    if each.behind is None:
        return [MISSING, MISSING, MISSING]
    return [pp(each.behind_pp), interval_cell(each.behind.interval, " pp"), p_value_cell(each.behind.p_value)]


def excluded_table(question: Question, metric: Metric) -> str:
    """Return who does not compete in a question, with its errors and why."""
    lines = [
        [
            each.arm,
            pct(each.error_pct),
            _ends(each.interval),
            signed_pct(each.signed_pct),
            str(each.coverage),
            each.excluded,
        ]
        for each in question.standings[metric]
        if each.rank is None
    ]
    header = ["Arm", "error on its own", "interval", "signed", "predicted of asked"]
    return table([*header, "not ranked because it"], lines) if lines else ""


def cell_table(found: Comparison, metric: Metric) -> str:
    """Return the mean absolute error of every arm by set, model family and GPU."""
    lines = []
    for question in found.questions:
        cells = dict.fromkeys((row.family, row.hardware) for row in question.scores.rows)
        for family, hardware in cells:
            own = question.scores.where(lambda row, at=(family, hardware): (row.family, row.hardware) == at)  # type: ignore[misc]
            errors = [_covered(own, arm, metric) for arm in found.names]
            if any(error != MISSING for error in errors):
                lines.append([question.name, family, hardware, *errors])
    return table(["Set", "Model family", "GPU", *found.names], lines, left=3) if lines else ""


def _covered(scores: Scores, arm: str, metric: Metric) -> str:
    """Return a mean error with of how many load points asked it is, in italics where it is no test."""
    rows = scores.select(arm, metric)
    if not rows:
        return MISSING
    coverage = scores.coverage(arm, metric)
    text = pct(scores.mape(arm, metric))
    return _unless_test(rows, text if coverage.is_full else f"{text} ({coverage})")


def _unless_test(rows: Sequence[ErrorRow], text: str) -> str:
    return text if all(row.holdout in OUT_OF_SAMPLE for row in rows) else f"*{text}*"


def bias_table(found: Comparison, metric: Metric) -> str:
    """Return the mean signed error of every arm by load, tensor parallelism, kind of model and GPU."""
    lines = []
    for what, (_, key) in _groups(found).items():
        rows = [row for row in found.scored if row.metric == metric and row.is_scored]
        for group in sorted({key(row) for row in rows}, key=_numeric):
            members = [row for row in rows if key(row) == group]
            points = {row.place for row in members}
            cells = [_signed([row for row in members if row.arm == arm]) for arm in found.names]
            lines.append([what, group, str(len(points)), *cells])
    return table(["By", "", "load points", *found.names], lines, left=2) if lines else ""


def _signed(rows: Sequence[ErrorRow]) -> str:
    return _unless_test(rows, signed_pct(mean([row.signed_error_pct for row in rows]))) if rows else MISSING


def _groups(found: Comparison) -> dict[str, tuple[Scope, Key]]:
    """Return what errors are grouped by: its scope in `numbers.csv`, and the group of a row."""
    return {
        "load": (Scope.DRIVER, lambda row: found.places[row.place].load),
        "TP": (Scope.TP, lambda row: str(row.tensor_parallel)),
        "kind of model": (Scope.DRIVER, lambda row: found.places[row.place].kind),
        "GPU": (Scope.HARDWARE, lambda row: row.hardware),
    }


def _numeric(name: str) -> tuple[int, str]:
    first = name.split()[0]
    return (int(first), name) if first.isdigit() else (1000, name)


def cost_table(found: Comparison) -> str:
    """Return the seconds a load point takes: recorded with the answers of programs, measured once for ours."""
    own = found.costs.seconds_per_load_point if found.costs else {}
    lines = []
    for arm in found.arms:
        cells = [
            _seconds(found, question, arm.name, own.get(arm.name, {}).get(question.name))
            for question in found.questions
        ]
        lines.append([arm.name, *cells])
    return table(["Arm", *(question.name for question in found.questions)], lines)


def _seconds(found: Comparison, question: Question, arm: str, measured: float | None) -> str:
    inside = {row.place for row in question.scores.rows}
    taken = [
        row["seconds"]
        for row in found.rows
        if row["arm"] == arm and row.get("seconds") and f"{row['experiment']}/{row['load_point']}" in inside
    ]
    value = median(taken) if taken else measured
    return MISSING if value is None else f"{value:.2g} s"


def missing(found: Comparison, question: Question) -> str:
    """Return what of a set has no number, and why."""
    return missing_table(question.scores.where(lambda row: row.asked), found.run_names)


# --- numbers.csv --------------------------------------------------------------------------------------


def number_lines(found: Comparison) -> Iterator[tuple[str, ...]]:
    """Yield every number of the page; the column `method` holds the set."""
    for question in found.questions:
        for metric, standings in question.standings.items():
            for each in standings:
                yield from _standing_lines(question.name, metric, each)
    for scope, key in _groups(found).values():
        for arm in found.names:
            for metric in MEANS:
                yield from _bias_lines(found, arm, metric, scope, key)


def _standing_lines(name: str, metric: Metric, each: Standing) -> Iterator[tuple[str, ...]]:
    own, shared = (
        (name, each.arm, Scope.OVERALL, EVERYWHERE, metric),
        (name, each.arm, Scope.SHARED, EVERYWHERE, metric),
    )
    yield _line(own, Statistic.ASKED_POINTS, each.coverage.asked, "count")
    yield _line(own, Statistic.PREDICTED_POINTS, each.coverage.predicted, "count")
    for statistic, value in ((Statistic.MAPE, each.error_pct), (Statistic.SIGNED_ERROR, each.signed_pct)):
        if value is not None:
            yield _line(own, statistic, value, "pct")
    if each.interval is not None:
        yield _line(own, Statistic.MIN, each.interval.low, "pct")
        yield _line(own, Statistic.MAX, each.interval.high, "pct")
    if each.rank is not None and each.shared_pct is not None:
        yield _line(shared, Statistic.POINTS, each.shared_points, "count")
        yield _line(shared, Statistic.COUNT, each.rank, "count")
        yield _line(shared, Statistic.MAPE, each.shared_pct, "pct")
    if each.behind_pp is not None and each.behind is not None:
        yield _line(shared, Statistic.DELTA, -each.behind_pp, "pp")
        if each.behind.interval is not None:
            yield _line(shared, Statistic.MIN, -each.behind.interval.high, "pp")
            yield _line(shared, Statistic.MAX, -each.behind.interval.low, "pp")


def _bias_lines(found: Comparison, arm: str, metric: Metric, scope: Scope, key: Key) -> Iterator[tuple[str, ...]]:
    groups: dict[str, list[float]] = {}
    for row in found.scored:
        if (row.arm, row.metric) == (arm, metric) and row.is_scored:
            groups.setdefault(key(row), []).append(row.signed_error_pct)
    for group, errors in groups.items():
        place = (EVERYWHERE, arm, scope, group, metric)
        yield _line(place, Statistic.SIGNED_ERROR, mean(errors), "pct")
        yield _line(place, Statistic.COUNT, len(errors), "count")


def _line(place: tuple[str, str, Scope, str, Metric], statistic: Statistic, value: float, unit: str) -> tuple[str, ...]:
    name, arm, scope, key, metric = place
    number = f"{value:.{VALUE_DECIMALS}f}"
    return (name, arm, ALL_LOAD_POINTS, scope.value, key, metric.value, statistic.value, number, unit)
