"""Running a simulator: a process that is asked and answers in lines, and what it does instead.

Contract: `ask` returns what was said of every question, and never raises because of what a program does: it may crash,
hang, flood its output or answer what nobody asked. A process is started with the words of its description and no
shell, in a session of its own, and does not outlive the call. An answer is only ever taken from its standard output.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from roofline_lab.places import place_of
from roofline_lab.simulators import processes
from roofline_lab.simulators.answers import shown
from roofline_lab.simulators.contract import Question
from roofline_lab.simulators.description import CommandSimulator
from simulator.errors import ConfigError
from simulator.input_files import MOST_BYTES, json_integer, refuse_deep, unique_keys

# Starts in a row without a single answer, after which a program is not started again.
MOST_BARREN_STARTS = 20
# Lines that are no answer, after which a program is ended: it writes something else than answers.
MOST_RUBBISH = 1000
# Answers to one question that are kept; there ought to be one.
MOST_ANSWERS = 10
# How much of its standard error is kept, from the end.
TAIL_BYTES = 4096
LONGEST_VERSION = 200
# Where `make simulators` puts programs.
INSTALLED = ".simulators/"


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said of one question.

    Attributes
    ----------
    answers
        Everything that came with its id, as JSON values.
    failure
        Why nothing came, where nothing did.
    seconds
        From the answer before, or the start of the process, to this one.
    """

    answers: tuple[object, ...] = ()
    failure: str = ""
    seconds: float | None = None


