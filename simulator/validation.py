"""Strict reading of configuration: unknown keys refused, every problem reported at once.

`StrictModel` is the base of every validated record; `parse` turns a mapping into one and raises a
single `ConfigError` that names file, key, problem, allowed values and the nearest known key.
Numbers are never coerced from text, and NaN or infinity is never a number here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from simulator.errors import ConfigError
from simulator.input_files import parse_yaml as parse_yaml
from simulator.input_files import read_json as read_json
from simulator.input_files import read_yaml as read_yaml

# What a quantity with a unit can be: far beyond all that is known (1e18 FLOP/s, 1e-12 s), and near enough to 1 that
# products and quotients of six of them are still numbers.
LARGEST = 1e50
SMALLEST = 1e-50
# Requests, tokens, blocks or layers: a million million is more than any server has.
LARGEST_COUNT = 10**12

Finite = Annotated[float, Strict(), Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
NonNegative = Annotated[float, Strict(), Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Positive = Annotated[float, Strict(), Field(ge=SMALLEST, le=LARGEST, allow_inf_nan=False)]
Efficiency = Annotated[float, Strict(), Field(ge=SMALLEST, le=1, allow_inf_nan=False)]
Count = Annotated[int, Strict(), Field(ge=1, le=LARGEST_COUNT)]
NonNegativeInt = Annotated[int, Strict(), Field(ge=0)]

MAX_LISTED_KEYS = 20


class StrictModel(BaseModel):
    """An immutable record that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


Record = TypeVar("Record", bound=BaseModel)


