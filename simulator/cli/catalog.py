"""From names on the command line to models, GPUs and kernels.

Contract: a model or GPU is an id of the `configs` folder, a path, or (in a YAML file) the description
itself. What does not exist is a `ConfigError` that lists what does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.cli.files import checked_path
from simulator.errors import ConfigError
from simulator.gpu_names import gpu_named
from simulator.hardware import Hardware, load_hardware, with_sustained
from simulator.kernels.analytic import AnalyticKernels, load_analytic
from simulator.model import Model, model_from_config
from simulator.model_files import CONFIG_FILE, find_model_file, load_model, models_in
from simulator.validation import parse, suggest

if TYPE_CHECKING:
    from simulator.kernels.tables import KernelTables

_ABOVE = Path(__file__).resolve().parents[2]
# Beside the packages in a clone; installed, with what else comes with the laboratory.
_INSTALLED = _ABOVE / "roofline_lab" / "shipped"
SHIPPED_CONFIGS = (_INSTALLED if _INSTALLED.is_dir() else _ABOVE) / "configs"

# GPU whose fitted curves answer for GPUs that have none of their own.
DEFAULT_CURVES = "h100"


def configs_folder(text: str | None) -> Path:
    """Return the folder with `models/`, `hardware/` and `kernels/`.

    Raises
    ------
    ConfigError
        If it is not there.
    """
    folder = SHIPPED_CONFIGS if text is None else checked_path(text, "--configs")
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; give one with models/, hardware/ and kernels/ as --configs")
    return folder


def find_model(given: str | Mapping[str, object], configs: Path) -> Model:
    """Return a model by id, path or description.

    A file or folder may be as downloaded from Hugging Face; see `simulator.model_files`.

    Raises
    ------
    ConfigError, UnsupportedError
        If it is unknown, malformed, or not modelled.
    """
    if isinstance(given, Mapping):
        return model_from_config({"id": "custom", "source": "given in the run's file", **given}, source="model")
    path, shelf = checked_path(given, "model"), configs / "models"
    found = find_model_file(given, [shelf])
    if found is None and (path.suffix == ".json" or path.is_dir()):
        found = path / CONFIG_FILE if path.is_dir() else path
    if found is None:
        raise ConfigError(
            f"model: unknown id '{given}'; {suggest(given, models_in([shelf]))} (or give the path of a {CONFIG_FILE}, "
            "or of the folder of a downloaded model)"
        )
    return _model(found)


def find_hardware(given: str | Mapping[str, object], configs: Path) -> Hardware:
    """Return a GPU by id or another usual name, path or description, with what is documented beside its data sheet.

    Raises
    ------
    ConfigError
        If it is unknown or malformed.
    """
    if isinstance(given, Mapping):
        return parse(Hardware, given, source="hardware")
    described = {path.stem: path for path in sorted((configs / "hardware").glob("*.yaml"))}
    path = _located(gpu_named(given, described) or given, configs / "hardware", ".yaml", "hardware")
    return with_sustained(_hardware(path), path)


def model_ids(configs: Path) -> list[str]:
    """Return the ids of the models that are described."""
    return sorted(models_in([configs / "models"]))


def _located(name: str, folder: Path, suffix: str, what: str) -> Path:
    path = checked_path(name, what)
    if len(path.parts) > 1 or path.suffix == suffix:
        return path
    ids = sorted(entry.stem for entry in folder.glob(f"*{suffix}"))
    if name not in ids:
        raise ConfigError(f"{what}: unknown id '{name}'; {suggest(name, ids)} (or give the path of a {suffix} file)")
    return folder / f"{name}{suffix}"


def find_curves(hardware: Hardware, configs: Path) -> AnalyticKernels:
    """Return the fit of this GPU (by its id up to the first dash), else the default one.

    Raises
    ------
    ConfigError
        If there is none, or it is malformed.
    """
    own = configs / "kernels" / Path(hardware.id.split("-")[0].lower()).name / "analytic.yaml"
    return _curves(own if own.is_file() else configs / "kernels" / DEFAULT_CURVES / "analytic.yaml")


def find_tables(folder: str, gpu: str | None) -> KernelTables:
    """Return the kernel tables of a folder.

    Raises
    ------
    TableError, ConfigError
        If the folder or a table cannot be trusted.
    """
    from simulator.kernels.tables import load_tables  # most commands use the fitted curves alone

    if gpu is not None and (checked_path(gpu, "gpu").name != gpu or gpu in ("..", ".")):
        raise ConfigError(f"gpu: '{gpu}' is not the name of a GPU folder")
    return load_tables(checked_path(folder, "kernels"), gpu)


# Read once by a command that simulates many runs.
_model, _hardware, _curves = cache(load_model), cache(load_hardware), cache(load_analytic)
