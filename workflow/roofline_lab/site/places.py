"""Where on a page a number stands, and links on the numbers of a page.

Contract: works on the tokens of `markdown-it-py`, in place. A cell or a sentence that has a link already keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.token import Token

# A number as pages print it; thousands may be parted by commas.
NUMBER = re.compile(r"[-+−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")
UNIT = r" (?:%|pp|ms|us)(?!\w)"
IN_A_CELL = re.compile(rf"(?<![\w.]){NUMBER.pattern}(?:{UNIT})?")
# Among words only numbers with a unit are of interest: others are names, counts and dates.
IN_WORDS = re.compile(rf"(?<![\w.]){NUMBER.pattern}{UNIT}")
TAG = re.compile(r"<[^>]*>")
# What stands in front of a number in a sentence, in characters that still say what it is.
IN_FRONT = 80


@dataclass(frozen=True, slots=True)
class Place:
    """Where a number stands: all that says what it is.

    Attributes
    ----------
    headings
        Above it, from the page's title down, and the paragraphs under the last of them.
    caption
        The paragraph before its table, or the one it stands in.
    column, before
        Header of its column, and of the one to the left; among words, nothing and the words in front of it.
    row
        Texts of the cells of its row that hold no number, and of the first one; nothing among words.
    """

    headings: tuple[str, ...]
    caption: str
    column: str = ""
    before: str = ""
    row: tuple[str, ...] = ()


Annotate = Callable[[str, Place], str | None]


def inline_text(token: Token) -> str:
    """Return the plain text of an inline token."""
    return "".join(
        " " if child.type in ("softbreak", "hardbreak") else child.content
        for child in token.children or ()
        if child.type in ("text", "code_inline", "softbreak", "hardbreak", "text_special")
    )


def tables(tokens: Sequence[Token]) -> Iterator[tuple[int, list[list[Token]]]]:
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


def annotate_numbers(tokens: Sequence[Token], title: str, annotate: Annotate) -> None:
    """Make each number of a page a link that `annotate` knows a target for."""
    rows_from = dict(tables(tokens))
    headings: dict[int, str] = {}
    said: list[str] = []
    for position, token in enumerate(tokens):
        above = (title, *(headings[level] for level in sorted(headings)), *said)
        if token.type == "heading_open":
            level = int(token.tag[1:])
            headings = {each: text for each, text in headings.items() if each < level}
            headings[level] = inline_text(tokens[position + 1])
            said = []
        elif token.type == "html_block" and (text := TAG.sub(" ", token.content).strip()):
            said.append(text)
        elif token.type == "table_open":
            _annotate_rows(rows_from[position], Place(above, said[-1] if said else ""), annotate)
        elif token.type == "inline" and tokens[position - 1].type == "paragraph_open":
            text = inline_text(token)
            _annotate_inline(token, Place(above, text), annotate, IN_WORDS)
            said.append(text)


def _annotate_rows(rows: list[list[Token]], place: Place, annotate: Annotate) -> None:
    header = [inline_text(cell) for cell in rows[0]]
    for row in rows[1:]:
        texts = [inline_text(cell) for cell in row]
        words = tuple(text for text in texts if not NUMBER.match(text)) + tuple(texts[:1])
        for position, cell in enumerate(row[1:], 1):
            here = replace(place, column=header[position], before=header[position - 1], row=words)
            _annotate_inline(cell, here, annotate, IN_A_CELL if NUMBER.match(texts[position]) else IN_WORDS)


def _annotate_inline(token: Token, place: Place, annotate: Annotate, numbers: re.Pattern[str]) -> None:
    children = token.children or []
    if any(child.type in ("link_open", "html_inline") for child in children):
        return
    found: list[Token] = []
    before = ""
    for child in children:
        if child.type == "text":
            found += _parts(child, before, place, annotate, numbers)
        else:
            found.append(child)
        before += " " if child.type == "softbreak" else child.content
    token.children = found


def _parts(child: Token, before: str, place: Place, annotate: Annotate, numbers: re.Pattern[str]) -> Iterator[Token]:
    from markdown_it.token import Token

    text, done = child.content, 0
    for number in numbers.finditer(text):
        here = place
        if numbers is IN_WORDS:
            here = replace(place, before=f"{place.before} {(before + text[: number.start()])[-IN_FRONT:]}")
        target = annotate(number[0], here)
        if target is not None:
            yield Token("text", "", 0, content=text[done : number.start()])
            yield Token("link_open", "a", 1, attrs={"class": "number", "href": target})
            yield Token("text", "", 0, content=number[0])
            yield Token("link_close", "a", -1)
            done = number.end()
    yield Token("text", "", 0, content=text[done:])
