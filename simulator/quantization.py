"""How a checkpoint's weights are stored, from what its files say about quantization.

Contract: `quantization_of` turns a `quantization_config` (or the same from `hf_quant_config.json`) into the keys of a
`Model` that say so, or raises `UnsupportedError` naming what is not modelled. Read are the formats of vLLM's
loaders: fp8 and fbgemm_fp8, compressed-tensors, modelopt, awq, gptq and mxfp4. Mixed formats and 4-bit weights with
8-bit activations are refused; a format that is to be modelled gets a row in `WEIGHT_BYTES` and its words in `_kind`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeGuard

from simulator.errors import UnsupportedError

Quantization = Literal["fp8", "int8", "w8a16", "int4", "mxfp4", "nvfp4"]
# Weights that share an 8-bit scale: MXFP4 by the OCP Microscaling specification 1.0, NVFP4 by NVIDIA's definition.
MXFP4_GROUP, NVFP4_GROUP = 32, 16
# Bytes of one weight. Integers of four bits carry a 16-bit scale per group of 128 weights, the default group of AWQ,
# GPTQ and compressed-tensors W4A16, unless a file says another; scales of the 8-bit formats (one per tensor, channel or
# 128 x 128 block) are below 0.1 % and left out.
WEIGHT_BYTES: Mapping[Quantization, float] = {
    "fp8": 1,
    "int8": 1,
    "w8a16": 1,
    "int4": 0.5,
    "mxfp4": 0.5 + 1 / MXFP4_GROUP,
    "nvfp4": 0.5 + 1 / NVFP4_GROUP,
}
SCALE_BYTES, DEFAULT_GROUP = 2, 128
FOUR_BIT_FLOATS: Mapping[object, Quantization] = {MXFP4_GROUP: "mxfp4", NVFP4_GROUP: "nvfp4"}
# Formats whose activations are converted too, so that matrices are multiplied on the 8-bit units.
EIGHT_BIT_UNITS = frozenset({"fp8", "int8"})

FP8_METHODS = frozenset({"fp8", "fbgemm_fp8"})
# Integer weights, activations in 16 bits, by their bits.
WEIGHT_ONLY_METHODS = frozenset({"awq", "gptq", "awq_marlin", "gptq_marlin", "auto-round", "auto_round"})
WEIGHT_ONLY: Mapping[object, Quantization] = {4: "int4", 8: "w8a16"}
# modelopt's words for its algorithms.
ALGORITHMS: Mapping[object, Quantization] = {
    "FP8": "fp8",
    "FP8_PB_WO": "fp8",
    "FP8_PB_REAL_QUANT": "fp8",
    "FP8_PER_CHANNEL_PER_TOKEN": "fp8",
    "INT8_SQ": "int8",
    "W8A8_SQ_PER_CHANNEL": "int8",
    "W8A16": "w8a16",
    "W4A16": "int4",
    "W4A16_AWQ": "int4",
    "INT4_AWQ": "int4",
    "NVFP4": "nvfp4",
}
# compressed-tensors: (bits and type of weights, bits and type of activations; None: not converted).
GROUPS: Mapping[tuple[object, object, object, object], Quantization] = {
    (8, "float", 8, "float"): "fp8",
    (8, "float", None, None): "w8a16",
    (8, "int", 8, "int"): "int8",
    (8, "int", None, None): "w8a16",
    (4, "int", None, None): "int4",
}
# Keys under which the formats list modules that stay in 16 bits.
KEPT_KEYS = ("ignore", "modules_to_not_convert", "ignored_layers", "exclude_modules")
# How the layers' modules are called, by part of a layer; `{}` is the layer.
ATTENTION = tuple(f"model.layers.{{}}.self_attn.{name}_proj" for name in ("q", "k", "v"))
LATENT_ATTENTION = (
    "model.layers.{}.self_attn.kv_a_proj_with_mqa",
    "model.layers.{}.self_attn.kv_b_proj",
    "model.layers.{}.self_attn.q_b_proj",
)
# Where queries are made without a latent of their own.
ONE_LATENT_ATTENTION = LATENT_ATTENTION[:2]
OUTPUT = ("model.layers.{}.self_attn.o_proj",)
FEED_FORWARD = ("model.layers.{}.mlp.down_proj", "model.layers.{}.mlp.gate_proj")
# Parts that stay in 16 bits as a whole or not at all, and what messages call them.
WHOLE = {
    **dict.fromkeys((ATTENTION, LATENT_ATTENTION, ONE_LATENT_ATTENTION), "attention"),
    FEED_FORWARD: "feed-forward part",
}
# Modules that servers join, by the name of what they are joined to.
JOINED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj",)}
EXPERTS = (
    "model.layers.{}.mlp.experts.0.down_proj",
    "model.layers.{}.feed_forward.experts.down_proj",
    "model.layers.{}.block_sparse_moe.experts.0.w2",
)
# Experts every token visits.
SHARED_EXPERTS = (
    "model.layers.{}.feed_forward.shared_expert.down_proj",
    "model.layers.{}.mlp.shared_expert.down_proj",
    "model.layers.{}.mlp.shared_experts.down_proj",
)
ALLOWED = (
    "weights of 8-bit floats or integers, of 4-bit integers with 16-bit activations, or of 4-bit floats (fp8, "
    "fbgemm_fp8, compressed-tensors, modelopt with FP8 or NVFP4, awq, gptq, mxfp4)"
)
# What turns a regular expression of compressed-tensors into a pattern with stars, and what it may not hold then.
_STARS = ((re.compile(r"\\d\+|\[0-9\]\+|\.\*|\.\+"), "*"), (re.compile(r"\\\."), "."), (re.compile(r"^\^|\$$"), ""))
_NOT_STARS = re.compile(r"[\[\](){}|+?\\^$]")
# Words one of which stands there; each gives a pattern of its own.
_ONE_OF = re.compile(r"\((?:\?:)?(\w+(?:\|\w+)*)\)")


def quantization_of(
    stated: Mapping[str, Any],
    layers: object,
    source: str,
    *,
    experts: bool = False,
    dense_first: int = 0,
    attention: tuple[str, ...] = ATTENTION,
) -> dict[str, object]:
    """Return the keys of a `Model` that a checkpoint's quantization decides.

    Parameters
    ----------
    stated
        `quantization_config`, or `quantization` of an `hf_quant_config.json`.
    layers
        How many layers the model has; anything but a whole number is reported elsewhere.
    source
        What messages call the place it stands in.
    experts
        Whether the layers have routed experts.
    dense_first
        How many first layers have none all the same.
    attention
        How the modules of attention but its output projection are called.

    Raises
    ------
    UnsupportedError
        If the format is none that is modelled.
    """
    kind = _kind(stated)
    if kind is None:
        raise UnsupportedError(
            f"{source}: {_described(stated)} is not modelled; allowed: {ALLOWED}; any other needs its bytes per weight "
            "and the units that multiply it"
        )
    departures = list(_departures(stated))
    if departures:
        raise UnsupportedError(f"{source}: {'; '.join(departures)}")
    found: dict[str, object] = {"quantization": kind}
    if _eight_bit_cache(stated):
        found["kv_cache_dtype"] = "fp8"
    block = max(_block_widths(stated), default=0)
    if block:
        found["quantized_block"] = block
    if isinstance(layers, int):
        kept = _Kept(_listed(stated), source)
        every = range(min(layers, MOST_LAYERS))
        parts = [("attention", attention, every), ("output", OUTPUT, every)]
        if experts:
            routed = every[dense_first:]
            parts += [("feed_forward", EXPERTS, routed), ("shared_expert", SHARED_EXPERTS, routed)]
            parts.append(("dense", FEED_FORWARD, every[:dense_first]))
        else:
            parts.append(("feed_forward", FEED_FORWARD, every))
        for part, modules, among in parts:
            count = sum(kept.holds(modules, layer) for layer in among)
            if count or part in ("shared_expert", "output"):
                found[f"unquantized_{part}_layers"] = count
        if found["unquantized_output_layers"] == found.get("unquantized_attention_layers", 0):
            del found["unquantized_output_layers"]
    return found


def _departures(stated: Mapping[str, Any]) -> Iterator[str]:
    """Yield what makes single modules, or the cache, other than the format says, and is not modelled."""
    groups = stated.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        targets = group.get("targets") if isinstance(group, Mapping) else None
        if isinstance(targets, list) and targets and "Linear" not in targets:
            yield f"targets {targets[:2]} alone are quantized, which is not modelled; allowed: Linear, and ignore"
    sparsity = stated.get("sparsity_config")
    if isinstance(sparsity, Mapping) and sparsity.get("format") not in (None, "dense"):
        yield f"sparsity_config of format {sparsity['format']!r} is not modelled; allowed: dense"
    for key in ("dynamic", "extra_config"):
        if isinstance(stated.get(key), Mapping) and stated[key]:
            yield f"{key} gives single modules other weights, which is not modelled; allowed: one format for all"
    if stated.get("lm_head") is True:
        yield "lm_head true: a quantized LM head is not modelled; allowed: one in 16 bits"
    for key in ("kv_cache_scheme", "kv_cache_quant_algo"):
        if stated.get(key) and not _eight_bit_cache(stated):
            yield f"{key} {stated[key]!r:.80} is not modelled; allowed: 8-bit floats (FP8)"


# More layers than any model has, so that a wrong number costs no time before it is refused.
MOST_LAYERS = 1000


def _kind(stated: Mapping[str, Any]) -> Quantization | None:
    """Return the format under the project's name, or None if it is none that is modelled."""
    method, groups = stated.get("quant_method"), stated.get("config_groups")
    if isinstance(method, str) and method in FP8_METHODS:
        return "fp8"
    if method == "mxfp4":
        return "mxfp4"
    if isinstance(method, str) and method in WEIGHT_ONLY_METHODS:
        bits = stated.get("bits", stated.get("w_bit"))
        return WEIGHT_ONLY.get(bits) if isinstance(bits, int) else None
    algorithm = stated.get("quant_algo")
    if method in (None, "modelopt") and isinstance(algorithm, str):
        found = ALGORITHMS.get(algorithm)
        return found if found != "nvfp4" or set(_block_widths(stated)) <= {NVFP4_GROUP} else None
    if method not in (None, "modelopt", "compressed-tensors") or not isinstance(groups, Mapping):
        return None
    kinds = {_group(group) for group in groups.values()}
    return kinds.pop() if len(kinds) == 1 else None


