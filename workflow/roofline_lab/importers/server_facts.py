"""Facts that people state about a measured server: their names, their values, and that no two of them contradict.

Contract: a `Fact` has one of our names (the keys of `server.known` in `experiment.yaml`, and model, hardware,
tensor_parallel and date), a checked value, and the words it was found in. Whatever it was called is translated once,
here: `fact` knows vLLM's names as options write them and as logs do. A value of 0, False, off or none is a value. What
has no name here, or is no setting of the simulated server, is named to the user and never dropped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from roofline_lab.importers.common import LARGEST
from simulator.errors import ConfigError
from simulator.validation import config_error, suggest

# Other names of a setting, by ours; options are compared in lower case, with underscores and without `enable_`.
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "prefix_caching": (
        *("prefix_cache", "automatic_prefix_caching", "prefix_caching_enabled", "use_prefix_caching", "apc"),
        "radix_cache",
    ),
    "chunked_prefill": ("chunked_prefill_enabled",),
    "schedule_ahead": ("async_scheduling", "asynchronous_scheduling", "overlap_schedule"),
    "token_budget": ("max_num_batched_tokens", "max_batched_tokens", "chunked_prefill_size"),
    "max_running": ("max_num_seqs", "max_num_sequences", "max_running_requests"),
    "max_model_len_tokens": ("max_model_len", "max_seq_len", "max_model_length", "context_length"),
    "block_tokens": ("block_size", "page_size"),
    "kv_blocks": ("num_gpu_blocks", "gpu_blocks", "total_kv_blocks", "num_gpu_blocks_override"),
    "kv_cache_tokens": ("num_kv_tokens", "gpu_kv_cache_size", "gpu_kv_cache_tokens", "max_total_num_tokens"),
    "cpu_kv_blocks": ("num_cpu_blocks", "cpu_blocks"),
    "gpu_memory_utilization": ("mem_fraction_static", "gpu_mem_util"),
    "kv_cache_dtype": ("kv_dtype", "cache_dtype"),
    "client_offset_ms": (),
    "expert_parallel": ("expert_parallelism", "ep_enabled"),
    "attention_data_parallel": ("data_parallel_size", "attention_dp"),
    "software": ("vllm_version", "serving_software", "image"),
    "tensor_parallel": ("tensor_parallel_size", "tensor_parallelism", "tp", "tp_size"),
    "hardware": ("gpu", "gpu_type", "gpu_name", "accelerator", "device_name"),
    "model": ("model_id", "model_path", "model_name", "model_tag", "hf_model"),
    "date": ("measured_on", "day"),
}
_NAMES = {spelling: name for name, spellings in SPELLINGS.items() for spelling in (name, *spellings)}

FLAGS = ("prefix_caching", "chunked_prefill", "schedule_ahead", "expert_parallel")
COUNTS = ("token_budget", "max_running", "max_model_len_tokens", "block_tokens", "kv_blocks", "tensor_parallel")
# Groups of GPUs; one is what every server has, and states nothing.
GROUPS = "attention_data_parallel"
COUNTS_FROM_ZERO = ("cpu_kv_blocks", "kv_cache_tokens")
# Facts that are no server setting, but keys of the experiment.
OF_THE_EXPERIMENT = ("model", "hardware", "tensor_parallel", "date")
# Names that a server gives to what other files call otherwise; they never contradict each other.
LOOSE = ("model", "hardware")

# What a server can be told that the simulation does not follow, and the values that say "not in use".
NOT_SIMULATED: Mapping[str, tuple[object, ...]] = {
    "pipeline_parallel_size": (1,),
    "dp_size": (0, 1),
    "pp_size": (0, 1),
    "dp": (0, 1),
    "pp": (0, 1),
    "speculative_config": (),
    "speculative_model": (),
    "speculative_algorithm": (),
    "speculative_decoding": (False,),
    "disaggregation_mode": (),
    "num_speculative_tokens": (0,),
    "num_scheduler_steps": (1,),
    "quantization": (),
    "enforce_eager": (False,),
    "cpu_offload_gb": (0,),
    "kv_transfer_config": (),
    "kv_offloading_size": (0,),
    "lora": (False,),
    "scheduling_policy": ("fcfs",),
    "replicas": (1,),
}

# Tokens per KV block where nobody states it: vLLM's default on NVIDIA GPUs (`block_size`).
BLOCK_TOKENS = 16

_YES, _NO = ("true", "on", "yes", "1", "enabled"), ("false", "off", "no", "0", "none", "disabled")
# A whole number as vLLM's options take it: 8192, 8,192, 8k or 25.6k (thousands), or 8K (of 1024).
_WHOLE = re.compile(r"(\d{1,3}(?:[,_]\d{3})+|\d{1,12})(?:\.0)?([kKmM]?)")
_THOUSANDS = re.compile(r"(\d{1,9}\.\d{1,6})([km])")
_FACTORS = {"": 1, "k": 1000, "K": 1024, "m": 10**6, "M": 2**20}
_VERSION = re.compile(r"v?(\d+\.\d+[\w.+-]*)")
_VLLM_TAG = re.compile(r"vllm[\w-]*[\s/=:@-]*v?(\d+\.\d+[\w.]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement about the server.

    Attributes
    ----------
    name
        One of ours.
    source
        File and words, or option, for messages.
    loose
        Only used where nothing else says it: what a server calls its model or GPU is often another name for it.
    """

    name: str
    value: Any
    source: str
    loose: bool = False


