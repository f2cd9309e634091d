"""Markdown of the repository as HTML of the site.

Contract: of HTML in a page only what folds and breaks lines passes; any other tag shows as the text it is. Relative
links become links of the site where their target is in it, and plain text where it is not. A table stands in a frame
that scrolls; cells that hold a number sort by it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from roofline_lab.site.pages import Section

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

ALLOWED = re.compile(r"</?(?:details|summary|br|sub|sup)(?: open)? ?/?>|<!--.*?-->", re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
# The number a cell begins with; thousands may be parted by commas.
LEADING_NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
NO_NUMBER = frozenset({"", "–", "-", "n/a", "not measured"})

Link = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page of markdown: its first heading as plain text, all below it as HTML, and its sections."""

    title: str
    body: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cell of a table stands: all that says what its number is.

    Attributes
    ----------
    headings
        Above the table, from the page's title down.
    caption
        The paragraph before the table.
    column, before
        Header of the cell's column, and of the one to its left.
    row
        Texts of the cells of its row that hold no number.
    """

    headings: tuple[str, ...]
    caption: str
    column: str
    before: str
    row: tuple[str, ...]


Annotate = Callable[[str, Place], str | None]


def rendered(text: str, link: Link, annotate: Annotate | None = None) -> Rendered:
    """Render a page.

    Parameters
    ----------
    link
        Where a relative target lies in the site, None if it is not part of it.
    annotate
        Where the number of a table's cell leads, None if nowhere.
    """
    tokens = _parser().parse(text)
    anchors: dict[str, int] = {}
    sections = _sections(tokens, anchors)
    title = sections[0].heading if sections and sections[0].level == 1 else ""
    if title:
        tokens = _without_title(tokens)
    _relink(tokens, link)
    if annotate is not None:
        _annotate_tables(tokens, title, annotate)
    _sortable(tokens)
    return Rendered(title, _parser().renderer.render(tokens, _parser().options, {}), tuple(sections))


def inline_text(token: Token) -> str:
    """Return the plain text of an inline token."""
    return "".join(
        " " if child.type in ("softbreak", "hardbreak") else child.content
        for child in token.children or ()
        if child.type in ("text", "code_inline", "softbreak", "hardbreak", "text_special")
    )


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
                    child.attrSet("src", link(str(child.attrGet("src"))) or "")
                    child.attrSet("loading", "lazy")
                elif child.type == "link_open":
                    target = link(str(child.attrGet("href")))
                    opened.append(target is not None)
                    _retarget(child, target)
                elif child.type == "link_close" and not opened.pop():
                    child.tag = "span"


def _retarget(child: Token, target: str | None) -> None:
    if target is None:
        child.tag = "span"
        child.attrs = {"class": "elsewhere", "title": f"in the repository: {child.attrGet('href')}"}
    else:
        child.attrSet("href", target)


# --- tables ----------------------------------------------------------------------------------------


def _tables(tokens: Sequence[Token]) -> Iterator[tuple[int, list[list[Token]]]]:
    """Yield each table: position of its first token, and its cells (inline tokens) row by row, the header first."""
    start, rows = 0, list[list["Token"]]()
    for position, token in enumerate(tokens):
        if token.type == "table_open":
            start, rows = position, []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(tokens[position + 1])
        elif token.type == "table_close":
            yield start, rows


def _annotate_tables(tokens: Sequence[Token], title: str, annotate: Annotate) -> None:
    headings: dict[int, str] = {}
    caption, scanned = "", 0
    for start, rows in _tables(tokens):
        for position in range(scanned, start):
            if tokens[position].type == "heading_open":
                level = int(tokens[position].tag[1:])
                headings = {each: text for each, text in headings.items() if each < level}
                headings[level] = inline_text(tokens[position + 1])
                caption = ""
            elif tokens[position].type == "paragraph_open":
                caption = inline_text(tokens[position + 1])
        scanned = start + 1
        above = (title, *(headings[level] for level in sorted(headings)))
        _annotate_rows(rows, above, caption, annotate)


def _annotate_rows(rows: list[list[Token]], headings: tuple[str, ...], caption: str, annotate: Annotate) -> None:
    header = [inline_text(cell) for cell in rows[0]]
    for row in rows[1:]:
        texts = [inline_text(cell) for cell in row]
        words = tuple(text for text in texts if not LEADING_NUMBER.match(text)) + tuple(texts[:1])
        for position, cell in enumerate(row):
            before = header[position - 1] if position else ""
            place = Place(headings, caption, header[position], before, words)
            if position and LEADING_NUMBER.match(texts[position]):
                _annotate_cell(cell, place, annotate)


def _annotate_cell(cell: Token, place: Place, annotate: Annotate) -> None:
    """Make each number of a cell a link; a cell that has a link already stays as it is."""
    children = cell.children or []
    if any(child.type in ("link_open", "code_inline", "html_inline") for child in children):
        return
    cell.children = [part for child in children for part in _parts(child, place, annotate)]


def _parts(child: Token, place: Place, annotate: Annotate) -> Iterator[Token]:
    from markdown_it.token import Token

    if child.type != "text":
        yield child
        return
    done = 0
    for number in re.finditer(LEADING_NUMBER.pattern + r"(?: (?:%|pp|ms|us))?", child.content):
        target = annotate(number[0], place)
        if target is None:
            continue
        yield Token("text", "", 0, content=child.content[done : number.start()])
        yield Token("link_open", "a", 1, attrs={"class": "number", "href": target})
        yield Token("text", "", 0, content=number[0])
        yield Token("link_close", "a", -1)
        done = number.end()
    yield Token("text", "", 0, content=child.content[done:])


def _sortable(tokens: Sequence[Token]) -> None:
    """Give the cells of a column of numbers the value they sort by."""
    for start, rows in _tables(tokens):
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
    number = LEADING_NUMBER.match(text.strip())
    return number[0].replace(",", "").replace("−", "-") if number else None
