"""The errata: intervals, the language of claims, and that every outcome hangs on the tables."""

from __future__ import annotations

import contextlib
import copy
import csv
import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline_lab.errata.claims import Follows, as_interval
from roofline_lab.errata.columns import evaluate, numbers, scalar, truths
from roofline_lab.errata.documents import ClaimsFile, experiment_table, load_documents, names_of
from roofline_lab.errata.evaluation import judge_documents
from roofline_lab.errata.interval import Interval, printed, shown
from roofline_lab.report.errata import errata_page
from simulator.errors import ConfigError
from simulator.validation import parse

PUBLISHED_CELLS = {"h1": 155, "h2b": 96, "h5": 62}
SIGNED = "signed errors against absolute ones"
# What each page says that does not follow, by claim. A list, so that a vanished finding is noticed.
WRONG = {
    "h1": {
        "small-models-factor",
        "large-models-factor",
        "predicted-tpot-range",
        "constant-gap",
        "ttft-after-range",
        "sustained-share",
        "constant-multiple-is-evidence",
        "gain-is-no-identity",
        "queueing-is-negligible-ttft",
        "queueing-is-negligible-e2e",
        "prefill-rate-codesweep",
        "prefill-rate-summarization",
        "simulated-output-lengths",
        "measured-output-lengths",
        "simulated-summarization-lengths",
        "measured-summarization-lengths",
    },
    "h2b": {
        "tpot-goal-not-reached",
        "effect-small-for-7b-tp4",
        "model-sizes",
        "prefill-overhead-too-large",
        "uniform-improvement",
        "residual-scale",
        "change-of-tpot-error",
        "signed-range-7b-tp2",
        "e2e-agrees-with-h5",
        "two-texts-one-result",
        "overhead-added-per-step-scaled",
        "overhead-added-per-step-fixed",
        "overhead-over-tp",
        "header-status",
        "header-resolution",
        "finding-types",
    },
    "h5": {
        "rows-that-worsen",
        "number-of-simulations",
        "best-row-has-tp-above-1",
        "tp1-is-hurt",
        "chat-is-hurt",
        "consistent-over-points",
        "bold-means-above-1pp",
        "no-mixed-batches",
        "criteria-in-analyzer",
        "change-of-e2e-error",
        "additive-predicts-less",
        "additive-is-faster-512-and-8",
        "additive-is-faster-512-and-32",
        "thresholds-are-harmless",
        "header-resolution",
        "finding-types",
    },
    "h2": {"large-models-improve"},
    "h6": {"flat-to-the-end"},
    "h7": {
        "where-difference-is-largest",
        "where-difference-is-smallest",
        "decode-dominated-cases",
        "number-of-cases",
    },
    "h9": {"bucket-is-the-cause", "bucket-grows-short-prompts"},
    "hg1": {
        "training-error",
        "gap-to-test",
        "all-before",
        "all-after",
        "optimum-is-better",
        "change-is-possible",
        "same-arm-as-h2b",
    },
    "review": {
        "product-of-peak-and-mfu",
        "petaflops",
        "weights-per-gpu",
        "kv-per-gpu",
        "gemm-flops",
        "bucket-over-estimate",
        "decode-rows",
        "gemm-rows",
        "number-of-lines",
    },
}
NOT_DERIVABLE = {("h2b", "e2e-rows"), ("h7", "refutation-measured"), ("h9", "above-linear-at-10")}


@pytest.fixture(scope="module")
def documents(lab):
    return load_documents(lab)


@pytest.fixture(scope="module")
def experiments(lab):
    return experiment_table(lab)


@pytest.fixture(scope="module")
def judged(documents, experiments):
    return {document.document.file.subject: document for document in judge_documents(documents, experiments)}


@pytest.fixture(scope="module")
def names(documents, experiments):
    return {document.file.subject: names_of(document, documents, experiments) for document in documents}


# --- intervals --------------------------------------------------------------------------------

# As printed numbers are: a few decimals, nothing a division could overflow.
finite = st.integers(-(10**9), 10**9).map(lambda thousandths: thousandths / 1000)


@st.composite
def interval_and_member(draw):
    a, b, share = draw(finite), draw(finite), draw(st.floats(0, 1))
    low, high = min(a, b), max(a, b)
    return Interval(low, high), min(max(low + share * (high - low), low), high)


