"""What a calibration rests on beyond what its file says: shapes and architectures of models, versions of software.

Contract: `coverage_of` reads the models a calibration was fitted to and the measurements of their families; a
project without either gives an empty `Coverage`, by which nothing is recognised and nothing is flagged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from roofline_lab.calibration.record import Calibration
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE, load_experiment, words_of
from roofline_lab.ground_truth.server import vllm_version
from roofline_lab.places import place_of
from simulator.errors import ConfigError, RooflineLabError
from simulator.model import Model
from simulator.model_files import load_model

Shape = tuple[int, ...]
Version = tuple[int, int]
DENSE, MIXTURE = "dense", "mixture of experts"
# How the weights are stored, in words.
PRECISIONS = {
    "fp8": "FP8",
    "int8": "INT8",
    "w8a16": "8-bit weights",
    "int4": "4-bit weights",
    "mxfp4": "MXFP4",
    "nvfp4": "NVFP4",
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was fitted to.

    Attributes
    ----------
    shapes
        Families of models that were fitted to, by shape, each with the vocabulary of its model: a copy of a model
        under another name is the same family, and vocabulary tells families of one shape apart.
    architectures
        Architectures (`architecture_of`) by family.
    versions
        Oldest and newest vLLM that measurements of these families state; None where none does.
    """

    shapes: Mapping[Shape, Mapping[str, int]] = field(default_factory=dict)
    architectures: Mapping[str, frozenset[str]] = field(default_factory=dict)
    versions: tuple[Version, Version] | None = None

    def family_of(self, model: Model, named: str | None) -> str | None:
        """Return the family whose model has the same shape, or None.

        Where several have it, the one it is `named` as, else the one with the closest vocabulary.
        """
        alike = self.shapes.get(shape_of(model), {})
        if named in alike:
            return named
        return min(alike, key=lambda family: (abs(alike[family] - model.vocab_size), family), default=None)

    def without(self, family: str | None) -> frozenset[str]:
        """Return the architectures of all families but one."""
        return frozenset().union(*(found for name, found in self.architectures.items() if name != family))


def coverage_of(calibration: Calibration, root: Path) -> Coverage:
    """Return what `calibration` rests on, as the project in `root` describes it.

    Raises
    ------
    ConfigError
        If a model it was fitted to is described wrongly.
    """
    shapes: dict[Shape, dict[str, int]] = {}
    architectures: dict[str, frozenset[str]] = {}
    for name, family in calibration.trained_on.models.items():
        path = place_of(root, f"configs/models/{name}.json")
        if path.is_file():
            model = _model(path)
            shapes.setdefault(shape_of(model), {})[family] = model.vocab_size
            architectures[family] = architectures.get(family, frozenset()) | {architecture_of(model)}
    return Coverage(shapes, architectures, _versions(root, calibration.trained_on.families))


def shape_of(model: Model) -> Shape:
    """Return what makes two descriptions the same model: everything but names, vocabulary and number types."""
    return (
        model.hidden_size,
        model.num_hidden_layers,
        model.num_attention_heads,
        model.num_key_value_heads,
        model.head_elements,
        model.expert_width,
        model.num_local_experts,
        model.num_experts_per_tok,
    )


def architecture_of(model: Model) -> str:
    """Return kind and precision of a model's layers, in words."""
    kind = MIXTURE if model.num_local_experts else DENSE
    return f"{kind}, {PRECISIONS[model.quantization]}" if model.quantization else kind


def version_text(version: Version) -> str:
    """Return a version as people write it."""
    return ".".join(map(str, version))


def _model(path: Path) -> Model:
    try:
        return load_model(path)
    except RooflineLabError as error:
        raise ConfigError(f"a model the calibration was fitted to cannot be read: {error}") from None


def _versions(root: Path, families: tuple[str, ...]) -> tuple[Version, Version] | None:
    """Return the range of versions the project's measurements state; one that cannot be read states none."""
    found, words = [], words_of(root)
    for path in sorted((root / "ground_truth").glob(f"*/{EXPERIMENT_FILE}")):
        try:
            experiment = load_experiment(path.parent, words)
        except RooflineLabError:
            continue
        version = vllm_version(experiment.server.settings.software)
        if version is not None and experiment.family in families:
            found.append(version)
    return (min(found), max(found)) if found else None
