"""The hand-written half of a findings page, and the rule that none of its numbers is.

`discussion.md` and the texts of `hypothesis.yaml` are templates: a figure comes through `{{ v... }}`
(see `roofline_lab.report.values`). One typed by hand is refused before anything runs, because it would
silently outlive the run it came from. So is one in words ("five percent"), and a count of results ("12 of 13").

The prose itself argues for the status its author saw, and says which: `written_for` in the front matter of
`discussion.md`, and the key of the same name in `hypothesis.yaml` for findings and evidence. A page of another status
carries a banner.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from roofline_lab.author_texts import problems_of
from roofline_lab.hypotheses.spec import Claim
from roofline_lab.vocabulary import Status
from simulator.errors import ConfigError
from simulator.input_files import read_text
from simulator.validation import config_error, suggest

FILE = "discussion.md"
SECTIONS = ("Root Cause Analysis", "Devil's Advocate", "Implications for Users", "Parameters and Generality")
_EXPRESSION = re.compile(r"\{\{.*?\}\}|`[^`]*`", re.DOTALL)
# A decimal number, or a number with a unit of results. "100 %" is a whole, not a result, and names
# such as Llama-3.1-8B or Qwen2.5 continue a word; a minus sign does not.
_RESULT = re.compile(r"(?<![\w.])(?<![A-Za-z]-)(?:\d+\.\d+|(?!100\s?(?:%|percent))\d+\s?(?:%|percent|pp\b|ms\b|us\b))")
_NUMBER = (
    r"(?:\d+|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|"
    r"(?:twen|thir|for|fif|six|seven|eigh|nine)ty(?:-\w+)?)"
)
_TIME = r"(?:milliseconds?|microseconds?)"
# A number in words with a unit of results, and a count out of a count in words or digits: both are results. Whoever
# says "one of the three" counts nothing.
_IN_WORDS = re.compile(
    rf"(?<![\w.-])(?:(?!\d){_NUMBER}\s(?:percent|percentage\spoints?|pp|ms|us)|{_NUMBER}\s{_TIME}"
    rf"|(?!one\sof\sthe\s){_NUMBER}\s(?:out\s)?of\s(?:the\s|all\s)?{_NUMBER})(?![\w-])",
    re.IGNORECASE,
)
_FRONT_MATTER = re.compile(r"\A---\n(.*?)^---$", re.DOTALL | re.MULTILINE)
WRITTEN_FOR = "written_for"


@dataclass(frozen=True, slots=True)
class Discussion:
    """The reasoning by section, and the status it was written for; None where its author has not said."""

    sections: Mapping[str, str]
    written_for: Status | None


def load_discussion(spec: Claim, folder: Path, root: Path) -> Discussion:
    """Read one discussion and check every text of the hypothesis.

    Raises
    ------
    ConfigError
        Listing missing sections and numbers typed by hand.
    """
    path = folder / FILE
    source = path.relative_to(root).as_posix()
    if not path.is_file():
        raise ConfigError(f"{source}: cannot be read: there is no such file; every hypothesis needs its reasoning")
    text = read_text(path)
    sections, (written_for, problems) = _split(text), _front_matter(text)
    problems += [f"missing or empty section '## {name}'" for name in SECTIONS if not sections.get(name)]
    problems += [
        f"unknown section '## {name}'; allowed: {', '.join(SECTIONS)}" for name in sections if name not in SECTIONS
    ]
    problems += [
        f"{where}: '{number}' is typed by hand; take it from the results with {{{{ v... }}}}"
        for where, number in _typed(spec, sections)
    ]
    problems += [
        f"{where}: {problem}" for where, text in _texts(spec, sections).items() for problem in problems_of(text)
    ]
    if problems:
        raise config_error(source, problems)
    return Discussion(sections, written_for)


def _front_matter(text: str) -> tuple[Status | None, list[str]]:
    """Return the status a discussion was written for, and what is wrong with its front matter."""
    found = _FRONT_MATTER.match(text)
    lines = [line.partition(":") for line in (found[1] if found else "").splitlines() if line and line[0] != "#"]
    keys = {key.strip(): value.strip() for key, _, value in lines}
    problems = [
        f"unknown key '{key}' in the front matter; allowed: {WRITTEN_FOR}" for key in keys if key != WRITTEN_FOR
    ]
    status, known = keys.get(WRITTEN_FOR), [status.value for status in Status]
    if status is not None and status not in known:
        return None, [*problems, f"{WRITTEN_FOR}: unknown status '{status}'; {suggest(status, known)}"]
    return (None if status is None else Status(status)), problems


def _split(text: str) -> dict[str, str]:
    """Return the sections by title, each on the lines it has in the file, so that messages name these."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    sections, line = {}, parts[0].count("\n")
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        sections[title.strip()] = "\n" * line + body.rstrip() if body.strip() else ""
        line += body.count("\n")
    return sections


def _texts(spec: Claim, sections: dict[str, str]) -> dict[str, str]:
    """Return every text an author wrote, by where it stands."""
    texts = dict(sections)
    texts |= {f"findings.{i}": f"{finding.finding} {finding.action}" for i, finding in enumerate(spec.findings)}
    texts |= {f"evidence.{i}": f"{evidence.value} {evidence.confidence}" for i, evidence in enumerate(spec.evidence)}
    return texts


def _typed(spec: Claim, sections: dict[str, str]) -> Iterator[tuple[str, str]]:
    for where, text in _texts(spec, sections).items():
        typed = _EXPRESSION.sub("\0", text)
        for match in (*_RESULT.finditer(typed), *_IN_WORDS.finditer(typed)):
            yield where, " ".join(match.group().split())
