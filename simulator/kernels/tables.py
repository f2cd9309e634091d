"""Strict reading of a folder of kernel tables in InferSim layout.

Contract: `load_tables(root)` returns immutable records of everything under

    gemm/<gpu>/data.csv                  m,k,n,latency_us,mfu
    mha/prefill/<gpu>/H-G-E.csv          dtype,seq_len,latency_us,mfu
    mha/decode/<gpu>/H-G-E-tpK.csv       dtype,kv_dtype,batch_size,kv_len,latency_us,mfu

with H query heads, G KV heads, E head dimension (all unsharded) and TP degree K; or raises
`TableError` naming file and line. Rows keep file order, because ties are broken by it. Nothing is
repaired, dropped or guessed: a table that is not understood is refused whole.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from simulator.errors import TableError
from simulator.input_files import unreadable
from simulator.kernels.base import AttentionShape

GEMM_COLUMNS = ("m", "k", "n", "latency_us", "mfu")
PREFILL_COLUMNS = ("dtype", "seq_len", "latency_us", "mfu")
DECODE_COLUMNS = ("dtype", "kv_dtype", "batch_size", "kv_len", "latency_us", "mfu")

_INTEGER = re.compile(r"[0-9]{1,12}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_WORD = re.compile(r"[A-Za-z0-9_]{1,32}")
_PREFILL_NAME = re.compile(r"([0-9]{1,6})-([0-9]{1,6})-([0-9]{1,6})\.csv")
_DECODE_NAME = re.compile(r"([0-9]{1,6})-([0-9]{1,6})-([0-9]{1,6})-tp([0-9]{1,4})\.csv")
_MAX_SHOWN = 40

# Microseconds; the column has nanosecond resolution, and no single kernel runs for a day.
LATENCY_RANGE_US = (0.001, 86_400e6)
# Dimensionless; peaks of one generation of GPUs differ by far less, so more is no MFU by any denominator.
LARGEST_MFU = 1000.0


@dataclass(frozen=True, slots=True)
class GemmRow:
    """One timed (m x k) @ (k x n); `line` is its line in the file, counted from 1."""

    m: int
    k: int
    n: int
    latency_us: float
    mfu: float
    line: int

    @property
    def key(self) -> tuple[int, int, int]:
        """What may occur once per table."""
        return (self.m, self.k, self.n)


@dataclass(frozen=True, slots=True)
class PrefillRow:
    """One timed causal attention over a sequence of `seq_len` tokens."""

    dtype: str
    seq_len: int
    latency_us: float
    mfu: float
    line: int

    @property
    def key(self) -> tuple[int]:
        """What may occur once per table."""
        return (self.seq_len,)


@dataclass(frozen=True, slots=True)
class DecodeRow:
    """One timed decode attention of `batch_size` requests with `kv_len` KV tokens each."""

    dtype: str
    kv_dtype: str
    batch_size: int
    kv_len: int
    latency_us: float
    mfu: float
    line: int

    @property
    def key(self) -> tuple[int, int]:
        """What may occur once per table."""
        return (self.batch_size, self.kv_len)


Row = TypeVar("Row", GemmRow, PrefillRow, DecodeRow)


@dataclass(frozen=True, slots=True)
class Table(Generic[Row]):
    """The rows of one file.

    Attributes
    ----------
    path
        File, relative to the root of the folder, with forward slashes.
    sha256
        Hex digest of the file's bytes.
    """

    path: str
    sha256: str
    rows: tuple[Row, ...]


AnyTable = Table[GemmRow] | Table[PrefillRow] | Table[DecodeRow]


@dataclass(frozen=True, slots=True)
class KernelTables:
    """Everything one folder knows about one GPU.

    Attributes
    ----------
    root
        Folder as given by the user, for messages.
    gpu
        Name of the GPU folders.
    gemm
        GEMM table, or None where the folder has none.
    prefill, decode
        Attention tables by shape, and by shape and TP degree; in sorted order.
    """

    root: str
    gpu: str
    gemm: Table[GemmRow] | None = None
    prefill: dict[AttentionShape, Table[PrefillRow]] = field(default_factory=dict)
    decode: dict[tuple[AttentionShape, int], Table[DecodeRow]] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Digest over names and digests of all files, in sorted order."""
        lines = sorted(f"{table.path} {table.sha256}\n" for table in self.tables())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def tables(self) -> Iterator[AnyTable]:
        """Yield every table: GEMM, prefill, decode."""
        if self.gemm is not None:
            yield self.gemm
        yield from self.prefill.values()
        yield from self.decode.values()