@dataclass(frozen=True, slots=True)
class Stated:
    """What one or more sources state.

    Attributes
    ----------
    unused
        What they say besides, by source: names that mean nothing to an experiment.
    not_simulated
        Settings that the simulation does not follow, with their sources.
    """

    facts: tuple[Fact, ...] = ()
    unused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    not_simulated: tuple[str, ...] = ()

    def with_(self, other: Stated) -> Stated:
        """Return both together."""
        return Stated(
            (*self.facts, *other.facts),
            {**self.unused, **other.unused},
            tuple(dict.fromkeys((*self.not_simulated, *other.not_simulated))),
        )


def name_of(key: str) -> tuple[str | None, bool]:
    """Return our name for a key as anybody spells it, or None, and whether the key negates it."""
    plain = key.strip().lstrip("-").lower().replace("-", "_").replace(" ", "_")
    for prefix, negated in (("", False), ("no_", True), ("disable_", True)):
        word = plain.removeprefix(prefix).removeprefix("enable_") if plain.startswith(prefix) else ""
        found = _NAMES.get(word)
        if found is not None and (not negated or found in FLAGS):
            return found, negated
    return None, False


def is_known(key: str) -> bool:
    """Say whether a key means something here, followed by the simulation or not."""
    return name_of(key)[0] is not None or _unsimulated_name(key) is not None


def stated_by(source: str, content: Mapping[str, Any], *, strict: bool = False, loose: bool = False) -> Stated:
    """Translate what a source says, key by key; a key without a value says nothing.

    Parameters
    ----------
    source
        What messages call it.
    strict
        Refuse unknown keys: the source is written for us.
    loose
        Model and GPU are what the server calls them.

    Raises
    ------
    ConfigError
        Naming every value that cannot be, and with `strict` every unknown key.
    """
    facts: list[Fact] = []
    unused, problems = [], []
    for key, value in content.items():
        if value is None:
            continue
        try:
            fact = _fact(source, key, value, loose=loose)
        except ValueError as error:
            problems.append(f"{key}: {error}")
            continue
        if fact is not None:
            facts.append(fact)
        elif not is_known(key):
            unused.append(key)
    if strict:
        problems += [f"{key}: unknown; {suggest(key, SPELLINGS)}" for key in unused]
    if problems:
        raise config_error(source, problems)
    beyond = (f"{key} {_short(value)} ({source})" for key, value in content.items() if _is_beyond(key, value, facts))
    return Stated(tuple(facts), {source: tuple(unused)} if unused else {}, tuple(beyond))


def _fact(source: str, key: str, value: object, *, loose: bool) -> Fact | None:
    name, negated = name_of(key)
    found = None if name is None else value_of(name, value)
    if name is None or found is None:
        return None
    said = f"{source}: {key}={_short(value)}"
    return Fact(name, not found if negated else found, said, loose=loose and name in LOOSE)


def _is_beyond(key: str, value: object, facts: Iterable[Fact]) -> bool:
    """Whether a source says of a server what the simulation does not follow."""
    if value is None:
        return False
    if name_of(key)[0] == "chunked_prefill":
        return any(fact.name == "chunked_prefill" and not fact.value for fact in facts)
    other = _unsimulated_name(key)
    return other is not None and not _is_unused(value, NOT_SIMULATED[other])


def _is_unused(value: object, neutral: tuple[object, ...]) -> bool:
    return str(value).strip().lower() in {"", "none", "null", *(str(entry).lower() for entry in neutral)}


def _unsimulated_name(key: str) -> str | None:
    plain = key.strip().lstrip("-").lower().replace("-", "_").removeprefix("enable_")
    return plain if plain in NOT_SIMULATED else None


# --- values -----------------------------------------------------------------------------------


def value_of(name: str, value: object) -> Any:
    """Return a stated value as the experiment writes it; None where it leaves the setting to the server.

    Raises
    ------
    ValueError
        Saying what is allowed.
    """
    if name in FLAGS:
        return _flag(value)
    if name in COUNTS:
        return _count(value, 1)
    if name in COUNTS_FROM_ZERO:
        return _count(value, 0)
    if name == GROUPS:
        groups = _count(value, 0)
        return groups if groups and groups > 1 else None
    if name == "gpu_memory_utilization":
        return _number(value, above=0.0, highest=1.0)
    if name == "client_offset_ms":
        return _number(value, lowest=0.0)
    if name == "date":
        return _day(value)
    return _software(value) if name == "software" else _text(value)


