"""From what files call things to the names of the project: model, GPU, family, defaults.

Contract: what a person names decides; else what the files say, if something in `configs` answers to
it; else a stated default, which becomes a quality flag. A model nobody describes is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth import measurement_lint as lint
from roofline_lab.ground_truth.catalog import HARDWARE, MODELS, hardware_in, models_in
from roofline_lab.ground_truth.quality import Flag, QualityFlag
from roofline_lab.importers.imported import Imported
from roofline_lab.importers.surroundings import read_mapping
from simulator.errors import ConfigError
from simulator.validation import read_json, suggest

DEFAULT_HARDWARE = "h100-sxm"
DEFAULT_WORKLOAD = "custom"

# Defaults of a vLLM server of the V1 engine, where nothing states a setting.
DEFAULT_SETTINGS: Mapping[str, Any] = {"token_budget": 2048, "prefix_caching": True, "client_offset_ms": 0.0}


@dataclass(frozen=True, slots=True)
class Names:
    """What a person says about an import; None leaves it to the files.

    Attributes
    ----------
    model, hardware, family, workload
        Names of `configs` and of the vocabulary.
    tensor_parallel
        GPUs the model is split over.
    client_offset_ms
        Time between client and engine.
    document, licence
        Where the figures are published, and on what terms they are used.
    """

    model: str | None = None
    hardware: str | None = None
    family: str | None = None
    workload: str | None = None
    tensor_parallel: int | None = None
    client_offset_ms: float | None = None
    document: str | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """Names of the project, and what had to be assumed for them."""

    model: str
    hardware: str
    family: str
    workload: str
    tensor_parallel: int
    known: dict[str, Any]
    assumed: dict[str, Any]
    flags: tuple[QualityFlag, ...]


def resolve(found: Imported, names: Names, root: Path, beside: Path | None = None) -> Resolved:
    """Return the names of one import.

    Parameters
    ----------
    root
        The project whose models, GPUs and words are used.
    beside
        The folder an experiment is written into if that is not the project's ground truth: models and GPUs
        described there can be named too, and a model nobody has measured is a family of its own.

    Raises
    ------
    ConfigError
        If no model of `configs` or no family of the vocabulary fits.
    """
    models, sheets = (_described(kind, root, beside) for kind in (MODELS, HARDWARE))
    model = _known(names.model, models) if names.model else _model(found.model_name, models)
    hardware = names.hardware or _hardware(found.hardware, sheets)
    tensor_parallel = names.tensor_parallel or found.tensor_parallel
    known, assumed = _settings(found, names)
    guesses = []
    if hardware is None:
        guesses.append(f"hardware {DEFAULT_HARDWARE}")
    if tensor_parallel is None:
        guesses.append("tensor parallelism 1")
    guesses += [f"{name.replace('_', ' ')} {_shown(value)}" for name, value in assumed.items()]
    text = f"Not stated by the files, so assumed: {', '.join(guesses)}."
    if "client_offset_ms" in assumed and not assumed["client_offset_ms"] and found.side == "client":
        text += " All time between client and engine then counts as error; --client-offset-ms states it."
    return Resolved(
        model=model,
        hardware=hardware or DEFAULT_HARDWARE,
        family=names.family or found.family or _family(model, root, beside),
        workload=names.workload or found.workload_name or DEFAULT_WORKLOAD,
        tensor_parallel=tensor_parallel or 1,
        known=known,
        assumed=assumed,
        flags=(lint.Finding(Flag.SETTING_ASSUMED, text).quality("noted"),) if guesses else (),
    )


def _described(kind: str, root: Path, beside: Path | None) -> Mapping[str, Path]:
    folders = [*([beside / kind] if beside else []), root / "configs" / kind]
    return models_in(folders) if kind == MODELS else hardware_in(folders)


def _known(model: str, described: Mapping[str, Path]) -> str:
    if model not in described:
        raise ConfigError(f"--model: unknown model '{model}'; {suggest(model, described)}")
    return model


def _model(name: str | None, described: Mapping[str, Path]) -> str:
    if name is None:
        raise ConfigError(f"--model: the files do not name the model; {suggest('', described)}")
    for own, path in described.items():
        description = read_json(path)
        source = str(description.get("source", "")) if isinstance(description, Mapping) else ""
        if own.lower() == name.rsplit("/", 1)[-1].lower() or name in source.split():
            return own
    raise ConfigError(
        f"--model: no model of configs/models is '{name[:80]}'; name one with --model, or add configs/models/<id>.json "
        f"({suggest(name.rsplit('/', 1)[-1].lower()[:80], described)})"
    )


def _hardware(name: str | None, described: Mapping[str, Path]) -> str | None:
    """Return the GPU whose name's parts are all in `name`, such as h100-sxm for H100-80GB-SXM."""
    if name is None:
        return None
    fitting = [text for text in described if all(part in name.lower() for part in text.split("-"))]
    if len(fitting) != 1:
        raise ConfigError(
            f"--hardware: no single GPU of configs/hardware is '{name[:80]}'; {suggest(name[:80], described)}"
        )
    return fitting[0]


def _family(model: str, root: Path, beside: Path | None) -> str:
    """Return the family that other experiments with the same model have."""
    for path in sorted((root / "ground_truth").glob("*/experiment.yaml")):
        experiment = read_mapping(path)
        if experiment.get("model") == model and isinstance(experiment.get("family"), str):
            return str(experiment["family"])
    if beside is not None:
        return model
    words = read_mapping(root / "ground_truth" / "vocabulary.yaml").get("families", {})
    raise ConfigError(
        f"--family: no experiment has the model '{model}' yet; name its family with --family, a word of "
        f"ground_truth/vocabulary.yaml ({suggest(model, _words(words))})"
    )


def _words(words: object) -> Iterable[str]:
    return [str(word) for word in words] if isinstance(words, Mapping) else []


def _settings(found: Imported, names: Names) -> tuple[dict[str, Any], dict[str, Any]]:
    known, assumed = dict(found.known), dict(found.assumed)
    if names.client_offset_ms is not None:
        assumed.pop("client_offset_ms", None)
        known["client_offset_ms"] = names.client_offset_ms
    if found.side == "server":
        known.setdefault("client_offset_ms", 0.0)
    for name, value in DEFAULT_SETTINGS.items():
        if name not in known:
            assumed.setdefault(name, value)
    return known, {name: value for name, value in assumed.items() if name not in known}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
