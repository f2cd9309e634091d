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

Finite = Annotated[float, Strict(), Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Efficiency = Annotated[float, Strict(), Field(gt=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Strict(), Field(ge=1)]
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
        problems = [_problem(record, entry) for entry in error.errors(include_url=False)]
        raise config_error(source, problems) from None


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


def _problem(record: type[BaseModel], entry: Mapping[str, Any]) -> str:
    location = [str(part) for part in entry["loc"]]
    key = ".".join(location)
    if entry["type"] == "extra_forbidden":
        known = set(_known_keys(record, entry["loc"][:-1]))
        return f"{key}: unknown key; {suggest(location[-1], known)}"
    if entry["type"] == "missing":
        return f"{key}: missing; it is required"
    message = entry["msg"].removeprefix("Value error, ")
    where = f"{key}: " if key else ""
    return f"{where}{message} (got {_shown(entry['input'])})"


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
