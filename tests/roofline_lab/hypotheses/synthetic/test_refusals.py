"""What is refused before any run, with one clear message each."""

from __future__ import annotations

import pytest

from roofline_lab.project import load_project
from simulator.errors import ConfigError
from tests.roofline_lab.hypotheses.synthetic.toys import TOY, toy

MONOTONE = {"id": "c", "kind": "monotone", "column": "ratio", "expect": "increasing"}


def columns(**changes):
    return {"columns": [*TOY["columns"], {"id": "extra", "label": "e", "unit": "us"} | changes]}


def criteria(**changes):
    return {"criteria": [{"id": "c", "kind": "every_row", "column": "ratio", "at_least": 1} | changes]}


def arms(**half):
    return {"arms": {"full": {"bandwidth_efficiency": 1.0}, "half": {"bandwidth_efficiency": 0.5} | half}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (columns(value="none.step_us"), "unknown arm 'none'; allowed: full, half"),
        (columns(value="full.other.step_us"), "unknown batch 'other' in sweep batch; allowed: decode"),
        (columns(value="full.step_ms"), "unknown quantity 'step_ms'; did you mean 'step_us'?"),
        (columns(value="later + 1"), "unknown 'later' in sweep batch"),
        (columns(value="full.step_us +"), "is not a formula"),
        (columns(value="1", sweeps=["other"]), "columns.extra.sweeps: unknown 'other'; allowed: batch"),
        (columns(id="requests", value="1"), "is also an axis of sweep batch"),
        (columns(id="ratio", value="1"), "'ratio' is given twice"),
        (criteria(column="ration"), "criteria.c.column: unknown 'ration'; did you mean 'ratio'?"),
        (criteria(sweeps=["other"]), "criteria.c.sweeps: unknown 'other'"),
        (criteria(where="size > 1"), "criteria.c.where: unknown 'size'"),
        ({"criteria": [{"id": "c", "kind": "summary", "of": "largst", "above": 1}]}, "did you mean 'largest'?"),
        (
            {"criteria": [{"id": "c", "kind": "monotone", "column": "ratio", "along": "k", "expect": "increasing"}]},
            "no axis",
        ),
        (arms(lm_head=True), "'lm_head' differs from full"),
        (arms(bandwidth_efficiency=1.0), "'bandwidth_efficiency' differs between no two arms"),
        (arms(bandwith_efficiency=0.5), "bandwith_efficiency"),
        (arms(engine={"token_budget": 8}), "prices single steps; drop it"),
        ({"setup": {"model": "llama-4", "hardware": "h100-sxm"}}, "unknown model 'llama-4'"),
        ({"setup": {"model": "llama-3.1-8b", "hardware": "h1000"}}, "setup.hardware: unknown GPU 'h1000'"),
        ({"kernels": ["measured"]}, "kernels"),
        ({"kind": "synthethic"}, "unknown kind 'synthethic'; did you mean 'synthetic'?"),
        ({"vanishes_by": "doubled"}, "vanishes_by: unknown 'doubled'; did you mean 'doubles'?"),
        ({"references": ["h99"]}, "unknown hypothesis 'h99'"),
        ({"sweeps": [TOY["sweeps"][0] | {"where": "requests > 4"}]}, "has no point"),
        ({"sweeps": [TOY["sweeps"][0] | {"axes": {"requests": [1, 1]}}]}, "the same axis values"),
        ({"sweeps": [TOY["sweeps"][0] | {"axes": {"requests": [1], "tensor_parallel": [3]}}]}, "not divisible"),
    ],
)
def test_one_mistake_gives_one_message_that_names_it(bench, changes, told):
    message = bench.refusal(**changes)
    assert told in message
    assert "hypotheses/toy_half_bandwidth/hypothesis.yaml" in message


def test_kernels_are_chosen_in_one_place(bench):
    mfu = {"kind": "kernels", "style": "mfu", "source": "tabulated"}
    message = bench.refusal(base={"family": "mfu_roofline", "mfu": mfu})
    assert "mfu.source: is chosen by `kernels: [...]`" in message


def test_all_mistakes_of_a_file_are_told_at_once(bench):
    message = bench.refusal(**columns(value="none.step_us"), **criteria(where="size > 1"))
    assert "2 problems" in message


def test_a_published_number_about_nothing_is_refused(bench):
    folder = bench.root / "hypotheses" / bench.add(toy()) / "published"
    folder.mkdir()
    (folder / "source.yaml").write_text("document: d\ndate: '2026-01-01'\nmethod: measured\n", encoding="utf-8")
    header = "table,arm,scope,key,metric,statistic,value,unit,decimals"
    (folder / "cells.csv").write_text(
        f"{header}\nt,all,row,batch/requests=1,ration,value,2,ratio,0\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError, match=r"cells\.csv:2: metric: unknown column or summary 'ration'"):
        load_project(bench.root)


def test_a_number_typed_by_hand_is_refused(bench):
    finding = {"finding": "It is 2.0 times as long", "type": "Confirmation", "action": "None"}
    assert "'2.0' is typed by hand" in bench.refusal(findings=[finding])
