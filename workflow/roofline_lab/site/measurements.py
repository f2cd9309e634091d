"""The browser of the ground truth: all experiments, all load points, and a page for each experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from roofline_lab.formatting import counted
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.names import readable_names
from roofline_lab.ground_truth.quality import MEANINGS
from roofline_lab.ground_truth.reading import load_experiment, words_of
from roofline_lab.site.pages import Page, Section
from roofline_lab.site.tables import Cell, Column, Table

FOLDER = "ground_truth"
GROUP = "Ground truth"
TABS: Mapping[str, str] = {
    "Experiments": f"{FOLDER}/index.html",
    "Load points": f"{FOLDER}/load_points.html",
    "Quality flags": f"{FOLDER}/flags.html",
}
NONE = "–"
LATENCIES = frozenset({"ttft", "tpot", "itl", "e2e"})
# Ends of names of settings, with the unit they state.
UNITS: Mapping[str, str] = {"_per_s": "/s", "_tokens": " tokens", "tokens": " tokens", "_us": " us", "_s": " s"}


def all_experiments(root: Path) -> tuple[Experiment, ...]:
    """Return every experiment of the project, by name.

    Raises
    ------
    ConfigError
        If one cannot be read.
    """
    words = words_of(root)
    return tuple(load_experiment(path.parent, words) for path in sorted(root.glob(f"{FOLDER}/*/experiment.yaml")))


def page_of(experiment: str) -> str:
    """Return where an experiment's page lies."""
    return f"{FOLDER}/{experiment}.html"


def pages(experiments: Sequence[Experiment]) -> Iterator[tuple[Page, Table | None]]:
    """Yield every page of the browser with the table on it."""
    points = sum(len(each.load_points) for each in experiments)
    introduction = (
        f"{counted(len(experiments), 'measured experiment')} with {counted(points, 'load point')}. "
        "Filter by model, GPU, TP, workload or tool; a name opens the experiment with its source and quality flags."
    )
    yield _table_page("index.html", "Measured experiments", introduction), _experiments_table(experiments)
    introduction = "Every load point with its measured means. Filter by model, GPU, TP or workload."
    yield _table_page("load_points.html", "Load points", introduction), _load_points_table(experiments)
    introduction = "What is special about a measurement, and whether the figures written down are free of it."
    yield _table_page("flags.html", "Quality flags", introduction), _flags_table(experiments)
    names = readable_names(experiments)
    for experiment in experiments:
        yield _experiment_page(experiment, names[experiment.id]), None


def _table_page(name: str, title: str, introduction: str) -> Page:
    section = Section("", title, 1, introduction)
    return Page(f"{FOLDER}/{name}", title, GROUP, "table.html", {"introduction": introduction}, (section,), tabs=TABS)


def _of_experiment(rows: Sequence[Experiment], *, linked: str = "{}.html") -> list[Column]:
    """Return the columns that say what ran, one row per given experiment."""
    return [
        Column("experiment", "Experiment", [each.id for each in rows], link=linked),
        Column("model", "Model", [each.family for each in rows], filters=True),
        Column("gpu", "GPU", [each.hardware for each in rows], filters=True),
        Column("tp", "TP", [str(each.tensor_parallel) for each in rows], filters=True),
        Column("workload", "Workload", [each.workload.name for each in rows], filters=True),
    ]


def _experiments_table(experiments: Sequence[Experiment]) -> Table:
    columns = [
        *_of_experiment(experiments),
        Column("tool", "Tool", [each.tool for each in experiments], filters=True),
        Column("side", "Measured at", [each.side for each in experiments], filters=True),
        Column("date", "Date", [str(each.date or NONE) for each in experiments]),
        Column("points", "Load points", [len(each.load_points) for each in experiments], numbers=True),
        Column("flags", "Flags", [len({one.flag for one in each.quality}) for each in experiments], numbers=True),
    ]
    return Table("measured experiments", columns)


def _load_points_table(experiments: Sequence[Experiment]) -> Table:
    pairs = [(experiment, point) for experiment in experiments for point in experiment.load_points]
    points = [point for _, point in pairs]
    columns = [
        *_of_experiment([experiment for experiment, _ in pairs]),
        Column("load", "Load point", [point.id for point in points]),
        Column("kind", "Arrivals", [point.strategy.replace("_", " ") for point in points], filters=True),
        Column("saturated", "Saturated", [_saturated(point) for point in points], filters=True),
        Column("requests", "Requests", [point.requests.completed for point in points], numbers=True),
        Column("rate", "Sent [1/s]", [point.rate_per_s for point in points], numbers=True),
        *(Column(name, title, [_figure(point, name) for point in points], numbers=True) for name, title in _MEANS),
    ]
    return Table("load points", columns)


