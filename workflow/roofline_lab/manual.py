"""`python -m roofline_lab.manual`: the pages of the documentation that are made from the code.

Contract: options, their units, ranges, defaults and effects are read off the records that validate them, flags off the
parsers, so that no page says anything else than the code does. Texts stand around them here and nowhere twice.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from roofline_lab.cli.main import parser as laboratory
from roofline_lab.files import write_text
from roofline_lab.json_schemas import FOLDER, RECORDS, SUFFIX
from simulator.cli.main import parser as simulator
from simulator.cli.run_spec import RunSpec
from simulator.cli.server import ServerOptions
from simulator.hardware import load_hardware, with_sustained
from simulator.model_files import load_model
from simulator.request_times import MetricOptions
from simulator.steptime.calibration import load_calibration
from simulator.steptime.named import roofline
from simulator.steptime.options import FAMILIES
from simulator.steptime.v1_parameters import DOCUMENTED_RANGES, NO_EFFECT, V1Parameters
from simulator.validation import LARGEST, LARGEST_COUNT, SMALLEST
from simulator.workload.build import WorkloadSpec

DOCS = Path("docs")
GENERATED = "<!-- Made by `python -m roofline_lab.manual`; edit the code it reads, not this page. -->"
# A name's ending -> the unit it states; the first that fits counts.
UNITS: Mapping[str, str] = {
    "_us_per_token": "us per token",
    "_us_per_prompt_token": "us per token",
    "_us_per_kilotoken": "us per 1000 entries",
    "_us_per_kilotoken_request": "us per 1000 entries",
    "_per_s": "1/s",
    "_micros": "us",
    "_us": "us",
    "_ms": "ms",
    "_s": "s",
    "_tokens": "tokens",
    "_tbs": "TB/s",
    "_tflops": "TFLOPS",
    "_gbs": "GB/s",
    "_gib": "GiB",
    "_mb": "MB",
    "_pp": "pp",
    "_pct": "%",
    "_efficiency": "share of the peak",
    "_fraction": "share",
}
# What names that come from elsewhere state.
OTHER_UNITS = {
    "tflops_peak": "TFLOPS",
    "all_reduce_latency": "us",
    "per_layer_overhead": "us",
    "token_budget": "tokens",
    "bw_eff_constant": "share of the peak",
    "kv_bucket_edges": "tokens",
    "us": "us",
    "tokens": "tokens",
}
NAMES_OF_KIND = ("kind", "family")
# Keys of a run whose records have sections of their own.
SECTIONS: Mapping[str, type[BaseModel]] = {"engine": ServerOptions, "workload": WorkloadSpec, "metrics": MetricOptions}
# What the columns of `roofline` are shown for: a dense model, so that nothing of experts is in them.
SHOWN_MODEL, SHOWN_GPU, SHOWN_CALIBRATION = "llama-2-7b-hf", "h100-sxm", "h100_vllm"
GUIDE_GPUS = {"H100": "h100-sxm", "A100": "a100-sxm"}

Cell = Callable[[str, FieldInfo], str]


def pages(root: Path) -> dict[str, str]:
    """Return every page that is made of code, by its name in `docs/`.

    Raises
    ------
    ConfigError
        If a GPU or calibration that a table shows cannot be read.
    """
    return {"options.md": options_page(root), "files.md": files_page(), "commands.md": commands_page()}


# --- options of the simulator -------------------------------------------------------------------------


def options_page(root: Path) -> str:
    """Return the reference of everything a simulation can be told."""
    return _page(
        "Options of a simulation",
        "Every key of the YAML file of `python -m simulator run --config FILE`, of which `--set KEY=VALUE` sets "
        "one ([simulator.md](simulator.md#as-a-file)). Those of step time and engine are also what `base`, `arms` "
        "and `engine` of a hypothesis are made of, and a file for `roofline-lab evaluate --steptime`. What names "
        "of step-time models mean: [step-time.md](step-time.md).",
        "*required*: there is no default. *absent*: nothing is said, and the effect tells what holds then.",
        "## The run",
        *_record(RunSpec, own_sections=("steptime", *SECTIONS)),
        *(part for key, record in SECTIONS.items() for part in (f"## Keys of `{key}`", *_record(record))),
        *_step_time(root),
    )


def _step_time(root: Path) -> Iterator[str]:
    gpu = _gpu(root, SHOWN_GPU)
    named = roofline(load_model(root / "configs" / "models" / f"{SHOWN_MODEL}.json"), gpu)
    yield "## Step time: `family: mfu_roofline`"
    yield (
        f"*roofline* is what `--steptime roofline` sets, here for {SHOWN_MODEL} on {SHOWN_GPU}; where nothing "
        "stands the default holds. Arms of hypotheses start from the default."
    )
    yield from _record(
        FAMILIES["mfu_roofline"], {"roofline": lambda name, _: _code(named[name]) if name in named else ""}
    )
    yield "## Step time: `family: calibrated_physics`"
    yield (
        f"*{SHOWN_CALIBRATION}* is that calibration's value for vLLM on H100 ([calibration.md](calibration.md)); the "
        "defaults are the data sheet alone, `--steptime data_sheet`."
    )
    fitted = load_calibration(root / "configs" / "calibration" / f"{SHOWN_CALIBRATION}.yaml")
    constants = fitted.step_time(schedule_ahead=False).model_dump(mode="json", exclude_unset=True)
    yield from _record(
        FAMILIES["calibrated_physics"],
        {SHOWN_CALIBRATION: lambda name, _: f"{constants[name]:.3g}" if _is_number(constants.get(name)) else ""},
    )
    yield "## Step time: `family: calibrated_roofline` (V1)"
    yield from _guide(root)
    yield "## Step time: `family: linear`"
    yield from _record(FAMILIES["linear"])


def _guide(root: Path) -> Iterator[str]:
    yield (
        "The hand-calibrated roofline. `--steptime v1` takes `variant: v1_guide` with the parameters of the GPU's "
        "file (`configs/hardware/sustained/`), which the columns H100 and A100 show. They are those of the "
        "upstream programme's calibration guide, under its names. A value outside the guide's range is a warning; "
        "*idle in* names variants in which a parameter does nothing."
    )
    yield from _record(FAMILIES["calibrated_roofline"], own_sections=("parameters",))
    yield "### The seventeen parameters"
    stated = {title: _gpu(root, gpu).sustained.v1 or {} for title, gpu in GUIDE_GPUS.items()}
    columns: dict[str, Cell] = {
        "guide's range": lambda _, field: _span(DOCUMENTED_RANGES.get(str(field.alias))),
        **{title: lambda _, field, of=values: f"{of[str(field.alias)]:g}" for title, values in stated.items()},
        "idle in": lambda _, field: ", ".join(f"`{name}`" for name, idle in NO_EFFECT.items() if field.alias in idle),
    }
    yield from _record(V1Parameters, columns)


def _gpu(root: Path, name: str) -> Any:
    path = root / "configs" / "hardware" / f"{name}.yaml"
    return with_sustained(load_hardware(path), path)


def _span(limits: tuple[float, float] | None) -> str:
    return f"{limits[0]:g} to {limits[1]:g}" if limits else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- files that people write --------------------------------------------------------------------------


def files_page() -> str:
    """Return the keys of every YAML file that has a schema."""
    parts = [
        "Every key of the files below, as the records read them that refuse everything else; editors know the "
        f"same from `{FOLDER.as_posix()}/`. Measurements have a page of their own "
        "([ground-truth.md](ground-truth.md)), and so have the options of a step time ([options.md](options.md)). "
        "Where a name says all, nothing stands beside it.",
    ]
    for name, (record, where) in RECORDS.items():
        parts += [f"## `{where}`: {name.replace('_', ' ')}", f"Schema: `{(FOLDER / (name + SUFFIX)).as_posix()}`."]
        parts += _record(record)
    return _page("Files that people write", *parts)


# --- command lines ------------------------------------------------------------------------------------


def commands_page() -> str:
    """Return the help of every command of both command lines."""
    parts = ["What `--help` says, of every command. Exit codes: [running.md](running.md#exit-codes)."]
    for title, top in (("roofline-lab", laboratory()), ("python -m simulator", simulator())):
        parts.append(f"## `{title}`")
        for name, command in _commands(top):
            parts += [f"### `{title} {name}`", _help(command)]
    return _page("Commands", *parts)


def _commands(top: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _help(command: argparse.ArgumentParser) -> str:
    """Return a description, and a table of arguments; how wide a terminal is plays no part."""
    rows = [
        (_words(action), _one_line(_filled(action)))
        for action in command._actions
        if not isinstance(action, argparse._HelpAction)
    ]
    examples = f"\n\n```text\n{(command.epilog or '').strip()}\n```" if command.epilog else ""
    return f"{_one_line(command.description or '')}\n\n{_table(('argument', 'meaning'), rows)}{examples}"


def _words(action: argparse.Action) -> str:
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    shown = value if isinstance(value, str) else " ".join(value)
    if not action.option_strings:
        return f"`{shown}`"
    takes = "" if action.nargs == 0 else f" {shown}"
    return ", ".join(f"`{flag}{takes}`" for flag in action.option_strings)


def _filled(action: argparse.Action) -> str:
    return (action.help or "") % {**vars(action), "prog": ""} if action.help else ""


# --- records ------------------------------------------------------------------------------------------


def _record(
    record: type[BaseModel], columns: Mapping[str, Cell] | None = None, own_sections: Sequence[str] = ()
) -> list[str]:
    """Return a table of a record's keys, and one for each key, at any depth, whose value has keys of its own."""
    more = columns or {}
    rows = [
        (
            f"`{key.name}`",
            key.values,
            key.default,
            *(cell(key.attribute, key.field) for cell in more.values()),
            key.told,
        )
        for key in _keys(record)
    ]
    below: dict[tuple[type[BaseModel], ...], list[str]] = {}
    _gather(record, "", below, own_sections)
    tables = [part for forms, names in below.items() for part in (", ".join(names) + ":", _forms(forms))]
    return [_table(("key", "values", "default", *more, "effect"), rows), *tables]