@dataclass(slots=True)
class _Session:
    """One process, from its start to its end.

    Attributes
    ----------
    ending
        Why it stopped before it had answered everything; empty where it ended by itself without an error.
    """

    answers: dict[str, list[object]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    rubbish: list[str] = field(default_factory=list)
    ending: str = ""

    @property
    def remark(self) -> str:
        """Return what else it wrote, to stand behind a reason."""
        if not self.rubbish:
            return ""
        return f"; {len(self.rubbish)} lines of its output are no answer, the first: {self.rubbish[0]}"


def version_of(program: CommandSimulator, root: Path, source: str) -> str:
    """Return the version a program says it has.

    Raises
    ------
    ConfigError
        If it cannot be started, does not end, fails, or says nothing.
    """
    words = " ".join(program.version)
    where = f"{source}: simulator.version"
    try:
        done = subprocess.run(
            _words(program.version, root),
            cwd=root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=program.timeout_s,
            check=False,
        )
    except OSError as error:
        first = program.version[0]
        how = ": make simulators" if first.startswith(INSTALLED) else ""
        raise ConfigError(f"{where}: '{first}' cannot be started: {error.strerror}; install it{how}") from None
    except ValueError as error:
        raise ConfigError(f"{where}: '{shown(words)}' is no command: {error}") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{where}: '{words}' did not end within {program.timeout_s:g} s") from None
    lines = done.stdout.decode(errors="replace").split("\n")
    if done.returncode != 0 or not lines[0].strip():
        raise ConfigError(
            f"{where}: '{words}' ended with code {done.returncode} and said {shown(_last(done.stderr)) or 'nothing'}; "
            "expected is one line on standard output that names the version, such as 'mine 1.0', and code 0"
        )
    return " ".join(lines[0].split())[:LONGEST_VERSION]


def ask(program: CommandSimulator, root: Path, questions: Sequence[Question]) -> dict[str, Heard]:
    """Return what a program says of questions, by their ids; it is started again behind one that it fails at."""
    waiting, found, barren, reason = list(questions), dict[str, Heard](), 0, ""
    while waiting:
        if barren == MOST_BARREN_STARTS:
            why = f"not asked any more: {barren} starts in a row gave no answer, the last one: {reason}"
            return found | {question.id: Heard(failure=why) for question in waiting}
        batch = waiting if program.batch else waiting[:1]
        session = _session(program, root, batch)
        found |= {name: Heard(tuple(said), "", session.seconds[name]) for name, said in session.answers.items()}
        silent = [question for question in batch if question.id not in session.answers]
        reason = (session.ending or _left_out(batch, silent)) + session.remark
        # One that ended by itself has seen every question; one that did not failed at the first without an answer.
        lost = silent[:1] if session.ending else silent
        found |= {question.id: Heard(failure=reason) for question in lost}
        barren = 0 if session.answers else barren + 1
        waiting = [question for question in waiting if question.id not in found]
    return found


def _left_out(batch: Sequence[Question], silent: Sequence[Question]) -> str:
    told = f"no answer: the program ended by itself after {len(batch) - len(silent)} of {len(batch)} load points"
    return f"{told}; one that answers a single load point is described with batch: false" if len(batch) > 1 else told


def _words(command: Sequence[str], root: Path) -> list[str]:
    """Return the words of a command, the program by its full path where it is relative to the project."""
    first = command[0]
    return [str(place_of(root, first).absolute()) if "/" in first else first, *command[1:]]


# --- one process ------------------------------------------------------------------------------------


def _session(program: CommandSimulator, root: Path, batch: Sequence[Question]) -> _Session:
    """Run one process over some questions, and end it."""
    session = _Session()
    try:
        process = processes.start(_words(program.run, root), root)
    except (OSError, ValueError) as error:
        session.ending = f"'{program.run[0]}' cannot be started: {getattr(error, 'strerror', None) or error}"
        return session
    lines: queue.Queue[bytes | None] = queue.Queue()
    tail = bytearray()
    text = "".join(f"{_line_of(question)}\n" for question in batch).encode()
    threads = [
        _thread(_write, process.stdin, text),
        _thread(_read_lines, process.stdout, lines),
        _thread(_read_tail, process.stderr, tail),
    ]
    code: int | None = None
    try:
        _listen(session, lines, {question.id for question in batch}, program.timeout_s)
    finally:
        code = processes.end(process, at_once=bool(session.ending))
        for thread in threads:
            thread.join()
    if not session.ending and code and len(session.answers) < len(batch):
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        session.ending = f"the program ended {how} before it answered"
    if session.ending and (said := _last(bytes(tail))):
        session.ending += f"; its last words: {shown(said)}"
    return session


def _line_of(question: Question) -> str:
    return json.dumps(question.model_dump(mode="json"), sort_keys=True, allow_nan=False)


def _thread(work: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def _write(stream: IO[bytes], text: bytes) -> None:
    with suppress(OSError, ValueError), stream:  # a program may end before it has read all
        stream.write(text)


def _read_lines(stream: IO[bytes], lines: queue.Queue[bytes | None]) -> None:
    with suppress(OSError, ValueError), stream:
        while line := stream.readline(MOST_BYTES + 1):
            lines.put(line)
    lines.put(None)


def _read_tail(stream: IO[bytes], tail: bytearray) -> None:
    with suppress(OSError, ValueError), stream:
        while part := stream.read1(TAIL_BYTES):  # type: ignore[attr-defined]
            tail += part
            del tail[:-TAIL_BYTES]


def _listen(session: _Session, lines: queue.Queue[bytes | None], wanted: set[str], timeout_s: float) -> None:
    """Take answers until the output ends; nothing but an answer prolongs the wait."""
    since = time.monotonic()
    while True:
        try:
            line = lines.get(timeout=max(0.0, since + timeout_s - time.monotonic()))
        except queue.Empty:
            if wanted - session.answers.keys():
                session.ending = f"no answer within {timeout_s:g} s (timeout_s)"
            return
        if line is None:
            return
        name, answer = _answer_in(line, wanted)
        if name is not None and name not in session.answers:
            now = time.monotonic()
            session.answers[name], session.seconds[name] = [answer], now - since
            since = now
        elif name is not None and len(session.answers[name]) < MOST_ANSWERS:
            session.answers[name].append(answer)
        elif line.strip():
            session.rubbish.append(shown(line.decode(errors="replace")))
            if len(session.rubbish) >= MOST_RUBBISH:
                session.ending = "the program writes something else than answers"
                return


def _answer_in(line: bytes, wanted: set[str]) -> tuple[str | None, object]:
    """Return the id and the answer that a line holds, (None, None) if it is none to any of the questions."""
    try:
        text = line.decode()
        refuse_deep(text)
        answer = json.loads(text, parse_int=json_integer, object_pairs_hook=unique_keys)
    except (ConfigError, ValueError, RecursionError):
        return None, None
    name = answer.get("id") if isinstance(answer, Mapping) else None
    return (name, answer) if isinstance(name, str) and name in wanted else (None, None)


def _last(content: bytes) -> str:
    lines = [line for line in content.decode(errors="replace").split("\n") if line.strip()]
    return lines[-1] if lines else ""
