"""Published documents as tables one can compute with.

Contract: `load_documents` returns every document that has a `claims.yaml`, with the names its
expressions may use:

* its tables: each `published/*.csv` of printed cells (columns `<arm>_<metric>`, `<arm>_<metric>_gain`,
  `<arm>_<metric>_signed`, `measured_<metric>`) and each `published/errata/*.csv` (one column per printed column);
* `figures`: numbers it prints in its text, and `facts`: numbers known from elsewhere, with a source;
* `experiments`: model, workload, TP and size of every measured experiment;
* `steps`: engine steps priced by this project's own step-time model;
* every other document under its subject, for instance `h1.mape.treatment_tpot`.

Documents without a hypothesis of their own are folders of `documents/`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from roofline_lab.errata.claims import Claim
from roofline_lab.errata.interval import Interval, number_in, printed
from roofline_lab.ground_truth.reading import load_set
from roofline_lab.project import CLAIMS, Project
from roofline_lab.scoring.published import Cell, load_cells
from roofline_lab.vocabulary import Statistic
from simulator.errors import ConfigError
from simulator.input_files import csv_records, read_text
from simulator.steptime.batch import Batch
from simulator.steptime.build import build_step_time
from simulator.steptime.options import parse_options
from simulator.steptime.traffic import gemm_flops_per_token
from simulator.validation import Count, Finite, StrictModel, config_error, parse, read_yaml

ROW = "row"
MEASURED_SET = "synchronous_13"
FLOPS_PER_WEIGHT = 2  # one multiplication and one addition per weight and token
# A whole number in a column of these units was rounded; in any other column it is a count.
ROUNDED_UNITS = ("_pct", "_pp", "_ms")


class Fact(StrictModel):
    """A number known from elsewhere."""

    value: Finite | str
    source: str


class Step(StrictModel):
    """One engine step to price: chunks are `[past tokens, new tokens]`, decodes their past tokens."""

    model: str
    hardware: str
    tensor_parallel: Count = 1
    options: dict[str, Any]
    prefill: tuple[tuple[int, int], ...] = ()
    decode: tuple[int, ...] = ()


class Derived(StrictModel):
    """Printed cells that must follow from other printed cells, row by row."""

    id: str
    what: str
    printed: str
    follows: str


class ClaimsFile(StrictModel):
    """`claims.yaml`: what one document prints and says."""

    subject: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    document: str
    date: str
    figures: dict[str, Finite | str] = Field(default_factory=dict)
    facts: dict[str, Fact] = Field(default_factory=dict)
    steps: dict[str, Step] = Field(default_factory=dict)
    derived: tuple[Derived, ...] = ()
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Document:
    """One document: what it claims, and its tables."""

    path: str
    file: ClaimsFile
    tables: Mapping[str, Mapping[str, Any]]


def load_documents(project: Project) -> tuple[Document, ...]:
    """Read every document with claims, hypotheses first.

    Raises
    ------
    ConfigError
        Naming file and key of whatever is malformed, and a subject or claim given twice.
    """
    root = project.root
    paths = [path for pattern in CLAIMS for path in sorted(root.glob(pattern))]
    documents = tuple(_document(project, path) for path in paths)
    for index, document in enumerate(documents):
        if document.file.subject in {other.file.subject for other in documents[:index]}:
            raise ConfigError(f"{document.path}: subject '{document.file.subject}' is used by another document")
    return documents


def input_files(root: Path) -> list[Path]:
    """Return every file the errata depend on besides sources and configuration."""
    found = [path for path in root.glob("hypotheses/*/published/**/*") if path.is_file()]
    return sorted([*found, *(path for path in root.glob("documents/*/**/*") if path.is_file())])


def names_of(document: Document, documents: tuple[Document, ...], experiments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what expressions of one document may name."""
    others = {other.file.subject: other.tables for other in documents if other is not document}
    return {**others, "experiments": experiments, **document.tables}


