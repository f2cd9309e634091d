"""The comment: one line if nothing differs, what matters first, never longer than GitHub takes."""

from __future__ import annotations

import re

import pytest

from roofline_lab.regression.comment import LIMIT_BYTES, change_text, metric_label, render, summary
from roofline_lab.regression.difference import compare
from roofline_lab.regression.noise import Figure
from roofline_lab.regression.reading import NumberKey, Report, Ruling
from tests.roofline_lab.regression.small import H1, METRIC, key, report, scored, snapshot


def comment(before, after, *, rows=10, threshold_pp=0.5, limit_bytes=LIMIT_BYTES):
    sides = [snapshot(*side, label=f"`{name}`") for side, name in ((before, "old"), (after, "new"))]
    return render(compare(*sides, threshold_pp), rows=rows, threshold_pp=threshold_pp, limit_bytes=limit_bytes)


def sentence(before, after):
    return summary(compare(snapshot(before), snapshot(after), 0.5))


def many(count, error, **fields):
    return report({f"experiment-{number:04d}": 100.0 + error * (number + 1) for number in range(count)}, **fields)


def table_below(text, title):
    """Return the cells of the first table below a title."""
    lines = text[text.index(title) :].splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("|"))
    body = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        body.append([cell.strip() for cell in line.strip("|").split("|")])
    return body


def test_nothing_changed_is_one_line():
    one = many(3, 1.0, rulings={"m": Ruling("Confirmed", {})})
    text = comment([one], [one])
    assert text == "Nothing changed in the reports from `old` to `new`: 1 report, 3 rows, 1 verdict.\n"


def test_what_was_skipped_is_told_even_if_nothing_changed():
    text = render(compare(snapshot(skipped=["a: b"]), snapshot(skipped=["a: b"]), 0.5), rows=1, threshold_pp=0.5)
    assert text.endswith("Not compared: a: b.\n")
    assert text.count("a: b") == 1


def test_flips_come_first_and_say_before_and_after():
    before = many(1, 1.0, rulings={"m": Ruling("Confirmed", {"a": "PASS"})})
    after = many(1, 1.0, rulings={"m": Ruling("Refuted", {"a": "FAIL"})})
    text = comment([before], [after])
    assert "**2 verdicts and criteria flipped" in text
    assert table_below(text, "### Verdicts") == [
        [f"`{H1}`", "`m`", "**status**", "Confirmed", "**Refuted**"],
        [f"`{H1}`", "`m`", "`a`", "PASS", "**FAIL**"],
    ]


def test_a_mean_that_changed_stands_with_change_p_and_rows():
    (line,) = table_below(comment([many(5, 1.0)], [many(5, 2.0)]), "### Mean errors that changed")
    assert line == [
        f"`{H1}`",
        "`corrected`",
        "treatment",
        "TPOT",
        "3.0 %",
        "6.0 %",
        "+3.0 pp",
        "0.0625",
        "**5**",
        "0",
        "0",
    ]


def test_means_that_did_not_change_are_one_line():
    before = Report(H1, rows={key(arm=arm): scored(110.0) for arm in "abc"})
    after = Report(H1, rows={key(arm=arm): scored(value) for arm, value in zip("abc", (120, 110.2, 110), strict=True)})
    text = comment([before], [after])
    assert len(table_below(text, "### Mean errors that changed")) == 1
    assert "Other mean errors (method x arm x metric): 1 moved within noise (by +0.20 pp at most)" in text
    assert ", 1 did not move." in text


def test_moves_within_noise_alone_are_no_change():
    text = comment([report({"one": 110.0})], [report({"one": 110.2})])
    assert "**No verdict flipped; nothing changed beyond noise.**" in text
    assert "###" not in text


def test_the_worst_and_the_best_rows_are_shown_and_the_rest_counted():
    before = report({"a": 110, "b": 110, "c": 110, "d": 110, "e": 110})
    text = comment([before], [report({"a": 111, "b": 113, "c": 112, "d": 105, "e": 104})], rows=2)
    assert [line[3] for line in table_below(text, "Worst rows (3)")] == ["b, synchronous", "c, synchronous"]
    assert [line[-1] for line in table_below(text, "Best rows (2)")] == ["-6.0 pp", "-5.0 pp"]
    assert text.count("*1 line not shown.*") == 1


def test_the_same_run_in_two_hypotheses_is_one_row():
    names = (H1, "h2_same")
    text = comment([many(1, 1.0, name=name) for name in names], [many(1, 4.0, name=name) for name in names])
    (line,) = table_below(text, "Worst rows (1)")
    assert line[0] == f"`{H1}`, treatment (and 1 alike)"


def test_a_remeasured_row_shows_both_figures():
    before, after = (Report(H1, rows={key(): scored(130.0, measured)}) for measured in (100.0, 120.0))
    text = comment([before], [after])
    assert table_below(text, "Best rows")[0][4] == "100.0 → 120.0 ms"
    assert "1 row has another measured figure than before" in text


def test_rows_that_came_and_went_are_listed_with_their_load_points():
    before = Report(H1, rows={key(arm=arm, experiment=e): scored(110.0) for arm in "ab" for e in ("one", "two")})
    after = Report(H1, rows={key(arm=arm): scored(110.0) for arm in "ab"}, unscored={key("two", "a"): "saturated"})
    text = comment([before], [after])
    found = [line[2:] for line in table_below(text, "Rows that came")]
    assert found == [["scored", "saturated", "two, synchronous", "1"], ["scored", "not there", "two, synchronous", "1"]]
    assert "1 gone, 1 lost their number" in text
    assert "†" in text


