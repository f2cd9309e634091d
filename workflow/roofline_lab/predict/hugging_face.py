"""A stranger's `config.json` as downloaded: what `configs/models` has beyond it, and what nobody knows.

Contract: pure. `simulator.huggingface` decides what a configuration means; here it gets the id and the
sampling defaults it lacks. Keys that are unknown are left out and named, so that a page can say so and one
harmless key does not cost an experiment. A file in the project's own form (it has a `source`) is passed on
as it is: there an unknown key is a mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.huggingface import TRANSLATED_KEYS, shape_of
from simulator.model import Model

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