@dataclass(frozen=True, slots=True)
class _Key:
    """One key of a record, and what is said of it."""

    name: str
    attribute: str
    field: FieldInfo
    values: str
    default: str
    told: str


def _keys(record: type[BaseModel]) -> Iterator[_Key]:
    schema, told = record.model_json_schema(), meanings(record)
    for attribute, field in record.model_fields.items():
        if attribute not in NAMES_OF_KIND:
            name = field.alias or attribute
            values = _values(attribute, schema["properties"][name], schema.get("$defs", {}))
            yield _Key(name, attribute, field, values, _default(field), told.get(attribute, ""))


def _gather(
    record: type[BaseModel], path: str, below: dict[tuple[type[BaseModel], ...], list[str]], skipped: Sequence[str] = ()
) -> None:
    """Note which keys have values with keys of their own; a form that was met before is not entered again."""
    for key in _keys(record):
        forms = tuple(_records_in(key.field))
        if key.attribute in skipped or not forms:
            continue
        name = f"{path}{key.name}"
        met = forms in below
        below.setdefault(forms, []).append(f"`{name}`")
        if not met:
            for form in forms:
                _gather(form, f"{name}.", below)


def meanings(record: type[BaseModel]) -> dict[str, str]:
    """Return what the docstrings of a record and its bases say of each attribute."""
    found: dict[str, str] = {}
    for each in reversed([base for base in record.__mro__ if issubclass(base, BaseModel) and base is not BaseModel]):
        found |= _attributes(inspect.cleandoc(each.__doc__ or ""))
    return found


