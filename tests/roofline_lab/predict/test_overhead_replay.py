"""The published overhead arms, replayed: what the method gives, and what closes the gap of the fixed one.

The method `as_published` prices memory traffic alone. Upstream also priced attention, which exceeds that only where
several long requests decode together. Its kernel tables are not part of the project; where they are at hand, the
step time with that term is held to the published cells here.
"""

from __future__ import annotations

import csv
import json

import pytest

from roofline_lab.predict.arms import replay_of, run_lines
from roofline_lab.project import engine_options
from roofline_lab.report.design import overhead_parts_us
from roofline_lab.run_files import error_rows
from roofline_lab.vocabulary import Metric
from simulator.engine.loop import run as run_engine
from simulator.kernels.tables import load_tables
from simulator.metrics import measure
from simulator.steptime.build import build_step_time
from simulator.steptime.combination import COMBINATIONS
from simulator.steptime.cost import MICROSECONDS
from simulator.steptime.kernel_choice import choose_kernels
from simulator.steptime.options import KernelMfuOptions
from simulator.steptime.overhead import per_phase

METHOD = "as_published"
FIXED = "h2_fixed_overhead"
SCALED = "h2b_scaled_overhead"
# The arrival interval of this run was never published, and its requests overlap.
UNKNOWN = "dec17-tp1-qwen7-summarization"
ONE_GPU_CODE = "jan30-llama2-7b-tp1-codesweep"
# Percent of E2E. A tenth is the printed digit; overlap makes these runs react to arrival intervals known to some us.
CLOSE_PCT = 0.3
# The row of the TP 1 table that the published run cannot have used.
UNUSED_ROW = ("bf16,bf16,1,1024,22.03,0.001", "bf16,bf16,1,1024,22.03,0.0")


class WithDecodeAttention:
    """Memory traffic for prefill, and for decode the longer of memory and attention at the longest context."""

    def __init__(self, memory, kernels, overhead):
        self.memory, self.kernels, self.overhead = memory, kernels, overhead
        self.kv_breakpoints = kernels.kv_breakpoints
        self.combine = COMBINATIONS["weighted_average"]

    def step_time_us(self, sums):
        chunks, count = sums.prefill, sums.decode_count
        prefill_s = self.memory.prefill_seconds(chunks) if chunks else 0.0
        decode_s = self.kernels.decode_seconds(sums) if count else 0.0
        seconds = prefill_s + decode_s
        if chunks and count:
            seconds = self.combine(prefill_s, decode_s, sum(new for _, new in chunks), count)
        return int(seconds * MICROSECONDS + self.overhead(len(chunks), count) + 0.5)


def step_time(lab, run, tables):
    """Build the closing variant for the fixed overhead of one run."""
    hardware = lab.hardware(run.experiment.hardware)
    model, tensor_parallel = lab.model(run.experiment.model), run.experiment.tensor_parallel
    options = run.arm.steptime
    mfu = KernelMfuOptions(kind="kernels", style="mfu", source="measured", lookup="nearest")
    with_compute = options.model_copy(update={"compute_term": True, "mfu": mfu, "decode_attention": "max_kv"})
    kernels = choose_kernels(with_compute, hardware, embedded=None, tables=tables)
    rule = options.overhead
    overhead = per_phase(rule.step_us, rule.prefill_us, rule.mixed_prefill_us, scaled=rule.log_batch_scale)
    return WithDecodeAttention(
        build_step_time(options, model, hardware, tensor_parallel),
        build_step_time(with_compute, model, hardware, tensor_parallel, kernels),
        overhead,
    )


def closing_errors(lab, tables):
    """Return the E2E error of every experiment with the closing variant, percent."""
    errors = {}
    for run in lab.runs(FIXED):
        if (run.method.id, run.arm.name) != (METHOD, "fixed"):
            continue
        workload = replay_of(lab, run, "synchronous").workload
        options = engine_options(run.arm, run.experiment, source="test")
        done = run_engine(workload.requests, step_time(lab, run, tables), options)
        measured = run.experiment.point("synchronous").measured["e2e_mean"].value
        predicted = measure(run.method.definitions["e2e_mean"].predicted, done.requests)
        errors[run.experiment.id] = abs(predicted / measured - 1) * 100
    return errors