def parse(record: type[Record], data: object, *, source: str) -> Record:
    """Validate `data` as `record`.

    Raises
    ------
    ConfigError
        Naming `source` and every offending key.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{source}: must be a mapping of keys to values, got {_shown(data)}")
    try:
        return record.model_validate(dict(data))
    except ValidationError as error:
        raise config_error(source, _problems(record, data, error)) from None
    except ArithmeticError as error:
        raise ConfigError(f"{source}: its numbers are out of all proportion ({error}); check units and sizes") from None


def config_error(source: str, problems: Iterable[str]) -> ConfigError:
    """Build one error that lists all `problems` found in `source`."""
    listed = list(problems)
    if len(listed) == 1:
        return ConfigError(f"{source}: {listed[0]}")
    lines = "\n".join(f"  - {problem}" for problem in listed)
    return ConfigError(f"{source}: {len(listed)} problems\n{lines}")


def suggest(word: str, known: Iterable[str]) -> str:
    """Say which known word was probably meant, and what is allowed."""
    allowed = sorted(known)
    nearest = difflib.get_close_matches(word, allowed, n=1, cutoff=0.6)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    listed = ", ".join(allowed[:MAX_LISTED_KEYS]) + (", ..." if len(allowed) > MAX_LISTED_KEYS else "")
    return f"{hint}allowed: {listed}"


def _problems(record: type[BaseModel], data: Mapping[str, Any], error: ValidationError) -> list[str]:
    """Return one line per key; where a value may be of several kinds, what each of them asks for."""
    by_key: dict[str, list[Mapping[str, Any]]] = {}
    for entry in error.errors(include_url=False):
        if not _follows(entry):
            by_key.setdefault(_key_in_file(data, entry), []).append(entry)
    lines = []
    for key, entries in by_key.items():
        # A value of one of the kinds is wrong as that kind alone, whether here or further in.
        if all(entry["type"] in _FORMS for entry in entries) and any(other.startswith(f"{key}.") for other in by_key):
            continue
        chosen = [entry for entry in entries if entry["type"] not in _FORMS] or entries
        forms = dict.fromkeys(_FORMS.get(entry["type"]) for entry in chosen)
        if len(forms) > 1 and None not in forms:
            texts = [f"Input should be {' or '.join(map(str, forms))}{_got(chosen[0])}"]
        else:
            texts = list(dict.fromkeys(_problem(record, entry) for entry in chosen))
        lines.append((f"{key}: " if key else "") + " or ".join(texts))
    return lines


def _key_in_file(data: object, entry: Mapping[str, Any]) -> str:
    """Return the keys that lead to a value in the file, without the names pydantic gives to one of several kinds."""
    keys = []
    for part in entry["loc"]:
        if (isinstance(data, Mapping) and part in data) or (
            isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
        ):
            data = data[part]
        elif entry["type"] != "missing" or part is not entry["loc"][-1]:
            continue
        keys.append(str(part))
    return ".".join(keys)


def _follows(entry: Mapping[str, Any]) -> bool:
    """Whether a list counts as too short only because its entries were refused, each with a message of its own."""
    return entry["type"] == "too_short" and len(entry["input"]) >= entry["ctx"]["min_length"]


def _problem(record: type[BaseModel], entry: Mapping[str, Any]) -> str:
    if entry["type"] == "extra_forbidden":
        known = set(_known_keys(record, entry["loc"][:-1]))
        return f"unknown key; {suggest(str(entry['loc'][-1]), known)}"
    if entry["type"] == "missing":
        return "missing; it is required"
    return _sentence(entry) + _got(entry)


def _got(entry: Mapping[str, Any]) -> str:
    """Return what was given; nothing where a rule about a whole record was broken, for that names what is wrong."""
    if entry["type"] == "value_error" and isinstance(entry["input"], Mapping):
        return ""
    return f" (got {_shown(entry['input'])})"


def _sentence(entry: Mapping[str, Any]) -> str:
    """Say what a value should be as its author would: as it is written, not as Python or pydantic call it."""
    context = entry.get("ctx", {})
    if entry["type"] == "greater_than_equal" and context["ge"] == SMALLEST:
        return f"Input should be {'greater than 0' if entry['input'] <= 0 else f'at least {SMALLEST:g}'}"
    if entry["type"] == "less_than_equal" and context["le"] == LARGEST:
        return f"Input should be at most {LARGEST:g}"
    if entry["type"] == "union_tag_invalid":
        allowed = [word.strip(" '") for word in context["expected_tags"].split(",")]
        return (
            f"unknown {context['discriminator'].strip(chr(39))} '{context['tag']}'; {suggest(context['tag'], allowed)}"
        )
    if entry["type"] == "union_tag_not_found":
        return f"missing key {context['discriminator']}, which says of what kind it is"
    wanted = _FORMS.get(entry["type"])
    return f"Input should be {wanted}" if wanted else str(entry["msg"]).removeprefix("Value error, ")


_LIST, _MAPPING = "a list, such as [1, 2]", "a mapping of keys to values"
# What pydantic names after Python's types, as it is written in YAML and JSON.
_FORMS = {
    "tuple_type": _LIST,
    "list_type": _LIST,
    "frozen_set_type": _LIST,
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "bool_type": "true or false",
    "string_type": "text (put quotes around it)",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "date_type": "a date, such as 2026-01-31",
}


def _known_keys(record: type[BaseModel], location: Iterable[object]) -> Iterator[str]:
    """Yield the keys allowed at `location`, following nested records, lists, mappings and unions."""
    candidates: list[type[BaseModel]] = [record]
    for part in location:
        following = []
        for candidate in candidates:
            field = _field(candidate, str(part))
            following += list(_records_in(field.annotation)) if field is not None else [candidate]
        candidates = _narrowed(following, str(part))
    for candidate in candidates:
        for name, field in candidate.model_fields.items():
            yield field.alias or name


def _field(record: type[BaseModel], key: str) -> Any:
    for name, field in record.model_fields.items():
        if key in (name, field.alias):
            return field
    return None


def _narrowed(candidates: list[type[BaseModel]], tag: str) -> list[type[BaseModel]]:
    """Keep the members of a discriminated union whose tag is `tag`, if there are any."""
    tagged = [c for c in candidates if any(tag in _literals(f.annotation) for f in c.model_fields.values())]
    return tagged or candidates


def _literals(annotation: Any) -> tuple[object, ...]:
    return tuple(arg for arg in getattr(annotation, "__args__", ()) if isinstance(arg, str))


def _records_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _records_in(argument)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
