"""`roofline-lab import`: the command line of the importers.

Contract: `add_import_command` adds the command; its function prints what was written and converted, and returns 0, or 1
where runs of a table were left out. Expected failures are `RooflineLabError`s for the caller to print.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline_lab.cli.quiet import add_quiet
from roofline_lab.cli.tool_names import tool_names
from roofline_lab.jobs.progress import PROGRESS
from roofline_lab.vocabulary import DEFAULT_HARDWARE, DEFAULT_WORKLOAD
from simulator.errors import ConfigError

if TYPE_CHECKING:
    from roofline_lab.importers.overrides import Overrides
    from roofline_lab.importers.writing import Imported, Written

# Some runs of a table were imported, others not.
EXIT_INCOMPLETE = 1
EPILOG = """examples:
  roofline-lab import guidellm results/ --out ground_truth/my-run
  roofline-lab import inference-perf run/ --out ground_truth/my-run --hardware h100-sxm --workload codegen
  roofline-lab import vllm-bench result.json --out ground_truth/my-run --model llama-3.1-8b
  roofline-lab import sglang-bench sweep/ --out ground_truth/my-sweep --model llama-3.1-8b
  roofline-lab import --from-csv measured_runs.csv --year 2026 --out ground_truth
  roofline-lab import guidellm results/ --root . --out ../measurements/my-run
  roofline-lab import --from-csv runs.csv --experiment run-7 --trace run-7.csv.gz --out ground_truth/run-7
  roofline-lab import inference-perf run/ --out ground_truth/my-run --server date=2025-11-05 \\
    --server software="vLLM 0.11.0" --server prefix_caching=off --server serve.sh

roofline-lab inspect PATH shows what the files hold without writing anything.
docs/importing.md explains what each reader converts and what every quality flag means.
"""


def add_import_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `import` to the subcommands of a parser; the parsed `run` takes the arguments and returns 0."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "import",
        help=f"write measurements of {', '.join(tool_names())} as an experiment",
        description="Convert measurements to ground_truth/<id>/experiment.yaml, and say what was converted.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tool", nargs="?", choices=tool_names(), help="what wrote the files")
    parser.add_argument("path", nargs="?", type=Path, help="its file or folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the experiment; must not exist yet")
    parser.add_argument("--from-csv", type=Path, metavar="FILE", help="read a table of measured runs instead")
    parser.add_argument("--experiment", help="with --from-csv: only this experiment_id")
    parser.add_argument(
        "--trace",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="request trace (CSV or JSON, .gz too) to replay exactly; may be given several times",
    )
    parser.add_argument("--year", type=int, help="with --from-csv: year of runs whose id names no year")
    parser.add_argument("--model", help="name in configs/models, if the files name none that is there")
    parser.add_argument("--hardware", help=f"name in configs/hardware (default: as stated, else {DEFAULT_HARDWARE})")
    parser.add_argument("--tensor-parallel", type=int, metavar="N", help="GPUs of the instance (default: as stated)")
    parser.add_argument("--family", help="word of ground_truth/vocabulary.yaml (default: that of the model)")
    parser.add_argument("--workload", help=f"word of ground_truth/vocabulary.yaml (default: {DEFAULT_WORKLOAD})")
    parser.add_argument("--client-offset-ms", type=float, metavar="MS", help="time between client and engine")
    parser.add_argument("--site", metavar="NAME", help="where it was measured; a site has one time of client and host")
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="fact about the server (prefix_caching=off), or a file that states some; may be given several times",
    )
    parser.add_argument("--source", help="public document the figures are in (default: the names of the files)")
    parser.add_argument("--licence", help="on what terms the figures are used")
    parser.add_argument(
        "--root",
        type=Path,
        help="project whose models and GPUs are used; --out may then be anywhere (default: its own)",
    )
    add_quiet(parser)
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Import as the arguments say, print what was done, and return 0, or 1 if a run of a table was left out.

    Raises
    ------
    ConfigError
        If arguments contradict each other, or the files cannot be imported.
    """
    from roofline_lab.ground_truth.json_stream import reading_told

    with reading_told(PROGRESS.reading):
        done = _imported(arguments)
    if done.refused:
        print(_refused(done))  # noqa: T201 - the command's output
    for written in done.written:
        _report(written, arguments.root)
    return EXIT_INCOMPLETE if done.refused else 0


