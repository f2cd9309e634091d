"""`roofline-lab predict`: latencies, throughput and memory of a server at one load, or from idle to saturation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from roofline_lab.cli.capacity import add_question_flags, proven, question_in, written
from simulator.errors import ConfigError

EPILOG = """examples:
  roofline-lab predict --model llama-3.1-8b --gpu h100-sxm --workload chat --rate 12
  roofline-lab predict --model gpt-oss-120b --gpu b200-sxm --workload chat --concurrency 64
  roofline-lab predict --model llama-3.3-70b-instruct-fp8 --gpu h200-sxm --tp 2 --workload rag --out predictions/rag

Without a load: a sweep from idle to saturation, with a picture in --out. With several models, GPUs or degrees of tensor
parallelism, use `roofline-lab capacity`. docs/capacity.md explains files and pages.
"""


def add_predict_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `predict` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "predict",
        help="predict latencies and throughput of a server, with intervals",
        description="Predict latencies, throughput and memory of a server, with intervals and how far they are tested.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_question_flags(parser)
    parser.add_argument("--rate", type=float, metavar="R", help="requests per second")
    parser.add_argument("--concurrency", type=int, metavar="N", help="clients of a closed loop, in place of a rate")
    parser.set_defaults(run=predict)
    return parser


def predict(arguments: argparse.Namespace) -> int:
    """Predict one server, print the prediction, and return 0.

    Raises
    ------
    RooflineLabError
        If a flag is wrong, or there is no such server; nothing is then written.
    """
    from roofline_lab.capacity.ask import predict as predicted
    from roofline_lab.report.capacity import PREDICTION, prediction_files

    if arguments.rate is not None and arguments.concurrency is not None:
        raise ConfigError("--rate, --concurrency: a server is sent one or the other; leave one out")
    arguments.at = arguments.rate if arguments.rate is not None else arguments.concurrency
    if arguments.concurrency is not None:
        arguments.load = "concurrency"
    if arguments.at is not None:
        arguments.at = float(arguments.at)
    question, source = question_in(arguments, limits=False)
    asked = proven(predicted(question.model_copy(update={"slo": None}), source, arguments.root), arguments.root)
    sys.stdout.write("\n".join(_lines(asked)) + "\n")
    written(arguments.out, asked, prediction_files, PREDICTION)
    return 0


def _lines(asked: Any) -> Iterator[str]:
    """Yield what people are told."""
    from roofline_lab.report import capacity_tables as tables

    found = asked.answers[0]
    texts = (
        tables.prediction_headline(asked, found),
        tables.throughput_words(found.best),
        tables.trust_words(found.best, found.step_time),
        tables.proof_words(asked),
        *found.bottleneck,
        tables.memory_words(found),
    )
    yield from (text.replace("**", "").replace("`", "") for text in texts if text)
    yield tables.load_text(found.best)
