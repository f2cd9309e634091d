"""Models, GPUs and kernels, by the names experiments use.

Contract: of several folders the first one that has a name wins. A model is `<id>.json`, or a folder
`<id>/` with Hugging Face's `config.json`; a GPU is `<id>.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from roofline_lab.places import listed, place_of
from simulator.hardware import Hardware, load_hardware
from simulator.kernels.analytic import AnalyticKernels, load_analytic
from simulator.kernels.base import Kernels
from simulator.kernels.tables import KernelTables, load_tables
from simulator.model import Model
from simulator.model_files import load_model
from simulator.steptime.kernel_choice import choose_kernels
from simulator.steptime.options import StepTimeOptions

MODELS = "models"
HARDWARE = "hardware"
EMBEDDED_KERNELS = Path("configs/kernels/h100/analytic.yaml")


def hardware_in(folders: Sequence[Path]) -> Mapping[str, Path]:
    """Return the file of every GPU; of several folders the first one that has a name wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def embedded_kernels(root: Path) -> AnalyticKernels:
    """Return the fitted curves a project uses where it has no measured tables."""
    return load_analytic(place_of(root, EMBEDDED_KERNELS))


class Catalog:
    """The models, GPUs and kernels of one project folder, each read once.

    Parameters
    ----------
    root
        The project.
    tables_folder
        Folder of measured kernel tables in InferSim layout, if the user has some.
    """

    def __init__(self, root: Path, tables_folder: Path | None = None) -> None:
        self.root = root
        self.tables_folder = tables_folder

    def model(self, identifier: str) -> Model:
        """Return a model by id, read once."""
        return self._models[identifier]

    def hardware(self, identifier: str) -> Hardware:
        """Return a GPU by id, read once."""
        return self._hardware[identifier]

    @property
    def model_ids(self) -> tuple[str, ...]:
        """Models that are described."""
        return tuple(self._models)

    @property
    def hardware_ids(self) -> tuple[str, ...]:
        """GPUs that are described."""
        return tuple(self._hardware)

    @cached_property
    def tables_hash(self) -> str:
        """Content hash of the measured tables, or empty without a folder of them."""
        return self._tables.sha256 if self._tables is not None else ""

    def kernels(self, steptime: StepTimeOptions, hardware: str | Hardware) -> Kernels | None:
        """Return the kernels a step-time model's options ask for, or None where they need none.

        Raises
        ------
        ConfigError
            If measured tables are asked for and the laboratory was opened without a folder of them.
        UnsupportedError
            If the kernels of one GPU cannot answer for another.
        """
        gpu = hardware if isinstance(hardware, Hardware) else self.hardware(hardware)
        return choose_kernels(steptime, gpu, embedded=self._embedded, tables=self._tables)

    def model_file(self, identifier: str) -> Path:
        """Return where a model is described."""
        return place_of(self.root, f"configs/models/{identifier}.json")

    def hardware_file(self, identifier: str) -> Path:
        """Return where a GPU is described."""
        return place_of(self.root, f"configs/hardware/{identifier}.yaml")

    @cached_property
    def _embedded(self) -> AnalyticKernels:
        return embedded_kernels(self.root)

    @cached_property
    def _tables(self) -> KernelTables | None:
        return load_tables(self.tables_folder) if self.tables_folder else None

    @cached_property
    def _models(self) -> dict[str, Model]:
        return {path.stem: load_model(path) for path in listed(self.root, "configs/models", "*.json")}

    @cached_property
    def _hardware(self) -> dict[str, Hardware]:
        return {path.stem: load_hardware(path) for path in listed(self.root, "configs/hardware", "*.yaml")}
