"""Words on the committed pages: right plurals, no workload called `train`; and how long their visible part is."""

from __future__ import annotations

import re

import pytest

from tests.paths import ROOT

PAGES = sorted(path for path in (ROOT / "reports").rglob("*.md"))
FINDINGS = sorted((ROOT / "reports").glob("*/FINDINGS.md"))
NOUNS = (
    "experiments|load points|model families|families|requests|simulations|rows|points|sweeps|criteria|assumptions|"
    "quality flags|more sources|others|evaluations|pairs"
)
ONE_OF_SEVERAL = re.compile(rf"(?<![\w.,/-])1 (?:{NOUNS})\b")
MOST_VISIBLE_LINES = 250


def visible(text):
    """Return the lines that nobody has to unfold; what is folded counts as its title."""
    shown, folded = [], 0
    for line in text.splitlines():
        if "</details>" in line:
            folded -= 1
        else:
            shown += [] if folded else [line]
            folded += "<details" in line
    return shown


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT / "reports").as_posix())
def test_one_is_not_followed_by_a_plural(page):
    assert ONE_OF_SEVERAL.findall(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", FINDINGS, ids=lambda path: path.parent.name)
def test_no_workload_of_a_page_is_called_train(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"\| train \||TP\d train\b|Workloads:.*\btrain\b|workload train\b", text)


@pytest.mark.parametrize("page", FINDINGS, ids=lambda path: path.parent.name)
def test_the_visible_part_of_a_findings_page_is_short(page):
    assert len(visible(page.read_text(encoding="utf-8"))) <= MOST_VISIBLE_LINES


@pytest.mark.parametrize(("text", "lines"), [("a\nb", 2), ("<details><summary>t</summary>\nb\n</details>\nc", 2)])
def test_what_is_folded_counts_as_its_title(text, lines):
    assert len(visible(text)) == lines


def test_a_wrong_plural_is_found():
    assert ONE_OF_SEVERAL.search("over 1 experiments")
    assert not ONE_OF_SEVERAL.search("H1 experiments, 11 rows, 0.1 points and 1 experiment")
