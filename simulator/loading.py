"""A model as a server loads it on a GPU, which is not always as its files store it.

Contract: `as_loaded` returns the model that is priced, and one sentence for every way in which it departs from its
files. Every command that serves a model on a GPU asks here, so that all price the same one.
"""

from __future__ import annotations

from simulator.hardware import Hardware
from simulator.huggingface import DEFAULT_TYPE
from simulator.model import Model


def as_loaded(model: Model, hardware: Hardware) -> tuple[Model, tuple[str, ...]]:
    """Return the model as a server loads it, and what to say of that.

    FP8 weights on a GPU without FP8 units are read as they are and multiplied in 16 bits (vLLM's Marlin kernels);
    32-bit floats are loaded in 16 bits (vLLM's `dtype: auto`).
    """
    changes: dict[str, object] = {}
    notes = []
    if model.quantization == "fp8" and hardware.peak_fp8_flops is None:
        changes["quantization"] = "w8a16"
        notes.append(
            f"{model.id}: {hardware.id} has no FP8 units; FP8 weights are read as they are and multiplied in 16 bits"
        )
    if model.torch_dtype == "float32":
        changes["torch_dtype"] = DEFAULT_TYPE
        notes.append(f"{model.id}: its float32 is loaded in 16 bits, as servers do unless told otherwise")
    return (model.model_copy(update=changes) if changes else model), tuple(notes)
