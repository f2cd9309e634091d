"""A model's `config.json` as Hugging Face has it, brought into the form of `configs/models`.

Contract: pure. What decides about a step is kept or translated, `quantization_config` among it; keys no
formula uses are left out and named, so that a page can say so. A file in the project's own form (it has a
`source`) is passed on as it is: there an unknown key is a mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.errors import UnsupportedError
from simulator.huggingface import EXPERT_STEP_KEYS, FOREIGN_KEYS, IGNORED_KEYS, SYNONYMS, TRANSLATED_KEYS
from simulator.model import Model

# Newer names of a field, where the older one is absent.
NEWER_NAMES = {"dtype": "torch_dtype"}
QUANTIZATION = "quantization_config"
# What of a `generation_config.json` decides how tokens are sampled.
SAMPLING_KEYS = ("top_p", "top_k")
# Methods of `quantization_config` whose weights are FP8; `compressed-tensors` and `modelopt` say it inside.
FP8_METHODS = ("fp8", "fbgemm_fp8")
BITS_FP8 = 8


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
        If the weights are quantized in a way no formula describes, or some layers are dense and others are not.
    """
    if "source" in config:
        return {"id": name, **config}, ()
    found = {NEWER_NAMES.get(key, key) if NEWER_NAMES.get(key) not in config else key: config[key] for key in config}
    if found.get("mlp_only_layers"):
        raise UnsupportedError(f"{source}: mlp_only_layers mean dense and expert layers mixed, which is not modelled")
    quantization = _quantization(found.pop(QUANTIZATION, None), source)
    known = {*Model.model_fields, *SYNONYMS, *FOREIGN_KEYS, *EXPERT_STEP_KEYS, *TRANSLATED_KEYS}
    kept = {key: value for key, value in found.items() if key in known}
    kept |= {"id": name, "source": source}
    if quantization is not None:
        kept.setdefault("quantization", quantization)
    if sampling is not None:
        stated = {key: sampling[key] for key in SAMPLING_KEYS if sampling.get(key) is not None}
        kept.setdefault("generation_config", {**stated, "source": f"generation_config.json beside {source}"})
    return kept, tuple(sorted(found.keys() - known - IGNORED_KEYS))


def _quantization(config: object, source: str) -> str | None:
    """Return the simulator's word for a `quantization_config`; None where weights are not quantized."""
    if config is None:
        return None
    method = config.get("quant_method") if isinstance(config, Mapping) else None
    if method in FP8_METHODS or (isinstance(config, Mapping) and _says_fp8(config)):
        return "fp8"
    raise UnsupportedError(f"{source}: {QUANTIZATION}: quantization '{method}' is not modelled; allowed: FP8 weights")


def _says_fp8(config: Mapping[str, Any]) -> bool:
    if str(config.get("quant_algo", "")).upper() == "FP8":
        return True
    groups = config.get("config_groups")
    weights = [one.get("weights") for one in groups.values()] if isinstance(groups, Mapping) else []
    return bool(weights) and all(
        isinstance(one, Mapping) and (one.get("num_bits"), one.get("type")) == (BITS_FP8, "float") for one in weights
    )