def load_tables(root: Path, gpu: str | None = None) -> KernelTables:
    """Read every table of one GPU.

    Parameters
    ----------
    root
        Folder with `gemm/` and `mha/`.
    gpu
        Name of the GPU folders; may be omitted where there is only one.

    Raises
    ------
    TableError
        If the folder is not in this layout, names several GPUs, or any file is not understood.
    """
    gpu = gpu or _only_gpu(root)
    prefill = {}
    for path in _csv_files(root / "mha" / "prefill" / gpu):
        heads, kv_heads, head_dim = _numbers_in_name(path, _PREFILL_NAME, "H-G-E.csv")
        prefill[AttentionShape(heads, kv_heads, head_dim)] = _read(root, path, PREFILL_COLUMNS, _prefill_row)
    decode = {}
    for path in _csv_files(root / "mha" / "decode" / gpu):
        heads, kv_heads, head_dim, tp = _numbers_in_name(path, _DECODE_NAME, "H-G-E-tpK.csv")
        decode[(AttentionShape(heads, kv_heads, head_dim), tp)] = _read(root, path, DECODE_COLUMNS, _decode_row)
    gemm_path = root / "gemm" / gpu / "data.csv"
    gemm = _read(root, gemm_path, GEMM_COLUMNS, _gemm_row) if gemm_path.is_file() else None
    if gemm is None and not prefill and not decode:
        raise TableError(f"{root}: no kernel table for GPU '{gpu}'; expected gemm/{gpu}/data.csv or mha/*/{gpu}/*.csv")
    return KernelTables(str(root), gpu, gemm, dict(sorted(prefill.items())), dict(sorted(decode.items())))


def _only_gpu(root: Path) -> str:
    if not root.is_dir():
        raise TableError(f"{root}: is not a folder; give the folder that contains 'gemm' and 'mha'")
    families = [root / "gemm", root / "mha" / "prefill", root / "mha" / "decode"]
    found = sorted(
        {child.name for family in families if family.is_dir() for child in family.iterdir() if child.is_dir()}
    )
    if not found:
        raise TableError(
            f"{root}: has no kernel tables; expected gemm/<gpu>/data.csv and mha/{{prefill,decode}}/<gpu>/*.csv"
        )
    if len(found) > 1:
        raise TableError(f"{root}: has tables of several GPUs ({', '.join(found)}); name the one to use")
    return found[0]


def _csv_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.csv") if path.is_file()) if folder.is_dir() else []


def _numbers_in_name(path: Path, pattern: re.Pattern[str], form: str) -> tuple[int, ...]:
    match = pattern.fullmatch(path.name)
    if match is None:
        example = form.replace("H-G-E", "32-8-128").replace("K", "1")
        raise TableError(f"{path}: the file name must read {form}, for instance {example}")
    numbers = tuple(int(group) for group in match.groups())
    if min(numbers) < 1:
        raise TableError(f"{path}: every number in the file name must be at least 1")
    return numbers


def _read(root: Path, path: Path, columns: tuple[str, ...], parse_row: Callable[[_Cells], Row]) -> Table[Row]:
    data = _bytes(path)
    lines = _lines(path, data)
    if not lines or tuple(lines[0].split(",")) != columns:
        got = _shown(lines[0]) if lines else "an empty file"
        raise TableError(f"{path}:1: the header must be '{','.join(columns)}', got {got}")
    rows = tuple(parse_row(_cells(path, number, text, columns)) for number, text in enumerate(lines[1:], start=2))
    if not rows:
        raise TableError(f"{path}: has a header but no row")
    _refuse_duplicates(path, rows)
    _refuse_mixed_types(path, rows)
    return Table(path.relative_to(root).as_posix(), hashlib.sha256(data).hexdigest(), rows)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TableError(f"{unreadable(path, error)} (a kernel table)") from None


