"""Request traces as their publishers write them: which columns hold what, in which unit.

Contract: `format_of(columns)` recognises a format by the columns it alone has; `arrival_us` reads a cell of its time;
`shared_prefixes` finds which prompts begin alike where a trace names the blocks or tokens of its prompts.

| format | times | lengths | sharing |
|---|---|---|---|
| Azure LLM inference traces 2023 and 2024 | `TIMESTAMP`, a date | `ContextTokens`, `GeneratedTokens` | |
| Vidur, Splitwise | `arrived_at`, s | `num_prefill_tokens`, `num_decode_tokens` | |
| Mooncake | `timestamp`, ms | `input_length`, `output_length` | `hash_ids`, blocks of 512 |
| BurstGPT | `Timestamp`, s | `Request tokens`, `Response tokens` | |
| LLMServingSim | `arrival_time_ns`, ns | `input_toks`, `output_toks` | `input_tok_ids` |
| lengths alone (ShareGPT and others, counted) | | `prompt_len`, `output_len`; as vLLM and OpenAI call them | |
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Literal

from simulator.engine.records import Request

Unit = Literal["date", "s", "ms", "ns"]

# Microseconds of one unit.
_US: dict[Unit, Decimal] = {"s": Decimal(1_000_000), "ms": Decimal(1000), "ns": Decimal("0.001")}
# 2023-11-16 18:15:46.6805900 and 2024-05-10 00:00:00.009930+00:00.
_DATE = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
# As tables of numbers are written: 4.31, and 9.5e-05 for what is small.
_DECIMAL = re.compile(r"\d{1,15}(\.\d{1,18})?([eE](-\d{1,2}|\+?0?\d))?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# No trace lasts for ten years: a first time beyond them counts from 1970.
COUNTED_FROM_1970_US = 10 * 365 * 86_400 * 1_000_000
# Mean gaps of published traces lie between 10 ms and a minute; a wrong unit is a factor of a thousand away.
SHORTEST_GAP_S, LONGEST_GAP_S = 0.001, 3600.0
# So few times say nothing about a unit.
FEW_TIMES = 20
# Where times are whole seconds, a few requests are alike by chance.
COPIES_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Format:
    """One publisher's layout.

    Attributes
    ----------
    prompt, output, arrival
        Columns; None where a trace has no times.
    unit
        Of the times.
    shared, block_tokens
        Column that lists what a prompt begins with, and how many tokens an entry stands for.
    """

    name: str
    prompt: str
    output: str
    arrival: str | None = None
    unit: Unit = "s"
    shared: str | None = None
    block_tokens: int = 1


FORMATS = (
    Format("Azure LLM inference trace", "ContextTokens", "GeneratedTokens", "TIMESTAMP", "date"),
    Format("Vidur or Splitwise trace", "num_prefill_tokens", "num_decode_tokens", "arrived_at", "s"),
    Format("list of lengths", "num_prefill_tokens", "num_decode_tokens"),
    Format("Mooncake trace", "input_length", "output_length", "timestamp", "ms", "hash_ids", 512),
    Format("BurstGPT trace", "Request tokens", "Response tokens", "Timestamp", "s"),
    Format("LLMServingSim trace", "input_toks", "output_toks", "arrival_time_ns", "ns", "input_tok_ids"),
    Format("list of lengths", "prompt_len", "output_len"),
    Format("list of lengths", "input_len", "output_len"),
    Format("list of lengths", "prompt_tokens", "completion_tokens"),
)
# Chats whose lengths nobody has counted: ShareGPT and what is derived of it.
TEXTS = ("conversations", "messages", "prompt", "text")


def format_of(columns: Collection[str]) -> Format | None:
    """Return the format that has these columns, or None."""
    return next(
        (known for known in FORMATS if {known.prompt, known.output, known.arrival} - {None} <= {*columns}), None
    )


def arrival_us(text: str, unit: Unit) -> int:
    """Return a time in whole microseconds, cut; a date counts from 1970.

    Raises
    ------
    ValueError
        If the text is no such time.
    """
    if unit == "date":
        return _date_us(text)
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"must be {unit}, 0 or greater, got '{text[:40]}'")
    return int(Decimal(text) * _US[unit])


def _date_us(text: str) -> int:
    parts = _DATE.fullmatch(text)
    if parts is None:
        raise ValueError(f"must be a date and time such as 2023-11-16 18:15:46.680590, got '{text[:40]}'")
    try:
        moment = datetime.fromisoformat(parts[1] + (parts[3] or "+00:00"))
    except ValueError:
        raise ValueError(f"must be a date and time of the calendar, got '{text[:40]}'") from None
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + int((parts[2] or "0")[:6].ljust(6, "0"))


def begin_of_clock_us(known: Format, first_us: int) -> int:
    """Return what the clock of a trace starts from: its first request where times are dates, written so or counted."""
    return first_us if known.unit == "date" or first_us >= COUNTED_FROM_1970_US else 0


def doubts(known: Format, requests: Sequence[Request], beginnings: Sequence[Sequence[object]]) -> Iterator[str]:
    """Say what a trace holds that its format does not lead one to expect, in file order; it is read all the same."""
    times = [request.arrival_us for request in requests]
    late = sum(after < before for before, after in pairwise(times))
    if late:
        yield f"rows are not in order of time ({late} are earlier than the row above); requests are sent in that order"
    yield from _doubted_unit(known, times)
    alike = {
        (one.arrival_us, one.prompt_tokens, one.output_tokens, *entries)
        for one, entries in zip(requests, beginnings, strict=True)
    }
    copies = len(requests) - len(alike)
    if known.arrival is not None and copies >= max(2, COPIES_SHARE * len(requests)):
        yield f"{copies} of {len(requests)} rows say the same as another one, time and lengths alike; all are sent"
    if known.shared is not None:
        yield from _doubted_blocks(known, requests, beginnings)


def _doubted_unit(known: Format, times_us: Sequence[int]) -> Iterator[str]:
    """Doubt a unit in which hardly anybody sends so fast or so slowly."""
    if known.arrival is None or known.unit == "date" or len(times_us) < FEW_TIMES:
        return
    span_s = (max(times_us) - min(times_us)) / 1_000_000
    gap_s = span_s / (len(times_us) - 1)
    if not SHORTEST_GAP_S <= gap_s <= LONGEST_GAP_S:
        yield (
            f"column '{known.arrival}' is read as {known.unit}, so that {len(times_us)} requests come within "
            f"{span_s:.3g} s; if that is another unit, convert it"
        )


def _doubted_blocks(
    known: Format, requests: Sequence[Request], beginnings: Sequence[Sequence[object]]
) -> Iterator[str]:
    """Doubt lists that are longer or shorter than their prompts; a last block may be full or not listed."""
    size, other = known.block_tokens, []
    for request, entries in zip(requests, beginnings, strict=True):
        if entries and not request.prompt_tokens // size <= len(entries) <= -(-request.prompt_tokens // size):
            other.append((len(entries), request.prompt_tokens))
    if other:
        what = "tokens" if size == 1 else f"blocks of {size} tokens"
        yield (
            f"column '{known.shared}' of {len(other)} of {len(requests)} prompts does not cover the prompt in {what} "
            f"({other[0][0]} for {other[0][1]} tokens); what is beyond the list is taken to be shared with none"
        )


# --- what prompts share -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SharedPrefixes:
    """What each prompt shares with others.

    Attributes
    ----------
    groups
        Group and entries of the shared beginning, by prompt; None and 0 where it is alone.
    known, kept
        Entries that prompts have in common with earlier ones: all of them, and those that groups of one beginning
        each can tell. They differ where a conversation branches twice.
    """

    groups: tuple[tuple[str | None, int], ...]
    known: int
    kept: int


@dataclass(slots=True)
class _Branch:
    """One beginning that prompts share: how long it is by now, and who is part of it with how many entries."""

    length: int
    members: dict[int, int]


def shared_prefixes(beginnings: Sequence[Sequence[object]]) -> SharedPrefixes:
    """Find which prompts begin alike, in order of arrival.

    Method: a prompt that goes on where a branch ends makes it longer. One that leaves a branch earlier shares what came
    before, or opens a branch of its own if later prompts have more in common with it than it loses. Beginnings are
    known by a hash of 64 bits over all their entries.
    """
    paths = [_hashes(beginning) for beginning in beginnings]
    later = Counter(node for path in paths for node in path)
    branch_of: dict[int, _Branch] = {}
    branches: list[_Branch] = []
    seen: set[int] = set()
    known = kept = 0
    for place, path in enumerate(paths):
        known += _along(path, seen)
        seen.update(path)
        later.subtract(path)
        alike = _along(path, branch_of)
        branch = branch_of[path[alike - 1]] if alike else None
        if branch is not None and (alike == branch.length or sum(later[node] for node in path[alike:]) <= alike):
            kept += alike
        elif path:
            branch, alike = _Branch(0, {}), 0
            branches.append(branch)
        if branch is None:
            continue
        goes_on = alike == branch.length
        branch.members[place] = len(path) if goes_on else alike
        if goes_on:
            branch.length = len(path)
            branch_of |= dict.fromkeys(path[alike:], branch)
    groups: list[tuple[str | None, int]] = [(None, 0)] * len(beginnings)
    for name, branch in enumerate(branch for branch in branches if len(branch.members) > 1):
        for place, entries in branch.members.items():
            groups[place] = (f"shared_{name}", entries)
    return SharedPrefixes(tuple(groups), known, kept)


def _hashes(beginning: Sequence[object]) -> list[int]:
    """Return for every entry a hash of all entries up to it."""
    return list(accumulate(beginning, lambda so_far, entry: hash((so_far, entry)), initial=0))[1:]


def _along(path: Sequence[int], known: Container[int]) -> int:
    """Return how many entries of a path are known from its beginning on."""
    return next((place for place, node in enumerate(path) if node not in known), len(path))
