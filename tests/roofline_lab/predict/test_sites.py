"""The client's time belongs to the site: known, estimated from one light load point, or a range."""

from __future__ import annotations

import math

import pytest

from roofline_lab.calibration.constants import SITES
from roofline_lab.predict.sites import further_site
from simulator.errors import ConfigError
from tests.roofline_lab.predict.strangers import latency, point

HERE = "our cluster"
KNOWN = next(site for site in SITES if site.tool == "guidellm")


def measured(ttft_ms, **changes):
    """Return a load point with this mean TTFT."""
    return point(measured={"ttft_mean": latency("ttft", ttft_ms), "e2e_mean": latency("e2e", 220.0)}, **changes)


def flags(row):
    """Return the flags of one prediction."""
    return set(row["flags"].split(";"))


def test_a_site_of_the_fit_has_its_constant_and_no_flag(stranger):
    stranger.add("known", site=KNOWN.name)
    stranger.add("new", site=HERE)
    stranger.evaluate()
    known, new = (stranger.row("ttft_mean", experiment=name) for name in ("known", "new"))
    assert known["predicted"] == new["predicted"], "without an estimate, the constant of the same tool"
    assert "site_not_calibrated" not in flags(known)
    assert "site_not_calibrated" in flags(new)


def test_a_site_outside_the_fit_is_told_with_the_range_of_a_further_one(stranger, capsys):
    stranger.add(site=HERE)
    stranger.evaluate()
    printed = capsys.readouterr().out
    for text in (printed, stranger.page):
        assert f"the client's time at {HERE} was not calibrated: 5.6 ms per request are taken" in text
        assert "where a further site has 1.5 to 16.8 ms (90 %)" in text


def test_figures_of_the_server_need_no_site(stranger):
    stranger.add(side="server")
    stranger.evaluate()
    assert not {"site_not_calibrated", "site_estimated"} & flags(stranger.row("ttft_mean"))


def test_the_range_of_a_further_site_is_that_of_one_more_draw_of_its_logarithm():
    low_us, high_us = further_site([4000.0, 9000.0])
    half = 6.314 * math.log(9000 / 4000) / math.sqrt(2) * math.sqrt(1.5)
    assert (low_us, high_us) == (pytest.approx(6000 * math.exp(-half)), pytest.approx(6000 * math.exp(half)))
    assert further_site([4000.0]) is None, "one site says nothing of the spread"
    wide, narrow = further_site([4000.0, 9000.0]), further_site([4000.0, 9000.0] * 6)
    assert narrow[1] - narrow[0] < wide[1] - wide[0], "more sites say more"


def test_a_fleet_says_what_its_sites_have_in_common_and_how_far_a_further_one_may_be(stranger):
    stranger.add(site=HERE)
    stranger.add("known", site="benchmark_serving.py/2026")
    stranger.evaluate(steptime="vllm_fleet")
    assert "what the sites of the fit have in common, where a further site has" in stranger.page
    assert "site_not_calibrated" in flags(stranger.row("ttft_mean", experiment="run-1"))
    assert "site_not_calibrated" not in flags(stranger.row("ttft_mean", experiment="known"))


def test_the_lightest_load_point_tells_the_clients_time_at_its_site_and_is_no_test_of_ttft(stranger):
    stranger.add("light", site=HERE, load_points=[measured(40.0), measured(60.0, id="c4", concurrency=4)])
    stranger.add("heavy", site=HERE, load_points=[measured(55.0, id="c2", concurrency=2)])
    stranger.evaluate()
    before = {row["load_point"]: float(row["predicted"]) for row in stranger.rows("ttft_mean")}
    assert stranger.evaluate("--force", "--site-from", "lightest") == 0
    rows = {row["load_point"]: row for row in stranger.rows("ttft_mean")}
    own = rows["synchronous"]
    assert (own["status"], own["signed_error_pct"]) == ("in_sample", "")
    assert float(own["predicted"]) == pytest.approx(40.0, abs=0.001)
    more_ms = 40.0 - before["synchronous"]
    for name in ("c2", "c4"):
        assert rows[name]["status"] == "ok"
        assert float(rows[name]["predicted"]) == pytest.approx(before[name] + more_ms, abs=0.001)
        assert "site_estimated" in flags(rows[name])
        assert "site_not_calibrated" not in flags(rows[name])
    assert stranger.row("e2e_mean", load_point="synchronous")["status"] == "ok"
    assert "taken from the measured TTFT of light/synchronous, which is then no test of TTFT" in stranger.page


