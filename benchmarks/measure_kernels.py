"""Times GPU kernels with PyTorch and writes them as kernel tables.

    python benchmarks/measure_kernels.py --out configs/kernels/h200/measured --gpu h200 --peak-tflops 989.5

Needs PyTorch and nothing of this project; the result is a folder in InferSim layout that
`python -m simulator audit` checks and `python -m simulator.kernels.fit` can fit:

    gemm/<gpu>/data.csv   mha/prefill/<gpu>/H-G-E.csv   mha/decode/<gpu>/H-G-E-tpK.csv   metadata.json

What is timed: BF16 GEMM of every weight shape of the models in `--models` (whole and sharded by TP),
causal prefill attention of one sequence, decode attention of a batch with equal KV lengths. Decode reads a
paged KV cache in place (`varlen_attn` with a block table, permuted pages) where that kernel runs, else
`scaled_dot_product_attention` over contiguous KV: no block table, so a lower bound. The metadata says which.

How: one CUDA graph holds several launches, each on another copy of the inputs so that all together exceed
twice the L2 cache; the graph is replayed between device events, and the median over replays divided by
the launches is the latency, without host launch time. On the CPU (`--device cpu`, for trying out) wall
time takes the place of events and graphs.

MFU conventions are those of the H100 tables (2*m*k*n, causal half of 4*s*s*H*E, 4*B*kv*H*E/TP) over
`--peak-tflops`, with six decimals because three lose the decode values. Cells that do not fit into memory
are left out and listed in the metadata. Tested on the CPU with tiny sizes; no GPU run has been made yet.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# Grids in tokens or rows; they start below those of the H100 tables, where decode of small batches lives.
GEMM_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
PREFILL_TOKENS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
DECODE_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
DECODE_KV_TOKENS = (*PREFILL_TOKENS, 65536, 131072)
TP_DEGREES = (1, 2, 4)
TINY = {"gemm_rows": (1, 4), "prefill_tokens": (16, 32), "batches": (1, 2), "kv_tokens": (16, 32), "tps": (1, 2)}

# Tokens per KV page, in order of preference: vLLM's default first, then what older kernels require.
PAGE_TOKENS = (16, 256)
# Multiple of the cache the inputs exceed, share of free memory they may take, most copies, fewest launches.
L2_MULTIPLE = 2.0
MEMORY_SHARE = 0.6
MAX_COPIES = 256
LAUNCHES = 4
REPLAYS = 11
ELEMENT_BYTES = 2
DEFAULT_CACHE_BYTES = 64 << 20
TERA = 1e12
MICRO = 1e-6

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Plan:
    """Which sizes to time."""

    gemm: tuple[tuple[int, int], ...]
    attention: tuple[Shape, ...]
    gemm_rows: tuple[int, ...] = GEMM_ROWS
    prefill_tokens: tuple[int, ...] = PREFILL_TOKENS
    batches: tuple[int, ...] = DECODE_BATCHES
    kv_tokens: tuple[int, ...] = DECODE_KV_TOKENS
    tps: tuple[int, ...] = TP_DEGREES


@dataclass
class Bench:
    """One device and how to time on it."""

    torch: Any
    device: str
    peak_flops: float
    skipped: list[str] = field(default_factory=list)
    decode_kernel: str = "not timed"
    page_tokens: int | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether events and graphs are to be had."""
        return self.device.startswith("cuda")

    def cache_bytes(self) -> int:
        """Return the size of the cache that repeated inputs must not fit into."""
        if not self.on_gpu:
            return 0
        return getattr(self.torch.cuda.get_device_properties(self.device), "L2_cache_size", DEFAULT_CACHE_BYTES)

    def free_bytes(self) -> float:
        """Return how much memory one cell may take."""
        if not self.on_gpu:
            return math.inf
        self.torch.cuda.empty_cache()
        return MEMORY_SHARE * self.torch.cuda.mem_get_info(self.device)[0]

    def random(self, *shape: int) -> Any:
        """Return a BF16 tensor of normal numbers."""
        return self.torch.randn(*shape, device=self.device, dtype=self.torch.bfloat16)


def read_models(folder: Path) -> list[dict[str, Any]]:
    """Read every model description (Hugging Face field names) of a folder."""
    models = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return models or sys.exit(f"{folder}: no model description (*.json) in Hugging Face field names")


