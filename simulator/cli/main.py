"""Entry point: flags of every sub-command, and expected failures as one message and an exit code.

Contract: nothing but argparse is imported until the command is known; imports cost more than most commands.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from simulator.errors import RooflineLabError

EXIT_FAILURE = 2
# Characters of a refused flag that are repeated in its message; a list of choices fits.
MOST_SHOWN = 600
# 128 + signal number, as shells report a process that a signal ended.
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
# Commands that share a module; any other has one of its own name.
HOMES = {"runs": "run", "price": "kernels", "lookup": "kernels", "audit": "kernels"}

_FORMAT = argparse.RawDescriptionHelpFormatter

_RUN_EXAMPLE = """\
A flag wins over the same key of the file. Times are us, lengths tokens, rates 1/s unless said otherwise.

example:
  python -m simulator run --model llama-2-7b-hf --hardware h100-sxm --num-requests 200 --rate 10 \\
      --prompt-tokens 70,35,2,200 --output-tokens 215,80,1,512 --prefix-tokens 284 --explain
"""

_RUNS_EXAMPLE = """\
One JSON object per line, with the keys of the YAML file that `run --config` takes. Written back: what `run` prints
for it, on one line, in the same order. A trace that is named relatively lies in the working directory.

example:
  python -m simulator runs < runs.jsonl > reports.jsonl
"""

_MODEL_EXAMPLE = """\
Weights of one GPU, and bytes of a token's keys and values, in all and on one GPU; norms and biases are not among the
parameters.

example:
  python -m simulator model deepseek-r1 --tp 8 --hardware h200-sxm
"""

_PRICE_EXAMPLE = """\
One JSON object per line: model (id), tp, tflops_peak (TFLOPS), bw_peak_tbs (TB/s), bw_eff (share of the peak,
0: none), per_layer_overhead (us), prefill [[past tokens, new tokens], ...], decode [[past tokens, 1], ...].
Written back with step_us, unrounded_us, overhead_us (us) and the seconds of every component (*_s).

example:
  echo '{"model": "llama-2-7b-hf", "tp": 1, "tflops_peak": 989.5, "bw_peak_tbs": 3.35, "bw_eff": 0.82,
  "per_layer_overhead": 100, "prefill": [], "decode": [[1024, 1]]}' | tr -d '\\n' |
      python -m simulator price --kernels TABLES
"""

_LOOKUP_EXAMPLE = """\
One JSON object per line: fn = gemm (m, k, n), attn_prefill (model, seq_len tokens) or attn_decode (model, tp,
bs requests, kv tokens). Written back with mfu, the fraction of the peak (dimensionless).

example:
  echo '{"fn": "gemm", "m": 8, "k": 4096, "n": 4096}' | python -m simulator lookup --kernels TABLES
"""

_REPLAY_EXAMPLE = """\
CASE_DIR holds case.json and requests.csv.gz. The file written has one row per request:
id, ttft_us, e2e_us, sched_delay_us (us), preemptions. A time that was not reached is an empty cell.

example:
  python -m simulator replay recorded/01_chat --kernels TABLES --out requests.csv
"""

_AUDIT_EXAMPLE = """\
example:
  python -m simulator audit TABLES --json
