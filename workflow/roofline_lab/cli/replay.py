"""`roofline-lab replay`: score recorded request traces, and predict published ones."""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline_lab.cli.quiet import add_quiet
from roofline_lab.formatting import pct
from roofline_lab.ground_truth.trace_columns import FURTHER_COLUMNS, TRACE_COLUMNS
from roofline_lab.jobs.progress import PROGRESS
from simulator.errors import ConfigError

if TYPE_CHECKING:
    from roofline_lab.predict.choose import OptionSet
    from roofline_lab.predict.replay import StageScore
    from roofline_lab.project import Project
    from roofline_lab.report.replay import Predicted

# Options that say where traces without latencies are served, and which of their requests.
PREDICTION_OPTIONS = ("model", "hardware", "tensor_parallel", "server", "first", "window", "poisson")
DEFAULT_OUT = Path("results/replay")
REPLAYS = "replays"
_REPLAYED = functools.partial(PROGRESS.step, REPLAYS)
EPILOG = f"""examples:
  roofline-lab replay traces/                      every trace of a folder
  roofline-lab replay my-run.csv.gz --experiment my-experiment --out results/my-run
  roofline-lab replay ground_truth/my-experiment/requests.csv
  roofline-lab replay traces/ --out reports/replay      the committed page
  roofline-lab replay AzureLLMInferenceTrace_conv.csv --model llama-3.1-8b --hardware h100-sxm --first 2000
  roofline-lab replay mooncake.jsonl --model llama-3.1-70b-instruct --hardware h100-sxm --tensor-parallel 4 \\
    --server kv_blocks=24000 --window 0-600

A recorded trace is CSV, plain or .gz, with the columns {", ".join(TRACE_COLUMNS)}
and, if there, {", ".join(FURTHER_COLUMNS)}.
Its name up to the first __ is the experiment in ground_truth/. docs/ground-truth.md explains the columns and the page;
configs/replay.yaml names the options that are tried.

A trace that was published without latencies (Azure LLM inference, Mooncake, BurstGPT, Vidur and Splitwise,
LLMServingSim, lists of lengths, or our own columns) is predicted on the server that --model, --hardware,
--tensor-parallel and --server describe. Nothing of it was measured, so it has no error.
"""


def add_replay_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `replay` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "replay",
        help="replay recorded request traces and compare them with what was measured",
        description="Serve every recorded request again, and write how far the simulation is from the measurement.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("traces", nargs="+", type=Path, metavar="TRACE", help="trace, or folder of traces")
    parser.add_argument("--experiment", metavar="ID", help="experiment of all traces (default: from their names)")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"folder of the page (default: {DEFAULT_OUT})")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    add_quiet(parser)
    _add_prediction(parser.add_argument_group("traces without latencies"))
    parser.set_defaults(run=replay)
    return parser


def _add_prediction(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", metavar="NAME", help="model that serves them: a name, or a config.json's path")
    group.add_argument("--hardware", metavar="NAME", help="its GPU")
    group.add_argument("--tensor-parallel", "--tp", type=int, metavar="N", help="over how many GPUs (default 1)")
    group.add_argument(
        "--server",
        action="append",
        metavar="KEY=VALUE|FILE",
        help="fact about the server (prefix_caching=off), or a file that states some; may be given several times",
    )
    group.add_argument("--first", type=int, metavar="N", help="only the first N requests of each")
    group.add_argument("--window", metavar="BEGIN-END", help="only those of some seconds, from the first request on")
    group.add_argument(
        "--poisson", type=float, metavar="R", help="send them at random, R per second, instead of when recorded"
    )


def replay(arguments: argparse.Namespace) -> int:
    """Replay, write page, numbers and figures, print a summary and return 0.

    Raises
    ------
    ConfigError
        If a trace cannot be read, belongs to no experiment, or needs a server that is not described; nothing is
        written then.
    """
    from roofline_lab.ground_truth.published_traces import find_unmeasured
    from roofline_lab.predict.choose import load_option_sets
    from roofline_lab.predict.recording import load_recordings
    from roofline_lab.predict.replay import score
    from roofline_lab.project import load_project
    from roofline_lab.report.replay import PAGE, provenance, publish, report_files

    unmeasured = find_unmeasured(arguments.traces)
    _refuse_other_use(arguments, unmeasured)
    project = load_project(arguments.root)
    option_sets = load_option_sets(project)
    recordings = load_recordings(project.root, arguments.traces, arguments.experiment, leaving_out=unmeasured)
    predicted = _predicted(arguments, project, unmeasured, option_sets)
    PROGRESS.start({REPLAYS: len(recordings) * len(option_sets)})
    scores = score(project, recordings, option_sets, _REPLAYED)
    files = report_files(recordings, scores, option_sets, predicted)
    publish(arguments.out, files, provenance(project, recordings, option_sets, predicted))
    for line in [*_summary_of_scores(scores), *_summary_of_predictions(predicted)]:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"page written to {arguments.out / PAGE}\n")
    return 0