def _attributes(text: str) -> dict[str, str]:
    section = re.search(r"^Attributes\n-+\n(.*?)(?=^\w[\w ]*\n-+$|\Z)", text, re.MULTILINE | re.DOTALL)
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section[1].splitlines() if section else ():
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.split(",")]
        elif line.strip():
            found |= {name: f"{found.get(name, '')} {line.strip()}".strip() for name in names}
    return {name: re.sub(r"\bNone\b", "absent", told) for name, told in found.items()}


def _summary(record: type[BaseModel]) -> str:
    """Return what a docstring says before its sections."""
    text = inspect.cleandoc(record.__doc__ or "") if "__doc__" in vars(record) else ""
    return _one_line(re.split(r"^\w[\w ]*\n-+$", text, maxsplit=1, flags=re.MULTILINE)[0])


def _forms(records: Sequence[type[BaseModel]]) -> str:
    """Return a row for each form a key's value may have."""
    rows = []
    for record in records:
        keys = [
            f"`{key.name}` ({key.values}; {key.default})" + (f": {key.told}" if key.told else "")
            for key in _keys(record)
        ]
        rows.append((_kind_of(record), _summary(record), "; ".join(key.rstrip(".") for key in keys)))
    return _table(("form", "meaning", "keys"), rows)


def _kind_of(record: type[BaseModel]) -> str:
    for name in NAMES_OF_KIND:
        if name in record.model_fields:
            words = get_args(record.model_fields[name].annotation)
            return f"`{name}: {words[0]}`" if words else f"`{name}`"
    return "a mapping"


