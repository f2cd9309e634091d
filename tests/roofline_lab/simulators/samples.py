"""Questions and simulators that tests ask: fakes, each of which does one thing wrong at its third load point."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import yaml

from roofline_lab.simulators.contract import (
    CONTRACT,
    AskedModel,
    AskedRequest,
    AskedWorkload,
    LengthSummary,
    Parallelism,
    Precision,
    Question,
    asked_metric,
)
from roofline_lab.simulators.description import CommandSimulator
from tests.roofline_lab.builders import edit_yaml

FAKE = Path(__file__).parent / "fakes" / "fake.py"
ASKED = ("ttft_mean", "itl_ratio_of_means", "e2e_mean")
RIGHT = {"ttft_mean": 80.0, "itl_ratio_of_means": 8.0, "e2e_mean": 1600.0}
# Long enough that a busy machine starts Python in it; only what hangs waits for it.
PATIENCE_S = 30.0
HYPOTHESIS = "h90_others"
# Experiments with one load point each, so that a fake's third load point is the third of them.
EXPERIMENTS = (
    "jan30-llama2-7b-tp1-chatsweep",
    "jan30-llama2-7b-tp1-codesweep",
    "jan30-llama2-7b-tp2-chatsweep",
    "jan30-llama2-7b-tp2-codesweep",
)
SET = "synchronous_13"
TEXTS = ("Root Cause Analysis", "Devil's Advocate", "Implications for Users", "Parameters and Generality")


def question(name="my-run/c8", requests=2, asked=ASKED, warm_up=0, options=None):
    """Return what is asked of one load point of so many requests, each of 100 tokens answered with 11."""
    sent = tuple(
        AskedRequest(id=f"request_{i}", arrival_ms=0.0, prompt_tokens=100, output_tokens=11, warm_up=i < warm_up)
        for i in range(requests)
    )
    return Question(
        contract=CONTRACT,
        id=name,
        model=AskedModel(id="llama-2-7b-hf", config={}),
        gpu={},
        parallelism=Parallelism(tensor_parallel=1),
        precision=Precision(weights="bfloat16", activations="bfloat16", kv_cache="bfloat16"),
        server={},
        workload=AskedWorkload(
            requests_counted=requests - warm_up,
            arrivals={"kind": "closed_loop", "concurrency": 1},
            prompt_tokens=LengthSummary(mean=100.0, min=100, max=100),
            output_tokens=LengthSummary(mean=11.0, min=11, max=11),
            requests=sent,
        ),
        asked=tuple(asked_metric(metric) for metric in asked),
        options=options or {},
    )


def questions(count=5):
    """Return so many load points of one experiment."""
    return [question(f"my-run/c{place}") for place in range(1, count + 1)]


def program(behaviour="right", timeout_s=PATIENCE_S, **changes):
    """Return a fake that does one thing wrong, as `fakes/fake.py` knows it."""
    words = (sys.executable, str(FAKE))
    return CommandSimulator(
        kind="command",
        **{"run": (*words, behaviour), "version": (*words, "--version"), "timeout_s": timeout_s} | changes,
    )


def describe(root, name, behaviour="right", **changes):
    """Write `configs/simulators/<name>.yaml`, a fake beside it that does one thing wrong."""
    folder = root / "configs" / "simulators"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(FAKE, folder / "fake.py")
    words = [sys.executable, "configs/simulators/fake.py"]
    simulator = {"kind": "command", "run": [*words, behaviour], "version": [*words, "--version"], **changes}
    content = {"id": name, "title": f"A fake ({behaviour})", "simulator": {"timeout_s": PATIENCE_S, **simulator}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def hypothesis(arms, method="corrected", chosen_set=SET, **changes):
    """Return a hypothesis whose first arm is ours and whose others are predicted by others."""
    return {
        "id": HYPOTHESIS,
        "title": "Others",
        "claim": "Another simulator is closer.",
        "diagnostic": "If not, ours is.",
        "family": "structural-model",
        "vvuq": "validation",
        "tier": 1,
        "base": {"family": "mfu_roofline", "bandwidth_efficiency": 0.82},
        "arms": {"ours": {}, **arms},
        "varied": ["simulator"],
        "methods": [method],
        "ground_truth": {"set": chosen_set},
        "metrics": ["ttft_mean", "tpot_mean", "e2e_mean"],
        "criteria": [
            {"id": f"closer_{arm}", "kind": "below_arm", "metric": "tpot_mean", "of": arm, "over": "ours"}
            for arm in arms
        ],
    } | changes


def write_hypothesis(root, spec):
    """Write the folder of a hypothesis with texts that say nothing, and return it."""
    folder = root / "hypotheses" / spec["id"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hypothesis.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    text = "".join(f"## {title}\n\nNothing.\n\n" for title in TEXTS)
    (folder / "discussion.md").write_text(text, encoding="utf-8")
    return folder


def keep_experiments(root, names=EXPERIMENTS):
    """Let the set of synchronous experiments hold some of them alone."""
    edit_yaml(root / "ground_truth" / "sets.yaml", lambda content: content["sets"][SET].update(experiments=list(names)))
