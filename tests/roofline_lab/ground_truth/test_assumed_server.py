"""Settings nobody stated: the same for every predictor, flagged, and never instead of what is stated."""

from __future__ import annotations

from datetime import date

import pytest

from roofline_lab.ground_truth.assumed_server import AHEAD_SINCE, memory_of, with_assumed_server
from roofline_lab.ground_truth.reading import load_experiment, load_set
from simulator.hardware import load_hardware
from simulator.model_files import load_model
from tests.roofline_lab.builders import ROOT
from tests.roofline_lab.predict.strangers import poisson

PARTS = ("known", "assumed")
LIMITS = {"token_budget": 2048, "prefix_caching": True, "client_offset_ms": 0.0}


def loaded(name):
    experiment = load_experiment(ROOT / "ground_truth" / name)
    model = load_model(ROOT / "configs" / "models" / f"{experiment.model}.json")
    return experiment, model, load_hardware(ROOT / "configs" / "hardware" / f"{experiment.hardware}.yaml")


@pytest.mark.parametrize("experiment", load_set(ROOT, "multi_rate"), ids=lambda one: one.id)
def test_the_estimate_of_kv_blocks_is_what_logs_of_dense_servers_say(experiment):
    _, model, hardware = loaded(experiment.id)
    settings = experiment.server.settings
    estimate = memory_of(experiment, model, hardware).kv_blocks
    # The one mixture of experts with a log takes images, and its description has neither their encoder nor the
    # attention in 16 bits that its checkpoint has.
    assert estimate == pytest.approx(settings.kv_blocks, rel=0.6 if model.num_local_experts else 0.025)


def test_a_server_counts_its_graphs_by_version_then_by_day_and_does_where_neither_is_known():
    experiment, model, hardware = loaded("61-llama-3-1-70b-tp4-codegen-4-1")

    def overhead_gib(software, day):
        server = experiment.server.model_copy(
            update={part: getattr(experiment.server, part).model_copy(update={"software": None}) for part in PARTS}
        )
        server = server.model_copy(update={"known": server.known.model_copy(update={"software": software})})
        changed = experiment.model_copy(update={"server": server, "date": day})
        return memory_of(changed, model, hardware).gib()["overhead_gib"]

    assert overhead_gib("vLLM 0.15.1", None) == overhead_gib(None, date(2025, 12, 1)) == 1.0
    assert overhead_gib("vLLM 0.19.0", None) == overhead_gib(None, AHEAD_SINCE) == overhead_gib(None, None) == 2.45


def test_what_is_stated_stays_as_it_is():
    experiment, model, hardware = loaded("20260217-155451-llama-2-7b-tp1-codegen")
    filled, notes = with_assumed_server(experiment, model, hardware, "vLLM 0.1.0")
    assert filled == experiment
    assert notes == ()


def test_the_software_a_person_names_decides_where_none_is_stated():
    experiment, model, hardware = loaded("jan30-llama2-7b-tp1-chatsweep")
    older, newer = (
        with_assumed_server(experiment, model, hardware, text)[0] for text in ("vLLM 0.13.0", "vLLM 0.15.1")
    )
    assert not older.server.engine_settings.get("schedule_ahead", False)
    assert newer.server.engine_settings["schedule_ahead"]


@pytest.mark.parametrize(("day", "ahead"), [(AHEAD_SINCE, True), (date(2026, 2, 16), False)])
def test_without_any_word_the_day_of_the_measurement_decides_and_the_page_says_so(stranger, day, ahead):
    stranger.add(date=day.isoformat(), load_points=[poisson()])
    assert stranger.evaluate() == 0
    assert f"measured {'since' if ahead else 'before'} 2026-02-17, so taken" in stranger.page
    assert "server_not_stated" in stranger.row("ttft_mean")["flags"]


def test_composing_ahead_shows_in_ttft_under_load(stranger):
    waits = []
    for software in ("vLLM 0.13.0", "vLLM 0.15.1"):
        if not (stranger.folder / "run-1").exists():
            stranger.add(load_points=[poisson(per_s=30.0)], server={"assumed": LIMITS})
        assert stranger.evaluate("--force", "--software", software) == 0
        waits.append(float(stranger.row("ttft_mean")["predicted"]))
        assert f"taken to be {software}, as --software says" in stranger.page
    assert waits[1] > waits[0]


def test_kv_blocks_and_largest_batch_matter_only_where_requests_share_the_server(stranger):
    stranger.add("alone")
    stranger.add("loaded", load_points=[poisson()])
    stranger.evaluate()
    (line,) = [line for line in stranger.page.splitlines() if "KV blocks are not stated" in line]
    assert line.split("|")[3].strip() == "loaded"
    assert "the largest batch is not stated: 256 requests" in stranger.page


def test_few_kv_blocks_limit_the_throughput_of_a_saturated_server(stranger):
    beyond = poisson(per_s=500.0, requests=80, state="saturated", duration_s=5.0)
    for name, blocks in (("many", 4000), ("few", 80)):
        stranger.add(name, load_points=[beyond], server={"known": {"kv_blocks": blocks}, "assumed": LIMITS})
    stranger.evaluate()
    many, few = (float(stranger.row("request_throughput", experiment=name)["predicted"]) for name in ("many", "few"))
    assert few < 0.7 * many
