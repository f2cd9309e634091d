"""Markdown of the repository as HTML of the site."""

from __future__ import annotations

import pytest

from roofline_lab.site.markdown import rendered

pytest.importorskip("markdown_it", reason="markdown-it-py is not installed: pip install 'roofline-lab[site]'")

TABLE = "| run | n | error |\n| :- | -: | -: |\n| a | 1,200 | **+3.5 %** |\n| b | – | 12 % |\n"


def page(text, link=lambda target: target, annotate=None):
    return rendered(text, link, annotate)


def test_the_first_heading_becomes_the_title_and_leaves_the_body():
    assert page("# A *title*\n\nWords.\n").title == "A title"
    assert "<h1" not in page("# A title\n\nWords.\n").body


def test_html_that_folds_passes_and_all_other_html_is_text():
    body = page("<details>\n<summary>More</summary>\n\n**words** <script>x</script>\n\n</details>\n").body
    assert "<details>\n<summary>More</summary>" in body
    assert "<strong>words</strong>" in body
    assert "<script>" not in body
    assert "&lt;script&gt;" in body


@pytest.mark.parametrize(
    "tag", ["<details onclick=x>", "<summary style=x>", "<br/onload=x>", "<img src=x>", "<a href=x>"]
)
def test_a_tag_with_attributes_is_text(tag):
    assert tag not in page(f"{tag}words\n").body


def test_a_comment_is_left_away():
    assert "made by" not in page("<!-- made by x -->\n\nWords.\n").body


def test_headings_get_the_anchors_that_links_on_github_name():
    sections = page("# T\n\n## What is it, really?\n\none\n\n## What is it, really?\n\ntwo\n").sections
    assert [(each.anchor, each.text) for each in sections[1:]] == [
        ("what-is-it-really", "one"),
        ("what-is-it-really-1", "two"),
    ]


def test_a_link_out_of_the_site_becomes_text_that_says_where_it_led():
    body = page("See [code](../x.py) and [page](a.md).\n", {"../x.py": None, "a.md": "a.html"}.get).body
    assert '<span class="elsewhere" title="in the repository: ../x.py">code</span>' in body
    assert '<a href="a.html">page</a>' in body


def test_cells_of_a_column_of_numbers_sort_by_their_value():
    body = page(TABLE).body
    assert 'data-order="1200"' in body
    assert 'data-order="+3.5"' in body
    assert body.count("data-order") == 4, "a missing number sorts as one, a word does not"


def test_a_number_of_a_cell_leads_where_its_place_says():
    seen = []

    def annotate(number, place):
        seen.append((number, place.headings, place.caption, place.column, place.before, place.row))
        return "numbers.html#row=7" if number == "+3.5 %" else None

    body = page(f"# T\n\n## Results\n\n*Errors*\n\n{TABLE}", annotate=annotate).body
    assert ("+3.5 %", ("T", "Results", "Errors"), "Errors", "error", "n", ("a", "a")) in seen
    assert '<strong><a class="number" href="numbers.html#row=7">+3.5 %</a></strong>' in body
    assert body.count("<a ") == 1


def test_a_table_stands_in_a_frame_that_the_keyboard_can_scroll():
    assert '<div class="scroll" role="group" tabindex="0" aria-label="Table by run"><table>' in page(TABLE).body


def test_a_number_among_words_is_linked_only_with_a_unit_and_knows_what_stands_in_front_of_it():
    seen = []

    def annotate(number, place):
        seen.append((number, place.before.strip()))
        return "x.html"

    body = page("# T\n\nIn 2026 the gain of *treated* is\n+3.5 pp.\n", annotate=annotate).body
    assert seen == [("+3.5 pp", "In 2026 the gain of treated is")]
    assert '<a class="number" href="x.html">+3.5 pp</a>.' in body


def test_a_comma_behind_a_number_is_no_part_of_it():
    seen = []
    page("| a | b |\n| - | - |\n| x | 1,367, width 5 % |\n", annotate=lambda number, place: seen.append(number))
    assert seen == ["1,367", "5 %"]


def test_a_missing_figure_is_named_where_it_would_stand():
    body = page("![A plot](figures/plot.svg)\n", lambda target: None).body
    assert "<img" not in body
    assert "[The figure is missing: figures/plot.svg]" in body
