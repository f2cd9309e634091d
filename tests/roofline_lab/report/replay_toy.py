"""A made-up experiment and its trace: few requests, round numbers, as a server might have measured them."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import shutil

import yaml

from tests.roofline_lab.builders import ROOT

EXPERIMENT = "toy-run"
COLUMNS = ("index", "stage", "arrival_time_us", "input_tokens", "output_tokens_true", "has_error", "ttft_ms", "e2e_ms")


def requests(count=12, stage=0, first=0, begin_us=0, gap_us=500_000, **changes):
    """Return rows of one stage: 500 prompt tokens, 20 output tokens, TTFT 30 ms, E2E 230 ms."""
    return [
        {
            "index": str(first + place),
            "stage": stage,
            "arrival_time_us": begin_us + place * gap_us,
            "input_tokens": 500 + place,
            "output_tokens_true": 20,
            "has_error": 0,
            "ttft_ms": 30.0 + place / 10,
            "e2e_ms": 230.0 + place,
        }
        | changes
        for place in range(count)
    ]


def load_point(rows, index, **changes):
    """Return a load point whose figures are those of the rows of one stage."""
    own = [row for row in rows if row["stage"] == index and not row["has_error"]]
    means = {name: sum(one[column] for one in own) / len(own) for name, column in FIGURES.items()}
    return {
        "id": f"stage_{index}",
        "arrivals": {"kind": "constant_rate", "rate_per_s": 2.0},
        "benchmark_index": index,
        "rate": {"requested_per_s": 2.0},
        "requests": {"sent": len(own), "completed": len(own), "basis": "made up"},
        "saturation": {"state": "not_saturated", "basis": "made up"},
        "measured": {
            "ttft_mean": {"value": round(means["ttft_mean"], 4), "unit": "ms", "definition": "first_token"},
            "e2e_mean": {"value": round(means["e2e_mean"], 4), "unit": "ms", "definition": "request_latency"},
        },
    } | changes


FIGURES = {"ttft_mean": "ttft_ms", "e2e_mean": "e2e_ms"}


def experiment(points, **changes):
    """Return an experiment with these load points, measured by the server itself."""
    return {
        "id": EXPERIMENT,
        "family": "Llama2-7B",
        "model": "llama-2-7b-hf",
        "hardware": "h100-sxm",
        "tensor_parallel": 1,
        "tool": "guidellm",
        "side": "server",
        "date": dt.date(2026, 1, 21),
        "date_basis": "made up",
        "source": {"document": "a made-up document", "date": dt.date(2026, 1, 21), "licence": "none needed"},
        "server": {"known": {"token_budget": 2048, "prefix_caching": True, "client_offset_ms": 10.0}},
        "workload": {
            "name": "train",
            "prompt": {"kind": "constant", "tokens": 505},
            "output": {"kind": "constant", "tokens": 20},
            "prefix": {"kind": "none"},
        },
        "load_points": points,
    } | changes


def write_experiment(root, content):
    """Write an experiment into a project folder that holds nothing but what experiments refer to."""
    if not (root / "configs").is_dir():
        shutil.copytree(ROOT / "configs", root / "configs")
        (root / "ground_truth").mkdir(parents=True)
        shutil.copy2(ROOT / "ground_truth" / "vocabulary.yaml", root / "ground_truth")
    folder = root / "ground_truth" / content["id"]
    folder.mkdir(exist_ok=True)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return folder


def trace_text(rows, columns=COLUMNS):
    """Return rows as the text of a trace."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def write_trace(path, rows, columns=COLUMNS):
    """Write rows as a trace, compressed where the name says so."""
    content = trace_text(rows, columns).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path
