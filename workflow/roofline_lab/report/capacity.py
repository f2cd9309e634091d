"""An answer about capacity as files: a page that opens with it, its numbers, and pictures.

Contract: `report_files` is pure; the same answers give the same bytes. The page is the last file. A number without an
interval says so where it stands, and a server that cannot be is a row with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from roofline_lab.capacity.answer import Answer
from roofline_lab.capacity.ask import Asked
from roofline_lab.capacity.nearest import Ladder
from roofline_lab.capacity.question import Question, variants
from roofline_lab.capacity.serve import Served, unit_of
from roofline_lab.files import csv_text
from roofline_lab.rendering import render
from roofline_lab.report import capacity_tables as tables
from roofline_lab.report.plots import EDGE, GAP_INCHES, GRID, LINE_MARKERS, Layout, drawn, legend, plain_log_ticks, svg
from simulator.slo import METRICS, Limit, read_limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE, PREDICTION = "CAPACITY.md", "PREDICTION.md"
ANSWERS, POINTS = "answers.csv", "points.csv"
LATENCY_FIGURE, PARETO_FIGURE = "latency.svg", "pareto.svg"
# What is drawn where no limit says what matters: any value above all latencies will do.
SHOWN_WITHOUT_LIMITS = "ttft_mean<=1e9s, tpot_mean<=1e9s"
# What of every load stands in the numbers: what limits may be on, and what is served.
WRITTEN = {*METRICS.values(), "request_throughput", "output_token_throughput", "total_token_throughput"}
HEIGHT = 2.7
# How many times lighter than the highest load the lightest one is that is drawn.
SHOWN_BELOW = 60
BAND = "#d9d9d9"
MEASURED = "#1f6fa8"


def file_names(question: Question) -> tuple[str, ...]:
    """Return the names of all files a question's answer has, the page last."""
    several = len(variants(question, "")) > 1
    return (ANSWERS, POINTS, LATENCY_FIGURE, *((PARETO_FIGURE,) if several else ()), PAGE)


def questions_page(asked: Mapping[str, tuple[Question, str]], proofs: Mapping[str, str]) -> str:
    """Return the page that lists all questions with their answers.

    Parameters
    ----------
    asked
        Questions by name, each with the content of its `answers.csv`.
    proofs
        Titles of the hypotheses that judge such answers on measured servers, by name.
    """
    rows = [tables.question_row(name, question, answers) for name, (question, answers) in sorted(asked.items())]
    return render("questions.md.j2", {"table": tables.questions_table(rows), "proofs": proofs})


def report_files(asked: Asked) -> dict[str, str]:
    """Return the content of every file by name; the page is the last one."""
    chosen = asked.chosen
    figures = {LATENCY_FIGURE: latency_figure(asked, chosen)}
    if len(asked.answers) > 1:
        figures[PARETO_FIGURE] = pareto_figure(asked)
    numbers = {ANSWERS: tables.answers_csv(asked), POINTS: points_csv(asked)}
    context = {"asked": asked, "chosen": chosen, "tables": tables, "figures": figures}
    return {**numbers, **figures, PAGE: render("capacity.md.j2", context)}


def prediction_files(asked: Asked) -> dict[str, str]:
    """Return the content of every file of a prediction by name; the page is the last one."""
    found = asked.answers[0]
    swept = len(found.points) > 1
    figures = {LATENCY_FIGURE: latency_figure(asked, found)} if swept else {}
    context = {"asked": asked, "chosen": found, "tables": tables, "swept": swept}
    return {POINTS: points_csv(asked), **figures, PREDICTION: render("prediction.md.j2", context)}


def points_csv(asked: Asked) -> str:
    """Return every simulated load of every server: metric, value, ends of its interval."""
    return csv_text(
        ("server", "load", "metric", "unit", "value", "low", "high", "overloaded", "word"),
        (row for each in asked.answers for served in each.points for row in _point_rows(each, served)),
    )


def _point_rows(found: Answer, served: Served) -> Iterator[tuple[object, ...]]:
    for metric in sorted(WRITTEN & served.values.keys()):
        value = served.values[metric]
        ends = served.intervals.get(metric)
        span = (f"{ends.low:.6g}", f"{ends.high:.6g}") if ends else ("", "")
        shown = "" if value is None else f"{value:.6g}"
        yield found.name, f"{served.load:.6g}", metric, unit_of(metric), shown, *span, served.overloaded, served.word


# --- pictures -----------------------------------------------------------------------------------------


def latency_figure(asked: Asked, chosen: Answer) -> str:
    """Draw every latency that has a limit against the load: predicted, its interval, the limit, what was measured."""
    shown = asked.limits or read_limits(SHOWN_WITHOUT_LIMITS, "figure")
    entries = 4 + len(asked.ladders)
    with drawn(Layout(len(shown), HEIGHT, 0.75, GAP_INCHES + 0.45, math.ceil(entries / 2))) as (figure, panels):
        for axes, limit in zip(panels, shown, strict=True):
            _latency_panel(axes, asked, chosen, limit)
        legend(figure, max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[1])), 2)
        return svg(figure)


