"""The check sees every change of a committed report, and nothing where there is none."""

from __future__ import annotations

import json

import pytest

from roofline_lab.config import Tolerances
from roofline_lab.jobs.check import summary
from roofline_lab.regression.check import Difference, compare_numbers, compare_reports
from roofline_lab.scoring.numbers import NUMBER_COLUMNS
from tests.roofline_lab.builders import tolerances

TOLERANCES = tolerances(ms=0.001, pct=0.01, pp=0.1)
ROWS = (
    "m,baseline,sync,overall,all,tpot_mean,mape,44.500000,pct",
    "m,treatment,sync,overall,all,tpot_mean,delta,12.200000,pp",
    "m,treatment,sync,experiment,one,tpot_mean,predicted,4.800000,ms",
)
DELTA = "m, treatment, sync, overall, all, tpot_mean, delta, pp"


HEADER = ",".join(NUMBER_COLUMNS)


def text(*rows, header=HEADER):
    return "\n".join([header, *rows]) + "\n"


def differences(found_rows):
    """Compare changed committed rows with the regenerated ones."""
    return [str(number) for number in compare_numbers(text(*found_rows).encode(), text(*ROWS).encode(), TOLERANCES)]


def changed(index, old, new):
    return [row.replace(old, new) if i == index else row for i, row in enumerate(ROWS)]


# --- numbers ----------------------------------------------------------------------------------------


def test_equal_tables_have_no_differences_in_whatever_order_their_rows_stand():
    assert differences(ROWS) == []
    assert differences(ROWS[::-1]) == []


def test_a_tampered_value_is_named_by_its_row_with_both_values():
    (found,) = differences(changed(1, "12.200000", "13.200000"))
    assert found == f"numbers.csv: {DELTA}: reported 13.2, regenerated 12.2 (tolerance 0.1)"


@pytest.mark.parametrize(
    ("index", "old", "inside", "outside"),
    [(0, "44.500000", "44.509", "44.511"), (1, "12.200000", "12.29", "12.31"), (2, "4.800000", "4.8009", "4.8011")],
)
def test_every_unit_has_its_own_tolerance(index, old, inside, outside):
    assert differences(changed(index, old, inside)) == []
    assert len(differences(changed(index, old, outside))) == 1


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-inf", "", "abc", "1e999"])
def test_what_is_no_finite_number_is_a_difference(value):
    (found,) = differences(changed(1, "12.200000", value))
    assert DELTA in found


def test_the_same_nan_on_both_sides_is_still_a_difference():
    rows = text(*changed(1, "12.200000", "nan")).encode()
    assert len(compare_numbers(rows, rows, TOLERANCES)) == 1


def test_a_missing_row_is_named():
    (found,) = differences([ROWS[0], ROWS[2]])
    assert found == f"numbers.csv: {DELTA}: regenerated as 12.200000, but not in the report"


def test_an_extra_row_is_named():
    extra = "m,treatment,sync,workload,chat,tpot_mean,delta,9.9,pp"
    (found,) = differences([*ROWS, extra])
    assert "m, treatment, sync, workload, chat, tpot_mean, delta, pp: reported as 9.9, but no longer" in found


def test_a_row_given_twice_is_refused_even_if_both_are_right():
    (found,) = differences([*ROWS, ROWS[1]])
    assert f"row given twice: {DELTA}" in found


def test_a_renamed_row_is_both_missing_and_extra():
    assert len(differences(changed(1, "tpot_mean", "e2e_mean"))) == 2


def test_an_unknown_unit_is_refused_with_the_known_ones():
    (found,) = differences(changed(1, ",pp", ",s"))
    assert "unknown unit 's'; allowed: ms, " in found
    assert "pct, pp" in found


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", text(*ROWS).replace("value", "number"), "\x00"])
def test_a_file_that_is_no_table_of_numbers_is_a_difference_not_a_crash(content):
    (found,) = compare_numbers(content.encode(), text(*ROWS).encode(), TOLERANCES)
    assert "cannot be read as a table of numbers" in found.what


# --- folders ----------------------------------------------------------------------------------------

SVG = '<svg><path d="M 10.0 20.5"/><text x="3">0.2</text></svg>\n'


@pytest.fixture
def folders(tmp_path):
    """Return two equal report folders: as found and as regenerated."""
    for name in ("found", "new"):
        (tmp_path / name / "figures").mkdir(parents=True)
        (tmp_path / name / "numbers.csv").write_text(text(*ROWS), encoding="utf-8")
        (tmp_path / name / "FINDINGS.md").write_text("# Title\n\nText.\n", encoding="utf-8")
        (tmp_path / name / "figures" / "a.svg").write_text(SVG, encoding="utf-8")
    return tmp_path / "found", tmp_path / "new"


def compared(folders):
    return [str(report) for report in compare_reports(*folders, TOLERANCES)]


