"""The page on trust: what it says of made-up held-out predictions, and whether a committed page still stands."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
from types import SimpleNamespace

import pytest
import yaml

from roofline_lab.jobs.paths import committed_names
from roofline_lab.report.trust import FOLDER, files_of, judge, publish
from roofline_lab.scoring.numbers import NUMBER_COLUMNS
from roofline_lab.trust.held_out import held_out_text
from roofline_lab.trust.intervals import validation_of
from simulator.errors import ConfigError
from simulator.trust.distance import Reach
from simulator.trust.intervals import Band
from tests.roofline_lab.builders import ROOT
from tests.roofline_lab.predict.strangers import CALIBRATION_FILE
from tests.roofline_lab.trust.made_up import CELLS, row, rows

INTERVALS = "configs/calibration/intervals/fleet.yaml"


def laboratory(root, tables):
    """Write a project that has calibrations with their held-out predictions, and nothing else."""
    calibrations = root / "configs" / "calibration"
    calibrations.mkdir(parents=True)
    content = yaml.safe_load(CALIBRATION_FILE.read_text(encoding="utf-8"))
    for name, held_out in tables.items():
        text = yaml.safe_dump({**content, "name": name, "title": f"made up {name}"}, sort_keys=False)
        (calibrations / f"{name}.yaml").write_text(text, encoding="utf-8")
        (calibrations / f"{name}.held_out.csv").write_text(held_out_text(held_out), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the files of a page on a fleet and on one cell."""
    alone = [one for one in rows(3, servers=2) if one.cell == CELLS[0]]
    tables = {"alone": alone, "fleet": rows()}
    return files_of(laboratory(tmp_path_factory.mktemp("trust"), tables))


@pytest.fixture(scope="module")
def page(made):
    """Return the part of the page about the fleet."""
    text = made["TRUST.md"]
    return text[text.index("## `fleet`") : text.index("## `alone`")]


@pytest.fixture
def copied(tmp_path):
    """Return a project with its page made."""
    root = laboratory(tmp_path, {"fleet": rows()})
    publish(root)
    return SimpleNamespace(root=root, page=root / FOLDER, judge=lambda: judge(root))


def numbers(made, **wanted):
    found = csv.DictReader(io.StringIO(made["numbers.csv"]))
    return [line for line in found if all(line[key] == value for key, value in wanted.items())]


def test_the_calibration_that_rests_on_most_cells_comes_first(made):
    assert re.findall(r"^## `(\w+)`: (.*)$", made["TRUST.md"], flags=re.MULTILINE) == [
        ("fleet", "made up fleet"),
        ("alone", "made up alone"),
    ]


def test_the_share_inside_is_counted_with_intervals_made_without_a_row(made, page):
    """Counted here once more, row by row, from nothing but the rows."""
    fleet = validation_of("fleet", rows())
    found = [
        (fleet.less(fold, one.cell, one.row.experiment).band(one.figure, one.reach, one.cell), one.row)
        for one in fleet.tested
        for fold in ("configuration" if one.reach is Reach.CELL else "cell",)
    ]
    held = [band.holds(one.predicted_ms, one.measured_ms) for band, one in found if isinstance(band, Band)]
    assert f"**{100 * sum(held) / len(held):.0f} % of {len(held):,} held-out means" in page
    lines = numbers(made, method="fleet", scope="trust", statistic="interval_coverage")
    counts = numbers(made, method="fleet", scope="trust", statistic="count")
    inside = math.fsum(float(a["value"]) * float(b["value"]) / 100 for a, b in zip(lines, counts, strict=True))
    assert inside == pytest.approx(sum(held))


def test_every_deployment_has_its_error_its_interval_and_how_often_that_held(page):
    found = [line for line in page.splitlines() if line.startswith("| inside") and "moe" not in line]
    assert any("mixture of experts, h200-sxm, fp8" in line and "minimax" in line for line in found)
    band = validation_of("fleet", rows()).band("ttft_mean", Reach.CELL, CELLS[4])
    ends = f"{100 * (band.low - 1):.0f} to {100 * (band.high - 1):+.0f} %"
    (line,) = [line for line in found if "mixture of experts, h200-sxm, fp8" in line]
    assert f"%; {ends}; " in line
    assert re.search(r"\d+ of 18", line)


def test_a_cell_that_was_left_out_stands_under_the_word_it_had_then(page):
    assert re.search(r"\| near +\| dense, h200-sxm, fp8 ", page)
    assert re.search(r"\| outside +\| mixture of experts, h200-sxm, fp8 ", page)


def test_coverage_is_counted_by_load_and_lengths(page):
    assert re.search(r"\| up to 8 requests in flight +\| \**\d+ % of 168, width", page)
    assert "| up to 32 requests in flight, more than 8 |" in page
    assert "| more than 32 requests in flight " in page


def test_what_is_missing_is_named_with_what_would_bring_it_inside(page):
    assert re.search(r"\| any other GPU than b200-sxm or h100-sxm or h200-sxm +\| outside +\| GPU never fitted", page)
    assert re.search(r"\| any other precision than bf16 or fp8 or int4 or nvfp4 +\| outside ", page)
    # Three kinds on three GPUs in four precisions, seven of which were fitted to.
    assert "| 29 pairs, light in the figure" in page
    assert "more than 80 requests in flight" in page


def test_a_calibration_on_one_cell_claims_nothing(made):
    text = made["TRUST.md"]
    assert "**No interval could be tested**" in text[text.index("## `alone`") :]
    assert numbers(made, method="alone") == []