"""

_COMPILE_NOTE = """\
Results stay the same to the byte; after an edit of the sources these run until this is asked for again.
The environment variable SIMULATOR_PURE=1 makes the sources run always.
"""

SCHEDULERS = ("fcfs", "shortest_job", "priority")
POLICIES = ("nearest", "interpolated", "latency")
ROUTERS = ("round_robin", "least_requests", "prefix_aware")
KV_CACHE_TYPES = ("auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv
        Arguments without the program's name; None takes those of the process.
    """
    try:
        code = _guarded(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _discard_standard_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:  # standard output is full or closed; files name themselves in a ConfigError
        sys.stderr.write(f"error: standard output: cannot be written: {error.strerror}\n")
        _discard_standard_output()
        return EXIT_FAILURE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED


def _guarded(argv: Sequence[str] | None) -> int:
    try:
        arguments = parser().parse_args(argv)
        return _command(arguments.command)(arguments)
    except SystemExit as leaving:  # argparse: 0 after --help, 2 after a wrong flag
        return leaving.code if isinstance(leaving.code, int) else EXIT_FAILURE
    except RooflineLabError as error:
        sys.stdout.flush()
        sys.stderr.write(f"error: {error}\n")
        return EXIT_FAILURE


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """Import the command that is run and no other."""
    module = import_module(f"simulator.cli.{HOMES.get(name, name)}")
    command: Callable[[argparse.Namespace], int] = getattr(module, f"{name}_command")
    return command


def _discard_standard_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush cannot fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Refuse the arguments, without a page of digits where a value has thousands."""
        super().error(message if len(message) <= MOST_SHOWN else message[:MOST_SHOWN] + "...")


def parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m simulator`."""
    top = _Parser(
        prog="python -m simulator",
        description="Simulate an LLM server, price single steps, replay recorded runs and audit kernel tables.",
        epilog="Each command has its own help: python -m simulator run --help",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _run(_sub(commands, "run", "one simulation; JSON with every metric", _RUN_EXAMPLE))
    _configs(_sub(commands, "runs", "many simulations read from standard input; JSON lines", _RUNS_EXAMPLE))
    _model(_sub(commands, "model", "what a model weighs on each GPU, and what is left; JSON", _MODEL_EXAMPLE))
    _price(_sub(commands, "price", "price recorded steps read from standard input; JSON lines", _PRICE_EXAMPLE))
    _lookup(_sub(commands, "lookup", "look up kernel efficiencies; JSON lines", _LOOKUP_EXAMPLE))
    _replay(_sub(commands, "replay", "replay a recorded run of the upstream simulator; CSV", _REPLAY_EXAMPLE))
    _audit(_sub(commands, "audit", "recompute kernel tables and say what is wrong with them", _AUDIT_EXAMPLE))
    _sub(commands, "compile", "translate engine and step times to machine code (needs a C compiler)", _COMPILE_NOTE)
    return top


def _sub(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, example: str
) -> argparse.ArgumentParser:
    sub: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=example,
        formatter_class=_FORMAT,
        allow_abbrev=False,
    )
    return sub


def _run(sub: argparse.ArgumentParser) -> None:
    _run_inputs(sub.add_argument_group("what runs where"))
    _run_workload(sub.add_argument_group("requests"))
    _run_engine(sub.add_argument_group("server"))
    _run_limits(sub.add_argument_group("not modelled"))
    outputs = sub.add_argument_group("output")
    outputs.add_argument("--explain", action="store_true", help="say which resource bounds the steps, and why")
    outputs.add_argument("--requests", metavar="FILE", help="write one row per request (.csv or .jsonl; times in us)")
    outputs.add_argument("--steps", metavar="FILE", help="write every engine step and its cost as JSON lines (us)")
    outputs.add_argument("--trace", metavar="FILE", help="write the timeline (.json), for chrome://tracing or Perfetto")


def _run_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--pipeline-parallel", "--pp", type=int, metavar="N", help="only 1: layers stay on all GPUs")
    for name, what in (
        ("speculative", "every decode step gives one token"),
        ("disaggregated", "one server does prefill and decode"),
    ):
        group.add_argument(f"--{name}", nargs="?", const="asked for", metavar="X", help=f"refused: {what}")


def _run_inputs(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--config", metavar="FILE", help="YAML file; keys as in docs/simulator.md")
    group.add_argument("--model", metavar="ID", help="model id or path of its JSON file")
    group.add_argument("--hardware", metavar="ID", help="GPU id or path of its YAML file (default h100-sxm)")
    group.add_argument(
        "--steptime",
        metavar="NAME",
        help="a calibration (h100_vllm), roofline, v2 (upstream's), v1 (hand-calibrated) or data_sheet (peaks alone); "
        "default: the calibration that covers the GPU, else roofline",
    )
    group.add_argument("--tensor-parallel", "--tp", type=int, metavar="N", help="GPUs the model is split over")
    group.add_argument(
        "--expert-parallel",
        "--ep",
        nargs="?",
        const="on",
        metavar="X",
        help="whole experts on every GPU (on, off)",
    )
    group.add_argument(
        "--attention-data-parallel", type=int, metavar="N", help="groups of so many GPUs with requests of their own"
    )
    group.add_argument("--replicas", type=int, metavar="N", help="so many servers like this one behind a router")
    group.add_argument("--router", choices=ROUTERS, help="where it sends a request (default round_robin)")
    group.add_argument(
        "--router-load-factor",
        type=float,
        metavar="X",
        help="of prefix_aware: how uneven load may become (default 1.5)",
    )
    group.add_argument(
        "--data-parallel", "--dp", type=int, metavar="N", help="of a model without experts the same as --replicas"
    )
    group.add_argument(
        "--kernels", metavar="WHICH", help="of roofline and v2: embedded, tabulated, or a folder of tables"
    )
    group.add_argument("--policy", choices=POLICIES, help="how tables answer between rows (default latency)")
    group.add_argument("--gpu", metavar="NAME", help="which GPU's tables, where a folder has several")
    group.add_argument(
        "--bandwidth-efficiency", type=float, metavar="X", help="share of peak bandwidth, 0 to 1; 0: the peak"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of the YAML schema, for instance steptime.lm_head=true; may be repeated",
    )
    _configs(group)


def _run_workload(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--num-requests", type=int, metavar="N", help="how many")
    arrivals = group.add_mutually_exclusive_group()
    arrivals.add_argument("--rate", type=float, metavar="R", help="evenly spaced, R per second")
    arrivals.add_argument("--poisson", type=float, metavar="R", help="exponential gaps, R per second on average")
    arrivals.add_argument("--concurrency", type=int, metavar="N", help="closed loop of N clients")
    group.add_argument("--ramp-s", type=float, metavar="S", help="start the clients of --concurrency within S seconds")
    group.add_argument(
        "--warm-up-requests", type=int, metavar="N", help="with --concurrency: N requests before those that count"
    )
    length = "LENGTH, MIN-MAX or MEAN,STDEV,MIN,MAX in tokens"
    group.add_argument("--prompt-tokens", metavar="L", help=f"prompt without shared prefix: {length}")
    group.add_argument("--output-tokens", metavar="L", help=f"generated tokens: {length}")
    group.add_argument("--prefix-tokens", type=int, metavar="N", help="tokens all prompts begin with, on top")
    group.add_argument("--turns", metavar="N", help="requests are turns of conversations of N or MIN-MAX turns each")
    group.add_argument(
        "--think-s", type=float, metavar="S", help="with --turns: exponential, S seconds on average from answer to turn"
    )
    group.add_argument("--request-trace", metavar="FILE", help="recorded requests instead of drawn ones")
    arrivals.add_argument("--speed", type=float, metavar="X", help="with --request-trace: X times as fast as recorded")
    group.add_argument("--seed", type=int, metavar="N", help="seed of every draw (default 42)")


def _run_engine(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--kv-cache-dtype", choices=KV_CACHE_TYPES, help="type of keys and values (default auto)")
    group.add_argument("--token-budget", type=int, metavar="N", help="most tokens per step (default 2048)")
    group.add_argument("--max-running", type=int, metavar="N", help="most requests per step (default 256)")
    group.add_argument("--block-tokens", type=int, metavar="N", help="tokens per KV block (default 16)")
    group.add_argument("--kv-blocks", type=int, metavar="N", help="KV blocks (default: as many as memory has room for)")
    group.add_argument("--gpu-memory-utilization", type=float, metavar="X", help="share of memory in use (default 0.9)")
    group.add_argument(
        "--max-model-len", type=int, metavar="N", help="longest prompt plus answer (default: the model's)"
    )
    group.add_argument("--scheduler", choices=SCHEDULERS, help="order of the waiting queue (default fcfs)")
    group.add_argument("--horizon-us", type=int, metavar="T", help="start no step after T us (default: no limit)")


def _model(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("model", metavar="MODEL", help="id, or path of a model's files")
    sub.add_argument("--hardware", metavar="ID", help="GPU id or path of its YAML file; adds how its memory is divided")
    sub.add_argument("--tensor-parallel", "--tp", type=int, default=1, metavar="N", help="GPUs the model is split over")
    sub.add_argument("--attention-data-parallel", type=int, default=1, metavar="N", help="groups of so many GPUs")
    sub.add_argument("--expert-parallel", "--ep", nargs="?", const="on", metavar="X", help="whole experts on every GPU")
    sub.add_argument("--kv-cache-dtype", choices=KV_CACHE_TYPES, help="type of keys and values (default auto)")
    sub.add_argument("--token-budget", type=int, metavar="N", help="most tokens per step (default: vLLM's)")
    sub.add_argument("--max-running", type=int, metavar="N", help="most requests per step (default: vLLM's)")
    sub.add_argument("--gpu-memory-utilization", type=float, metavar="X", help="share of memory in use (default 0.9)")
    _configs(sub)


def _price(sub: argparse.ArgumentParser) -> None:
    _tables(sub, required=True)
    _configs(sub)


def _lookup(sub: argparse.ArgumentParser) -> None:
    _tables(sub, required=True)
    sub.add_argument("--origin", action="store_true", help="add the table rows each answer rests on")
    _configs(sub)


def _replay(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("case", metavar="CASE_DIR", help="folder of one recorded run")
    _tables(sub, required=False)
    sub.add_argument("--out", required=True, metavar="FILE", help="CSV file to write")
    sub.add_argument("--steps", metavar="FILE", help="write every engine step as JSON lines (times in us)")
    _configs(sub)


def _audit(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("tables", metavar="TABLES", help="folder with gemm/ and mha/")
    sub.add_argument("--gpu", metavar="NAME", help="which GPU's tables, where the folder has several")
    sub.add_argument("--json", action="store_true", help="JSON instead of text")


def _tables(sub: argparse.ArgumentParser, *, required: bool) -> None:
    unless = "" if required else " (not needed where the step time is linear)"
    sub.add_argument("--kernels", required=required, metavar="DIR", help=f"folder of kernel tables{unless}")
    sub.add_argument("--policy", choices=POLICIES, default="interpolated", help="how tables answer between rows")
    sub.add_argument("--gpu", metavar="NAME", help="which GPU's tables, where the folder has several")


def _configs(sub: argparse._ActionsContainer) -> None:
    sub.add_argument("--configs", metavar="DIR", help="folder with models/, hardware/ and kernels/ (default: shipped)")
