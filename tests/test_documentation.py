"""The documentation is sorted into four kinds, and its start page leads to all of it."""

from __future__ import annotations

import re

from tests.paths import ROOT

START = ROOT / "docs" / "README.md"
KINDS = ("Learn", "Do", "Look up", "Understand")
LINK = re.compile(r"\]\(([\w-]+\.md)\)")


def sorted_pages():
    """Return the pages that the start page leads to, by kind."""
    sections = re.split(r"^## (.+)$", START.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        heading.partition(":")[0]: LINK.findall(text)
        for heading, text in zip(sections[::2], sections[1::2], strict=True)
    }


def test_the_start_page_sorts_every_page_into_one_of_four_kinds():
    found = sorted_pages()
    assert [kind for kind in found if kind in KINDS] == list(KINDS)
    listed = sorted(page for kind in KINDS for page in found[kind])
    assert listed == sorted(path.name for path in START.parent.glob("*.md") if path != START)
