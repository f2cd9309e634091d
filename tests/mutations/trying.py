"""Trying mutations: in a process of its own, so that a hang or a crash of the interpreter costs one of them."""

from __future__ import annotations

import functools
import gc
import multiprocessing
import random
import resource
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from simulator.errors import RooflineLabError
from tests.mutations.mutants import expression, mutant
from tests.mutations.readers import Reader

SEED = 20_261_130
MOST_SECONDS = 20.0
MOST_BYTES = 6 * 2**30
LONGEST_MESSAGE = 20_000
CLEAN, ACCEPTED, WRONG, UNCLEAR, TRACEBACK, HANG, CRASH = OUTCOMES = (
    *("clean", "accepted", "wrong", "unclear", "traceback", "hang", "crash"),
)
FINE = (CLEAN, ACCEPTED)


@dataclass
class Tried:
    """What became of the mutations of one reader.

    Attributes
    ----------
    kinds
        Of what is not fine: outcome and what was said, with the numbers of its mutations.
    slowest_s
        The longest time one of them took, seconds.
    """

    reader: str
    counts: Counter[str] = field(default_factory=Counter)
    kinds: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    slowest_s: float = 0.0

    def add(self, number: int, outcome: str, said: str, seconds: float) -> None:
        """Count one."""
        self.counts[outcome] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        if outcome not in FINE:
            self.kinds.setdefault((outcome, said), []).append(number)


def damaged(reader: Reader, number: int, sound: bytes) -> bytes:
    """Return one mutation of a reader's input; the same number is the same one on every machine."""
    chance = random.Random(f"{SEED}/{reader.name}/{number}")
    return expression(chance).encode() if reader.form == "formula" else mutant(sound, reader.form, chance)


def attempt(reader: Reader, content: bytes) -> tuple[str, str]:
    """Return what becomes of one input, and what is to be said about it."""
    reader.file.write_bytes(content)
    for cache in _caches():
        cache.cache_clear()
    try:
        found = reader.read()
    except RooflineLabError as error:
        return _message(str(error))
    except Exception as error:  # noqa: BLE001 - what is looked for
        frame = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(str(error).split())[:90]
        return TRACEBACK, f"{type(error).__name__} at {frame.filename.split('/work')[-1]}:{frame.lineno}: {said}"
    wrong = reader.wrong(found)
    return (WRONG, wrong[0].split(":")[0]) if wrong else (ACCEPTED, "")


@functools.cache
def _caches() -> list[Any]:
    """Return what the program remembers of files it has read: an edited file is another one to its next user."""
    known = [found for found in gc.get_objects() if isinstance(found, functools._lru_cache_wrapper)]
    return [one for one in known if (one.__module__ or "").startswith(("simulator", "roofline_lab"))]


def _message(text: str) -> tuple[str, str]:
    if not text.strip() or "object at 0x" in text or "Traceback" in text or "[Errno" in text:
        return UNCLEAR, text[:120]
    return (UNCLEAR, f"{len(text)} characters: {text[:80]}") if len(text) > LONGEST_MESSAGE else (CLEAN, "")


def try_here(reader: Reader, numbers: range) -> Tried:
    """Try some mutations in this process, and put the input back."""
    sound, tried = reader.file.read_bytes(), Tried(reader.name)
    try:
        for number in numbers:
            tried.add(number, *attempt(reader, damaged(reader, number, sound)), 0.0)
    finally:
        reader.file.write_bytes(sound)
    return tried


def try_all(readers: Sequence[Reader], numbers: range) -> Iterator[Tried]:
    """Try these mutations of every reader, one reader after the other."""
    for reader in readers:
        yield _try(reader, numbers)


def _try(reader: Reader, numbers: range) -> Tried:
    sound = reader.file.read_bytes()
    tried = Tried(reader.name)
    start = numbers.start
    try:
        while start < numbers.stop:
            start = _batch(reader, sound, range(start, numbers.stop), tried)
    finally:
        reader.file.write_bytes(sound)
    return tried


def _batch(reader: Reader, sound: bytes, numbers: range, tried: Tried) -> int:
    """Try mutations in one process until one of them ends it, and return the number of the next to try."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(reader, sound, numbers, there), daemon=True)
    worker.start()
    there.close()
    done = numbers.start
    for number in numbers:
        try:
            if not here.poll(MOST_SECONDS):
                tried.add(number, HANG, "", MOST_SECONDS)
                worker.kill()
                break
            outcome, said, seconds = here.recv()
        except EOFError:
            worker.join()
            tried.add(number, CRASH, f"exit code {worker.exitcode}", 0.0)
            break
        tried.add(number, outcome, said, seconds)
        done = number + 1
    else:
        worker.join()
        return numbers.stop
    worker.join()
    return done + 1


def _work(reader: Reader, sound: bytes, numbers: range, answers: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    for number in numbers:
        content = damaged(reader, number, sound)
        started = time.process_time()
        outcome, said = attempt(reader, content)
        answers.send((outcome, said, time.process_time() - started))