def experiment_table(project: Project) -> dict[str, dict[str, Any]]:
    """Return the measured experiments as a table."""
    columns: dict[str, dict[str, Any]] = {}
    for experiment in load_set(project.root, MEASURED_SET):
        model, hardware = project.model(experiment.model), project.hardware(experiment.hardware)
        flops = gemm_flops_per_token(model)
        embedding = 2 * model.vocab_size * model.hidden_size
        values: dict[str, Any] = {
            "model": experiment.model,
            "family": experiment.family,
            "workload": experiment.workload.name,
            "series": f"{experiment.model}/{experiment.workload.name}/tp{experiment.tensor_parallel}",
            "setting": f"{experiment.family} tp{experiment.tensor_parallel}",
            "tp": Interval.exact(experiment.tensor_parallel),
            "layers": Interval.exact(model.num_hidden_layers),
            "billion_parameters": Interval.exact((flops / FLOPS_PER_WEIGHT + embedding) / 1e9),
            "flops_per_token": Interval.exact(flops),
            "peak_flops": Interval.exact(hardware.dense_bf16_tflops.value * 1e12),
        }
        for name, value in values.items():
            columns.setdefault(name, {})[experiment.id] = value
    return columns


def _document(project: Project, path: Path) -> Document:
    source = path.relative_to(project.root).as_posix()
    file = parse(ClaimsFile, read_yaml(path), source=source)
    ids = [claim.id for claim in file.claims]
    twice = sorted({text for text in ids if ids.count(text) > 1})
    if twice:
        raise config_error(source, [f"claims: id '{text}' is used twice" for text in twice])
    tables: dict[str, Mapping[str, Any]] = {
        **_long_tables(path.parent),
        **{entry.stem: _wide_table(entry) for entry in sorted(path.parent.glob("errata/*.csv"))},
        "figures": {name: _number(value) for name, value in file.figures.items()},
        "facts": {name: _number(fact.value) for name, fact in file.facts.items()},
        "steps": {name: _price(project, step, f"{source}: steps.{name}") for name, step in file.steps.items()},
    }
    return Document(source, file, tables)


def _number(value: float | str) -> Interval:
    return printed(value) if isinstance(value, str) else Interval.exact(value)


def _price(project: Project, step: Step, source: str) -> Interval:
    """Return one step's duration in us."""
    options = parse_options(step.options, source=f"{source}.options")
    model, hardware = project.model(step.model), project.hardware(step.hardware)
    kernels = project.kernels(options, step.hardware)
    built = build_step_time(options, model, hardware, step.tensor_parallel, kernels)
    return Interval.exact(built.explain(Batch(step.prefill, step.decode)).unrounded_us)


def _long_tables(folder: Path) -> dict[str, dict[str, dict[str, Interval]]]:
    """Return printed cells as tables: table, column, row."""
    tables: dict[str, dict[str, dict[str, Interval]]] = {}
    for path in sorted(folder.glob("*.csv")):
        for cell in load_cells(path, str):
            column = tables.setdefault(cell.table, {}).setdefault(_column_name(cell), {})
            column[cell.key] = _printed_cell(cell)
    return tables


def _printed_cell(cell: Cell) -> Interval:
    if cell.unit == "count" and cell.decimals == 0:
        return Interval.exact(cell.value)
    return printed(f"{cell.value:.{cell.decimals}f}")


def _column_name(cell: Cell) -> str:
    metric = cell.metric.removesuffix("_mean")
    if cell.statistic is Statistic.MEASURED:
        return f"measured_{metric}"
    suffix = {Statistic.DELTA: "_gain", Statistic.SIGNED_ERROR: "_signed"}.get(cell.statistic, "")
    return f"{cell.arm}_{metric}{suffix}"


def _wide_table(path: Path) -> dict[str, dict[str, Any]]:
    """Return a table with one line per row and one column per printed column."""
    records = csv_records(io.StringIO(read_text(path), newline=""), str(path))
    header = next(records, (0, []))[1]
    if header[:1] != [ROW] or len(header) < 2:
        raise ConfigError(f"{path}:1: the header must be '{ROW}' and at least one column")
    columns: dict[str, dict[str, Any]] = {name: {} for name in header[1:]}
    for line, cells in records:
        if len(cells) != len(header):
            raise ConfigError(f"{path}:{line}: must have {len(header)} fields")
        for name, text in zip(header[1:], cells[1:], strict=True):
            columns[name][cells[0]] = _entry(text, name)
    return columns


def _entry(text: str, column: str) -> Any:
    """Return a cell: a printed number, a whole number that is a count, or a word."""
    try:
        value = number_in(text)
    except ConfigError:
        return text
    rounded = "." in text or column.endswith(ROUNDED_UNITS)
    return printed(text) if rounded else Interval.exact(value)
