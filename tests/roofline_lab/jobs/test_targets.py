"""Findings are asked for by id or alias; a word that is neither is refused with what was probably meant."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from roofline_lab.jobs.findings import named_targets, reading_order, refused, user_error
from roofline_lab.jobs.targets import aliases, has_rules, refuse_unknown
from roofline_lab.places import TEMPLATES
from simulator.errors import ConfigError
from tests.roofline_lab.builders import HYPOTHESIS
from tests.roofline_lab.hypotheses.synthetic.toys import toy

RULES = (HYPOTHESIS, "h2_fixed_overhead", "H2b", "all", "check", "predict", f"publish_{HYPOTHESIS}")
NAMED = [
    ([], set()),
    ([HYPOTHESIS, "H2b", "-n"], {HYPOTHESIS, "H2b"}),
    (["--cores", "2", "-call", "--forceall"], set()),
    (["--directory", f"/somewhere/{HYPOTHESIS}2"], set()),
    (["-R", "predict", "--until", "score", "--", "H2b"], {"predict", "score", "H2b"}),
    (["--target-jobs", f"publish_{HYPOTHESIS}:", "--allowed-rules", "predict"], set()),
]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("h1_bw_eficiency", f"'{HYPOTHESIS}'"),
        ("h1", f"'{HYPOTHESIS}'"),
        ("H1", f"'{HYPOTHESIS}'"),
        ("h2B", "'h2b_scaled_overhead'"),
        ("h8_decode", "'h8_decode_max_kv'"),
        ("chek", "'check'"),
        ("predct", "'predict'"),
    ],
)
def test_the_beginning_of_a_finding_and_a_misspelt_word_are_refused_with_what_was_meant(lab, word, meant):
    with pytest.raises(ConfigError, match=f"unknown target '{word}'; did you mean {meant}"):
        refuse_unknown(lab, [word], RULES)


def test_a_word_like_nothing_is_refused_with_what_is_allowed(lab):
    with pytest.raises(ConfigError, match=r"unknown target 'zzz'; allowed: all, check, .*`roofline-lab list` shows"):
        refuse_unknown(lab, ["zzz"], RULES)


@pytest.mark.parametrize("word", [*RULES, f"reports/{HYPOTHESIS}/FINDINGS.md", "results/h1/x.csv", "Snakefile"])
def test_rules_and_files_pass(lab, word):
    refuse_unknown(lab, [word], RULES)


@pytest.mark.parametrize(("words", "found"), NAMED)
def test_targets_are_told_from_the_values_of_options(words, found):
    assert named_targets(["/somewhere/bin/snakemake", *words]) == found


def test_a_program_that_is_not_snakemake_asks_for_nothing():
    assert named_targets(["pytest", "h1"]) == set()


def test_every_alias_that_is_a_word_leads_to_its_hypothesis(lab):
    found = aliases(lab)
    assert found["H2b"] == "h2b_scaled_overhead"
    assert set(found.values()) <= set(lab.names)


def test_an_expected_error_reaches_snakemake_as_one_it_prints_without_a_traceback():
    from snakemake.exceptions import WorkflowError

    error = user_error(ConfigError("file: key: wrong"))
    assert isinstance(error, WorkflowError)
    assert "file: key: wrong" in str(error)


def test_what_is_refused_before_a_run_is_said_in_words_of_ours_alone(capsys):
    assert refused(ConfigError("hypotheses/mine/hypothesis.yaml: vvuqq: unknown key")) == 1
    assert capsys.readouterr().err == "error: hypotheses/mine/hypothesis.yaml: vvuqq: unknown key\n"


def test_jobs_of_findings_are_done_in_reading_order_and_those_of_none_come_last(lab):
    jobs = [
        SimpleNamespace(name="render_index", wildcards_dict={}),
        SimpleNamespace(name="score", wildcards_dict={"hypothesis": "h10_decode_mfu_shape"}),
        SimpleNamespace(name="publish_h2_fixed_overhead", wildcards_dict={}),
        SimpleNamespace(name="predict", wildcards_dict={"hypothesis": "h1_bw_efficiency"}),
        SimpleNamespace(name="finding_predict_score"),
    ]
    done = [job.name for job in sorted(jobs, key=reading_order(lab))]
    assert done == ["predict", "publish_h2_fixed_overhead", "score", "render_index", "finding_predict_score"]


def test_a_lab_without_published_documents_offers_no_errata(bench):
    laboratory = bench.load(toy())
    with pytest.raises(ConfigError, match=r"unknown target 'errata'; allowed: all, check, index, site"):
        refuse_unknown(laboratory, ["errata"], ("all", "check", "index"))


def test_other_rules_beside_the_module_are_seen_in_a_snakefile(tmp_path):
    snakefile = tmp_path / "Snakefile"
    text = (TEMPLATES / "lab" / "Snakefile").read_text(encoding="utf-8")
    snakefile.write_text(text, encoding="utf-8")
    assert not has_rules(snakefile)
    snakefile.write_text(f"{text}\n\nrule mine:\n    output:\n        'mine.txt'\n", encoding="utf-8")
    assert has_rules(snakefile)
