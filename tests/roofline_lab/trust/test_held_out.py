"""The table of held-out predictions: read whole or refused with every line that is wrong, and written again."""

from __future__ import annotations

import csv
import math

import pytest

from roofline_lab.trust.held_out import COLUMNS, held_out_text, read_held_out, with_e2e
from simulator.errors import ConfigError
from simulator.trust.intervals import INTER_TOKEN
from tests.paths import ROOT
from tests.roofline_lab.trust.made_up import row, rows


def written(tmp_path, text):
    path = tmp_path / "made.held_out.csv"
    path.write_text(text, encoding="utf-8")
    return path


def edited(tmp_path, **cells):
    """Return a file of two rows, the second with some other cells."""
    header, *lines = csv.reader(held_out_text([row(), row(load_point="c64")]).splitlines())
    for name, text in cells.items():
        lines[1][header.index(name)] = text
    return written(tmp_path, "\n".join(",".join(line) for line in (header, *lines)))


def test_what_is_written_is_read_again(tmp_path):
    some = [*rows(servers=1), row(saturated=True, measured_ms=None, predicted_ms=None, load_point="full", noise=0.02)]
    again = read_held_out(written(tmp_path, held_out_text(some)))
    assert held_out_text(again) == held_out_text(some)
    assert len(again) == len(some)
    assert {one.noise for one in again} == {None, 0.02}


def test_the_order_of_rows_is_no_part_of_the_file():
    some = rows(servers=1)
    assert held_out_text(reversed(some)) == held_out_text(some)


def test_a_saturated_load_point_has_no_residual():
    assert row(saturated=True).residual is None
    assert row(predicted_ms=11.0).residual == pytest.approx(math.log(1.1))


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"fold": "family"}, "line 3: fold"),
        ({"kind": "sparse"}, "line 3: kind"),
        ({"concurrency": ""}, "line 3: concurrency"),
        ({"concurrency": "0"}, "line 3: concurrency"),
        ({"predicted_ms": "nan"}, "line 3: predicted_ms"),
        ({"predicted_ms": "fast"}, "line 3: predicted_ms"),
        ({"predicted_ms": ""}, "line 3: measured_ms and predicted_ms must be above 0"),
        ({"measured_ms": "-1"}, "line 3: measured_ms"),
        ({"saturated": "perhaps"}, "line 3: saturated"),
        ({"model": " "}, "line 3: model"),
        ({"load_point": "c16"}, "line 3: configuration server c16 inter_token_mean was given above"),
        ({"load_point": "c16", "metric": "itl_mean"}, "inter_token_mean was given above"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(tmp_path, cells, said):
    with pytest.raises(ConfigError) as refused:
        read_held_out(edited(tmp_path, **cells))
    assert said in str(refused.value)


def test_all_wrong_lines_are_told_at_once_up_to_twenty(tmp_path):
    lines = [",".join(["family", *[""] * (len(COLUMNS) - 1)])] * 25
    with pytest.raises(ConfigError) as refused:
        read_held_out(written(tmp_path, "\n".join([",".join(COLUMNS), *lines])))
    assert "line 21" in str(refused.value)
    assert "line 22" not in str(refused.value)
    assert "and 5 more" in str(refused.value)


def test_other_columns_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="columns must be fold"):
        read_held_out(written(tmp_path, "fold,experiment\ncell,x\n"))
    with pytest.raises(ConfigError, match="columns must be fold"):
        read_held_out(written(tmp_path, ""))


def test_site_and_noise_may_be_left_out(tmp_path):
    kept = [name for name in COLUMNS if name not in ("site", "noise")]
    lines = list(csv.DictReader(held_out_text([row(site="here", noise=0.1)]).splitlines()))
    text = "\n".join([",".join(kept), *(",".join(line[name] for name in kept) for line in lines)])
    (found,) = read_held_out(written(tmp_path, text))
    assert (found.site, found.noise) == ("", None)


def test_a_line_that_is_cut_off_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="line 2: 2 cells"):
        read_held_out(written(tmp_path, ",".join(COLUMNS) + "\ncell,x\n"))


def test_e2e_that_was_not_measured_is_added_up_on_both_sides():
    parts = [
        row(metric="ttft_mean", measured_ms=100.0, predicted_ms=90.0, output_tokens=11),
        row(metric="tpot_mean", measured_ms=10.0, predicted_ms=12.0, output_tokens=11),
    ]
    *_, made = with_e2e(parts)
    assert (made.metric, made.measured_ms, made.predicted_ms) == ("e2e_mean", 200.0, 210.0)
    assert len(with_e2e(with_e2e(parts))) == 3


def test_e2e_is_not_added_up_where_it_was_measured_or_the_server_was_saturated():
    parts = [row(metric="ttft_mean"), row(metric="tpot_mean")]
    assert len(with_e2e([*parts, row(metric="e2e_mean")])) == 3
    assert len(with_e2e([one.model_copy(update={"saturated": True}) for one in parts])) == 2


def test_the_held_out_rows_of_h100_vllm_are_those_its_report_was_made_from():
    """The same load points and figures as reports/calibration/h100_vllm/predictions.csv, to the printed digit."""
    with (ROOT / "reports/calibration/h100_vllm/predictions.csv").open(encoding="utf-8") as stream:
        reported = {
            (line["load_point"], line["metric"]): (float(line["measured_ms"]), float(line["predicted_ms"]))
            for line in csv.DictReader(stream)
            if line["variant"] == "held_out" and not line["load_point"].startswith("jan21-llama7b-train-1/")
        }
    held_out = {
        (f"{one.experiment}/{one.load_point}", one.metric): (one.measured_ms, one.predicted_ms)
        for one in read_held_out(ROOT / "configs/calibration/h100_vllm.held_out.csv")
    }
    assert held_out.keys() == reported.keys()
    assert {key: pytest.approx(value, rel=1e-4) for key, value in reported.items()} == held_out
    assert {name for _, name in held_out} >= {"ttft_mean", "itl_mean", "e2e_mean"}
    assert INTER_TOKEN not in {name for _, name in held_out}