def test_the_figure_has_a_box_for_every_deployment_with_its_word(made):
    drawn = made["fleet.svg"]
    # Three kinds in four precisions and any other on three GPUs and any other, the ground and the legend.
    assert drawn.count("<rect") == 1 + 3 * 5 * 4 + 3
    assert drawn.count('fill="#b3b3b3"') == len({cell.deployment for cell in CELLS}) + 1
    assert "?" in made["alone.svg"]


def test_numbers_have_the_columns_of_every_report_and_unique_keys(made):
    lines = list(csv.reader(io.StringIO(made["numbers.csv"])))
    assert tuple(lines[0]) == NUMBER_COLUMNS
    keys = [tuple(line[:7]) for line in lines[1:]]
    assert len(set(keys)) == len(keys)


def test_the_same_rows_in_another_order_give_the_same_bytes(made, tmp_path):
    alone = [one for one in rows(3, servers=2) if one.cell == CELLS[0]]
    root = laboratory(tmp_path, {"fleet": list(reversed(rows())), "alone": list(reversed(alone))})
    path = root / "configs/calibration/fleet.held_out.csv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([header, *reversed(lines)]) + "\n", encoding="utf-8")
    assert files_of(root) == made


def test_the_noise_of_a_measurement_stands_beside_its_error(tmp_path):
    noisy = [one.model_copy(update={"noise": 0.021 if one.metric == "ttft_mean" else 0.003}) for one in rows()]
    text = files_of(laboratory(tmp_path, {"fleet": noisy}))["TRUST.md"]
    assert "noise: TTFT / ITL / E2E |" in text
    assert "2.1 % / 0.3 % / – |" in text
    assert "noise" not in files_of(laboratory(tmp_path / "quiet", {"fleet": rows()}))["TRUST.md"]


# --- whether a committed page stands ------------------------------------------------------------------


def test_an_untouched_page_comes_out_again(copied):
    assert copied.judge() == ("check trust: the committed page comes out again", [])


def test_a_page_older_than_the_held_out_predictions_is_a_failure(copied):
    path = copied.root / "configs/calibration/fleet.held_out.csv"
    path.write_text(held_out_text(rows(2)), encoding="utf-8")
    told, faults = copied.judge()
    assert told == "check trust: the committed page differs"
    pages = {f"reports/trust/{name}" for name in ("TRUST.md", "fleet.svg", "numbers.csv")}
    assert {fault[0] for fault in faults} == {*pages, INTERVALS}
    assert all("`snakemake trust` makes it again" in fault[2] for fault in faults)


@pytest.mark.parametrize("name", ["TRUST.md", "fleet.svg", "numbers.csv"])
def test_an_edited_file_is_a_failure(copied, name):
    path = copied.page / name
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert [fault[0] for fault in copied.judge()[1]] == [f"reports/trust/{name}"]


def test_a_missing_and_a_foreign_file_are_failures(copied):
    (copied.page / "numbers.csv").unlink()
    (copied.page / "notes.txt").write_text("mine", encoding="utf-8")
    faults = {fault[0]: fault[2] for fault in copied.judge()[1]}
    assert "is missing" in faults["reports/trust/numbers.csv"]
    assert "belongs to no calibration" in faults["reports/trust/notes.txt"]


def test_intervals_that_are_edited_missing_or_of_no_calibration_are_failures(copied):
    path = copied.root / INTERVALS
    path.write_text(path.read_text(encoding="utf-8").replace("high: 1.", "high: 2."), encoding="utf-8")
    path.with_name("gone.yaml").write_text("", encoding="utf-8")
    faults = {fault[0]: fault[2] for fault in copied.judge()[1]}
    assert "is not what the held-out predictions give now" in faults[INTERVALS]
    assert "belongs to no calibration" in faults["configs/calibration/intervals/gone.yaml"]
    path.unlink()
    assert "is missing" in {fault[0]: fault[2] for fault in copied.judge()[1]}[INTERVALS]


def test_intervals_are_stale_once_the_client_of_their_calibration_is_another(copied):
    """The simulator takes the client's time out of them."""
    path = copied.root / "configs/calibration/fleet.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["constants"]["client_us_per_prompt_token"]["value"] *= 2
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    assert [fault[0] for fault in copied.judge()[1]] == [INTERVALS]


def test_publishing_again_leaves_nothing_of_an_earlier_page(copied):
    (copied.page / "gone.svg").write_text("", encoding="utf-8")
    publish(copied.root)
    assert copied.judge()[1] == []


def test_a_project_without_a_page_is_told_how_to_make_one(copied):
    shutil.rmtree(copied.page)
    told, faults = copied.judge()
    assert "`snakemake trust` makes it again" in told
    assert faults == []


def test_a_table_that_cannot_be_read_is_refused(copied):
    (copied.root / "configs/calibration/fleet.held_out.csv").write_text("nothing", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"fleet\.held_out\.csv:1: columns must be"):
        copied.judge()


def test_the_committed_page_is_what_the_committed_tables_give():
    assert judge(ROOT)[1] == []
    assert "trust" in committed_names()


def test_a_saturated_row_changes_no_number_of_the_page(tmp_path):
    full = row(CELLS[0], experiment="full", saturated=True, measured_ms=None, predicted_ms=None)
    texts = [
        files_of(laboratory(tmp_path / name, {"fleet": more}))["numbers.csv"]
        for name, more in (("with", [*rows(), full]), ("without", rows()))
    ]
    assert texts[0] == texts[1]


def test_a_project_without_held_out_predictions_is_told_so_and_nothing_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"configs/calibration/: no \*\.held_out\.csv"):
        publish(tmp_path)
    assert list(tmp_path.iterdir()) == []
