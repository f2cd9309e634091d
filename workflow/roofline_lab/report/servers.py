"""Points of a scatter, told apart by what they were measured on: the marker is the model, the filling is TP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from roofline_lab.ground_truth.names import server_name, short_gpu_names
from roofline_lab.report.plots import MARKERS, Series


class Server(NamedTuple):
    """Model family, GPU and number of GPUs that a load point was measured on."""

    family: str
    hardware: str
    tensor_parallel: int


class ServerMarkers:
    """Which marker and filling each server has, the same in all panels of a figure.

    A model on several GPUs has several markers.

    Parameters
    ----------
    servers
        All of the figure.
    """

    def __init__(self, servers: Iterable[Server]) -> None:
        self._servers = sorted(set(servers))
        self._gpus = short_gpu_names(each.hardware for each in self._servers)
        self._models = list(dict.fromkeys((each.family, each.hardware) for each in self._servers))
        self._degrees = sorted({each.tensor_parallel for each in self._servers})

    def series(self, points: Iterable[tuple[Server, tuple[float, float]]]) -> tuple[Series, ...]:
        """Return the points of a panel, one series per server that has any."""
        found: dict[Server, list[tuple[float, float]]] = {}
        for server, point in points:
            found.setdefault(server, []).append(point)
        return tuple(self._series(server, found[server]) for server in self._servers if server in found)

    def _series(self, server: Server, points: Iterable[tuple[float, float]]) -> Series:
        gpu = self._gpus[server.hardware] if len(self._gpus) > 1 else ""
        marker = self._models.index((server.family, server.hardware)) % len(MARKERS)
        label = server_name(server.family, server.tensor_parallel, gpu)
        return Series(label, tuple(points), marker, self._degrees.index(server.tensor_parallel))
