"""The glossary explains the words on the pages, in their order."""

from __future__ import annotations

import re

import pytest

from roofline_lab.vocabulary import Purpose, Status
from tests.paths import ROOT

TEXT = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
WORDS = re.findall(r"^\| ([^|]+?) \|", TEXT, re.MULTILINE)[1:]
EXPLAINED = {word.strip(): row for row in TEXT.splitlines() for word in row.strip("|").split("|")[0].split(",")}


@pytest.mark.parametrize(
    "word",
    [
        "arm",
        "tier",
        "VV&UQ",
        "held out",
        "lineage",
        "chatsweep",
        "codesweep",
        "pp",
        "within noise",
        "TTFT",
        "ITL",
        "TPOT",
        "E2E",
        "control",
        "saturated",
    ],
)
def test_words_that_newcomers_stumble_over_are_explained(word):
    assert word in EXPLAINED


def test_words_stand_in_alphabetical_order_and_once():
    found = [word.lower() for word in WORDS]
    assert found == sorted(set(found))


def test_every_status_and_purpose_is_named():
    assert all(status.value in EXPLAINED["status"] for status in Status)
    assert all(word in EXPLAINED["VV&UQ"] for word in ("verification", "validation", "uncertainty quantification"))
    assert len(Purpose) == 3