def test_an_arm_that_could_never_be_run_is_listed_too():
    before = Report(H1, rows={key(): scored(110.0)})
    unscored = {key(str(number), arm="other"): "unsupported" for number in range(5)}
    text = comment([before], [Report(H1, rows=before.rows, unscored=unscored)])
    (line,) = table_below(text, "Rows that came")
    assert line[2:] == ["not there", "unsupported", "0, synchronous; 1, synchronous; 2, synchronous; 2 more", "5"]
    assert "1 did not move" in text


def test_an_arm_that_is_new_is_folded_with_its_error():
    before = Report(H1, rows={key(): scored(110.0)})
    text = comment([before], [Report(H1, rows={key(): scored(110.0), key(arm="other"): scored(105.0)})])
    assert "### Mean errors that changed" not in text
    assert table_below(text, "Mean errors that came or went (1)")[0][2:] == ["TPOT", "new", "other 5.0 %", "1"]


def test_new_and_removed_reports_are_listed_with_their_status():
    new = many(3, 1.0, name="h2_new", rulings={"a": Ruling("Refuted", {}), "b": Ruling("Confirmed", {})})
    text = comment([many(2, 1.0)], [new])
    assert table_below(text, "### Reports added") == [["`h2_new`", "Confirmed", "3", "0", "0"]]
    assert table_below(text, "### Reports removed") == [[f"`{H1}`", "–", "2", "0", "0"]]
    assert "1 report added; 1 report removed" in text


def test_generated_numbers_are_called_neither_better_nor_worse():
    before, after = (
        Report(H1, values={NumberKey("m", "all", "synthetic", "row", "grid/1", "step_us", "value", "us"): value})
        for value in (100.0, 110.0)
    )
    text = comment([before], [after])
    assert "neither better nor worse" in text
    assert "step_us value at grid/1 (m, all): 100.0 us → 110.0 us" in text


def test_rows_the_measurement_cannot_judge_are_counted():
    figures = {key().measurement: Figure(100.0, 5.0)}
    sides = [snapshot(report({"one": value}), figures=figures) for value in (102.0, 96.0)]
    text = render(compare(*sides, 0.5), rows=1, threshold_pp=0.5)
    assert "1 row moved by more than that, but not beyond noise" in text
    assert "rounding and, where known, the sampling error" in text


def test_without_ground_truth_the_reader_is_told_what_noise_rests_on():
    assert "one side has no ground truth beside its reports" in comment([many(1, 1.0)], [many(1, 4.0)])


def test_a_split_is_explained_where_its_report_changed():
    assert "over its test experiments" in comment([many(1, 1.0)], [many(1, 4.0, is_split=True)])
    unchanged = [many(1, 1.0, name="h2_split", is_split=True)]
    assert "test experiments" not in comment([many(1, 1.0), *unchanged], [many(1, 4.0), *unchanged])


# --- length -----------------------------------------------------------------------------------


def wide(count, factor):
    """Return reports whose every part fills many lines."""
    return [
        Report(
            f"h{number}_claim",
            rows={
                key(f"{METRIC}-experiment-{index}", arm=f"arm{index}"): scored(100.0 + factor * (index + 1))
                for index in range(count)
            },
            rulings={"m": Ruling("Confirmed", {f"c{index}": str(factor) for index in range(count)})},
        )
        for number in range(10)
    ]


@pytest.mark.parametrize("limit_bytes", [LIMIT_BYTES, 20_000, 6_000])
def test_a_long_comment_is_cut_to_the_limit_and_says_what_is_missing(limit_bytes):
    text = comment(wide(100, 1.0), wide(100, 2.0), limit_bytes=limit_bytes)
    assert len(text.encode()) <= limit_bytes
    shown = len(table_below(text, "### Mean errors"))
    missing = int(re.search(r"\*([\d,]+) lines with smaller changes not shown", text)[1].replace(",", ""))
    assert shown + missing == 1000
    assert text.count("<details>") == text.count("</details>")


def test_a_cut_table_keeps_the_largest_changes_in_order():
    text = comment(wide(100, 1.0), wide(100, 2.0), limit_bytes=20_000)
    lines = table_below(text, "### Mean errors")
    changes = [float(line[6].split()[0]) for line in lines]
    assert min(changes) >= 90.0
    assert [line[0] for line in lines] == sorted(line[0] for line in lines)


def test_markup_in_a_name_cannot_break_a_table():
    text = comment([many(1, 1.0, name="a|b\nc")], [many(1, 4.0, name="a|b\nc")])
    assert "`a\\|b c`" in text


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("ttft_mean", "TTFT"),
        ("e2e_p90", "E2E p90"),
        ("itl_mean", "ITL"),
        ("queue_time_p50", "queue time p50"),
        ("request_throughput", "request throughput"),
    ],
)
def test_metrics_have_their_usual_names(metric, label):
    assert metric_label(metric) == label


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "+0.00 pp"), (-0.001, "+0.00 pp"), (-0.06, "-0.06 pp"), (12.34, "+12.3 pp")]
)
def test_small_changes_do_not_print_as_zero(value, text):
    assert change_text(value) == text


def test_the_summary_counts_rows_of_reports_on_both_sides():
    assert sentence(many(3, 1.0), many(4, 1.0)) == (
        "no verdict flipped; rows: 0 worse, 0 better beyond noise, 3 the same; 1 new"
    )
