"""Models and GPUs an evaluation may use: those of the project, and those a stranger brings along.

Contract: a description is looked for in the folders the command line names, then beside the
experiments, then in the project; the first one found is used and remembered. A name nothing answers
to raises a `ConfigError` that says which file to add.

A model is our format (`configs/models/<id>.json`), a Hugging Face `config.json` under the model's
name, or a folder `<id>/` with `config.json` and, if there is one, `generation_config.json`. In a `config.json` as
downloaded, `translated` adds the id and the sampling defaults it lacks; keys that nobody knows are left out and named,
so that a page can say so and one harmless key does not cost an experiment. In the project's own form (it has a
`source`) an unknown key is a mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.catalog import CONFIG_FILE, HARDWARE, MODELS, hardware_in, models_in
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE
from simulator.errors import ConfigError
from simulator.gpu_names import gpu_named
from simulator.hardware import Hardware, load_hardware
from simulator.huggingface import TRANSLATED_KEYS, shape_of
from simulator.model import Model, model_from_config
from simulator.validation import read_json, suggest

GENERATION_FILE = "generation_config.json"


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
        self._models: dict[str, tuple[Model, tuple[str, ...]]] = {}
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
        if name not in self._models:
            if name not in self.model_files:
                raise ConfigError(
                    f"model: unknown model '{name}'; put its Hugging Face config.json into {MODELS}/{name}.json beside "
                    f"the experiments, or name its folder with --models ({suggest(name, self.model_files)})"
                )
            self._models[name] = _model(name, self.model_files[name])
        return self._models[name][0]

    def unused_keys(self, name: str) -> tuple[str, ...]:
        """Return what a described model's file says that no formula uses."""
        self.model(name)
        return self._models[name][1]

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

    def files_of(self, models: Sequence[str], hardware: Sequence[str]) -> tuple[Path, ...]:
        """Return the files behind some names, those there are."""
        found = [self.model_files[name] for name in models if name in self.model_files]
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
        [*([models] if models else []), *_shelves(beside, MODELS), root / "configs" / MODELS],
        [*([hardware] if hardware else []), *_shelves(beside, HARDWARE), root / "configs" / HARDWARE],
    )


def _beside(path: Path) -> list[Path]:
    """Return the folders in which a stranger would put a description: the experiment's and those around it."""
    folder = path.absolute() if path.is_dir() else path.absolute().parent
    alone = path.is_file() or (folder / EXPERIMENT_FILE).is_file()
    folders = [folder, folder.parent] if alone else [folder]
    return folders + ([folders[-1].parent] if folders[-1].name == "ground_truth" else [])


def _shelves(folders: Sequence[Path], kind: str) -> list[Path]:
    return [shelf for folder in folders for shelf in (folder / kind, folder / "configs" / kind)]


def _model(name: str, path: Path) -> tuple[Model, tuple[str, ...]]:
    """Read a model; returns it and the keys of its file that no formula uses."""
    config = read_json(path)
    if not isinstance(config, Mapping):
        raise ConfigError(f"{path.name}: must be a mapping, as Hugging Face's config.json is")
    sampling = _sampling(path.parent / GENERATION_FILE) if path.name == CONFIG_FILE else None
    filled, unused = translated(config, name=name, source=path.name, sampling=sampling)
    if filled["id"] != name:
        raise ConfigError(f"{path.name}: id: must be the file's name '{name}' (got '{filled['id']}')")
    return model_from_config(filled, source=path.name), unused


def _sampling(path: Path) -> Mapping[str, Any] | None:
    content = read_json(path) if path.is_file() else None
    return content if isinstance(content, Mapping) else None


# --- a config.json as downloaded --------------------------------------------------------------------


# What of a `generation_config.json` decides how tokens are sampled.
SAMPLING_KEYS = ("top_p", "top_k")
# Keys that change what a step costs; one that is still there has a form nobody knows and is never left out.
DECISIVE = TRANSLATED_KEYS | {"quantization_config"}


def translated(
    config: Mapping[str, Any], *, name: str, source: str, sampling: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a configuration the simulator reads, and the names of keys that were left out.

    Parameters
    ----------
    name, source
        Id and source of the model, where the file has none.
    sampling
        Content of the model's `generation_config.json`, if there is one.

    Raises
    ------
    UnsupportedError
        If the architecture or its quantization is not one the formulas describe.
    """
    if "source" in config:
        return {"id": name, **config}, ()
    shape = shape_of(config, source)
    unknown = shape.keys() - Model.model_fields.keys() - DECISIVE
    kept = {key: value for key, value in shape.items() if key not in unknown} | {"id": name, "source": source}
    if sampling is not None:
        stated = {key: sampling[key] for key in SAMPLING_KEYS if sampling.get(key) is not None}
        kept.setdefault("generation_config", {**stated, "source": f"generation_config.json beside {source}"})
    return kept, tuple(sorted(unknown))