@given(interval_and_member(), interval_and_member())
def test_every_result_lies_in_the_interval_of_the_results(one, other):
    (a, x), (b, y) = one, other
    assert (a + b).meets(Interval.exact(x + y))
    assert (a - b).meets(Interval.exact(x - y))
    assert (a * b).meets(Interval.exact(x * y))
    assert abs(a).low <= abs(x) <= abs(a).high
    if not b.low <= 0 <= b.high:
        assert (a / b).meets(Interval.exact(x / y))


@given(interval_and_member(), interval_and_member())
def test_a_decided_comparison_holds_for_every_pair_of_members(one, other):
    (a, x), (b, y) = one, other
    if a.below(b) is True:
        assert x < y
    if a.below(b) is False:
        assert x >= y


@given(st.floats(-1e4, 1e4), st.integers(0, 4))
def test_a_number_lies_in_the_interval_of_its_printed_digits(value, decimals):
    assert printed(f"{value:.{decimals}f}").meets(Interval.exact(value))


def test_a_printed_negative_zero_is_below_zero_and_a_printed_zero_is_not():
    zero = Interval.exact(0)
    assert printed("-0.0").below(zero) is True
    assert printed("0.0").below(zero) is False


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e5", "12 ms"])
def test_what_is_no_decimal_number_is_refused(text):
    with pytest.raises(ConfigError, match="not a decimal number"):
        printed(text)


def test_a_divisor_that_may_be_zero_is_refused():
    with pytest.raises(ConfigError, match="may be zero"):
        Interval(1, 2) / Interval(-1, 1)


def test_computed_numbers_print_the_digits_they_have():
    assert shown(printed("47.7")) == "47.7"
    assert shown(Interval.exact(447)) == "447"
    assert shown(Interval(12.3, 12.9)) == "12.6"


# --- the language of claims -------------------------------------------------------------------

TABLE = {
    "t": {
        "gain": {"a": printed("1.0"), "b": printed("-2.0"), "c": printed("-0.0")},
        "group": {"a": "x", "b": "y", "c": "y"},
        "n": {"a": Interval.exact(1), "b": Interval.exact(3), "c": Interval.exact(0)},
    },
    "figures": {"two": Interval.exact(2)},
}


def test_rows_are_selected_compared_and_summed_up_by_name():
    assert scalar("mean(t.gain[t.group == 'y'])", TABLE).middle == pytest.approx(-1.0125, abs=0.02)
    assert scalar("mean(t.gain, t.n)", TABLE).meets(Interval.exact(-1.25))
    assert truths("t.gain < 0", TABLE) == {"a": False, "b": True, "c": True}
    assert scalar("count(t.gain < 0 and not t.group == 'x')", TABLE) == Interval.exact(2)
    assert truths("-1.5 < t.gain <= 1", TABLE) == {"a": None, "b": False, "c": True}
    assert set(evaluate("means(t.gain, t.group)", TABLE)) == {"x", "y", "all"}
    assert numbers("at(t.n, keyed(t.group, t.group))", {**TABLE, "t": {**TABLE["t"], "group": {"a": "a"}}})


