"""Models as they lie on disk: our own descriptions, and folders as downloaded from Hugging Face.

Contract: `load_model` reads one model from a file or folder, `find_model_file` says which one a name stands for. Every
command finds and reads models through these two, so that a name means the same everywhere. A model is one of

* a file in the project's own form (`configs/models/<id>.json`), which states `id` and `source`; an unknown key in it is
  a mistake;
* a `config.json` as published, under any name, or the folder it lies in. What lies beside it belongs to it:
  `hf_quant_config.json` says how the weights are stored, `generation_config.json` how tokens are sampled. Keys that
  nobody knows are left out and named (`Model.left_out`), so that one harmless key does not cost a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from simulator.errors import ConfigError, UnsupportedError
from simulator.huggingface import TRANSLATED_KEYS, shape_of
from simulator.input_files import parse_json, read_json, read_text
from simulator.model import Model, model_from_config

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"
QUANTIZATION_FILE = "hf_quant_config.json"
# The folder above a revision in Hugging Face's cache, `models--ORGANISATION--NAME/snapshots/REVISION`.
SNAPSHOTS = "snapshots"
# What only the project's own form has.
OWN_KEYS = frozenset({"id", "source"})
# What Python writes into JSON for numbers that are none, as in the limits of state-space layers.
_NO_NUMBER = re.compile(r"(?<=[\s\[:,])-?(?:Infinity|NaN)(?=\s*[,\]}])")
# What of a `generation_config.json` decides how tokens are sampled.
SAMPLING_KEYS = ("top_p", "top_k")
# Keys that change what a step costs; one that is still there has a form nobody knows and is never left out.
DECISIVE = TRANSLATED_KEYS | {"quantization_config"}


def load_model(path: Path, name: str | None = None, shown: str | None = None) -> Model:
    """Read one model from its file, or from the folder its files lie in.

    Parameters
    ----------
    name
        What the model is to be called where its file does not say; by default the name of the file or folder.
    shown
        What messages call the file.

    Raises
    ------
    ConfigError
        If a file is unreadable, or a field is missing, unknown or inconsistent.
    UnsupportedError
        If the architecture is not the one the formulas describe.
    """
    path = path / CONFIG_FILE if path.is_dir() else path
    source = shown or str(path)
    config = _read_config(path)
    if not isinstance(config, Mapping):
        raise ConfigError(f"{source}: must be a mapping, as Hugging Face's config.json is")
    whole = {**config, **_quantization(path, config, source)}
    filled = translated(whole, name=name or name_of(path), source=source, sampling=_sampling(path))
    return model_from_config(filled, source=source)


def name_of(path: Path) -> str:
    """Return what a model is called that lies in `path`: a file's name, or its folder's where many have that name."""
    if path.name != CONFIG_FILE:
        return path.stem.removesuffix("_config")
    folder = path.absolute().parent
    return folder.parent.parent.name if folder.parent.name == SNAPSHOTS else folder.name


def parts_of(path: Path) -> dict[str, Path]:
    """Return the files a model is read from, by the names they have in the folder of a downloaded model."""
    config = path / CONFIG_FILE if path.is_dir() else path
    beside = {name: _beside(config, name) for name in (QUANTIZATION_FILE, GENERATION_FILE)}
    return {CONFIG_FILE: config, **{name: file for name, file in beside.items() if file}}


def contents_of(path: Path) -> dict[str, str]:
    """Return what the files of a model say, by name, so that copies are known for copies."""
    return {name: read_text(file) for name, file in parts_of(path).items()}


def translated(
    config: Mapping[str, Any], *, name: str, source: str, sampling: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a configuration in the project's own form.

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
    if OWN_KEYS & config.keys():
        return {"id": name, **config}
    shape = shape_of(config, source)
    unknown = shape.keys() - Model.model_fields.keys() - DECISIVE
    kept = {key: value for key, value in shape.items() if key not in unknown} | {"id": name, "source": source}
    if unknown:
        kept["left_out"] = tuple(sorted(unknown))
    if sampling is not None:
        stated = {key: sampling[key] for key in SAMPLING_KEYS if sampling.get(key) is not None}
        kept.setdefault("generation_config", {**stated, "source": f"{GENERATION_FILE} beside {source}"})
    return kept


def find_model_file(name: str, shelves: Iterable[Path]) -> Path | None:
    """Return the file a name stands for, or None.

    Parameters
    ----------
    name
        A file, a folder, an id, or the name a model has on Hugging Face (`organisation/name`).
    shelves
        Folders with one `<id>.json` or `<id>/config.json` per model; the first one that has a name wins.
    """
    described = models_in(shelves)
    if name in described:
        return described[name]
    path = Path(name)
    if path.is_dir() and (path / CONFIG_FILE).is_file():
        return path / CONFIG_FILE
    if path.is_file():
        return path
    known = known_as(name, described)
    return described[known] if known else None


def known_as(name: str, described: Mapping[str, Path]) -> str | None:
    """Return the id of a described model that a name means: its id, or its name on Hugging Face; None if none does."""
    if name in described:
        return name
    last = name.rsplit("/", 1)[-1].lower()
    for known, file in described.items():
        if known.lower() == last or name in _published_as(file):
            return known
    return None


def models_in(folders: Iterable[Path]) -> dict[str, Path]:
    """Return the file of every model of some folders, by its id; of several the first folder that has it wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for pattern in ("*.json", f"*/{CONFIG_FILE}"):
            for path in sorted(folder.glob(pattern)):
                found.setdefault(path.parent.name if path.name == CONFIG_FILE else path.stem, path)
    return found


def _published_as(file: Path) -> list[str]:
    """Return the words of a description's source, among which is its name on Hugging Face."""
    description = read_json(file)
    return str(description.get("source", "")).split() if isinstance(description, Mapping) else []


def _read_config(path: Path) -> Any:
    """Read one JSON file; a number without end says nothing, where a key that counts would need one."""
    return parse_json(_NO_NUMBER.sub("null", read_text(path)), source=str(path))


def _beside(config: Path, name: str) -> Path | None:
    """Return the file of another name that belongs to a configuration; copies share what stands before it."""
    if not config.name.endswith(CONFIG_FILE):
        return None
    other = config.with_name(config.name.removesuffix(CONFIG_FILE) + name)
    return other if other.is_file() else None


def _sampling(config: Path) -> Mapping[str, Any] | None:
    path = _beside(config, GENERATION_FILE)
    content = read_json(path) if path else None
    return content if isinstance(content, Mapping) else None


def _quantization(path: Path, config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the quantization that stands in a file of its own, as `quantization_config` has it.

    Raises
    ------
    ConfigError
        If the file says nothing.
    UnsupportedError
        If both files say something, and not the same.
    """
    file = _beside(path, QUANTIZATION_FILE)
    if file is None:
        return {}
    content = read_json(file)
    stated = content.get("quantization") if isinstance(content, Mapping) else None
    if not isinstance(stated, Mapping):
        raise ConfigError(f"{file}: quantization: missing; it says how the weights of {path.name} are stored")
    inside = config.get("quantization_config")
    if not isinstance(inside, Mapping):
        return {"quantization_config": {"quant_method": "modelopt", **stated}}
    named = inside.get("quant_algo"), stated.get("quant_algo")
    if named[0] != named[1]:
        raise UnsupportedError(
            f"{source}: {QUANTIZATION_FILE} beside it says '{named[1]}' and its own quantization_config "
            f"'{named[0] or inside.get('quant_method')}', which is not modelled; allowed: one format for all weights"
        )
    return {"quantization_config": {**stated, **inside}}