def test_equal_folders_have_no_differences(folders):
    assert compared(folders) == []


@pytest.mark.parametrize("name", ["numbers.csv", "FINDINGS.md", "figures/a.svg"])
def test_a_missing_and_an_extra_file_are_named(folders, name):
    (folders[0] / name).unlink()
    assert compared(folders) == [f"{name}: file: is regenerated, but missing from the report"]
    assert compared(folders[::-1]) == [f"{name}: file: is in the report, but not regenerated"]


def test_a_report_that_does_not_exist_at_all_differs_in_every_file(folders, tmp_path):
    assert len(compared((tmp_path / "nowhere", folders[1]))) == 3


def test_changed_text_is_named_by_its_first_line(folders):
    (folders[0] / "FINDINGS.md").write_text("# Title\n\nTampered.\n", encoding="utf-8")
    assert compared(folders) == ["FINDINGS.md: line 3: reported 'Tampered.', regenerated 'Text.'"]


def test_changed_text_is_shown_between_its_neighbours(folders):
    for folder, line in zip(folders, ("was", "is"), strict=True):
        (folder / "FINDINGS.md").write_text(f"above\n{line}\nbelow\n", encoding="utf-8")
    (found,) = compared(folders)
    assert found == "FINDINGS.md: line 2: reported 'was', regenerated 'is' (after 'above', before 'below')"


def test_numbers_that_differ_in_a_late_digit_are_told_apart():
    assert differences(changed(0, "44.500000", "44.5100001")) == [
        "numbers.csv: m, baseline, sync, overall, all, tpot_mean, mape, pct: "
        "reported 44.51, regenerated 44.5 (tolerance 0.01)"
    ]
    close = Tolerances(**{name: 1e-12 for name in Tolerances.model_fields})
    old, new = (text(ROWS[0].replace("44.500000", value)).encode() for value in ("44.50000001", "44.50000002"))
    (found,) = compare_numbers(old, new, close)
    assert "reported 44.50000001, regenerated 44.50000002" in found.what


def test_a_failed_check_tells_the_worst_numbers_one_by_one_and_counts_the_others():
    numbers = [Difference("reports/h/numbers.csv", f"row {n:02}", "differs", float(n)) for n in range(1, 31)]
    told = summary([*numbers, Difference("reports/h/FINDINGS.md", "line 3", "reported 'a', regenerated 'b'")])
    assert told.startswith("check failed: 31 differences")
    assert "FINDINGS.md: line 3" in told
    assert told.index("row 30") < told.index("row 29") < told.index("row 21")
    assert "row 20" not in told
    assert "reports/h/numbers.csv: 30" in told
    assert "roofline-lab compare HEAD" in told


@pytest.mark.parametrize("content", ["# Title\n\nText.\nMore.\n", "# Title\n", "# Title\n\nText."])
def test_longer_shorter_and_differently_ended_text_is_a_difference(folders, content):
    (folders[0] / "FINDINGS.md").write_text(content, encoding="utf-8")
    assert len(compared(folders)) == 1


def test_a_file_that_is_no_text_is_a_difference_not_a_crash(folders):
    (folders[0] / "FINDINGS.md").write_bytes(b"\xff\xfe\x00")
    assert len(compared(folders)) == 1


@pytest.mark.parametrize(
    ("old", "new"), [("M 10.0", "M 10.6"), ("<path", "<line"), ("20.5", "20.5 1"), (">0.2<", ">0.4<")]
)
def test_a_changed_figure_is_a_difference(folders, old, new):
    (folders[0] / "figures" / "a.svg").write_text(SVG.replace(old, new), encoding="utf-8")
    (found,) = compared(folders)
    assert found.startswith("figures/a.svg: figure: ")


def test_a_coordinate_moved_less_than_an_eye_can_see_is_none(folders):
    (folders[0] / "figures" / "a.svg").write_text(SVG.replace("M 10.0", "M 10.4"), encoding="utf-8")
    assert compared(folders) == []


def test_a_record_of_other_inputs_is_a_difference_that_names_them(folders):
    for folder, methods in zip(folders, ("0a", "0b"), strict=True):
        record = {"hashes": {"methods": methods, "settings": "1c"}, "hypothesis": "h1"}
        (folder / "provenance.json").write_text(json.dumps(record), encoding="utf-8")
    (found,) = compared(folders)
    assert found == "provenance.json: hashes.methods: recorded 0a, now 0b: this input changed since the report"


@pytest.mark.parametrize("damaged", ["", "[", "[1]", '{"hashes": {"settings": "1c"} }', "{}"])
def test_a_record_that_is_damaged_is_a_difference_not_a_crash(folders, damaged):
    (folders[0] / "provenance.json").write_text(damaged, encoding="utf-8")
    (folders[1] / "provenance.json").write_text('{"hashes": {"settings": "1c"}}', encoding="utf-8")
    assert len(compared(folders)) == 1