def _refused(done: Imported) -> str:
    runs = len(done.written) + len(done.refused)
    lines = [f"not imported: {len(done.refused)} of {runs} experiments"]
    return "\n".join([*lines, *(f"  - {one.name}: refused: {one.reason}" for one in done.refused)])


def _imported(arguments: argparse.Namespace) -> Imported:
    from roofline_lab.importers import import_experiment, table
    from roofline_lab.importers.writing import Imported

    overrides = _overrides(arguments)
    if arguments.from_csv is not None:
        if arguments.tool or arguments.path:
            raise ConfigError("import: --from-csv stands instead of a tool and its path; give one of both")
        found = table.read(arguments.from_csv, arguments.experiment, arguments.year)
        return table.import_table(arguments.from_csv, found, arguments.out, overrides, arguments.trace, arguments.root)
    if arguments.tool is None or arguments.path is None:
        raise ConfigError(f"import: give a tool ({', '.join(tool_names())}) and its path, or --from-csv FILE")
    written = import_experiment(
        arguments.tool, arguments.path, arguments.out, overrides, arguments.trace, root=arguments.root
    )
    return Imported((written,))


def _overrides(arguments: argparse.Namespace) -> Overrides:
    from roofline_lab.importers.overrides import Overrides

    offset = arguments.client_offset_ms
    if offset is not None and not 0 <= offset < float("inf"):
        raise ConfigError(f"--client-offset-ms: must be 0 or greater, got {offset:g}")
    if arguments.tensor_parallel is not None and arguments.tensor_parallel < 1:
        raise ConfigError(f"--tensor-parallel: must be 1 or greater, got {arguments.tensor_parallel}")
    return Overrides(
        model=arguments.model,
        hardware=arguments.hardware,
        family=arguments.family,
        workload=arguments.workload,
        tensor_parallel=arguments.tensor_parallel,
        client_offset_ms=offset,
        site=arguments.site,
        server=tuple(arguments.server),
        document=arguments.source,
        licence=arguments.licence,
    )


def _next_steps(written: Written, root: Path | None) -> list[str]:
    """Return what answers the question of most: how far a prediction is off; and how a claim about it is made."""
    from roofline_lab.ground_truth.reading import VOCABULARY_FILE
    from roofline_lab.predict.choose import default_name

    experiment, folder = written.experiment, written.folder.absolute().parent
    in_project = (folder / VOCABULARY_FILE).is_file()
    project = f" --root {root}" if root and not in_project else ""
    steptime = default_name(root or folder.parent, experiment.hardware)
    lines = [
        "How well is it predicted?  "
        f"roofline-lab evaluate {written.folder}{project} --steptime {steptime} --out evaluation"
    ]
    if in_project and experiment.saturated:
        lines.append(
            "Every load point is saturated, and latencies of a saturated server enter no error: a claim about them "
            "needs lower rates; throughput is scored."
        )
    elif in_project:
        claim = '--claim "The time per token is predicted within 10 %" --within 10'
        lines.append(f"To test a claim on it:     roofline-lab new my_claim --set {experiment.id} {claim}")
    return lines


def _report(written: Written, root: Path | None) -> None:
    experiment = written.experiment
    points = len(experiment.load_points)
    lines = [
        f"{written.folder}: {experiment.model} on {experiment.hardware}, load points: {points}",
        *(f"  - {sentence}" for sentence in written.sentences),
        *(f"  {line}" for line in _next_steps(written, root)),
    ]
    print("\n".join(lines))  # noqa: T201 - the command's output