def _group(group: object) -> Quantization | None:
    if not isinstance(group, Mapping) or not isinstance(group.get("weights"), Mapping):
        return None
    weights, activations = group["weights"], group.get("input_activations")
    # Where nothing is said of activations they are taken to have the weights' floats, as most such checkpoints do.
    unsaid = weights if "input_activations" not in group and weights.get("type") == "float" else {}
    inputs = activations if isinstance(activations, Mapping) else unsaid
    words = (weights.get("num_bits"), weights.get("type"), inputs.get("num_bits"), inputs.get("type"))
    if words == (4, "float", 4, "float"):
        width = weights.get("group_size")
        return FOUR_BIT_FLOATS.get(width) if isinstance(width, int) else None
    return GROUPS.get(words) if all(isinstance(word, int | str | None) for word in words) else None


def _described(stated: Mapping[str, Any]) -> str:
    """Say what format it is, in its own words."""
    method = f"method '{stated.get('quant_method') or 'modelopt'}'" if stated else "method 'None'"
    algorithm = stated.get("quant_algo")
    return f"{method} ({algorithm})" if isinstance(algorithm, str) else method


def bytes_per_weight(kind: Quantization, group: int | None) -> float:
    """Return the bytes of one weight with its share of a scale; `group` weights have one, None: the default group."""
    return WEIGHT_BYTES[kind] + (SCALE_BYTES / (group or DEFAULT_GROUP) if kind == "int4" else 0)