_MEANS = (
    ("ttft_mean", "TTFT [ms]"),
    ("tpot_mean", "TPOT [ms]"),
    ("itl_mean", "ITL [ms]"),
    ("e2e_mean", "E2E [ms]"),
)


def _figure(point: LoadPoint, name: str) -> Cell:
    found = point.measured.get(name)
    return found.value if found is not None else None


def _saturated(point: LoadPoint) -> str:
    return {True: "yes", False: "no", None: "not known"}[point.saturated]


def _flags_table(experiments: Sequence[Experiment]) -> Table:
    pairs = [(experiment, flag) for experiment in experiments for flag in experiment.quality]
    flags = [flag for _, flag in pairs]
    columns = [
        *_of_experiment([experiment for experiment, _ in pairs]),
        Column("flag", "Flag", [flag.flag.value for flag in flags], filters=True),
        Column("treatment", "Figures are", [flag.treatment for flag in flags], filters=True),
        Column("load", "Load points", [", ".join(flag.load_points) or "all" for flag in flags]),
        Column("text", "What it means here", [flag.text for flag in flags]),
    ]
    return Table("quality flags", columns)


def _experiment_page(experiment: Experiment, title: str) -> Page:
    context: dict[str, Any] = {
        "experiment": experiment,
        "facts": _facts(experiment),
        "known": _settings(experiment, "known"),
        "assumed": _settings(experiment, "assumed"),
        "points": [_point(point) for point in experiment.load_points],
        "metrics": _metrics(experiment),
        "meanings": MEANINGS,
    }
    words = [experiment.id, experiment.source.document, *(flag.text for flag in experiment.quality)]
    section = Section("", title, 1, " ".join(words))
    return Page(page_of(experiment.id), title, GROUP, "experiment.html", context, (section,), tabs=TABS)


def _metrics(experiment: Experiment) -> dict[str, str]:
    """Return the figures of an experiment, name to title with unit."""
    units = {name: one.unit for point in experiment.load_points for name, one in point.measured.items()}
    return {name: f"{_title(name)} [{units[name]}]" for name in sorted(units)}


def _title(metric: str) -> str:
    latency, _, which = metric.partition("_")
    return f"{latency.upper()} {which}" if latency in LATENCIES else metric.replace("_", " ")


def _facts(experiment: Experiment) -> dict[str, str]:
    workload = experiment.workload
    return {
        "Model": experiment.model,
        "Family": experiment.family,
        "GPU": experiment.hardware,
        "Tensor parallel": str(experiment.tensor_parallel),
        "Workload": f"{workload.name}: prompts {_words(workload.prompt)}; answers {_words(workload.output)}",
        "Prompts share": _words(workload.prefix),
        "Tool": " ".join(filter(None, (experiment.tool, experiment.tool_version))),
        "Measured at": experiment.side,
        "Date": f"{experiment.date or NONE} ({experiment.date_basis})",
    }


def _words(record: Any) -> str:
    """Return a record of the description in words, its kind first."""
    given = record.model_dump(exclude_none=True, mode="json")
    kind = str(given.pop("kind", "")).replace("_", " ")
    told = ", ".join(_setting(name, value) for name, value in given.items() if not isinstance(value, list | dict))
    return f"{kind} ({told})" if told else kind


def _setting(name: str, value: object) -> str:
    """Return one setting in words, a unit at the end of its name behind the value."""
    if isinstance(value, bool):
        return f"{'' if value else 'not '}{name.replace('_', ' ')}"
    for ending, unit in UNITS.items():
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} {value}{unit}".strip()
    return f"{name.replace('_', ' ')} {value}"


def _settings(experiment: Experiment, which: str) -> dict[str, object]:
    settings = getattr(experiment.server, which)
    return {name.replace("_", " "): value for name, value in settings.model_dump(exclude_none=True).items()}


def _point(point: LoadPoint) -> dict[str, Any]:
    return {
        "id": point.id,
        "arrivals": _words(point.arrivals),
        "requests": point.requests,
        "saturated": _saturated(point),
        "basis": point.saturation.basis if point.saturation else "",
        "measured": point.measured,
    }
