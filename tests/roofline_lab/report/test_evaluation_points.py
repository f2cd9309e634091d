"""What an evaluation opens with: every load point as measured beside as predicted, in ms and over its load."""

from __future__ import annotations

from tests.roofline_lab.predict.strangers import latency, point, poisson, rate, section

OPENING = "Measured beside predicted"


def cells(text, name):
    """Return the cells of the line of one load point."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def sweep():
    return [poisson(identifier=f"rate_{per_s}", per_s=float(per_s)) for per_s in (2, 4)]


def test_the_page_opens_with_every_load_point_measured_beside_predicted_in_ms(stranger):
    stranger.add(load_points=sweep())
    assert stranger.evaluate() == 0
    assert stranger.page.index(f"## {OPENING}") < stranger.page.index("## Result")
    found = cells(section(stranger.page, OPENING), "rate_2")
    row = stranger.row("ttft_mean", load_point="rate_2")
    assert found[1:4] == ["2 requests/s", f"{float(row['measured']):.4g}", f"{float(row['predicted']):.4g}"]
    assert found[4] == f"{float(row['signed_error_pct']):+.1f} %"


def test_latency_is_drawn_over_the_rate_with_units_where_the_rate_was_varied(stranger):
    stranger.add("varied", load_points=sweep())
    stranger.add("single")
    assert stranger.evaluate() == 0
    figures = sorted(path.name for path in (stranger.out / "figures" / "over_load").iterdir())
    assert figures == ["varied.svg"]
    text = (stranger.out / "figures" / "over_load" / "varied.svg").read_text(encoding="utf-8")
    assert ">requests sent per second<" in text
    assert ">mean TTFT [ms]<" in text
    assert text.count("<circle") == 2 * 3 + 1  # measured: two rates in three panels, and the legend
    assert "figures/over_load/varied.svg" in section(stranger.page, OPENING)


def test_a_closed_loop_is_drawn_over_its_clients(stranger):
    stranger.add(load_points=[point(f"c{width}", width, requests=16) for width in (1, 4)])
    assert stranger.evaluate() == 0
    (figure,) = (stranger.out / "figures" / "over_load").iterdir()
    assert ">requests in flight<" in figure.read_text(encoding="utf-8")
    assert cells(section(stranger.page, OPENING), "c4")[1] == "4 clients"


def test_a_load_point_without_an_error_says_why_in_its_line(stranger):
    full = {"state": "saturated", "basis": "made up"}
    no_e2e = {"ttft_mean": latency("ttft", 30.0), "tpot_mean": latency("tpot", 10.0)}
    means = {"ttft_mean": latency("ttft", 3000.0), "e2e_mean": latency("e2e", 9000.0), "request_throughput": rate(2.0)}
    stranger.add(
        load_points=[
            poisson(identifier="kept_up"),
            poisson(identifier="full", state=None, saturation=full, measured=means),
            poisson(identifier="no_e2e", measured=no_e2e),
        ]
    )
    assert stranger.evaluate() == 0
    text = section(stranger.page, OPENING)
    assert cells(text, "kept_up")[-1] == ""
    assert "judged by throughput" in cells(text, "full")[-1]
    assert cells(text, "no_e2e")[-1] == "E2E: not measured"


def test_one_group_alone_makes_no_table_of_groups(stranger):
    stranger.add(load_points=sweep())
    assert stranger.evaluate() == 0
    assert "**By " not in stranger.page
    assert "## By group" not in stranger.page


def test_several_groups_make_one(stranger):
    stranger.add("a")
    stranger.add("b", tensor_parallel=2)
    assert stranger.evaluate() == 0
    assert "**By tensor parallelism**" in stranger.page
    assert "**By hardware**" not in stranger.page


def test_an_assumption_about_several_servers_is_one_row_or_one_word(stranger):
    stranger.add("a", load_points=sweep())
    stranger.add("b", load_points=sweep())
    assert stranger.evaluate() == 0
    assert stranger.page.count("a budget of 2048 tokens") == 1
    assert stranger.page.count("at most 256 requests in a batch") == 1
