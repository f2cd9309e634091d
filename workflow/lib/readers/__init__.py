"""Import of measurements that other tools wrote: one reader per tool, one format at the end.

Contract: `import_experiment` writes `ground_truth/<id>` as a whole or not at all, and only what
`load_experiment` accepts. A reader turns files into an `Imported` with our definitions and a list
of sentences that say what it converted; it knows nothing of the project's names.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from simulator.errors import ConfigError
from simulator.validation import suggest
from workflow.lib.experiment import Experiment
from workflow.lib.files import write_text
from workflow.lib.ground_truth import EXPERIMENT_FILE, experiment_from
from workflow.lib.measured_requests import REQUESTS_FILE, requests_text
from workflow.lib.readers import guidellm, inference_perf, vllm_bench
from workflow.lib.readers.imported import Imported
from workflow.lib.readers.naming import Names, Resolved, resolve
from workflow.lib.readers.surroundings import read_mapping

READERS: Mapping[str, Callable[[Path], Imported]] = {
    guidellm.TOOL: guidellm.read,
    inference_perf.TOOL: inference_perf.read,
    vllm_bench.TOOL: vllm_bench.read,
}

GROUND_TRUTH = "ground_truth"
SCHEMA_LINE = "# yaml-language-server: $schema=../experiment.schema.json\n"
OWN_LICENCE = "Figures formed from the importer's own files; on what terms they may be used was not stated."

LINE_CHARACTERS = 110


@dataclass(frozen=True, slots=True)
class Written:
    """What an import wrote, and the sentences that say what it did."""

    experiment: Experiment
    folder: Path
    sentences: tuple[str, ...]


def import_experiment(tool: str, path: Path, out: Path, names: Names | None = None) -> Written:
    """Read the results of a tool and write them as one experiment.

    Parameters
    ----------
    tool
        A key of `READERS`.
    path
        The tool's file or folder.
    out
        `ground_truth/<id>` of a project; must not exist.
    names
        What a person says about the run; the files say the rest.

    Raises
    ------
    ConfigError
        If anything cannot be read or does not fit together; nothing is then written.
    """
    if tool not in READERS:
        raise ConfigError(f"import: unknown tool '{tool}'; {suggest(tool, READERS)}")
    root = project_of(out)
    return write_experiment(READERS[tool](path), out, root, names or Names())


def project_of(out: Path) -> Path:
    """Return the project an experiment is written into.

    Raises
    ------
    ConfigError
        If `out` is no new `ground_truth/<id>` of a project.
    """
    out = out.absolute()
    root = out.parent.parent
    if out.parent.name != GROUND_TRUTH or not (out.parent / "vocabulary.yaml").is_file():
        raise ConfigError(f"--out: must be {GROUND_TRUTH}/<id> inside a project, got {out}")
    if out.exists():
        raise ConfigError(f"--out: {out} exists already; choose another id, or remove it first")
    return root


def write_experiment(found: Imported, out: Path, root: Path, names: Names) -> Written:
    """Write what a reader found; see `import_experiment`."""
    resolved = resolve(found, names, root)
    content = _content(found, out.name, names, resolved)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=".import-"))
    try:
        if found.requests:
            write_text(folder / REQUESTS_FILE, requests_text(found.requests))
        write_text(folder / EXPERIMENT_FILE, yaml_text(content))
        source = f"{GROUND_TRUTH}/{out.name}/{EXPERIMENT_FILE}"
        experiment = experiment_from(
            read_mapping(folder / EXPERIMENT_FILE), source=source, name=out.name, folder=folder, root=root
        )
        folder.chmod(0o755)
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Written(experiment.located(out), out, _sentences(found, experiment))


def yaml_text(content: Mapping[str, Any]) -> str:
    """Format the content of an `experiment.yaml`, one line per figure."""
    text: str = yaml.dump(_compact(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE_CHARACTERS)
    return SCHEMA_LINE + text


def _content(found: Imported, name: str, names: Names, resolved: Resolved) -> dict[str, Any]:
    flags = [one.model_dump(mode="json", exclude_defaults=True) for one in (*found.quality, *resolved.flags)]
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


def _sentences(found: Imported, experiment: Experiment) -> tuple[str, ...]:
    flags = [f"{one.flag} ({one.treatment}): {one.text}" for one in experiment.quality]
    return (*found.conversions, *flags)


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