def _block_widths(stated: Mapping[str, Any]) -> Iterator[int]:
    """Yield the widths of the blocks or groups of weights that have one scale; -1 is a whole channel."""
    groups = stated.get("config_groups")
    weights = (
        [group.get("weights") for group in groups.values() if isinstance(group, Mapping)]
        if isinstance(groups, Mapping)
        else []
    )
    for place in (stated, *(found for found in weights if isinstance(found, Mapping))):
        for key in ("weight_block_size", "block_structure", "group_size", "q_group_size"):
            widths = place.get(key)
            yield from (width for width in (widths if isinstance(widths, list) else [widths]) if _is_width(width))


def _is_width(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _eight_bit_cache(stated: Mapping[str, Any]) -> bool:
    """Whether the checkpoint brings scales for an 8-bit KV cache, which vLLM then uses unless told otherwise."""
    scheme = stated.get("kv_cache_scheme")
    eight_bits = isinstance(scheme, Mapping) and (scheme.get("num_bits"), scheme.get("type")) == (8, "float")
    return eight_bits or "FP8" in (scheme, stated.get("kv_cache_quant_algo"))


def _listed(stated: Mapping[str, Any]) -> Iterator[str]:
    for key in KEPT_KEYS:
        modules = stated.get(key)
        yield from (name for name in modules if isinstance(name, str)) if isinstance(modules, list) else ()


class _Kept:
    """Modules that stay in 16 bits: whole names, beginnings of names, and patterns.

    Raises
    ------
    UnsupportedError
        If a pattern for the layers' modules is of a form that cannot be read, or splits the attention of a layer.
    """

    def __init__(self, modules: Iterator[str], source: str) -> None:
        self.source = source
        self.names: set[str] = set()
        self.patterns: list[str] = []
        for module in modules:
            inner = module.replace("language_model.model.", "model.").replace("model.language_model.", "model.")
            for one in _alternatives(inner):
                joined = next((name for name in JOINED if name in one), None)
                for part in (joined,) if joined is None else JOINED[joined]:
                    self._add(one if part is None else one.replace(str(joined), part))

    def _add(self, module: str) -> None:
        pattern = module.removeprefix("re:")
        if module.startswith("re:"):
            for expression, replacement in _STARS:
                pattern = expression.sub(replacement, pattern)
            if _NOT_STARS.search(pattern) and re.search("attn|mlp|proj|expert|layers", pattern):
                raise UnsupportedError(
                    f"{self.source}: '{module}' says which modules stay in 16 bits in a form that is not read; write "
                    "it with names and .* alone"
                )
        if "*" in pattern:
            self.patterns.append(pattern)
        elif pattern.startswith("model."):
            self.names.add(pattern)
        else:
            self.patterns.append(f"*.{pattern}")

    def holds(self, modules: Sequence[str], layer: int) -> bool:
        """Say whether a part of a layer stays in 16 bits; `modules` are names it may have."""
        found = [self._covers(module.format(layer)) for module in modules]
        if modules in WHOLE and len(set(found)) > 1:
            raise UnsupportedError(
                f"{self.source}: keeps a part of the {WHOLE[modules]} of layer {layer} in 16 bits, which is not "
                "modelled; allowed: all of it or none"
            )
        return any(found)

    def _covers(self, module: str) -> bool:
        parts = module.split(".")
        if any(".".join(parts[:length]) in self.names for length in range(2, len(parts) + 1)):
            return True
        return any(fnmatchcase(module, pattern) or fnmatchcase(module, f"{pattern}.*") for pattern in self.patterns)


def _alternatives(module: str) -> list[str]:
    """Return a regular expression once for each of the words it lists, as in `(gate|up)_proj`; a name as it is."""
    found = _ONE_OF.search(module) if module.startswith("re:") else None
    if found is None:
        return [module]
    words = found[1].split("|")
    return [one for word in words for one in _alternatives(module[: found.start()] + word + module[found.end() :])]