def published_errors(lab):
    """Return the published E2E error of the fixed arm by experiment, percent."""
    return {
        cell.key: cell.value
        for cell in lab.published[FIXED].cells
        if (cell.table, cell.arm, cell.metric, cell.statistic) == ("mape", "fixed", "e2e_mean", "mape")
    }


@pytest.fixture(scope="module")
def tables_folder(shared_dir, tmp_path_factory):
    """Return a copy of the measured kernel tables that may be edited."""
    source, target = shared_dir / "bench_data", tmp_path_factory.mktemp("tables")
    for path in source.rglob("*.csv"):
        copied = target / path.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(path.read_bytes())
    return target


def beyond_close(errors, published):
    """Return the experiments whose error is not close to the printed one, with the difference."""
    return {
        name: round(errors[name] - published[name], 1)
        for name in published
        if name != UNKNOWN and abs(errors[name] - published[name]) > CLOSE_PCT
    }


def test_attention_at_the_longest_context_closes_the_fixed_arm_at_two_and_four_gpus(lab, tables_folder):
    found = beyond_close(closing_errors(lab, load_tables(tables_folder)), published_errors(lab))
    # Today's TP 1 table has a row for batch 1 and context 1024 that makes attention several times too slow.
    assert list(found) == [ONE_GPU_CODE]
    assert found[ONE_GPU_CODE] > 30


def test_without_one_row_of_the_table_every_experiment_of_the_fixed_arm_comes_out(lab, tables_folder):
    path = tables_folder / "mha" / "decode" / "h100" / "32-32-128-tp1.csv"
    text = path.read_text(encoding="utf-8")
    assert text.count(UNUSED_ROW[0]) == 1
    path.write_text(text.replace(*UNUSED_ROW), encoding="utf-8")
    errors = closing_errors(lab, load_tables(tables_folder))
    found = beyond_close(errors, published_errors(lab))
    assert found == {}
    known = {**errors, UNKNOWN: published_errors(lab)[UNKNOWN]}
    assert sum(known.values()) / len(known) == pytest.approx(70.9, abs=0.06)


def row_errors(lab, hypothesis, arm, metric):
    """Return the error rows of one arm by experiment."""
    runs = [run for run in lab.runs(hypothesis) if (run.method.id, run.arm.name) == (METHOD, arm)]
    rows = [json.loads(line) for run in runs for line in run_lines(lab, run).splitlines()]
    return {row.experiment: row for row in error_rows(rows, (metric,))}


def test_the_scaled_arm_comes_out_within_one_point_in_every_experiment(lab):
    rows = row_errors(lab, SCALED, "scaled", Metric.TPOT_MEAN)
    published = {
        cell.key: cell.value
        for cell in lab.published[SCALED].cells
        if (cell.table, cell.arm, cell.statistic) == ("tpot", "scaled", "mape")
    }
    assert set(published) == set(rows)
    assert all(abs(rows[name].ape_pct - value) < 1.0 for name, value in published.items())
    assert sum(row.ape_pct for row in rows.values()) / 13 == pytest.approx(17.3, abs=0.1)


def test_the_fixed_arm_comes_out_except_for_code_on_the_smallest_model(lab):
    rows = row_errors(lab, FIXED, "fixed", Metric.E2E_MEAN)
    found = beyond_close({name: row.ape_pct for name, row in rows.items()}, published_errors(lab))
    assert sorted(found) == [f"jan30-llama2-7b-tp{tp}-codesweep" for tp in (1, 2, 4)]
    assert all(difference < 0 for difference in found.values())


def test_the_overheads_of_every_model_and_tp_are_the_published_ones(lab):
    path = lab.root / "hypotheses" / SCALED / "published" / "errata" / "overheads.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        published = {
            (row["layers"], row["tp"], row["decode_us"], row["prefill_us"], row["mixed_us"])
            for row in csv.DictReader(stream)
        }
    scaled = next(arm for arm in lab.arms(SCALED, METHOD) if arm.name == "scaled")
    found = set()
    for experiment in lab.experiments(SCALED):
        model = lab.model(experiment.model)
        parts = overhead_parts_us(scaled.steptime, model, experiment.tensor_parallel)
        found.add((str(model.num_hidden_layers), str(experiment.tensor_parallel), *(f"{part:g}" for part in parts)))
    assert found == published
