"""What a question may say, which servers it asks about, and what is refused before anything runs."""

from __future__ import annotations

import pytest
import yaml

from roofline_lab.capacity.question import question_of, variants, workload_of
from roofline_lab.capacity.serve import Simulated
from roofline_lab.json_schemas import json_schema
from roofline_lab.places import SHIPPED
from simulator.errors import ConfigError
from tests.paths import ROOT

LENGTHS = {"prompt": {"kind": "constant", "tokens": 500}, "output": {"kind": "constant", "tokens": 20}}


def question(**changes):
    data = {"model": "llama-3.1-8b", "workload": LENGTHS, "slo": "ttft_p99<=500ms", **changes}
    return question_of(data, "q.yaml", ROOT)


def test_every_combination_of_listed_values_is_a_server_in_their_order():
    asked = question(hardware=["h100-sxm", "h200-sxm"], tensor_parallel=[1, 2], engine={"max_running": [64, 256]})
    names = [each.name for each in variants(asked, "q.yaml")]
    assert names[:3] == [
        "llama-3.1-8b h100-sxm TP1 max_running=64",
        "llama-3.1-8b h100-sxm TP1 max_running=256",
        "llama-3.1-8b h100-sxm TP2 max_running=64",
    ]
    assert len(set(names)) == 8
    assert variants(asked, "q.yaml")[0].data["engine"] == {"max_running": 64}


def test_arrivals_are_random_where_nobody_says_otherwise_and_keep_what_is_said():
    (plain,) = variants(question(), "q.yaml")
    assert plain.spec_at(3.0, 100).workload.arrivals.kind == "poisson"
    (bursty,) = variants(question(workload={**LENGTHS, "arrivals": {"kind": "gamma", "cv": 2.0}}), "q.yaml")
    arrivals = bursty.spec_at(3.0, 100).workload.arrivals
    assert (arrivals.kind, arrivals.cv, arrivals.rate_per_s) == ("gamma", 2.0, 3.0)
    (loop,) = variants(question(load="concurrency"), "q.yaml")
    assert loop.spec_at(7.0, 100).workload.arrivals.concurrency == 7


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"slo": "ttft_p99<=500"}, "q.yaml: slo: 'ttft_p99<=500': 500 of what?"),
        ({"workload": "chatt"}, "did you mean 'chat'"),
        ({"workload": {"prompt": LENGTHS["prompt"]}}, "no lengths of output"),
        ({"workload": {}}, "no lengths of prompt and output"),
        (
            {"workload": {**LENGTHS, "arrivals": {"kind": "poisson", "rate_per_s": 3.0}}},
            "the load is what is looked for",
        ),
        ({"workload": {**LENGTHS, "requests": 0}}, "requests"),
        ({"models": "x"}, "unknown key; did you mean 'model'"),
        ({"at": -1.0}, "greater than 0"),
        ({"load": "concurrency", "at": 1.5}, "give a whole number"),
        ({"hardware": []}, "hardware"),
        ({"price_per_gpu_hour": {"b200": 5.0}}, "price_per_gpu_hour.b200-sxm: no server is on it, but on h100-sxm"),
    ],
)
def test_what_is_wrong_is_refused_with_what_to_write(changes, told):
    with pytest.raises(ConfigError) as refused:
        question(**changes)
    assert told in str(refused.value)


def test_more_servers_than_anybody_reads_are_refused():
    asked = question(engine={"max_running": list(range(1, 100)), "token_budget": list(range(100, 200))})
    with pytest.raises(ConfigError, match="9900 servers are asked about"):
        variants(asked, "q.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "workloads").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_workload_can_be_asked_about_and_says_that_nobody_measured_it(path):
    (server,) = variants(question(workload=path.stem), "q.yaml")
    assert server.spec_at(1.0, 10).workload.requests == 10
    assert "measured by nobody" in yaml.safe_load(path.read_text())["about"]
    assert "about" not in workload_of(path.stem, "q.yaml", ROOT)


def test_the_schema_of_questions_is_the_record_that_reads_them():
    assert set(json_schema("question")["properties"]) >= {"model", "hardware", "workload", "slo", "at", "load"}


def test_a_lab_finds_its_own_model_and_those_that_are_shipped(tmp_path):
    own = tmp_path / "configs" / "models" / "mine.json"
    own.parent.mkdir(parents=True)
    own.write_text((ROOT / "configs" / "models" / "llama-3.1-8b.json").read_text())
    data = {"model": ["mine", "llama-3.1-8b"], "workload": "chat", "slo": "ttft_p99<=500ms"}
    mine, shipped = variants(question_of(data, "q.yaml", tmp_path), "q.yaml", tmp_path)
    assert mine.spec_at(1.0, 10).model == str(own)
    assert shipped.spec_at(1.0, 10).model == "llama-3.1-8b"
    assert mine.name == "mine h100-sxm TP1"
    assert Simulated(mine, SHIPPED / "configs").setup.hardware.id == "h100-sxm"


def test_a_price_may_name_a_gpu_as_people_do():
    assert question(hardware="h200-sxm", price_per_gpu_hour={"H200": 3.5}).price_per_gpu_hour == {"h200-sxm": 3.5}