def _lines(path: Path, data: bytes) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TableError(f"{path}:{line}: is not UTF-8 text") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


@dataclass(frozen=True, slots=True)
class _Cells:
    """One line, cut into named cells; every reader raises `TableError` with file, line and column."""

    path: Path
    line: int
    cells: dict[str, str]

    def count(self, column: str) -> int:
        """Read a whole number of at least 1."""
        text = self.cells[column]
        if _INTEGER.fullmatch(text) is None or int(text) < 1:
            self._refuse(column, "a whole number of at least 1")
        return int(text)

    def latency_us(self) -> float:
        """Read a latency in microseconds."""
        value = self._finite("latency_us")
        if value <= 0:
            self._refuse("latency_us", "above 0")
        if not LATENCY_RANGE_US[0] <= value <= LATENCY_RANGE_US[1]:
            self._refuse("latency_us", "between {:g} and {:g} microseconds".format(*LATENCY_RANGE_US))
        return value

    def mfu(self) -> float:
        """Read an MFU, of whatever denominator."""
        value = self._finite("mfu")
        if value < 0:
            self._refuse("mfu", "at least 0")
        if value > LARGEST_MFU:
            self._refuse("mfu", f"at most {LARGEST_MFU:g}")
        return value

    def word(self, column: str) -> str:
        """Read a type name."""
        text = self.cells[column]
        if _WORD.fullmatch(text) is None:
            self._refuse(column, "a type name such as bf16")
        return text

    def _finite(self, column: str) -> float:
        text = self.cells[column]
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
        if not math.isfinite(value):
            self._refuse(column, "a finite number")
        return value

    def _refuse(self, column: str, wanted: str) -> None:
        raise TableError(f"{self.path}:{self.line}: {column} must be {wanted}, got {_shown(self.cells[column])}")


def _cells(path: Path, line: int, text: str, columns: tuple[str, ...]) -> _Cells:
    values = text.split(",")
    if len(values) != len(columns):
        raise TableError(f"{path}:{line}: has {len(values)} columns, expected {len(columns)} ({','.join(columns)})")
    return _Cells(path, line, dict(zip(columns, values, strict=True)))


def _gemm_row(cells: _Cells) -> GemmRow:
    sizes = (cells.count("m"), cells.count("k"), cells.count("n"))
    return GemmRow(*sizes, cells.latency_us(), cells.mfu(), cells.line)


def _prefill_row(cells: _Cells) -> PrefillRow:
    timing = (cells.latency_us(), cells.mfu())
    return PrefillRow(cells.word("dtype"), cells.count("seq_len"), *timing, cells.line)


def _decode_row(cells: _Cells) -> DecodeRow:
    types = (cells.word("dtype"), cells.word("kv_dtype"))
    sizes = (cells.count("batch_size"), cells.count("kv_len"))
    return DecodeRow(*types, *sizes, cells.latency_us(), cells.mfu(), cells.line)


def _refuse_duplicates(path: Path, rows: Sequence[Row]) -> None:
    first: dict[tuple[int, ...], int] = {}
    for row in rows:
        if row.key in first:
            raise TableError(f"{path}:{row.line}: repeats the sizes of line {first[row.key]}; each may occur once")
        first[row.key] = row.line


def _refuse_mixed_types(path: Path, rows: Sequence[Row]) -> None:
    types = [(getattr(row, "dtype", ""), getattr(row, "kv_dtype", "")) for row in rows]
    for row, kind in zip(rows, types, strict=True):
        if kind != types[0]:
            raise TableError(f"{path}:{row.line}: has other data types than line {rows[0].line}; use one file per type")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "...")
