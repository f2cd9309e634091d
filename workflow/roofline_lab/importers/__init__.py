"""Import of measurements that other tools wrote: one module per tool, one format at the end.

Contract: `import_experiment` writes `ground_truth/<id>` as a whole or not at all, and only what `load_experiment`
accepts. A new tool is one more module of this folder; see `tools`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from roofline_lab.importers.overrides import Overrides
from roofline_lab.importers.tools import read_results
from roofline_lab.importers.trace import with_traces
from roofline_lab.importers.writing import Written, project_of, write_all


def import_experiment(
    tool: str,
    path: Path,
    out: Path,
    overrides: Overrides | None = None,
    traces: Sequence[Path] = (),
    root: Path | None = None,
) -> Written:
    """Read the results of a tool and write them as one experiment.

    Parameters
    ----------
    tool
        A key of `tools.tools()`.
    path
        The tool's file or folder.
    out
        `ground_truth/<id>` of a project, or a folder elsewhere; must not exist.
    overrides
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
    said = overrides or Overrides()
    found = with_traces(read_results(tool, path, said.server), traces)
    (written,) = write_all({out: found}, project, said).written
    return written
