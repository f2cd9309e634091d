"""The text of an `experiment.yaml`: what a reader found, under the names of the project.

Contract: `content_of` returns the mapping the format asks for; `yaml_text` writes it with one line
per figure, the same bytes for the same mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from roofline_lab.ground_truth.requests import REQUESTS_FILE
from roofline_lab.importers.imported import Imported
from roofline_lab.importers.naming import Names, Resolved

SCHEMA_LINE = "# yaml-language-server: $schema=../experiment.schema.json\n"
OWN_LICENCE = "Figures formed from the importer's own files; on what terms they may be used was not stated."

LINE_CHARACTERS = 110


def content_of(found: Imported, name: str, names: Names, resolved: Resolved) -> dict[str, Any]:
    """Return the content of the file of experiment `name`."""
    flags = [flag.model_dump(mode="json", exclude_defaults=True) for flag in (*found.quality, *resolved.flags)]
    note = {"note": found.server_note} if found.server_note else {}
    source = {
        "document": names.document or found.document,
        "date": found.date,
        **({"date_note": found.source_note} if found.source_note else {}),
        "licence": names.licence or OWN_LICENCE,
    }
    return {
        "id": name,
        "family": resolved.family,
        "model": resolved.model,
        "hardware": resolved.hardware,
        "tensor_parallel": resolved.tensor_parallel,
        "tool": found.tool,
        **({"tool_version": found.tool_version} if found.tool_version else {}),
        "side": found.side,
        "date": found.date,
        "date_basis": found.date_basis,
        "source": source,
        "server": {"known": resolved.known, "assumed": resolved.assumed, **note},
        "workload": {"name": resolved.workload, **found.workload},
        **({"requests_file": REQUESTS_FILE} if found.requests else {}),
        "quality": flags,
        "load_points": found.load_points,
    }


def yaml_text(content: Mapping[str, Any]) -> str:
    """Format the content of an `experiment.yaml`, one line per figure."""
    text: str = yaml.dump(_compact(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE_CHARACTERS)
    return SCHEMA_LINE + text


class _OneLine(dict[str, Any]):
    """A mapping written on one line."""


class _OneLineList(list[Any]):
    """A list of plain values, written on as few lines as it needs."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_representer(
    _OneLine, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True)
)
_Dumper.add_representer(
    _OneLineList, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


def _compact(value: Any) -> Any:
    """Mark what is short and flat, so that a figure takes one line."""
    if isinstance(value, Mapping):
        flat = {key: _compact(entry) for key, entry in value.items()}
        short = len(str(flat)) < LINE_CHARACTERS - 20 and len(flat) > 1
        if short and not any(isinstance(entry, dict | list) or len(str(entry)) > 30 for entry in flat.values()):
            return _OneLine(flat)
        return flat
    if isinstance(value, list | tuple):
        plain = not any(isinstance(entry, Mapping | list | tuple) for entry in value)
        return _OneLineList(value) if plain else [_compact(entry) for entry in value]
    return value
