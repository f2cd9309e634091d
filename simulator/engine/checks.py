"""What a caller may give an engine run, and how a wrong request or number of clients is refused.

Not compiled: its arguments come from callers, and a wrong one is refused in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simulator.engine.records import Request
from simulator.errors import ConfigError

MAX_LISTED_PROBLEMS = 10
LOWEST = {
    "arrival_us": 0,
    "prompt_tokens": 1,
    "output_tokens": 0,
    "prefix_tokens": 0,
    "queueing_delay_us": 0,
    "outer_tokens": 0,
    "think_us": 0,
}


def check_requests(requests: Sequence[Request]) -> None:
    """Refuse requests that mean nothing.

    Raises
    ------
    ConfigError
        Naming the requests with a duplicate id, a length or time that is negative or not a whole
        number, an empty prompt, a shared prefix longer than the prompt, a prefix group that begins alike with two
        outer groups, or a turn of a session that does not begin with the turns before it.
    """
    problems = [problem for request in requests if not _is_sound(request) for problem in _problems(request)]
    if len({request.id for request in requests}) < len(requests):
        problems += _duplicates(requests)
    problems += _torn_groups(requests)
    problems += _torn_sessions(requests)
    if problems:
        from simulator.validation import config_error  # costs more to import than most runs take

        more = len(problems) - MAX_LISTED_PROBLEMS
        listed = problems[:MAX_LISTED_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise config_error("requests", listed)


def check_concurrency(concurrency: int | None) -> None:
    """Refuse a closed loop without clients.

    Raises
    ------
    ConfigError
        If `concurrency` is given and not a whole number of at least 1.
    """
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise ConfigError(f"concurrency: must be a whole number of at least 1, got {concurrency!r}")


def _problems(request: Request) -> Iterator[str]:
    for name, lowest in LOWEST.items():
        value = getattr(request, name)
        if type(value) is not int or value < lowest:
            yield f"{request.id}: {name}: must be a whole number of at least {lowest}, got {value!r}"
    if type(request.priority) is not int:
        yield f"{request.id}: priority: must be a whole number, got {request.priority!r}"
    prompt, prefix = request.prompt_tokens, request.prefix_tokens
    if type(prefix) is type(prompt) is int and prefix > prompt:
        yield f"{request.id}: prefix_tokens: must be at most prompt_tokens ({prompt}), got {prefix}"
    outer = request.outer_tokens
    if type(prefix) is type(outer) is int and outer > prefix >= 0:
        yield f"{request.id}: outer_tokens: must be at most prefix_tokens ({prefix}), got {outer}"


def _torn_groups(requests: Sequence[Request]) -> Iterator[str]:
    """Name requests whose prefix group begins with other tokens than it does in an earlier request."""
    outer_of: dict[str, str | None] = {}
    for request in requests:
        group = None if request.session is not None else request.prefix_group
        if group is not None and outer_of.setdefault(group, request.outer_group) != request.outer_group:
            yield (
                f"{request.id}: outer_group: prefix group {group!r} is in {outer_of[group]!r} in an earlier request, "
                f"got {request.outer_group!r}"
            )


def _torn_sessions(requests: Sequence[Request]) -> Iterator[str]:
    """Name turns whose prompts do not begin with the turns before them, as far as lengths and names say so."""
    turns = [request for request in requests if request.session is not None]
    if not turns:
        return
    groups = {group for request in requests for group in (request.prefix_group, request.outer_group)}
    last: dict[str | None, Request] = {}
    for request in turns:
        before = last.setdefault(request.session, request)
        last[request.session] = request
        if request.session in groups:
            yield f"{request.id}: session: {request.session!r} is the name of a prefix group too; name it otherwise"
        if request.outer_group is not None:
            yield f"{request.id}: outer_group: a session begins with a prefix_group alone, got {request.outer_group!r}"
        if (request.prefix_group, request.prefix_tokens) != (before.prefix_group, before.prefix_tokens):
            yield f"{request.id}: prefix_group, prefix_tokens: must be those of the turn before ({before.id})"
        history = before.prompt_tokens + max(before.output_tokens, 1)
        if before is not request and request.prompt_tokens < history:
            yield (
                f"{request.id}: prompt_tokens: must be at least {history}, prompt and answer of the turn before "
                f"({before.id}), got {request.prompt_tokens}"
            )


def _is_sound(request: Request) -> bool:
    arrival, prompt, output = request.arrival_us, request.prompt_tokens, request.output_tokens
    prefix, delay, outer = request.prefix_tokens, request.queueing_delay_us, request.outer_tokens
    think = request.think_us
    numbers = (arrival, prompt, output, prefix, delay, outer, think)
    if any([type(number) is not int for number in numbers]):
        return False
    in_range = min(arrival, output, delay, think) >= 0 and 0 <= outer <= prefix <= prompt and prompt > 0
    return in_range and type(request.priority) is int


def _duplicates(requests: Sequence[Request]) -> Iterator[str]:
    seen: set[str] = set()
    for request in requests:
        if request.id in seen:
            yield f"{request.id}: id is given twice; ids must be unique within a run"
        seen.add(request.id)
