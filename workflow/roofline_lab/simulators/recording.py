"""Answers of programs, kept so that nobody has to ask again: one JSON object a line, sorted by what was asked.

Contract: an answer stands for a question and a program, both told by content; its version says which release gave it.
What was not asked is never recorded. Files may have been edited or merged since, so reading expects anything and names
file, line and key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roofline_lab.files import digest_of
from roofline_lab.simulators.answers import Predicted
from roofline_lab.simulators.contract import SIMULATORS, Question, Text
from roofline_lab.vocabulary import RowStatus
from simulator.input_files import parse_json, read_text
from simulator.validation import Finite, NonNegative, StrictModel, parse

FOLDER = SIMULATORS / "recorded"
RESTORE = "restore the file, or delete the line and ask again"
SECONDS_DECIMALS = 6
Said = Literal["ok", "unsupported", "failed"]


class _Line(StrictModel):
    """One answer as it stands in the file."""

    id: Text
    question: Text
    program: Text
    version: Text
    status: Said
    reason: str
    metrics: dict[str, Finite]
    refused: dict[str, tuple[RowStatus, str]]
    saturated: bool | None
    seconds: NonNegative | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One answer.

    Attributes
    ----------
    id
        Experiment and load point, for people.
    question, program
        Digests of what was asked, and of the command and its files.
    """

    id: str
    question: str
    program: str
    predicted: Predicted

    @property
    def key(self) -> tuple[str, str]:
        """What an answer is found by."""
        return self.question, self.program


def question_digest(question: Question) -> str:
    """Return a hash of all that is asked; how a load point is called is none of it."""
    return digest_of(question.model_dump(mode="json", exclude={"id"}))


def recorded_file(root: Path, simulator: str) -> Path:
    """Return where the answers of a simulator are committed."""
    return root / FOLDER / f"{simulator}.jsonl"


def read_recorded(path: Path, source: str) -> dict[tuple[str, str], Recorded]:
    """Return the answers in a file by what they are found by; none where there is no file.

    Raises
    ------
    ConfigError
        Naming the line, and what is wrong with it.
    """
    if not path.is_file():
        return {}
    return answers_in(read_text(path), source)


def answers_in(text: str, source: str) -> dict[tuple[str, str], Recorded]:
    """Return the answers of a text; see `read_recorded`."""
    found = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{source}: line {number} ({RESTORE})"
            answer = _recorded(parse(_Line, parse_json(line, source=where), source=where))
            found[answer.key] = answer
    return found


def recorded_text(answers: Iterable[Recorded]) -> str:
    """Return answers as the text of a file."""
    lines = sorted(answers, key=lambda one: (one.id, one.question, one.program))
    return "".join(f"{json.dumps(_line(one), sort_keys=True, allow_nan=False)}\n" for one in lines)


def _recorded(line: _Line) -> Recorded:
    told = (line.metrics, line.refused, line.saturated, line.version, line.seconds)
    return Recorded(line.id, line.question, line.program, Predicted(RowStatus(line.status), line.reason, *told))


def _line(answer: Recorded) -> Mapping[str, object]:
    said = answer.predicted
    return {
        "id": answer.id,
        "question": answer.question,
        "program": answer.program,
        "version": said.version,
        "status": said.status.value,
        "reason": said.reason,
        "metrics": dict(said.metrics),
        "refused": {name: [status.value, reason] for name, (status, reason) in said.refused.items()},
        "saturated": said.saturated,
        "seconds": None if said.seconds is None else round(said.seconds, SECONDS_DECIMALS),
    }