def test_a_count_the_digits_do_not_decide_is_a_range():
    assert scalar("count(abs(t.gain) > 1)", TABLE) == Interval(1, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("t.gian", "did you mean 'gain'"),
        ("q.gain", "unknown table 'q'"),
        ("mean(t.gain", "is not a formula at character 5"),
        ("t.gain ** 2", "the operator Pow cannot be used here"),
        ("__import__('os')", "is no function"),
        ("t.gain['d']", "unknown row 'd'"),
        ("t.gain + t.gain[t.group == 'x'] + t.gain[t.group == 'y']", "rows do not match"),
        ("mean(t.group)", "must be a number, not a word"),
        ("t.gain[t.gain > -0.01]", "do not decide which rows"),
        ("mean(t.gain[t.group == 'z'])", "mean of no rows"),
        ("ln(t.gain)", "may not be positive"),
        ("mean()", "wrong number of arguments"),
        ("t", "is a table"),
        ("[x for x in t.gain]", "ListComp cannot be used here"),
    ],
)
def test_an_expression_that_means_nothing_is_refused_with_a_reason(text, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        evaluate(text, TABLE)


@given(st.text(max_size=40))
def test_no_text_breaks_the_language(text):
    with contextlib.suppress(ConfigError):
        evaluate(text, TABLE)


# --- the published pages ----------------------------------------------------------------------


@pytest.mark.parametrize("subject", PUBLISHED_CELLS)
def test_every_derived_cell_of_the_published_tables_is_checked_and_consistent(judged, subject):
    cells = [cell for cell in judged[subject].cells if cell.group != SIGNED]
    assert len(cells) == PUBLISHED_CELLS[subject]
    assert [cell for cell in cells if not cell.consistent] == []


def test_the_cells_that_contradict_others_are_a_signed_error_and_a_training_mean(judged):
    wrong = [
        (s, cell.rule, cell.row) for s, document in judged.items() for cell in document.cells if not cell.consistent
    ]
    assert wrong == [("h2b", "signed-baseline", "jan30-llama2-7b-tp2-chatsweep"), ("hg1", "train", "")]


def test_exactly_the_listed_statements_do_not_follow(judged):
    found = {subject: {c.claim.id for c in document.chosen(Follows.DOES_NOT)} for subject, document in judged.items()}
    assert found == WRONG


def test_what_a_page_does_not_print_is_not_derivable(judged):
    found = {(s, c.claim.id) for s, document in judged.items() for c in document.chosen(Follows.NOT_DERIVABLE)}
    assert found == NOT_DERIVABLE


def test_more_than_forty_statements_hold(judged):
    assert sum(len(judged[subject].chosen(Follows.HOLDS)) for subject in ("h1", "h2b", "h5")) >= 40


def test_the_page_shows_every_statement_with_its_outcome(judged):
    page = errata_page(list(judged.values()))
    for document in judged.values():
        for claim in document.claims:
            assert f"`{claim.claim.id}`" in page
    assert "6 of 13" in page  # how many rows really worsen on the H5 page


# --- every outcome hangs on the tables --------------------------------------------------------

COLUMN = re.compile(r"\b((?:[a-z]\w*\.)+[a-z]\w*)\b")
FACTORS = (-1.0, 0.0, 0.3, 3.0, 40.0, 1e6)


def referenced(claim, names):
    """Return the numeric and word columns and figures a claim's expressions name."""
    texts = [getattr(claim, name, None) for name in ("rows", "value", "by", "at", "needs")]
    found = {path for text in texts if text for path in COLUMN.findall(text)}
    return sorted(path for path in found if leaf(names, path) is not None)


def leaf(names, path):
    value = names
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def with_leaf(names, path, value):
    changed = copy.copy(names)
    level = changed
    *parents, last = path.split(".")
    for part in parents:
        level[part] = copy.copy(level[part])
        level = level[part]
    level[last] = value
    return changed


def mutations(value):
    """Yield what a column or figure might be instead."""
    if isinstance(value, Interval):
        yield from (Interval.exact(value.middle * factor + shift) for factor in FACTORS for shift in (0, 7.0))
        return
    if all(isinstance(entry, str) for entry in value.values()):
        yield dict.fromkeys(value, "elsewhere")
        yield dict.fromkeys(value, "chatsweep")
        yield dict.fromkeys(value, "decode-dominated")
        return
    for number in (-50.0, 50.0):
        yield dict.fromkeys(value, Interval.exact(number))
    for factor in FACTORS:
        yield {row: entry * Interval.exact(factor) for row, entry in value.items()}
        yield {row: entry * Interval.exact(factor) + Interval.exact(3000.0) for row, entry in value.items()}
    for row in value:
        yield {**value, row: Interval.exact(value[row].middle * -3 - 100)}
        yield {**value, row: Interval.exact(value[row].middle * 3 + 100)}


def outcomes(claim, names):
    for path in referenced(claim, names):
        for changed in mutations(leaf(names, path)):
            try:
                yield claim.judge(with_leaf(names, path, changed)).follows
            except ConfigError:
                continue


def test_every_statement_that_holds_stops_holding_in_some_mutated_table(judged, names):
    deaf = [
        (subject, claim.claim.id)
        for subject, document in judged.items()
        for claim in document.chosen(Follows.HOLDS)
        if claim.claim.kind != "vocabulary" and Follows.DOES_NOT not in set(outcomes(claim.claim, names[subject]))
    ]
    assert deaf == []


def put_right(claim, names):
    """Return the claim with what was computed in place of what was said, or None where it names no number."""
    if claim.kind == "count":
        found = [row for row, truth in truths(claim.rows, names).items() if truth]
        return claim.model_copy(update={"claimed": len(found), "claimed_of": None})
    if claim.kind == "arithmetic":
        return claim.model_copy(update={"claimed": scalar(claim.value, names).middle})
    if claim.kind == "range":
        values = numbers(claim.value, names).values()
        ends = (min(interval.middle for interval in values), max(interval.middle for interval in values))
        return claim.model_copy(update={"claimed": ends})
    if claim.kind == "bound":
        name = next(n for n in ("above", "below", "at_least", "at_most") if getattr(claim, n) is not None)
        values = numbers(claim.value, names).values()
        limit = max(v.high for v in values) + 1 if name in ("below", "at_most") else min(v.low for v in values) - 1
        return claim.model_copy(update={name: limit})
    if claim.kind == "extremum" and claim.at_row is not None:
        values = numbers(claim.value, names)
        best = (max if claim.which == "largest" else min)(values, key=lambda row: values[row].middle)
        return claim.model_copy(update={"at_row": best})
    if claim.kind == "vocabulary":
        return claim.model_copy(update={"words": ("Refuted",), "list_name": "Status"})
    return None


def test_every_statement_that_does_not_follow_holds_once_put_right(judged, names):
    for subject, document in judged.items():
        for claim in document.chosen(Follows.DOES_NOT):
            right = put_right(claim.claim, names[subject])
            if right is not None:
                assert right.judge(names[subject]).follows is Follows.HOLDS, (subject, claim.claim.id)
            else:
                assert claim.claim.kind in ("sign", "extremum", "order")
                assert Follows.HOLDS in set(outcomes(claim.claim, names[subject])), (subject, claim.claim.id)


def test_every_number_a_statement_claims_matters(judged, names):
    for subject, document in judged.items():
        for claim in document.chosen(Follows.HOLDS):
            if claim.claim.kind not in ("count", "arithmetic", "extremum") or claim.claim.claimed is None:
                continue
            value = as_interval(claim.claim.claimed)
            other = claim.claim.model_copy(update={"claimed": value.middle + max(2.0, 10 * value.width)})
            assert other.judge(names[subject]).follows is Follows.DOES_NOT, (subject, claim.claim.id)


def test_every_derived_cell_is_found_when_it_alone_is_changed(judged):
    for document in judged.values():
        for cell in document.cells:
            width = max(cell.printed.width + cell.follows.width, 1.0)
            moved = dataclasses.replace(cell, printed=cell.printed + Interval.exact(2 * width))
            assert not moved.consistent, (document.document.path, cell.rule, cell.row)


def test_two_more_worsening_rows_make_the_count_of_worsening_rows_right(judged, names):
    claim = next(c.claim for c in judged["h5"].claims if c.claim.id == "rows-that-worsen")
    column = dict(leaf(names["h5"], "e2e.additive_e2e_gain"))
    for row in [row for row, value in column.items() if value.low > 0][:2]:
        column[row] = printed("-1.0")
    changed = with_leaf(names["h5"], "e2e.additive_e2e_gain", column)
    assert claim.judge(changed).follows is Follows.HOLDS


def test_a_page_that_prints_the_missing_column_makes_its_statement_derivable(judged, names):
    claim = next(c.claim for c in judged["h2b"].claims if c.claim.id == "e2e-rows")
    changed = with_leaf(names["h2b"], "tpot.scaled_e2e", {"a": printed("1.0")})
    assert claim.judge(changed).follows is Follows.HOLDS


# --- bad input --------------------------------------------------------------------------------

CLAIMS = "hypotheses/h1_bw_efficiency/published/claims.yaml"


def refused(project, change, file=CLAIMS):
    project.edit(change, file)
    lab = project.load()
    with pytest.raises(ConfigError) as caught:
        judge_documents(load_documents(lab), experiment_table(lab))
    return str(caught.value)


def test_a_claim_about_an_unknown_column_names_file_claim_and_nearest_column(project):
    message = refused(project, lambda d: d["claims"][0].update(value="mean(mape.baselin_tpot)"))
    assert CLAIMS in message
    assert "overall-tpot-before" in message
    assert "did you mean 'baseline_tpot'" in message


def test_a_claim_given_twice_is_refused(project):
    message = refused(project, lambda d: d["claims"].append(d["claims"][0]))
    assert "id 'overall-tpot-before' is used twice" in message


def test_an_unknown_kind_of_claim_is_refused(project):
    assert "claims.0" in refused(project, lambda d: d["claims"][0].update(kind="opinion"))


def test_a_bound_without_a_bound_is_refused(project):
    def change(content):
        bound = next(c for c in content["claims"] if c["kind"] == "bound")
        bound.pop("at_least")

    assert "exactly one of above, below, at_least, at_most" in refused(project, change)


def test_a_derived_cell_for_which_nothing_follows_is_refused(project):
    message = refused(project, lambda d: d["derived"][0].update(follows="by_workload.baseline_tpot"))
    assert "nothing follows for row" in message


def test_two_documents_of_one_subject_are_refused(project):
    file = "hypotheses/h5_mixed_batch_additive/published/claims.yaml"
    assert "subject 'h1' is used by another document" in refused(project, lambda d: d.update(subject="h1"), file)


@pytest.mark.parametrize(
    ("text", "words"),
    [("gbs\n2650\n", "the header must be 'row'"), ("row,gbs\nlow\n", "must have 2 fields")],
)
def test_a_printed_table_with_a_missing_column_is_refused_with_its_line(project, text, words):
    table = project.root / "hypotheses/h1_bw_efficiency/published/errata/stream.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words) as caught:
        load_documents(project.load())
    assert "stream.csv" in str(caught.value)


def test_a_claims_file_that_says_nothing_of_itself_is_refused():
    with pytest.raises(ConfigError, match="subject"):
        parse(ClaimsFile, {"claims": []}, source="claims.yaml")


# --- against the third-party originals --------------------------------------------------------


def rows_of(path):
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_published_gain_is_transcribed(shared_dir, names):
    for row in rows_of(shared_dir / "published" / "h5_e2e.csv"):
        value = leaf(names["h5"], "e2e.additive_e2e_gain")[row["experiment"]]
        assert value == printed(row["bl_minus_add_pp"])
    for row in rows_of(shared_dir / "published" / "h2b_tpot.csv"):
        for column, path in (
            ("sc_tpot_mape_pct", "tpot.scaled_tpot"),
            ("fx_minus_sc_pp", "fixed_minus_scaled.tpot_pp"),
        ):
            assert leaf(names["h2b"], path)[row["experiment"]] == printed(row[column])
    for row in rows_of(shared_dir / "published" / "extra_hg1_tpot.csv"):
        assert leaf(names["hg1"], "tpot.optimum_tpot")[row["experiment"]] == printed(row["opt_80us_tpot_mape_pct"])


def test_the_facts_about_the_kernel_tables_and_the_review_are_counted_again(shared_dir, names):
    tables = shared_dir / "bench_data"
    counts = {
        "decode_rows": sum(len(rows_of(path)) for path in sorted(tables.glob("mha/decode/h100/*.csv"))),
        "prefill_rows": sum(len(rows_of(path)) for path in sorted(tables.glob("mha/prefill/h100/*.csv"))),
        "gemm_rows": len(rows_of(tables / "gemm" / "h100" / "data.csv")),
        "lines": len((next((shared_dir / "seeds").glob("003_*"))).read_text(encoding="utf-8").splitlines()),
    }
    assert {name: leaf(names["review"], f"facts.{name}").middle for name in counts} == counts


@pytest.mark.parametrize("expression", ["a * a", "a * a - a * a", "a / b", "a * a * a + 1"])
def test_a_result_beyond_all_numbers_is_refused_and_not_printed(expression):
    names = {"t": {"a": Interval.exact(1e200), "b": Interval.exact(1e-200)}}
    with pytest.raises(ConfigError, match=r"cannot be worked out .*not a finite number"):
        numbers(expression.replace("a", "t.a").replace("b", "t.b"), names)