def _flag(value: object) -> bool:
    word = str(value).strip().lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise ValueError(f"must be on or off, true or false, got {_short(value)}")


def _count(value: object, lowest: int) -> int | None:
    text = str(value).strip()
    if text.lower() in ("auto", "-1"):
        return None
    if thousands := _THOUSANDS.fullmatch(text):
        text = f"{float(thousands[1]) * _FACTORS[thousands[2]]:.12g}"
    match = None if isinstance(value, bool) else _WHOLE.fullmatch(text)
    number = int(re.sub("[,_]", "", match[1])) * _FACTORS[match[2]] if match else -1
    if not lowest <= number <= LARGEST:
        advice = "; leave it out if it is not known" if number == 0 or text.lower() in _NO else ""
        raise ValueError(f"must be a whole number of at least {lowest}, got {_short(value)}{advice}")
    return number


def _number(
    value: object, *, lowest: float = 0.0, above: float | None = None, highest: float = float(LARGEST)
) -> float:
    allowed = f"must be a number {'above 0' if above is not None else f'of at least {lowest:g}'}"
    allowed += f" and at most {highest:g}" if highest < LARGEST else ""
    try:
        number = float("nan") if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = float("nan")
    if not lowest <= number <= highest or (above is not None and number <= above):
        raise ValueError(f"{allowed}, got {_short(value)}")
    return number


def _day(value: object) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    text = str(value).strip()
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise ValueError(f"must be a day such as 2025-11-05, got {_short(value)}") from None


def _text(value: object) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str | int | float) or isinstance(value, bool) or not str(value).strip():
        raise ValueError(f"must be text, got {_short(value)}")
    return str(value).strip()


def _software(value: object) -> str:
    """Return the software with its version; a bare version is one of vLLM, as is the tag of its image."""
    if isinstance(value, float) and len(str(value).rpartition(".")[2]) < 2:
        raise ValueError(f'{value:g} may have been 0.10 or 0.1; write it in quotes, such as "0.10.0"')
    text = _text(value)
    if version := _VERSION.fullmatch(text):
        return f"vLLM {version[1]}"
    if "/" in text and (tag := _VLLM_TAG.search(text)):
        return f"vLLM {tag[1]}"
    return text


def _short(value: object) -> str:
    text = str(value)
    return repr(text) if not text or text != text.strip() else text if len(text) <= 60 else f"{text[:57]}..."


# --- together ---------------------------------------------------------------------------------


def agreed(facts: Iterable[Fact]) -> dict[str, Fact]:
    """Return one fact per name; the number of KV tokens becomes blocks.

    Raises
    ------
    ConfigError
        Naming both sources of every contradiction.
    """
    found: dict[str, Fact] = {}
    problems = []
    for fact in sorted(facts, key=lambda fact: fact.loose):
        first = found.get(fact.name)
        if first is None:
            found[fact.name] = fact
        elif fact.loose:
            continue
        elif not same(fact.name, first.value, fact.value):
            problems.append(_contradiction(fact.name, first, fact))
        elif fact.name == "software" and len(str(fact.value)) > len(str(first.value)):
            found[fact.name] = fact
    problems += _blocks(found)
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def _contradiction(name: str, first: Fact, second: Fact) -> str:
    return (
        f"{name}: {first.source} and {second.source} contradict each other; keep what was true of the run, and correct "
        "or move away the other"
    )


def _blocks(found: dict[str, Fact]) -> Iterator[str]:
    """Turn KV tokens into blocks, or say that they contradict the blocks that are stated."""
    tokens = found.pop("kv_cache_tokens", None)
    if tokens is None:
        return
    stated = found.get("kv_blocks")
    size = found["block_tokens"].value if "block_tokens" in found else BLOCK_TOKENS
    if stated is None:
        found["kv_blocks"] = Fact("kv_blocks", tokens.value // size, f"{tokens.source}, blocks of {size}")
    elif "block_tokens" not in found and tokens.value % stated.value == 0 and tokens.value:
        if tokens.value // stated.value != BLOCK_TOKENS:
            found["block_tokens"] = Fact("block_tokens", tokens.value // stated.value, tokens.source)
    elif abs(tokens.value - stated.value * size) >= size:
        yield _contradiction("kv_blocks", stated, tokens)


def same(name: str, one: Any, other: Any) -> bool:
    """Say whether two values state the same; a version may be given shorter than it is."""
    if name == "software":
        versions = [_VLLM_TAG.search(str(value)) for value in (one, other)]
        if versions[0] and versions[1]:
            short, long = sorted((versions[0][1].split("."), versions[1][1].split(".")), key=len)
            return long[: len(short)] == short
    if name in (*LOOSE, "software"):
        return str(one).lower() == str(other).lower()
    return bool(one == other)