def _latency_panel(axes: Axes, asked: Asked, chosen: Answer, limit: Limit) -> None:
    kept = [(each.load, value, each.ends(limit)) for each in _steady(chosen) if (value := each.value(limit))]
    loads = [load for load, _, _ in kept]
    known = [(load, ends.low, ends.high) for load, _, ends in kept if ends]
    values = [value for _, value, _ in kept] + [end for _, low, high in known for end in (low, high)]
    if known:
        axes.fill_between(*zip(*known, strict=True), color=BAND, label="90 % interval", linewidth=0)
    axes.plot(loads, [value for _, value, _ in kept], color=EDGE, linewidth=1.4, label="predicted")
    if asked.limits:
        axes.axhline(limit.at_most_ms, color=EDGE, linestyle="--", linewidth=0.9, label="limit")
        values.append(limit.at_most_ms)
    if chosen.highest is not None and asked.limits:
        axes.axvline(
            chosen.highest, color=EDGE, linestyle=":", linewidth=1.2, label="highest load that meets all limits"
        )
    for place, ladder in enumerate(asked.ladders):
        points = _measured(ladder, limit, asked.question.load)
        values += [value for _, value in points]
        loads += [load for load, _ in points]
        marker = LINE_MARKERS[place % len(LINE_MARKERS)]
        style = {"color": MEASURED, "marker": marker, "linestyle": "none", "markersize": 4, "markerfacecolor": "white"}
        if points:
            axes.plot(*zip(*points, strict=True), label=f"measured: {ladder.name}", **style)
    latency, statistic = limit.name.split("_")
    low, high = min(values) / 1.3, max(values) * 1.3
    left, right = min(loads) / 1.2, max(loads) * 1.2
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(low, high), title=f"{latency.upper()} {statistic}")
    axes.set_xlabel(tables.load_words(asked.question))
    axes.set_ylabel(f"{latency.upper()} {statistic} [ms]")
    plain_log_ticks(axes.xaxis, left, right)
    plain_log_ticks(axes.yaxis, low, high)
    axes.grid(color=GRID, linewidth=0.5)


def _steady(chosen: Answer) -> list[Served]:
    """Return the loads a server keeps up with, of which none is far below where latencies begin to move."""
    steady = [each for each in chosen.points if not each.overloaded]
    top = max(each.load for each in steady) if steady else 1.0
    return [each for each in steady if each.load >= top / SHOWN_BELOW]


def _measured(ladder: Ladder, limit: Limit, by: str) -> tuple[tuple[float, float], ...]:
    latency, _, statistic = limit.name.partition("_")
    figure = "inter_token_mean" if limit.name in ("tpot_mean", "itl_mean") else f"{latency}_{statistic}"
    return ladder.measured(figure, by)


def pareto_figure(asked: Asked) -> str:
    """Draw output tokens per second and GPU against TPOT, each server at the highest load that meets the limits."""
    able = sorted((each for each in asked.answers if each.best), key=lambda each: each.name)
    best = {each.name for each in tables.pareto(able)}
    gpus = sorted({each.hardware for each in able})
    with drawn(Layout(1, HEIGHT * 1.35, 0.75, GAP_INCHES, math.ceil(max(1, len(gpus)) / 3), right=0.6)) as (
        figure,
        panels,
    ):
        axes = panels[0]
        for place, each in enumerate(able):
            x, y = tables.tpot_ms(each), each.tokens_per_s_per_gpu
            fill = EDGE if each.name in best else "white"
            style = {"color": EDGE, "markerfacecolor": fill, "linestyle": "none", "markersize": 6}
            axes.plot([x], [y], marker=LINE_MARKERS[gpus.index(each.hardware) % len(LINE_MARKERS)], **style)
            axes.annotate(str(place + 1), (x, y), textcoords="offset points", xytext=(6, 3), fontsize=7)
        for place, gpu in enumerate(gpus):
            marker = LINE_MARKERS[place % len(LINE_MARKERS)]
            axes.plot([], [], marker=marker, color=EDGE, markerfacecolor="white", linestyle="none", label=gpu)
        title = "filled: none is better in both; numbers as in the table" if able else "no server meets the limits"
        axes.set(title=title)
        axes.set_xlabel("TPOT mean [ms]")
        axes.set_ylabel("output tokens/s per GPU")
        axes.set_ylim(0, 1.12 * max((each.tokens_per_s_per_gpu or 0.0 for each in able), default=1.0))
        axes.grid(color=GRID, linewidth=0.5)
        if able:
            legend(figure, axes, 3)
        return svg(figure)
