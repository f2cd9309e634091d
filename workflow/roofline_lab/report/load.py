"""What a page and `numbers.csv` say of load points: what the load was, and how errors go with it.

Every table takes result lines or scores of one method and returns markdown, empty where nothing was replayed at a load
point. Means are given three ways: over load points, over experiments (each the mean of its load points) and over model
families (each the mean of its experiments). Of a load point at which the server, measured or simulated, was saturated
no latency is given: it is judged by throughput and by whether saturation was predicted. A figure that was not measured
has no line in `numbers.csv`; the page says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from roofline_lab.formatting import MISSING, pct, pp, table
from roofline_lab.report.cells import DISTANCES, distance_cells, with_noise
from roofline_lab.report.tables import (
    error_header,
    errors_with_gains,
    interval_cell,
    p_value_cell,
)
from roofline_lab.run_files import Row, figure_rows, overloaded_points, place_of, simulator_of
from roofline_lab.scoring.errors import PERCENT, mean
from roofline_lab.scoring.scores import ErrorRow, Gain, Scores
from roofline_lab.scoring.table import levels, load_points, mean_of, means, noise_by, table_of
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import Metric, RowStatus

# Lower edges of the classes that load points are put in: requests per second, and mixed steps in percent.
RATE_EDGES = (0.0, 1.0, 4.0, 8.0)
MIXED_EDGES_PCT = (0.0, 1.0, 5.0, 10.0)
STATISTICS = ("mean", "p50", "p90", "p99")
LATENCIES = ("ttft", "tpot", "e2e")
# A single group is what the means over everything say.
FEWEST_GROUPS = 2
THROUGHPUT = "request_throughput"
Key = Callable[[ErrorRow], str]


def load_sections(
    rows: Sequence[Row], scores: Scores, arms: Sequence[str], metrics: Sequence[Metric], uncertainty: Uncertainty
) -> str:
    """Return all tables about load, each under its own words; empty where no load point was replayed."""
    if not any("load" in row for row in rows):
        return ""
    kept = compared(rows)
    several = len({simulator_of(row) for row in rows if row["arm"] in arms}) > 1
    seen_by = next((row["arm"] for row in rows if "counters" in row and row["arm"] in arms), arms[0])
    parts = [
        ("By strategy", _grouped("Strategy", scores, arms, metrics, lambda row: row.strategy)),
        (f"How sure the gains over {arms[0]} are, by strategy", strategy_gains(scores, arms, metrics, uncertainty)),
        ("By load", _grouped("Requests per second", scores, arms, metrics, _rate_class)),
        (
            "By share of mixed steps (steps with prefill and decode, of all steps)",
            _grouped("Mixed steps", scores, arms, metrics, _mixed_classes(scores, seen_by)),
        ),
        ("Means three ways", means_three_ways(scores, arms, metrics)),
        (
            "Mean and percentiles (error over load points that are not saturated)",
            statistics(kept, arms, shared=several),
        ),
        (f"Every load point, {arms[-1]} (measured / predicted, ms)", stages(kept, arms[-1])),
        ("Figures that were not measured or cannot be compared", unavailable(kept, arms[0])),
        ("Load points that a simulated server alone could not keep up with", overloads(rows)),
        (
            "Saturation and throughput (predicted the same: where simulation and measurement agree)",
            saturation(rows, arms),
        ),
        (
            "Distance of distributions over single requests (Kolmogorov-Smirnov: largest distance of the two "
            "distribution functions, 0 to 1; quantiles: mean distance in percent of the measured one)",
            distances(rows, arms),
        ),
        (
            f"What each load point was ({seen_by}; shares of all steps; leans to, by tokens: branch of a weighted "
            "average of the two phases that a mixed step falls into)",
            conditions(rows, seen_by),
        ),
    ]
    return "\n\n".join(f"**{title}**\n\n{text}" for title, text in parts if text)


def compared(rows: Sequence[Row]) -> list[Row]:
    """Return the lines of load points whose latencies are compared: no server was saturated, measured or simulated."""
    overloaded = overloaded_points(rows)
    return [row for row in rows if "load" in row and not _saturated(row) and place_of(row) not in overloaded]


def _saturated(row: Row) -> bool:
    return bool(row["load"]["saturated"]["measured"])


def overloads(rows: Sequence[Row]) -> str:
    """Return where which arms were saturated and the measured server was not; empty where none was."""
    found = overloaded_points(rows)
    lines = [[experiment, point, ", ".join(arms)] for (_, experiment, point, _), arms in found.items()]
    if not lines:
        return ""
    note = "In no latency error of any arm on this page, so that arms are compared over the same load points."
    if len({simulator_of(row) for row in rows}) > 1:
        note = "In no latency error of these arms and of others of the same simulator, and in those of all other arms."
    return f"{table(['Experiment', 'Load point', 'Saturated in the simulation'], lines, left=3)}\n\n{note}"


def strategy_gains(scores: Scores, arms: Sequence[str], metrics: Sequence[Metric], uncertainty: Uncertainty) -> str:
    """Return the mean gain of every arm over the first one per strategy, with interval and permutation test."""
    lines = []
    for strategy in sorted({row.strategy for row in scores.rows}):
        own = scores.where(lambda row, name=strategy: row.strategy == name)  # type: ignore[misc]
        for metric in metrics:
            for arm in arms[1:]:
                if gains := own.gains(metric, arm, arms[0]):
                    lines.append([strategy, arm, metric.label, *_gain_cells(gains, uncertainty)])
    header = ["Strategy", "Arm", "Metric", "load points", "experiments", "families", "gain", "interval", "p"]
    return table(header, lines, left=3) if lines else ""


def _gain_cells(gains: Sequence[Gain], uncertainty: Uncertainty) -> list[str]:
    """Describe some gains; an interval or a test that so few experiments cannot give is missing, not wide."""
    evidence = uncertainty.of_gains(gains, 0.0)
    return [
        str(len(gains)),
        str(evidence.sizes[0]),
        str(evidence.clusters),
        pp(mean([gain.value for gain in gains])),
        interval_cell(evidence.interval, " pp"),
        p_value_cell(evidence.p_value),
    ]


def means_three_ways(scores: Scores, arms: Sequence[str], metrics: Sequence[Metric]) -> str:
    """Return mean errors over load points, experiments and model families; empty where all three are the same."""
    scored = table_of(scores.rows)
    by_arm = dict(list(scored.groupby(["arm", "metric"])))
    found = {group: [mean_of(level) for level in levels(rows)] for group, rows in by_arm.items()}
    scatter = {
        group: [mean_of(level) for level in levels(rows, "noise_pct")]
        for group, rows in by_arm.items()
        if rows[rows["ape_pct"].notna()]["noise_pct"].notna().all()
    }
    lines, noises = [], []
    for place, name in enumerate(("load points", "experiments", "model families")):
        cells = []
        for metric in metrics:
            errors = [found[arm, metric][place] if (arm, metric) in found else None for arm in arms]
            cells += errors_with_gains(errors, noise_pct=_at(scatter, (arms[0], metric), place))
        lines.append([f"mean over {name}", *cells])
        noises.append([_at(scatter, (arms[0], metric), place) for metric in metrics])
    if len({tuple(line[1:]) for line in lines}) == 1:
        return ""
    labels = [metric.label for metric in metrics]
    return table(*with_noise(["Mean", *error_header(arms, metrics)], lines, noises, labels))


def statistics(rows: Sequence[Row], arms: Sequence[str], *, shared: bool = False) -> str:
    """Return the mean error of every statistic of every latency, with the number of load points that have it.

    Parameters
    ----------
    shared
        Take those alone that every arm predicts.
    """
    figures = Scores(row for row in figure_rows(rows) if row.arm in arms)
    scored = table_of((figures.shared(arms) if shared else figures).rows)
    errors, noise = means(scored, ("metric", "arm")), noise_by(scored, ("metric", "arm"))
    sizes = load_points(scored[scored["ape_pct"].notna() & (scored["arm"] == arms[0])], "metric")
    lines, noises = [], []
    for latency in LATENCIES:
        for statistic in STATISTICS:
            name = f"{latency}_{statistic}"
            scatter = noise.get((name, arms[0]))
            values = [errors.get((name, arm)) for arm in arms]
            if any(value is not None for value in values):
                cells = errors_with_gains(values, noise_pct=scatter)
                lines.append([latency.upper(), statistic, str(sizes.get(name, 0)), *cells])
                noises.append([scatter])
    gains = [cell for arm in arms[1:] for cell in (arm, "gain")]
    return table(*with_noise(["Latency", "Statistic", "n", arms[0], *gains], lines, noises), left=2) if lines else ""


def stages(rows: Sequence[Row], arm: str) -> str:
    """Return measured and predicted latencies of every load point that is not saturated."""
    lines = []
    for row in _replayed(rows, arm):
        for latency in LATENCIES:
            cells = [_pair(row["load"]["figures"].get(f"{latency}_{statistic}")) for statistic in STATISTICS]
            lines.append([f"{row['experiment']}, {row['load_point']}", latency.upper(), *cells])
    return table(["Load point", "Latency", *STATISTICS], lines, left=2) if lines else ""


def _pair(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return MISSING
    predicted = figure["predicted"]
    return f"{figure['measured']:.1f} / {MISSING if predicted is None else f'{predicted:.1f}'}"


def unavailable(rows: Sequence[Row], arm: str) -> str:
    """Return, for every statistic, at how many load points it has no error and why."""
    own = _replayed(rows, arm)
    lines = []
    for latency in LATENCIES:
        for statistic in STATISTICS:
            name = f"{latency}_{statistic}"
            reasons = [_why_not(row, name) for row in own]
            for reason in dict.fromkeys(text for text in reasons if text):
                count = reasons.count(reason)
                lines.append(
                    [latency.upper(), statistic, RowStatus.NOT_MEASURED.value, reason, f"{count} of {len(own)}"]
                )
    return table(["Latency", "Statistic", "Status", "Reason", "Load points"], lines, left=4) if lines else ""


def saturation(rows: Sequence[Row], arms: Sequence[str]) -> str:
    """Return, for every arm, whether saturation was predicted and how far its throughput is off."""
    figures = Scores(figure_rows(rows))
    lines = []
    for arm in arms:
        for measured in (True, False):
            chosen = [row for row in _replayed(rows, arm) if row["load"]["saturated"]["measured"] is measured]
            if chosen:
                agree = sum(row["load"]["saturated"]["predicted"] is measured for row in chosen)
                places = {(row["experiment"], row["load_point"]) for row in chosen}
                known = [row for row in figures.select(arm, THROUGHPUT) if (row.experiment, row.load_point) in places]
                off = pct(mean([row.ape_pct for row in known])) if known else MISSING
                lines.append([arm, "yes" if measured else "no", str(len(chosen)), str(agree), str(len(known)), off])
    header = ["Arm", "measured saturated", "load points", "predicted the same"]
    return table([*header, "with measured throughput", "throughput error"], lines, left=2) if lines else ""


def distances(rows: Sequence[Row], arms: Sequence[str]) -> str:
    """Return how far distributions over requests lie apart, where single requests were recorded."""
    lines = [
        [
            f"{row['experiment']}, {row['load_point']}",
            arm,
            latency.upper(),
            *distance_cells(found),
        ]
        for arm in arms
        for row in _replayed(rows, arm)
        for latency, found in row["load"]["distances"].items()
    ]
    return table(["Load point", "Arm", "Latency", *DISTANCES], lines, left=3) if lines else ""


def conditions(rows: Sequence[Row], arm: str) -> str:
    """Return load, mixed steps and firing branches of the weighted average where the steps of an arm are known."""
    lines = []
    for row in (row for row in _replayed(rows, arm) if "counters" in row):
        load, steps = row["load"], row["counters"]["steps"]
        branches = [load["branches"].get(name, 0) for name in ("prefill_dominates", "decode_dominates", "by_tokens")]
        shares = [_share(count, steps) for count in (row["counters"]["mixed_steps"], *branches)]
        rates = [_rate(load["requested_per_s"]), _rate(load["achieved_per_s"])]
        saturated = {True: "yes", False: "no", None: "unknown"}[load["saturated"]["measured"]]
        place = [row["experiment"], row["load_point"], load["strategy"]]
        lines.append([*place, *rates, saturated, str(row["requests"]), f"{steps}", *shares])
    header = ["Experiment", "Load point", "Strategy", "requested 1/s", "achieved 1/s", "saturated", "requests", "steps"]
    header = [*header, "mixed", "leans to prefill", "leans to decode", "by tokens"]
    return table(header, lines, left=3) if lines else ""


def _grouped(title: str, scores: Scores, arms: Sequence[str], metrics: Sequence[Metric], key: Key) -> str:
    scored = table_of(scores.rows).assign(group=[key(row) for row in scores.rows])
    by = ("group", "arm", "metric")
    errors, noise = means(scored, by), noise_by(scored, by)
    points, known = (load_points(rows, "group") for rows in (scored, scored[scored["ape_pct"].notna()]))
    if len(points) < FEWEST_GROUPS:
        return ""
    lines, noises = [], []
    for name in sorted(points, key=_numeric):
        cells = []
        noises.append([noise.get((name, arms[0], metric)) for metric in metrics])
        for metric, scatter in zip(metrics, noises[-1], strict=True):
            values = [errors.get((name, arm, metric)) for arm in arms]
            cells += errors_with_gains(values, noise_pct=scatter)
        lines.append([str(name), f"{known.get(name, 0)} of {points[name]}", *cells])
    labels = [metric.label for metric in metrics]
    return table(*with_noise([title, "scored", *error_header(arms, metrics)], lines, noises, labels))


def _at(means_by_level: Mapping[Any, Sequence[float | None]], group: object, level: int) -> float | None:
    return means_by_level[group][level] if group in means_by_level else None


def _rate_class(row: ErrorRow) -> str:
    return "not known" if row.rate_per_s is None else _class(row.rate_per_s, RATE_EDGES, "")


def _mixed_classes(scores: Scores, reference: str) -> Key:
    """Class load points by their mixed steps under the first arm, so that all arms share the classes."""
    shares = {(row.experiment, row.load_point): row.mixed_share for row in scores.rows if row.arm == reference}

    def key(row: ErrorRow) -> str:
        share = shares.get((row.experiment, row.load_point))
        return "not known" if share is None else "none" if not share else _class(share * PERCENT, MIXED_EDGES_PCT, " %")

    return key


def _class(value: float, edges: Sequence[float], unit: str) -> str:
    for low, high in pairwise(edges):
        if value < high:
            return f"{low:g} to {high:g}{unit}"
    return f"{edges[-1]:g}{unit} or more"


def _numeric(name: str) -> tuple[float, str]:
    first = name.split()[0] if name else ""
    return (float(first) if first.replace(".", "", 1).isdigit() else -1.0, name)


def _replayed(rows: Sequence[Row], arm: str) -> list[Row]:
    return [row for row in rows if row["arm"] == arm and "load" in row]


def _why_not(row: Row, name: str) -> str:
    figure = row["load"]["figures"].get(name)
    return "the ground truth does not have it" if figure is None else str(figure["reason"])


def _share(part: int, whole: int) -> str:
    return f"{part / whole * PERCENT:.2f} %" if whole else MISSING


def _rate(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3g}"
