"""Models and GPUs an evaluation may use: those of the project, and those a stranger brings along.

Contract: a description is looked for in the folders the command line names, then beside the
experiments, then in the project; the first one found is used and remembered. A name nothing answers
to raises a `ConfigError` that says which file to add.

A model is our format (`configs/models/<id>.json`), a Hugging Face `config.json` under the model's
name, or a folder `<id>/` as downloaded; see `simulator.model_files`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from roofline_lab.ground_truth.catalog import HARDWARE, MODELS, hardware_in
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE
from roofline_lab.places import shelves
from simulator.errors import ConfigError
from simulator.gpu_names import gpu_named
from simulator.hardware import Hardware, load_hardware, with_sustained
from simulator.model import Model
from simulator.model_files import known_as, load_model, models_in, parts_of
from simulator.validation import suggest


class Catalogue:
    """Descriptions by name, each read once.

    Parameters
    ----------
    models, hardware
        Folders to look in, the first one wins.
    """

    def __init__(self, models: Sequence[Path], hardware: Sequence[Path]) -> None:
        self.model_files = models_in(models)
        self.hardware_files = hardware_in(hardware)
        self._models: dict[str, Model] = {}
        self._hardware: dict[str, Hardware] = {}

    def model(self, name: str) -> Model:
        """Return a model.

        Raises
        ------
        ConfigError
            If no file describes it, or its file is wrong.
        UnsupportedError
            If its architecture is not one the formulas describe.
        """
        known = self.model_id(name)
        if known not in self._models:
            path = self.model_files[known]
            model = load_model(path, known, shown=path.name)
            if model.id != known:
                raise ConfigError(f"{path.name}: id: must be the file's name '{known}' (got '{model.id}')")
            self._models[known] = model
        return self._models[known]

    def model_id(self, name: str) -> str:
        """Return the id of the model that a name means, its name on Hugging Face among them.

        Raises
        ------
        ConfigError
            If no file describes it.
        """
        known = known_as(name, self.model_files)
        if known is None:
            raise ConfigError(
                f"model: unknown model '{name}'; put its Hugging Face config.json into {MODELS}/{name}.json beside "
                f"the experiments, or name its folder with --models ({suggest(name, self.model_files)})"
            )
        return known

    def hardware_id(self, name: str) -> str:
        """Return the id of the GPU that a name means.

        Raises
        ------
        ConfigError
            If no file describes it, or its file is wrong.
        """
        described = gpu_named(name, self.hardware_files)
        if described is None:
            raise ConfigError(
                f"hardware: unknown hardware '{name}'; put its data sheet into {HARDWARE}/{name}.yaml beside the "
                "experiments (as configs/hardware/h100-sxm.yaml has one), or name its folder with --hardware "
                f"({suggest(name, self.hardware_files)})"
            )
        return described

    def hardware(self, name: str) -> Hardware:
        """Return a GPU by its id, or by another usual name of it.

        Raises
        ------
        ConfigError
            If no file describes it, or its file is wrong.
        """
        described = self.hardware_id(name)
        if described not in self._hardware:
            self._hardware[described] = load_hardware(self.hardware_files[described])
        return self._hardware[described]

    def documented(self, name: str) -> Hardware:
        """Return a GPU with what is documented about its use beside its data sheet.

        Raises
        ------
        ConfigError
            If no file describes it, or one of its files is wrong.
        """
        return with_sustained(self.hardware(name), self.hardware_files[self.hardware_id(name)])

    def files_of(self, models: Sequence[str], hardware: Sequence[str]) -> tuple[Path, ...]:
        """Return the files behind some names, those there are."""
        found = [
            file for name in models if name in self.model_files for file in parts_of(self.model_files[name]).values()
        ]
        return tuple(found + [self.hardware_files[name] for name in hardware if name in self.hardware_files])


def catalogue_of(root: Path, experiments: Path, models: Path | None = None, hardware: Path | None = None) -> Catalogue:
    """Return what an evaluation of `experiments` may use.

    Parameters
    ----------
    root
        The project.
    experiments
        The path that is evaluated; `models`, `hardware` and `configs` beside them are used.
    models, hardware
        Folders a person named; looked in first.

    Raises
    ------
    ConfigError
        If a folder a person named does not exist.
    """
    for option, folder in (("--models", models), ("--hardware", hardware)):
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{option}: no such folder: {folder}")
    beside = _beside(experiments)
    return Catalogue(
        [*([models] if models else []), *_shelves(beside, MODELS), *shelves(root, f"configs/{MODELS}")],
        [*([hardware] if hardware else []), *_shelves(beside, HARDWARE), *shelves(root, f"configs/{HARDWARE}")],
    )


def _beside(path: Path) -> list[Path]:
    """Return the folders in which a stranger would put a description: the experiment's and those around it."""
    folder = path.absolute() if path.is_dir() else path.absolute().parent
    alone = path.is_file() or (folder / EXPERIMENT_FILE).is_file()
    folders = [folder, folder.parent] if alone else [folder]
    return folders + ([folders[-1].parent] if folders[-1].name == "ground_truth" else [])


def _shelves(folders: Sequence[Path], kind: str) -> list[Path]:
    return [shelf for folder in folders for shelf in (folder / kind, folder / "configs" / kind)]
