"""The hand-written half of a findings page, and the rule that none of its numbers is.

`discussion.md` and the texts of `hypothesis.yaml` are templates: a figure comes through `{{ v... }}`
(see `roofline_lab.report.values`). One typed by hand is refused before anything runs, because it would
silently outlive the run it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from roofline_lab.author_texts import problems_of
from roofline_lab.hypotheses.spec import Claim
from simulator.errors import ConfigError
from simulator.input_files import read_text
from simulator.validation import config_error

FILE = "discussion.md"
SECTIONS = ("Root Cause Analysis", "Devil's Advocate", "Implications for Users", "Parameters and Generality")
_EXPRESSION = re.compile(r"\{\{.*?\}\}|`[^`]*`", re.DOTALL)
# A decimal number, or a number with a unit of results. "100 %" is a whole, not a result, and names
# such as Llama-3.1-8B or Qwen2.5 continue a word; a minus sign does not.
_RESULT = re.compile(r"(?<![\w.])(?<![A-Za-z]-)(?:\d+\.\d+|(?!100\s?(?:%|percent))\d+\s?(?:%|percent|pp\b|ms\b|us\b))")


def load_discussion(spec: Claim, folder: Path, root: Path) -> dict[str, str]:
    """Read the sections of one discussion and check every text of the hypothesis.

    Raises
    ------
    ConfigError
        Listing missing sections and numbers typed by hand.
    """
    path = folder / FILE
    source = path.relative_to(root).as_posix()
    if not path.is_file():
        raise ConfigError(f"{source}: cannot be read: there is no such file; every hypothesis needs its reasoning")
    sections = _split(read_text(path))
    problems = [f"missing or empty section '## {name}'" for name in SECTIONS if not sections.get(name)]
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
    return sections


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
        for match in _RESULT.finditer(_EXPRESSION.sub("", text)):
            yield where, match.group().strip()