def _records_in(field: FieldInfo) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []

    def look(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in found:
            found.append(annotation)
        for each in get_args(annotation):
            look(each)

    look(field.annotation)
    return found


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        kinds = {name: getattr(value, name) for name in NAMES_OF_KIND if name in type(value).model_fields}
        said = kinds | value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return _code(said) if said else "its keys' defaults"
    return "absent" if value is None else _code(value)


def _code(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, str):
        return f"`{value}`"
    plain = json.loads(json.dumps(value, default=str))
    return f"`{yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10_000).strip()}`"


def _values(name: str, node: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Return unit and allowed values of a key, as its schema has them."""
    unit = OTHER_UNITS.get(name) or next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
    allowed = _allowed(node, defs)
    return ", ".join(part for part in (unit, allowed) if part)


def _allowed(node: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in node:
        target = defs.get(str(node["$ref"]).rpartition("/")[2], {})
        return _allowed(target, defs)
    if "allOf" in node:
        return _allowed(node["allOf"][0], defs)
    for several in ("anyOf", "oneOf"):
        if several in node:
            if "discriminator" in node:
                return "a mapping, see below"
            forms = [_allowed(each, defs) for each in node[several] if each.get("type") != "null"]
            return " or ".join(dict.fromkeys(forms))
    if "enum" in node:
        return ", ".join(f"`{word}`" for word in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    return _typed(node, defs)


def _typed(node: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    match node.get("type"):
        case "boolean":
            return "true, false"
        case "number" | "integer" as kind:
            return _bounded(node, "whole " if kind == "integer" else "")
        case "string":
            return "text"
        case "array":
            items = node.get("items") or {"type": "any"}
            return f"list of: {_allowed(items, defs)}"
        case "object":
            inner = node.get("additionalProperties")
            if "properties" in node:
                return "a mapping, see below"
            return f"mapping to: {_allowed(inner, defs)}" if isinstance(inner, Mapping) and inner else "a mapping"
    return "anything"


def _bounded(node: Mapping[str, Any], whole: str) -> str:
    low, high = node.get("minimum", node.get("exclusiveMinimum")), node.get("maximum", node.get("exclusiveMaximum"))
    above = low == SMALLEST or "exclusiveMinimum" in node
    open_above = high is None or high in (LARGEST, LARGEST_COUNT)
    lowest = "0" if low == SMALLEST else "" if low in (None, -LARGEST) else f"{low:,g}"
    if not lowest:
        return f"{whole}number" if open_above else f"{whole}number up to {_number(high)}"
    if open_above:
        return f"{whole}above {lowest}" if above else f"{whole}{lowest} and more"
    return f"{whole}{'above ' if above else ''}{lowest} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


# --- markdown -----------------------------------------------------------------------------------------


def _page(title: str, *parts: str) -> str:
    return "\n\n".join((GENERATED, f"# {title}", *parts)) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def write_pages(root: Path) -> None:
    """Write every page that is made of code."""
    for name, text in pages(root).items():
        write_text(root / DOCS / name, text)


if __name__ == "__main__":
    write_pages(Path())