def attention_shape(model: dict[str, Any]) -> Shape:
    """Return query heads, KV heads and head dimension of a model."""
    heads = model["num_attention_heads"]
    head_dim = model.get("head_dim") or model["hidden_size"] // heads
    return heads, model.get("num_key_value_heads") or heads, head_dim


def gemm_shapes(model: dict[str, Any], tps: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (k, n) of every weight: Q, fused KV and QKV, O, gate/up, fused gate-up, down, LM head."""
    d, f, vocabulary = model["hidden_size"], model["intermediate_size"], model["vocab_size"]
    heads, kv_heads, head_dim = attention_shape(model)
    for tp in tps:
        if heads % tp or f % tp:
            continue
        query, kv = heads * head_dim // tp, max(1, kv_heads // tp) * head_dim
        yield from ((d, query), (d, kv), (d, query + 2 * kv), (query, d))
        yield from ((d, f // tp), (d, 2 * f // tp), (f // tp, d), (d, vocabulary // tp))


def make_plan(models: Sequence[dict[str, Any]], *, tiny: bool) -> Plan:
    """Collect the distinct sizes of all models, or a few small ones."""
    if tiny:
        return Plan(gemm=((32, 64), (64, 32)), attention=((4, 4, 16), (4, 2, 16)), **TINY)
    gemm = sorted({shape for model in models for shape in gemm_shapes(model, TP_DEGREES)})
    return Plan(gemm=tuple(gemm), attention=tuple(sorted({attention_shape(model) for model in models})))


def copies_needed(bytes_per_copy: float, cache_bytes: float, free_bytes: float) -> int:
    """Return how many copies of the inputs to rotate through; 0 if not even one fits."""
    affordable = int(min(MAX_COPIES, free_bytes // max(1.0, bytes_per_copy)))
    return min(affordable, max(1, math.ceil(L2_MULTIPLE * cache_bytes / max(1.0, bytes_per_copy))))


def latency_us(bench: Bench, calls: Sequence[Callable[[], Any]]) -> float:
    """Return the median time of one call in microseconds, the calls taking turns."""
    launches = max(LAUNCHES, len(calls))

    def take_turns() -> None:
        for turn in range(launches):
            calls[turn % len(calls)]()

    replay = _graph_seconds(bench, take_turns) if bench.on_gpu else lambda: _wall_seconds(take_turns)
    seconds = [replay() for _ in range(REPLAYS + 1)][1:]
    return statistics.median(seconds) / launches / MICRO


def _wall_seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _graph_seconds(bench: Bench, run: Callable[[], None]) -> Callable[[], float]:
    """Capture the launches once; return what replays them and says how long that took."""
    cuda = bench.torch.cuda
    side = cuda.Stream()
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        run()
    cuda.current_stream().wait_stream(side)
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        run()
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)

    def replay() -> float:
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    return replay


def timed(bench: Bench, label: str, bytes_per_copy: float, prepare: Callable[[], Callable[[], Any]]) -> float | None:
    """Time one cell on rotating inputs; None and a note where it does not fit into memory."""
    copies = copies_needed(bytes_per_copy, bench.cache_bytes(), bench.free_bytes())
    if copies == 0:
        bench.skipped.append(f"{label}: inputs of {bytes_per_copy / 2**30:.1f} GiB do not fit into memory")
        return None
    try:
        return latency_us(bench, [prepare() for _ in range(copies)])
    except bench.torch.OutOfMemoryError:
        bench.skipped.append(f"{label}: out of memory")
        return None


def time_gemm(bench: Bench, m: int, k: int, n: int) -> float | None:
    """Time a BF16 (m x k) @ (k x n), weights stored n x k as in a linear layer."""

    def prepare() -> Callable[[], Any]:
        left, weight = bench.random(m, k), bench.random(n, k)
        return lambda: bench.torch.nn.functional.linear(left, weight)

    return timed(bench, f"gemm m={m} k={k} n={n}", ELEMENT_BYTES * (m * k + k * n + m * n), prepare)


def time_prefill(bench: Bench, shape: Shape, tokens: int) -> float | None:
    """Time causal attention of one sequence."""
    heads, kv_heads, head_dim = shape
    attend = bench.torch.nn.functional.scaled_dot_product_attention

    def prepare() -> Callable[[], Any]:
        q = bench.random(1, heads, tokens, head_dim)
        k, v = (bench.random(1, kv_heads, tokens, head_dim) for _ in range(2))
        return lambda: attend(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)

    size = ELEMENT_BYTES * tokens * head_dim * (2 * heads + 2 * kv_heads)
    return timed(bench, f"prefill {shape} seq_len={tokens}", size, prepare)


def time_decode(bench: Bench, shape: Shape, tp: int, batch: int, kv_tokens: int) -> float | None:
    """Time one new token per request over a KV cache, heads of one GPU."""
    heads, kv_heads, head_dim = on_one_gpu = shape[0] // tp, max(1, shape[1] // tp), shape[2]
    attend = bench.torch.nn.functional.scaled_dot_product_attention

    def prepare() -> Callable[[], Any]:
        if bench.page_tokens is not None:
            return paged_decode(bench, on_one_gpu, batch, kv_tokens, bench.page_tokens)
        q = bench.random(batch, heads, 1, head_dim)
        k, v = (bench.random(batch, kv_heads, kv_tokens, head_dim) for _ in range(2))
        return lambda: attend(q, k, v, enable_gqa=heads != kv_heads)

    size = ELEMENT_BYTES * batch * head_dim * (2 * kv_tokens * kv_heads + 2 * heads)
    return timed(bench, f"decode {shape} tp={tp} batch_size={batch} kv_len={kv_tokens}", size, prepare)


def paged_decode(bench: Bench, shape: Shape, batch: int, kv_tokens: int, page_tokens: int) -> Callable[[], Any]:
    """Return one paged decode launch: every request's pages lie scattered in one pool."""
    from torch.nn.attention.varlen import varlen_attn

    torch, (heads, kv_heads, head_dim) = bench.torch, shape
    pages = math.ceil(kv_tokens / page_tokens)
    q = bench.random(batch, heads, head_dim)
    k, v = (bench.random(batch * pages, page_tokens, kv_heads, head_dim) for _ in range(2))
    table = torch.randperm(batch * pages, device=bench.device).to(torch.int32).reshape(batch, pages)
    starts = torch.arange(batch + 1, device=bench.device, dtype=torch.int32)
    used = torch.full((batch,), kv_tokens, device=bench.device, dtype=torch.int32)
    paging = {"enable_gqa": heads != kv_heads, "seqused_k": used, "block_table": table}
    return lambda: varlen_attn(q, k, v, starts, None, 1, kv_tokens, **paging)


def choose_decode_kernel(bench: Bench, shape: Shape) -> None:
    """Use the paged kernel with the first page size it accepts, else contiguous attention; remember why."""
    refusals = [] if bench.on_gpu else ["no GPU"]
    for page_tokens in PAGE_TOKENS if bench.on_gpu else ():
        try:
            paged_decode(bench, shape, 2, 2 * page_tokens, page_tokens)()
            bench.torch.cuda.synchronize()
        except (ImportError, RuntimeError, TypeError, ValueError) as error:
            refusals.append(f"page of {page_tokens}: {type(error).__name__}: {str(error)[:200]}")
            continue
        bench.page_tokens = page_tokens
        bench.decode_kernel = f"torch.nn.attention.varlen.varlen_attn, paged KV in place, {page_tokens} tokens per page"
        return
    bench.decode_kernel = f"scaled_dot_product_attention, contiguous KV, a lower bound ({'; '.join(refusals)})"


def measure(bench: Bench, plan: Plan, gpu: str, out: Path) -> None:
    """Time everything in the plan and write the tables as they become complete."""
    rows = []
    for (k, n), m in product(plan.gemm, plan.gemm_rows):
        rows += _row(bench, (m, k, n), time_gemm(bench, m, k, n), 2.0 * m * k * n)
    write_csv(out / "gemm" / gpu / "data.csv", "m,k,n,latency_us,mfu", rows)
    for shape in plan.attention:
        heads, kv_heads, head_dim = shape
        name = f"{heads}-{kv_heads}-{head_dim}"
        rows = []
        for tokens in plan.prefill_tokens:
            flops = 2.0 * tokens * tokens * heads * head_dim
            rows += _row(bench, ("bf16", tokens), time_prefill(bench, shape, tokens), flops)
        write_csv(out / "mha" / "prefill" / gpu / f"{name}.csv", "dtype,seq_len,latency_us,mfu", rows)
        for tp in plan.tps:
            if heads % tp == 0:
                path = out / "mha" / "decode" / gpu / f"{name}-tp{tp}.csv"
                write_csv(path, "dtype,kv_dtype,batch_size,kv_len,latency_us,mfu", _decode_rows(bench, plan, shape, tp))


def _decode_rows(bench: Bench, plan: Plan, shape: Shape, tp: int) -> list[str]:
    rows = []
    for batch, kv_tokens in product(plan.batches, plan.kv_tokens):
        flops = 4.0 * batch * kv_tokens * shape[0] * shape[2] / tp
        measured_us = time_decode(bench, shape, tp, batch, kv_tokens)
        rows += _row(bench, ("bf16", "bf16", batch, kv_tokens), measured_us, flops)
    return rows


def _row(bench: Bench, sizes: Sequence[object], measured_us: float | None, flops: float) -> list[str]:
    """Return one CSV line, or none where the cell could not be timed."""
    if measured_us is None:
        return []
    rounded_us = max(round(measured_us, 3), 0.001)
    mfu = flops / (rounded_us * MICRO * bench.peak_flops)
    return [",".join([*map(str, sizes), f"{rounded_us:.3f}", f"{mfu:.6f}"])]


def write_csv(path: Path, header: str, rows: Sequence[str]) -> None:
    """Write one table; nothing where no cell could be timed."""
    if rows:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def metadata(bench: Bench, gpu: str, clocks_before: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Say on what, when and how the tables were made."""
    torch = bench.torch
    return {
        "gpu_folder": gpu,
        "device": torch.cuda.get_device_name(bench.device) if bench.on_gpu else platform.machine(),
        "clocks_before": clocks_before,
        "clocks_after": clocks(bench),
        "date_utc": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "software": {"torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()},
        "script_sha256": hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        "arguments": list(arguments),
        "timer": "device events around a replayed CUDA graph" if bench.on_gpu else "wall time on the CPU",
        "method": f"median of {REPLAYS} replays of at least {LAUNCHES} launches, after one uncounted; "
        f"inputs rotate through copies of at least {L2_MULTIPLE:g} x the cache of {bench.cache_bytes()} bytes",
        "gemm_kernel": "torch.nn.functional.linear, BF16",
        "prefill_kernel": "scaled_dot_product_attention, causal, one sequence, BF16",
        "decode_kernel": bench.decode_kernel,
        "peak_tflops": bench.peak_flops / TERA,
        "flops": {"gemm": "2*m*k*n", "prefill": "4*s*s*H*E / 2", "decode": "4*B*kv*H*E / TP"},
        "cells_left_out": bench.skipped,
    }


def clocks(bench: Bench) -> str:
    """Return what the driver says about clocks, power and temperature."""
    if not bench.on_gpu:
        return "not read"
    fields = "driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"not read: {error}"


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time GPU kernels and write kernel tables.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; new or empty")
    parser.add_argument("--gpu", required=True, help="name of the GPU folders, for instance h200")
    parser.add_argument("--peak-tflops", type=float, required=True, help="dense BF16 peak from the data sheet, TFLOPS")
    parser.add_argument("--device", default="cuda", help="PyTorch device (default: cuda)")
    parser.add_argument("--models", type=Path, default=ROOT / "configs" / "models", help="folder of model descriptions")
    parser.add_argument("--tiny", action="store_true", help="a few small sizes, to try the script out")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Measure from the command line; returns the exit status."""
    options = parse_arguments(arguments)
    if options.out.exists() and any(options.out.iterdir()):
        raise SystemExit(f"{options.out}: is not empty; give a new folder, measured tables are never overwritten")
    if not 0 < options.peak_tflops < math.inf:
        raise SystemExit(f"--peak-tflops: must be above 0, got {options.peak_tflops}")
    try:
        import torch
    except ImportError:
        sys.exit("PyTorch is needed to time kernels: pip install torch")
    torch.manual_seed(0)
    plan = make_plan([] if options.tiny else read_models(options.models), tiny=options.tiny)
    bench = Bench(torch, options.device, options.peak_tflops * TERA)
    if bench.on_gpu and not torch.cuda.is_available():
        raise SystemExit("--device: PyTorch sees no GPU; use --device cpu --tiny to try the script out")
    before = clocks(bench)
    with torch.inference_mode():
        choose_decode_kernel(bench, plan.attention[0])
        measure(bench, plan, options.gpu, options.out)
    notes = json.dumps(metadata(bench, options.gpu, before, arguments), indent=1) + "\n"
    (options.out / "metadata.json").write_text(notes, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
