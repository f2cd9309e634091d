"""Import of measurements that other tools wrote: one reader per tool, one format at the end.

Contract: `import_experiment` writes `ground_truth/<id>` as a whole or not at all, and only what
`load_experiment` accepts. A reader turns files into an `Imported` with our definitions and a list
of sentences that say what it converted; it knows nothing of the project's names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from roofline_lab.importers import guidellm, inference_perf, vllm_bench
from roofline_lab.importers.imported import Imported
from roofline_lab.importers.naming import Names
from roofline_lab.importers.trace import with_traces
from roofline_lab.importers.writing import Written, project_of, write_all
from simulator.errors import ConfigError
from simulator.validation import suggest

__all__ = ["READERS", "Written", "import_experiment", "read_results"]

READERS: Mapping[str, Callable[[Path], Imported]] = {
    guidellm.TOOL: guidellm.read,
    inference_perf.TOOL: inference_perf.read,
    vllm_bench.TOOL: vllm_bench.read,
}


def read_results(tool: str, path: Path) -> Imported:
    """Read the results of a tool.

    Raises
    ------
    ConfigError
        If the tool is unknown, or its files cannot be read or do not fit together.
    """
    if tool not in READERS:
        raise ConfigError(f"import: unknown tool '{tool}'; {suggest(tool, READERS)}")
    try:
        found = READERS[tool](path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ConfigError(f"{path}: cannot be read: {error}; give a readable file or folder of {tool}") from None
    return found if found.source else replace(found, source=str(path))


def import_experiment(
    tool: str,
    path: Path,
    out: Path,
    names: Names | None = None,
    traces: Sequence[Path] = (),
    root: Path | None = None,
) -> Written:
    """Read the results of a tool and write them as one experiment.

    Parameters
    ----------
    tool
        A key of `READERS`.
    path
        The tool's file or folder.
    out
        `ground_truth/<id>` of a project, or a folder elsewhere; must not exist.
    names
        What a person says about the run; the files say the rest.
    traces
        Request traces of the run, to replay it exactly.
    root
        The project whose models and GPUs are named, where `out` lies elsewhere.

    Raises
    ------
    ConfigError
        If anything cannot be read or does not fit together; nothing is then written.
    """
    project = project_of(out, root)
    found = with_traces(read_results(tool, path), traces)
    (written,) = write_all({out: found}, project, names or Names())
    return written
