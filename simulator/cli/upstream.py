"""What the upstream simulator's records mean, in this project's terms.

Contract: a record's known keys are validated, its other keys are left alone, except one that looks like
a misspelt known key, which is refused. Upstream takes a head's size from `hidden_size / heads` even
where the model's configuration says otherwise, and so do models found here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, Strict

from simulator.cli.catalog import find_model, model_ids
from simulator.errors import ConfigError, UnsupportedError
from simulator.model import Model
from simulator.validation import StrictModel, parse, suggest

MISSPELLING_SIMILARITY = 0.8

# Ranges wide enough for any GPU and any batch, narrow enough that no product leaves the floating-point
# numbers.
MAX_TOKENS = 10**12
Tokens = Annotated[int, Strict(), Field(ge=0, le=MAX_TOKENS)]
Rate = Annotated[float, Strict(), Field(ge=1e-6, le=1e9, allow_inf_nan=False)]
OverheadUs = Annotated[float, Strict(), Field(ge=0, le=1e12, allow_inf_nan=False)]
TensorParallel = Annotated[int, Strict(), Field(ge=1, le=10**6)]
# Share of the peak; 0 is upstream's way to say that none applies.
BandwidthShare = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]

SMALLEST_BANDWIDTH_SHARE = 1e-6

Record = TypeVar("Record", bound=BaseModel)


class ModelName(StrictModel):
    """Part of a record that names a model by id."""

    model: Annotated[str, Field(min_length=1, max_length=200)]


def known_part(record: type[Record], data: Mapping[str, Any], *, source: str) -> Record:
    """Validate the keys of `data` that `record` has.

    Raises
    ------
    ConfigError
        Naming `source` and every wrong, missing or misspelt key.
    """
    known = record.model_fields.keys()
    for key in data:
        if key not in known and _misspelt(key, known):
            raise ConfigError(f"{source}: {key}: unknown key; {suggest(key, known)}")
    return parse(record, {key: value for key, value in data.items() if key in known}, source=source)


def _misspelt(key: str, known: Any) -> bool:
    near = difflib.get_close_matches(key.lower(), [name.lower() for name in known], n=1, cutoff=MISSPELLING_SIMILARITY)
    return bool(near) and len(key) > 2


def upstream_bandwidth_efficiency(share: float, *, source: str) -> float | None:
    """Return the option that a recorded bandwidth share stands for.

    Raises
    ------
    ConfigError
        If it is neither 0 nor a share worth computing with.
    """
    if 0 < share < SMALLEST_BANDWIDTH_SHARE:
        raise ConfigError(f"{source}: bandwidth efficiency must be 0 (none) or at least 1e-06, got {share:g}")
    return share or None


@lru_cache(maxsize=256)
def upstream_model(name: str, configs: Path, source: str = "model") -> Model:
    """Return a model as upstream sees it; `organisation/Name` finds the id `name`.

    Raises
    ------
    ConfigError
        If there is no such model.
    UnsupportedError
        If upstream's formulas do not describe it.
    """
    ids = model_ids(configs)
    chosen = next((text for text in (name, name.lower().rsplit("/", 1)[-1]) if text in ids), None)
    if chosen is None:
        raise ConfigError(f"{source}: unknown id '{name}'; {suggest(name, ids)}")
    model = find_model(chosen, configs)
    if model.num_local_experts or model.quantization is not None:
        raise UnsupportedError(f"{source}: '{chosen}' has experts or quantized weights, which upstream does not price")
    ignored = ("head_dim",) if model.query_width != model.hidden_size else ()
    return model.model_copy(update={"head_dim": None, "left_out": (*model.left_out, *ignored)})