def test_only_the_site_of_the_load_point_that_is_named_is_estimated(stranger):
    stranger.add("ours", site=HERE, load_points=[measured(40.0), measured(45.0, id="c2", concurrency=2)])
    stranger.add("theirs", site="their cluster")
    assert stranger.evaluate("--site-from", "ours/c2") == 0
    assert stranger.row("ttft_mean", load_point="c2")["status"] == "in_sample"
    assert "site_estimated" in flags(stranger.row("ttft_mean", experiment="ours", load_point="synchronous"))
    assert "site_not_calibrated" in flags(stranger.row("ttft_mean", experiment="theirs"))


def test_experiments_that_name_no_site_share_one_by_tool_and_gpu(stranger):
    stranger.add("first", load_points=[measured(40.0)])
    stranger.add("second")
    stranger.add("other", tool="vllm-bench")
    stranger.evaluate("--site-from", "first/synchronous")
    assert "site_estimated" in flags(stranger.row("ttft_mean", experiment="second"))
    assert "site_estimated" not in flags(stranger.row("ttft_mean", experiment="other"))


def test_an_engine_predicted_slower_than_measured_leaves_the_client_no_time_and_says_so(stranger):
    stranger.add(site=HERE, load_points=[measured(0.6), measured(30.0, id="c2", concurrency=2)])
    stranger.evaluate("--site-from", "lightest")
    assert float(stranger.row("ttft_mean", load_point="synchronous")["predicted"]) > 0.6
    assert "is 0.0 ms per request" in stranger.page
    assert "(the engine alone is predicted" in stranger.page


@pytest.mark.parametrize(
    ("wanted", "changes", "reason"),
    [
        ("run-1/synchronus", {}, "--site-from: no load point 'run-1/synchronus'; did you mean 'run-1/synchronous'?"),
        ("run-1/synchronous", {"side": "server"}, "cannot tell the client's time: it was measured at the server"),
        (
            "run-1/synchronous",
            {"load_points": [point(measured={"e2e_mean": latency("e2e", 220.0)})]},
            "cannot tell the client's time: it has no mean TTFT",
        ),
        (
            "run-1/synchronous",
            {"load_points": [point(saturation={"state": "saturated", "basis": "made up"})]},
            "cannot tell the client's time: it is saturated",
        ),
    ],
)
def test_a_load_point_that_cannot_tell_the_clients_time_is_refused(stranger, capsys, wanted, changes, reason):
    stranger.add(**changes)
    try:
        assert stranger.evaluate("--site-from", wanted) == 2
        message = capsys.readouterr().err
    except ConfigError as error:
        message = str(error)
    assert reason in message
    assert not stranger.out.exists()


def test_options_without_a_fit_take_the_time_of_a_site_too(stranger, tmp_path):
    options = tmp_path / "mine.yaml"
    options.write_text("family: mfu_roofline\n", encoding="utf-8")
    stranger.add(site=HERE, load_points=[measured(40.0), measured(45.0, id="c2", concurrency=2)])
    stranger.evaluate("--site-from", "lightest", steptime=options)
    assert float(stranger.row("ttft_mean", load_point="synchronous")["predicted"]) == pytest.approx(40.0, abs=0.001)
    assert float(stranger.row("ttft_mean", load_point="c2")["predicted"]) > 30.0


FITTED_SITE = "benchmark_serving.py/2026"


def test_a_site_that_was_fitted_to_keeps_its_time_beside_one_that_is_estimated(stranger):
    stranger.add("fitted", site=FITTED_SITE, load_points=[measured(40.0)])
    stranger.add("ours", site=HERE, load_points=[measured(40.0)])
    assert stranger.evaluate(steptime="vllm_fleet") == 0
    before = stranger.row("ttft_mean", experiment="fitted")
    assert stranger.evaluate("--force", "--site-from", "lightest", steptime="vllm_fleet") == 0
    after = stranger.row("ttft_mean", experiment="fitted")
    assert (after["predicted"], after["status"]) == (before["predicted"], "ok")
    assert stranger.row("ttft_mean", experiment="ours")["status"] == "in_sample"


@pytest.mark.parametrize("wanted", ["lightest", "run-1/synchronous"])
def test_the_time_of_a_site_that_was_fitted_to_is_not_taken_from_a_load_point(stranger, capsys, wanted):
    stranger.add(site=FITTED_SITE, load_points=[measured(40.0)])
    try:
        assert stranger.evaluate("--site-from", wanted, steptime="vllm_fleet") == 2
        message = capsys.readouterr().err
    except ConfigError as error:
        message = str(error)
    assert f"the client's time at {FITTED_SITE}" in message
    assert "was fitted to" in message
    assert not stranger.out.exists()
