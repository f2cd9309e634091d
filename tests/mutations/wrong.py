"""What no importer may accept: figures that no measurement can give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint

# A thousand hours; longer than any request waits.
LONGEST_MS = 3.6e9
LARGEST_COUNT = 10**9


def wrong_figures(found: Any) -> list[str]:
    """Return what is impossible in one or several experiments."""
    experiments: Iterable[Any] = found if isinstance(found, list) else [found]
    return [text for one in experiments if isinstance(one, Experiment) for text in _impossible(one)]


def _impossible(experiment: Experiment) -> Iterator[str]:
    for point in experiment.load_points:
        yield from _impossible_point(point)
    if not 1 <= experiment.tensor_parallel <= 1024:
        yield f"tensor_parallel: {experiment.tensor_parallel}"
    for side in (experiment.workload.prompt, experiment.workload.output):
        for name, value in side:
            if name.endswith("tokens") and isinstance(value, int | float) and (value < 0 or not math.isfinite(value)):
                yield f"{name}: {value}"


def _impossible_point(point: LoadPoint) -> Iterator[str]:
    for metric, figure in point.measured.items():
        if not math.isfinite(figure.value) or figure.value <= 0 or (figure.unit == "ms" and figure.value > LONGEST_MS):
            yield f"{metric}: {figure.value} {figure.unit}"
    requests = point.requests
    if requests.completed > requests.sent or requests.sent > LARGEST_COUNT:
        yield f"requests: {requests.completed} of {requests.sent}"
    times = {"duration_s": point.duration_s}
    times |= {name: getattr(point.rate, name, None) for name in ("requested_per_s", "achieved_per_s")}
    yield from (f"{name}: {one}" for name, one in times.items() if one is not None and not 0 < one < math.inf)
