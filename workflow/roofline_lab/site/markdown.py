"""Markdown of the repository as HTML of the site.

Contract: of HTML in a page only what folds and breaks lines passes; any other tag shows as the text it is. Relative
links become links of the site where their target is in it, and plain text where it is not. A table stands in a frame
that scrolls; cells that hold a number sort by it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from roofline_lab.site.pages import Section
from roofline_lab.site.places import NUMBER, Annotate, annotate_numbers, inline_text, tables

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

ALLOWED = re.compile(r"</?(?:details|summary|br|sub|sup)(?: open)? ?/?>|<!--.*?-->", re.DOTALL)
NO_NUMBER = frozenset({"", "–", "-", "n/a", "not measured"})

Link = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page of markdown: its first heading as plain text, all below it as HTML, and its sections."""

    title: str
    body: str
    sections: tuple[Section, ...]


def rendered(text: str, link: Link, annotate: Annotate | None = None) -> Rendered:
    """Render a page.

    Parameters
    ----------
    link
        Where a relative target lies in the site, None if it is not part of it.
    annotate
        Where a number leads, None if nowhere.
    """
    tokens = _parser().parse(text)
    anchors: dict[str, int] = {}
    sections = _sections(tokens, anchors)
    title = sections[0].heading if sections and sections[0].level == 1 else ""
    if title:
        tokens = _without_title(tokens)
    _relink(tokens, link)
    if annotate is not None:
        annotate_numbers(tokens, title, annotate)
    _sortable(tokens)
    return Rendered(title, _parser().renderer.render(tokens, _parser().options, {}), tuple(sections))


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    # Imported here because only a site needs it (`roofline_lab.site.libraries`).
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    for name in ("html_block", "html_inline"):
        parser.add_render_rule(name, _safe_html)
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    return parser


def _safe_html(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    content, done, parts = tokens[index].content, 0, []
    for tag in ALLOWED.finditer(content):
        parts.append(html.escape(content[done : tag.start()]))
        parts.append("" if tag[0].startswith("<!--") else tag[0])
        done = tag.end()
    return "".join(parts) + html.escape(content[done:])


def _table_open(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    first = next((inline_text(token) for token in tokens[index:] if token.type == "inline"), "")
    label = html.escape(f"Table by {first}" if first else "Table", quote=True)
    return f'<div class="scroll" role="group" tabindex="0" aria-label="{label}"><table>\n'


def _table_close(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


# --- headings --------------------------------------------------------------------------------------


def _sections(tokens: Sequence[Token], anchors: dict[str, int]) -> list[Section]:
    """Return the sections of a page, and give their headings the anchors that links name."""
    found: list[Section] = []
    words: list[str] = []
    for position, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = inline_text(tokens[position + 1])
            anchor = _anchor(heading, anchors)
            token.attrSet("id", anchor)
            _close(found, words)
            found.append(Section(anchor, heading, int(token.tag[1:]), ""))
        elif token.type == "inline" and tokens[position - 1].type != "heading_open":
            words.append(inline_text(token))
        elif token.type in ("fence", "code_block"):
            words.append(token.content)
    _close(found, words)
    return found


def _close(found: list[Section], words: list[str]) -> None:
    if found:
        last = found[-1]
        found[-1] = Section(last.anchor, last.heading, last.level, " ".join(" ".join(words).split()))
        words.clear()


def _anchor(heading: str, used: dict[str, int]) -> str:
    """Return a heading's anchor as GitHub forms it."""
    name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") or "section"
    used[name] = used.get(name, -1) + 1
    return f"{name}-{used[name]}" if used[name] else name


def _without_title(tokens: list[Token]) -> list[Token]:
    start = next(position for position, token in enumerate(tokens) if token.type == "heading_open")
    return tokens[:start] + tokens[start + 3 :]


# --- links -----------------------------------------------------------------------------------------


def _relink(tokens: Sequence[Token], link: Link) -> None:
    for token in tokens:
        if token.type == "inline" and token.children:
            opened: list[bool] = []
            for child in token.children:
                if child.type == "image":
                    _resource(child, link(str(child.attrGet("src"))))
                elif child.type == "link_open":
                    target = link(str(child.attrGet("href")))
                    opened.append(target is not None)
                    _retarget(child, target)
                elif child.type == "link_close" and not opened.pop():
                    child.tag = "span"


def _resource(child: Token, target: str | None) -> None:
    """Show a figure, or say where it would stand that it is missing."""
    if target is not None:
        child.attrSet("src", target)
        child.attrSet("loading", "lazy")
        return
    child.type, child.content = "text", f"[The figure is missing: {child.attrGet('src')}]"


def _retarget(child: Token, target: str | None) -> None:
    if target is None:
        child.tag = "span"
        child.attrs = {"class": "elsewhere", "title": f"in the repository: {child.attrGet('href')}"}
    else:
        child.attrSet("href", target)


# --- tables ----------------------------------------------------------------------------------------


def _sortable(tokens: Sequence[Token]) -> None:
    """Give the cells of a column of numbers the value they sort by."""
    for start, rows in tables(tokens):
        texts = [[inline_text(cell) for cell in row] for row in rows[1:]]
        numeric = [
            all(_sort_key(row[column]) is not None for row in texts) for column in range(len(rows[0]) if texts else 0)
        ]
        cells = (token for token in tokens[start:] if token.type == "td_open")
        for row in texts:
            for column, text in enumerate(row):
                cell = next(cells)
                if numeric[column]:
                    cell.attrSet("data-order", _sort_key(text) or "")


def _sort_key(text: str) -> str | None:
    """Return the number a cell begins with, empty where it says that there is none, None where it is no number."""
    if text.strip().lower() in NO_NUMBER:
        return ""
    number = NUMBER.match(text.strip())
    return number[0].replace(",", "").replace("−", "-") if number else None
