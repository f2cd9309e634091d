"""Speed of kernel look-ups: `python -m benchmarks.lookups [--kernels DIR]`.

Prints, for each kind of kernel and each policy, microseconds of a question that was not asked before and of one
that was, and both as multiples of a dictionary look-up in the same process. Without `--kernels` the tables are
sampled from the shipped curves. A simulated step asks seven questions at most, whatever the number of layers.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from simulator.kernels.analytic import load_analytic
from simulator.kernels.base import AttentionShape, Policy
from simulator.kernels.measured import MeasuredKernels
from simulator.kernels.tables import KernelTables, load_tables
from simulator.kernels.tabulated import tabulate

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "configs" / "kernels" / "h100" / "analytic.yaml"
QUESTIONS, SEED = 2_000, 20260224
# Heads, KV heads and head size of Llama-2-7B, which every set of tables has.
SHAPE = AttentionShape(32, 32, 128)
# Weights (inputs, outputs) of Llama-2-7B and of Llama-2-70B over 4 GPUs.
WEIGHTS = ((4096, 4096), (4096, 11008), (11008, 4096), (8192, 7168), (2048, 8192))

Question = tuple[int, ...]


def per_call_us(answer: Callable[..., object], questions: Sequence[Question]) -> float:
    """Return microseconds per question, all of them asked once."""
    begin_s = time.perf_counter()
    for question in questions:
        answer(*question)
    return (time.perf_counter() - begin_s) / len(questions) * 1e6


def cases(kernels: MeasuredKernels) -> dict[str, tuple[Callable[..., object], list[Question]]]:
    """Return what is asked of each kind of kernel, with random sizes no table has a row for."""
    draw = random.Random(SEED)
    attention = kernels.attention(SHAPE)
    return {
        "gemm": (kernels.gemm_mfu, [(draw.randrange(1, 9_000), *draw.choice(WEIGHTS)) for _ in range(QUESTIONS)]),
        "prefill attention": (attention.prefill_mfu, [(draw.randrange(1, 40_000),) for _ in range(QUESTIONS)]),
        "decode attention": (
            attention.decode_mfu,
            [(draw.randrange(1, 257), draw.randrange(1, 30_000)) for _ in range(QUESTIONS)],
        ),
    }


def tables_of(folder: str | None) -> KernelTables:
    """Return the tables to ask."""
    return tabulate(load_analytic(SHIPPED)) if folder is None else load_tables(Path(folder))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", metavar="DIR", help="folder of measured kernel tables")
    tables = tables_of(parser.parse_args().kernels)
    known = {(number,): number for number in range(QUESTIONS)}
    base_us = per_call_us(lambda number: known[(number,)], list(known))
    print(f"{'kernel':<18s} {'policy':<13s}   new us  known us   new/dict known/dict")
    for policy in get_args(Policy):
        for name, (answer, questions) in cases(MeasuredKernels(tables, policy)).items():
            new_us, known_us = (per_call_us(answer, questions) for _ in range(2))
            ratios = f"{new_us / base_us:10.1f} {known_us / base_us:10.1f}"
            print(f"{name:<18s} {policy:<13s} {new_us:8.2f} {known_us:9.2f} {ratios}")


if __name__ == "__main__":
    main()
