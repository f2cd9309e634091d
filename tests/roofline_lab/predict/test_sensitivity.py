"""What an assumption about a server costs: the prediction with it the other way round, beside the one on the page."""

from __future__ import annotations

import re

import pytest

from roofline_lab.predict import sensitivity
from tests.roofline_lab.predict.strangers import Stranger, point, poisson

ASSUMED = {"token_budget": 2048, "prefix_caching": True, "client_offset_ms": 0.0}
SHARED = {"kind": "shared", "tokens": 400, "counted": "on_top"}


@pytest.fixture
def stranger(tmp_path):
    return Stranger(tmp_path)


def rows(page):
    """Return the table of assumptions: what is assumed -> its cells."""
    table = page.split("**What the assumptions about servers cost**")[1].split("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:2] == "| "]
    return {cells[0]: cells for cells in lines[1:] if not cells[1].startswith(":")}


def unmoved(page):
    """Return the sentence about assumptions that move no mean."""
    return page.split("Also assumed, ")[1].split("\n")[0]


def moved(cell):
    before, after = re.match(r"([\d.]+) -> ([\d.]+)", cell).groups()
    return float(before), float(after)


def workload(prefix):
    lengths = {"prompt": {"kind": "constant", "tokens": 500}, "output": {"kind": "constant", "tokens": 20}}
    return {"name": "their own", **lengths, **({"prefix": prefix} if prefix else {})}


def test_every_assumption_is_printed_with_the_prediction_the_other_way_round(stranger):
    stranger.add(workload=workload(SHARED), load_points=[poisson()])
    assert stranger.evaluate() == 0
    found, still = rows(stranger.page), unmoved(stranger.page)
    assert found["prefix caching on"][1] == "off"
    assert "asynchronous scheduling on" in found
    before, after = moved(found["prefix caching on"][4])
    assert after > 1.05 * before
    assert still.startswith("moving no mean by 1 %: ")
    assert "a budget of 2048 tokens (not 8192)" in still
    assert "at most 256 requests in a batch (not 1024)" in still
    assert "KV blocks (not half of them" in still


def test_the_other_way_round_is_what_stating_it_predicts(stranger):
    stranger.add("assumed", workload=workload(SHARED), load_points=[point()])
    known = {"known": {"prefix_caching": False}, "assumed": {"token_budget": 2048, "client_offset_ms": 0.0}}
    stranger.add("stated", workload=workload(SHARED), load_points=[point()], server=known)
    assert stranger.evaluate() == 0
    table = stranger.page.split("cost**")[1].split("\n## ")[0]
    (line,) = [line for line in table.splitlines() if "prefix caching on" in line]
    _, after = moved(line.split("|")[5].strip())
    assert after == pytest.approx(float(stranger.row("ttft_mean", experiment="stated")["predicted"]), rel=1e-3)


def test_what_is_stated_is_no_assumption(stranger):
    known = {
        "token_budget": 2048,
        "prefix_caching": False,
        "software": "vLLM 0.11.0",
        "max_running": 128,
        "kv_blocks": 20000,
        "client_offset_ms": 0.0,
    }
    stranger.add(server={"known": known}, load_points=[point()])
    assert stranger.evaluate() == 0
    assert "What the assumptions about servers cost" not in stranger.page
    assert "Also assumed" not in stranger.page


def test_prompts_that_share_nothing_cost_no_simulation(stranger):
    stranger.add(load_points=[point()])
    assert stranger.evaluate() == 0
    assert "prefix caching on: prompts share nothing" in unmoved(stranger.page)


@pytest.mark.parametrize("blocks", [{}, {"kv_blocks": 70}])
def test_a_run_that_stays_below_a_limit_is_the_one_that_other_limits_give(stranger, monkeypatch, blocks):
    """Two requests of 520 tokens at a time take 66 blocks of 16: under half of what the GPU has, but not of 70."""
    server = {"assumed": {"token_budget": 2048, "client_offset_ms": 0.0, **blocks}, "known": {"prefix_caching": False}}
    stranger.add(load_points=[point("two", concurrency=2)], server=server)
    asked = []
    simulated = sensitivity._predicted

    def counted(target, predictor, assumption):
        asked.append(*assumption.change)
        return simulated(target, predictor, assumption)

    monkeypatch.setattr(sensitivity, "_predicted", counted)
    assert stranger.evaluate() == 0
    short, page = tuple(asked), stranger.page
    monkeypatch.setattr(sensitivity, "_same_run", lambda *_: False)
    assert stranger.evaluate("--force") == 0
    assert stranger.page == page
    kept = {"max_running"} if blocks else {"max_running", "kv_blocks"}
    assert set(asked[len(short) :]) - set(short) == kept


def test_the_busiest_load_point_that_kept_up_is_looked_at(stranger):
    points = [poisson("slow", 1.0), poisson("fast", 5.0), poisson("lost", 9.0, state="saturated")]
    stranger.add(load_points=points)
    assert stranger.evaluate() == 0
    assert {cells[2] for cells in rows(stranger.page).values()} == {"run-1/fast"}


def test_a_dear_assumption_is_named_beside_the_result(stranger, capsys):
    stranger.add(workload=workload(SHARED), load_points=[poisson()])
    stranger.evaluate()
    assert "assumed, and worth stating: " in capsys.readouterr().out


def test_facts_by_option_take_the_place_of_assumptions_alone(stranger):
    stranger.add("assumed", workload=workload(SHARED), load_points=[point()])
    known = {"known": {"prefix_caching": False}, "assumed": {"token_budget": 2048, "client_offset_ms": 0.0}}
    stranger.add("stated", workload=workload(SHARED), load_points=[point()], server=known)
    assert stranger.evaluate("--server", "prefix_caching=off") == 0
    predicted = [stranger.row("ttft_mean", experiment=name)["predicted"] for name in ("assumed", "stated")]
    assert predicted[0] == predicted[1]
    assert "stated by --server: prefix_caching off" in stranger.page
    assert "prefix caching on" not in stranger.page


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("tp=2", "--server: tensor_parallel: every experiment names its own"),
        ("prefix=off", "prefix: unknown"),
    ],
)
def test_a_fact_that_no_evaluation_can_take_is_refused(stranger, capsys, option, message):
    stranger.add(load_points=[point()])
    assert stranger.evaluate("--server", option) == 2
    assert message in capsys.readouterr().err
