"""Small made-up experiments of a stranger: a folder anywhere on disk, with models and GPUs beside it."""

from __future__ import annotations

import copy
import csv
import json

import yaml

from roofline_lab.cli.main import main
from tests.roofline_lab.builders import ROOT

CALIBRATION = "h100_vllm"
CALIBRATION_FILE = ROOT / "configs" / "calibration" / f"{CALIBRATION}.yaml"
LATENCIES = {"ttft": "first_token", "tpot": "inter_token", "itl": "inter_token", "e2e": "request_latency"}
# A dense model of no family in any fit, as Hugging Face writes it.
STRANGE_MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "num_hidden_layers": 20,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "intermediate_size": 6144,
    "vocab_size": 50000,
    "torch_dtype": "bfloat16",
    "hidden_act": "silu",
}


def latency(name, value):
    """Return one measured latency in ms."""
    return {"value": value, "unit": "ms", "definition": LATENCIES[name.split("_")[0]]}


def rate(value, unit="1/s"):
    """Return one measured throughput."""
    return {"value": value, "unit": unit, "definition": "whole_run"}


def point(identifier="synchronous", concurrency=1, requests=8, **changes):
    """Return a load point with the three means; 20 tokens after a prompt of 500."""
    means = {"ttft_mean": latency("ttft", 30.0), "e2e_mean": latency("e2e", 220.0)}
    return {
        "id": identifier,
        "arrivals": {"kind": "closed_loop", "concurrency": concurrency},
        "requests": {"sent": requests, "completed": requests, "basis": "made up"},
        "measured": means,
        **changes,
    }


def poisson(identifier="stage_0", per_s=4.0, requests=40, state="not_saturated", **changes):
    """Return a load point with random arrivals."""
    return point(
        identifier,
        requests=requests,
        arrivals={"kind": "poisson", "rate_per_s": per_s},
        rate={"requested_per_s": per_s},
        **({"saturation": {"state": state, "basis": "made up"}} if state else {}),
        **changes,
    )


def experiment(identifier, **changes):
    """Return the content of one `experiment.yaml`; never seen unless the changes say so."""
    return {
        "id": identifier,
        "family": "Strange-1B",
        "model": "strange-1b",
        "hardware": "h100-sxm",
        "tensor_parallel": 1,
        "tool": "guidellm",
        "side": "client",
        "date": "2026-03-01",
        "date_basis": "made up",
        "source": {"document": "none", "date": "2026-03-01", "licence": "none"},
        "server": {"assumed": {"token_budget": 2048, "prefix_caching": True, "client_offset_ms": 0.0}},
        "workload": {
            "name": "their own",
            "prompt": {"kind": "constant", "tokens": 500},
            "output": {"kind": "constant", "tokens": 20},
        },
        "load_points": [point()],
        **changes,
    }


SEEN = {"family": "Llama2-7B", "model": "llama-2-7b-hf"}


class Stranger:
    """A folder of experiments, and what an evaluation of it says."""

    def __init__(self, folder):
        self.folder = folder / "measurements"
        self.out = folder / "out"
        self.folder.mkdir(parents=True)
        self.model("strange-1b", STRANGE_MODEL)

    def model(self, name, config):
        """Put a model beside the experiments."""
        path = self.folder / "models" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(config), encoding="utf-8")

    def add(self, identifier="run-1", **changes):
        """Write one experiment."""
        path = self.folder / identifier / "experiment.yaml"
        path.parent.mkdir(parents=True)
        content = copy.deepcopy(experiment(identifier, **changes))
        for key in ("date", "source"):
            content[key] = yaml.safe_load(yaml.safe_dump(content[key]).replace("'", ""))
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    def evaluate(self, *more, steptime=CALIBRATION, path=None):
        """Run the command; returns its exit code."""
        arguments = ["evaluate", str(path or self.folder), "--steptime", str(steptime), "--out", str(self.out)]
        return main([*arguments, "--root", str(ROOT), "--jobs", "1", *map(str, more)])

    @property
    def page(self):
        """The page as written."""
        return (self.out / "EVALUATION.md").read_text(encoding="utf-8")

    def rows(self, metric=None, **wanted):
        """Return the rows of `predictions.csv` of one figure."""
        with (self.out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        wanted |= {} if metric is None else {"metric": metric}
        return [row for row in rows if all(row[key] == value for key, value in wanted.items())]

    def row(self, metric, **wanted):
        """Return the one such row."""
        (found,) = self.rows(metric, **wanted)
        return found

    def numbers(self, **wanted):
        """Return the rows of `numbers.csv`."""
        with (self.out / "numbers.csv").open(encoding="utf-8", newline="") as stream:
            return [row for row in csv.DictReader(stream) if all(row[key] == value for key, value in wanted.items())]


def section(page, title):
    """Return the text under one heading."""
    begin = page.index(f"\n## {title}")
    end = page.find("\n## ", begin + 4)
    return page[begin:end]