def _refuse_other_use(arguments: argparse.Namespace, unmeasured: Sequence[Path]) -> None:
    """Refuse a trace without latencies and without a server, and a server without such a trace."""
    from roofline_lab.ground_truth.published_traces import published_format
    from roofline_lab.ground_truth.requests import find_traces

    given = [name for name in PREDICTION_OPTIONS if getattr(arguments, name) is not None]
    if given and not unmeasured:
        find_traces(arguments.traces)
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(
            f"{options}: every trace given has latencies, and is replayed whole on the server of its experiment; "
            "leave the options out"
        )
    missing = [f"--{name}" for name in ("model", "hardware") if getattr(arguments, name) is None]
    if unmeasured and missing:
        kind = published_format(unmeasured[0]) or "trace"
        article = "an" if kind[0] in "AEIOUL" else "a"
        raise ConfigError(
            f"{unmeasured[0]}: {article} {kind}, which records no latencies: nothing can be "
            f"compared, but it can be predicted; say what serves it: {' and '.join(missing)} (--tensor-parallel, "
            "--server). Or give it beside results that were measured with it: "
            "roofline-lab import TOOL PATH --trace FILE"
        )


def _predicted(
    arguments: argparse.Namespace, project: Project, paths: Sequence[Path], option_sets: Sequence[OptionSet]
) -> Predicted | None:
    from roofline_lab.predict.published import Choice, predict, read_sent, served_by
    from roofline_lab.report.replay import Predicted

    if not paths:
        return None
    parallel = 1 if arguments.tensor_parallel is None else arguments.tensor_parallel
    server = served_by(project.root, arguments.model, arguments.hardware, parallel, arguments.server or ())
    choice = Choice(_window(arguments.window), _count(arguments.first), arguments.poisson)
    _refuse_one_name(paths)
    sent = tuple(read_sent(path, choice, project.settings.arrivals) for path in paths)
    PROGRESS.start({REPLAYS: len(sent) * len(option_sets)})
    return Predicted(sent, server, predict(sent, server, option_sets, _REPLAYED))


def _refuse_one_name(paths: Sequence[Path]) -> None:
    """Refuse files of one name, which a page cannot tell apart."""
    first: dict[str, Path] = {}
    for path in paths:
        other = first.setdefault(path.name, path)
        if other != path:
            raise ConfigError(f"{path}: is called as {other} is; give one of them another name, or each on its own")


def _count(first: int | None) -> int | None:
    if first is not None and first < 1:
        raise ConfigError(f"--first {first}: must be 1 or greater")
    return first


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    parts = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)-(\d{1,9}(?:\.\d{1,6})?)", text, re.ASCII)
    if parts is None or float(parts[1]) >= float(parts[2]):
        raise ConfigError(f"--window {text[:40]}: must be BEGIN-END in seconds since the first request, such as 0-600")
    return float(parts[1]), float(parts[2])


def _summary_of_scores(scores: Sequence[StageScore]) -> Iterator[str]:
    from roofline_lab.predict.replay import LATENCIES
    from roofline_lab.report.replay_tables import failures, summaries

    yield from (f"note: {line}" for line in failures(scores))
    for summary in summaries(scores):
        errors = ", ".join(
            f"{name.upper()} {pct(summary.errors_pct.get(('experiments', name, 'mean')))}" for name in LATENCIES
        )
        yield f"{summary.label}: mean error {errors} ({summary.compared} of {summary.scored} load points)"


def _summary_of_predictions(predicted: Predicted | None) -> Iterator[str]:
    from roofline_lab.predict.replay import LATENCIES
    from roofline_lab.report.predicted_tables import remarks
    from roofline_lab.report.replay_tables import ms_text

    if predicted is None:
        return
    yield from (f"note: {line}" for line in remarks(predicted.predictions, predicted.server))
    for one in predicted.predictions:
        means = {name: one.figure(name, "mean") for name in LATENCIES}
        told = ", ".join(
            f"{name.upper()} {'-' if value is None else f'{ms_text(value, name)} ms'}" for name, value in means.items()
        )
        yield f"{one.trace.source}, {one.options.label}: predicted mean {told}; nothing was measured"
