"""The options of a command line that starts vLLM or SGLang, wherever it is written: a script, a manifest, compose.

Contract: `commands_in` finds every start of a server in a text, `command_of` that of an argument list; what a
container's image says of the version is part of it. Options are read as vLLM reads them: hyphens or underscores, a
value behind `=` or as the next word, `--no-` before the name of a switch, short names.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

# The short names of vLLM's options.
SHORT: Mapping[str, str] = {
    "-tp": "tensor_parallel_size",
    "-pp": "pipeline_parallel_size",
    "-dp": "data_parallel_size",
    "-q": "quantization",
    "-sc": "speculative_config",
    "-O": "optimization_level",
}
# Words behind which the options of a server stand.
_ENTRY = re.compile(r"vllm\.entrypoints\.(?:openai\.)?api_server|sglang\.launch_server")
_IMAGE = re.compile(r"(?:^|/)vllm(?:-[\w.-]+)?(?::|@sha256:)\S+$")
SGLANG = "SGLang"
_SEPARATORS = frozenset({";", "&&", "||", "|", "&", ">", ">>", "2>", "<", "(", ")", "2>&1", "&>", ">&"})
_NUMBER = re.compile(r"-\d")
_ASSIGNMENT = re.compile(
    r"(?m)^\s*(?:export\s+|readonly\s+|local\s+)?([A-Za-z_]\w*)=(\"[^\"\n$`]*\"|'[^'\n]*'|[^\s\"'$`;&|]+)"
)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?-([^}]*))?\}|([A-Za-z_]\w*)|\(([A-Za-z_]\w*)\))")

# What marks a text that may start a server; cheap to look for.
MARKS = ("vllm serve", "vllm.entrypoints", "vllm-openai", "vllm:", "sglang.launch_server", "sglang serve")


def commands_in(text: str) -> Iterator[dict[str, object]]:
    """Yield the options of every server that a shell text starts, with `image` where a container's image is named."""
    assigned: dict[str, str] = {}
    for name, value in _ASSIGNMENT.findall(text):
        assigned[name] = value.strip("\"'")
    for words in _statements(text):
        found = command_of([filled(word, assigned) for word in words])
        if found is not None:
            yield found


def command_of(words: Sequence[str], image: str | None = None) -> dict[str, object] | None:
    """Return the options of an argument list that starts a server; None if it starts none.

    Parameters
    ----------
    image
        Of the container, whose entry point may be the server.
    """
    start, found_image = _start(words), image
    if start is None and image is not None and _IMAGE.search(image):
        start = 0
    if start is None:
        return None
    for word in words[:start]:
        if _IMAGE.search(word):
            found_image = word
    options = _options(words[start:])
    if any("sglang" in word for word in words[:start]):
        options["software"] = SGLANG
    elif found_image is not None and _IMAGE.search(found_image):
        options["image"] = found_image
    return options


def _start(words: Sequence[str]) -> int | None:
    for place, word in enumerate(words):
        before = words[place - 1].rpartition("/")[2] if place else ""
        if word == "serve" and (before in ("vllm", "sglang") or _IMAGE.search(before)):
            return place + 1
        if _ENTRY.fullmatch(word):
            return place + 1
        if _IMAGE.search(word) and "run" in words[:place] and "serve" not in words[place:]:
            return place + 1
    return None


def _statements(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a shell text; a quoted word may span lines."""
    pending = ""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        pending = f"{pending}\n{line}" if pending else line
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:
            if pending.count("\n") > 50:
                pending = ""
            continue
        pending = ""
        yield from _split(words)


def _split(words: Sequence[str]) -> Iterator[list[str]]:
    own: list[str] = []
    for word in words:
        if word in _SEPARATORS:
            yield own
            own = []
        elif word.endswith(";") and len(word) > 1:
            yield [*own, word[:-1]]
            own = []
        else:
            own.append(word)
    yield own


def filled(word: str, assigned: Mapping[str, str]) -> str:
    """Put in the variables that are assigned beside a command; others stay as they are written."""
    return _VARIABLE.sub(lambda match: assigned.get(match[1] or match[3] or match[4]) or match[2] or match[0], word)


def _options(words: Sequence[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    place = 0
    if words and not words[0].startswith("-"):
        found["model"] = words[0]
        place = 1
    while place < len(words):
        word = words[place]
        place += 1
        if not word.startswith("-") or _NUMBER.match(word):
            continue
        key, has_value, value = word.partition("=")
        name = SHORT.get(key, key.lstrip("-").replace("-", "_"))
        if not has_value:
            following: list[str] = []
            while place < len(words) and (not words[place].startswith("-") or _NUMBER.match(words[place])):
                following.append(words[place])
                place += 1
            value = " ".join(following)
        found[name] = value if value or has_value else True
    return found
