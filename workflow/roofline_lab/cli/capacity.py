"""`roofline-lab capacity`: the highest load that meets limits on latencies, of one server or of many."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from simulator.errors import ConfigError

EXIT_NOT_MET = 1
# Answers of a run that was cut off, in the folder of its page.
KEPT = ".answers"
EPILOG = """examples:
  roofline-lab capacity --model llama-3.1-8b --gpu h100-sxm --workload chat --slo "ttft_p99<=500ms, tpot_p90<=30ms"
  roofline-lab capacity --model llama-3.3-70b-instruct-fp8 --gpu h200-sxm,h100-sxm --tp 2,4 --workload rag \\
      --slo "ttft_p90<=3s, tpot_mean<=50ms" --at 4 --price h200-sxm=3.5 --price h100-sxm=2.5 --out answers/rag
  roofline-lab capacity questions/chat_8b_h100.yaml --out answers/chat

Several values, separated by commas, ask about every combination. A limit is a statistic of a latency (mean, p50, p90,
p95, p99 of ttft, tpot, itl, e2e) with its unit. --workload: a name in configs/workloads, or a YAML file with lengths.
docs/capacity.md explains files and pages.

Exit code 0: some server meets the limits; 1: none does at any load, and the page says by how much.
"""


def add_question_flags(parser: argparse.ArgumentParser) -> None:
    """Add what a question may say in place of its file; values separated by commas ask about all of them."""
    parser.add_argument("question", type=Path, nargs="?", metavar="QUESTION.yaml", help="a question as a file")
    parser.add_argument("--model", metavar="ID[,ID]", help="model: id, or path of its config.json")
    parser.add_argument("--gpu", metavar="ID[,ID]", help="GPU (default: h100-sxm)")
    parser.add_argument("--tp", metavar="N[,N]", help="GPUs in tensor parallel (default: 1)")
    parser.add_argument("--kv-cache-dtype", metavar="TYPE", help="auto, bfloat16 or fp8")
    parser.add_argument("--steptime", metavar="NAME", help="step-time model (default: the calibration of the GPU)")
    parser.add_argument("--workload", metavar="NAME", help="name in configs/workloads, or path of a YAML file")
    parser.add_argument(
        "--load", choices=("rate", "concurrency"), help="vary requests per second (default), or clients"
    )
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the engine, such as max_running=256 or token_budget=[2048,8192]; may be repeated",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of every random draw (default: 42)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write page, numbers and pictures here")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per core)")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")


def add_capacity_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `capacity` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "capacity",
        help="say which load meets limits on latencies, and how sure that is",
        description="Say which load meets limits on latencies, with which GPUs, and how sure that is.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_question_flags(parser)
    parser.add_argument("--slo", metavar="LIMITS", help='limits, such as "ttft_p99<=500ms, tpot_p90<=30ms"')
    parser.add_argument("--at", type=float, metavar="LOAD", help="load to be served: how many GPUs does it take?")
    parser.add_argument(
        "--price", action="append", default=[], metavar="GPU=PRICE", help="price of an hour of one GPU; may be repeated"
    )
    parser.set_defaults(run=capacity)
    return parser


def capacity(arguments: argparse.Namespace) -> int:
    """Answer a question, print the answer, and return 0, or 1 where no server meets the limits.

    Raises
    ------
    RooflineLabError
        If the question is wrong, or no server it asks about can be; nothing is then written.
    """
    from roofline_lab.report.capacity import PAGE, report_files

    question, source = question_in(arguments, limits=True)
    if question.slo is None:
        raise ConfigError(f'{source}: slo: missing; give limits with --slo "ttft_p99<=500ms, tpot_p90<=30ms"')
    asked = answered(arguments, question, source)
    sys.stdout.write("\n".join(_lines(asked)) + "\n")
    written(arguments.out, asked, report_files, PAGE)
    return 0 if any(each.best for each in asked.answers) else EXIT_NOT_MET


def question_in(arguments: argparse.Namespace, *, limits: bool) -> tuple[Any, str]:
    """Return the question of a file with the flags on top, and what messages call it."""
    from roofline_lab.capacity.question import question_of
    from simulator.validation import read_yaml

    source = "command line" if arguments.question is None else str(arguments.question)
    data = {} if arguments.question is None else read_yaml(arguments.question)
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: must be a mapping of keys to values")
    data = {**data, **dict(_flags(arguments))}
    data["engine"] = {**data.get("engine", {}), **dict(_pairs(arguments.server, "--server"))}
    if limits and arguments.price:
        data["price_per_gpu_hour"] = {key: _as_float(value) for key, value in _pairs(arguments.price, "--price")}
    return question_of(data, source, arguments.root), source


def _flags(arguments: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    names = {"model": "model", "gpu": "hardware", "kv_cache_dtype": "kv_cache_dtype", "steptime": "steptime"}
    for flag, key in names.items():
        text = getattr(arguments, flag)
        if text is not None:
            values = [part.strip() for part in text.split(",") if part.strip()]
            yield key, values if len(values) > 1 else text
    if arguments.tp is not None:
        degrees = [_whole(part, "--tp") for part in arguments.tp.split(",")]
        yield "tensor_parallel", degrees if len(degrees) > 1 else degrees[0]
    for flag in ("workload", "load", "slo", "at", "seed"):
        if getattr(arguments, flag, None) is not None:
            yield flag, getattr(arguments, flag)


def _pairs(texts: list[str], flag: str) -> Iterator[tuple[str, Any]]:
    from simulator.validation import parse_yaml

    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ConfigError(f"{flag}: must be KEY=VALUE, got '{text}'")
        yield key.strip(), parse_yaml(value, source=f"{flag} {key}")


def _whole(text: str, flag: str) -> int:
    if not text.strip().isdigit():
        raise ConfigError(f"{flag}: must be whole numbers separated by commas, such as 1,2,4 (got '{text[:20]}')")
    return int(text)


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def answered(arguments: argparse.Namespace, question: Any, source: str) -> Any:
    """Return the answers of a question; those of an earlier, cut off run in --out are taken up."""
    from roofline_lab.capacity.ask import ask

    jobs = arguments.jobs if arguments.jobs is not None else os.cpu_count() or 1
    if jobs < 1:
        raise ConfigError(f"--jobs: must be 1 or greater, got {jobs}")
    if arguments.out is not None and arguments.out.exists() and not arguments.out.is_dir():
        raise ConfigError(f"--out {arguments.out}: is a file; give a folder")
    kept = None if arguments.out is None else arguments.out / KEPT
    return proven(ask(question, source, arguments.root, jobs=jobs, kept=kept, say=_say), arguments.root)


def proven(asked: Any, root: Path) -> Any:
    """Return answers with what committed findings say of such answers."""
    from dataclasses import replace

    from roofline_lab.trust.proof import proof_of

    return replace(asked, proof=proof_of(root, asked.chosen.step_time, asked.question.load))


def _say(done: int, total: int) -> None:
    if total > 1 and done:
        sys.stderr.write(f"{done} of {total} servers answered\n")
        sys.stderr.flush()


def written(out: Path | None, asked: Any, files: Callable[[Any], dict[str, str]], page: str) -> None:
    """Write page, numbers and pictures where they are asked for, and drop the answers that were kept for that."""
    from roofline_lab.files import write_report

    if out is None:
        return
    write_report(out, files(asked))
    for path in sorted((out / KEPT).glob("*.json")):
        path.unlink()
    if (out / KEPT).is_dir():
        (out / KEPT).rmdir()
    sys.stdout.write(f"written: {out / page}\n")


def _lines(asked: Any) -> Iterator[str]:
    """Yield what people are told."""
    from roofline_lab.report import capacity_tables as tables

    chosen = asked.chosen
    texts = [tables.headline(asked, chosen), tables.fewest_words(asked)]
    if not asked.best:
        texts.append(f"nearest question with an answer: {tables.nearest_question(asked)}")
    if served := chosen.best or chosen.alone:
        texts += [tables.trust_words(served, chosen.step_time), tables.tested_words(asked), tables.proof_words(asked)]
    if told := tables.moved_words(asked):
        texts.append(f"what nobody states: {told}")
    yield from (text.replace("**", "").replace("`", "") for text in texts if text)
    if len(asked.answers) > 1:
        yield tables.answers_table(asked)
