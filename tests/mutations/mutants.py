"""From one sound file to a damaged one: the same number gives the same damage."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import yaml

DEEP = 100_000
LONG_CELL = 140_000
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 3.5, -0.5, 0.0, -0.0, 1e-308, 5e-324, 1e300, 1.7e308, float("nan"), float("inf")),
    *(
        float("-inf"),
        2**31,
        2**63,
        -(2**63),
        10**12,
        10**40,
        10**400,
        "",
        " ",
        "x",
        "0",
        "-1",
        "1e5",
        "nan",
        "inf",
        "NaN",
    ),
    *([], {}, [1], [[]], [None], {"a": 1}, {"": None}, [{"kind": "constant"}], {"kind": "nonsense"}, "on", "null", "~"),
    *("٣", "a\nb", "../../etc/passwd", "/dev/zero", "$x^$", "{{ 1/0 }}", "{% for i in range(10**9) %}", "| a | b |"),
    *(
        "<script>alert(1)</script>",
        "[x](javascript:1)",
        "x" * 300,
        "%s%n",
        "1970-01-01",
        "a" * 100_000,
        "\u202e",
        "ß" * 50,
    ),
)
# What only JSON or only raw text can say.
ODD_TEXTS = ("\ud800", "a\0b", "\x1b[31m", "9" * 5000)
RAW: tuple[str, ...] = (
    *("", " ", "\n", "NaN", "-0", "1.", "null", "[]", "{}", "[[]]", '"', "'", "x", "a: b: c", "- a\nb", "{a: 1", "\t"),
    *("---", "a: 1\n---\nb: 2", "%YAML 9.9\n---\na", "&a [*a]", "a: &a\n  <<: *a", "<<: 5", "<<: [1]", "1e999"),
    *("!!python/object:os.system x", "!!binary abc", "!!set {a}", "? [a]\n: 1", '{"a":1,"a":2}', "a: 1\na: 2"),
    *("yes: 1\non: 2", "9" * 5000, "[" * DEEP, "{a: " * DEEP, '{"a":' * DEEP, "- " * DEEP, "[" * 900 + "]" * 900),
    *("\n".join(" " * level + "a:" for level in range(400)), "x" * LONG_CELL, '"' + "x" * LONG_CELL),
    *("a,b\n" + "1," * 1000, "\0", "\ufeff", "\ufeff{}"),
)


def alias_bomb(mapping: bool, generations: int = 12) -> str:
    """Return a few lines of YAML that mean billions of values."""
    lines = ["a0: &a0 {k: lol}" if mapping else "a0: &a0 [lol]"]
    for number in range(1, generations):
        repeated = [f"*a{number - 1}"] * 9
        inner = ", ".join(f"k{i}: {alias}" for i, alias in enumerate(repeated)) if mapping else ", ".join(repeated)
        lines.append(f"a{number}: &a{number} " + (f"{{{inner}}}" if mapping else f"[{inner}]"))
    return "\n".join(lines)


def mutant(content: bytes, form: str, chance: random.Random) -> bytes:
    """Return a damaged copy; `form` is `yaml`, `json`, `jsonl`, `csv` or `text`."""
    damage: Callable[[bytes, random.Random], bytes] | None = _FORMS.get(form)
    if damage is None or chance.random() < 0.25:
        return _raw(content, chance)
    damaged = damage(content, chance)
    return _raw(damaged, chance) if chance.random() < 0.05 else damaged


# --- bytes ------------------------------------------------------------------------------------


def _raw(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content) + 1)
    end = chance.randrange(place, min(len(content), place + 40) + 1)
    odd = chance.choice(RAW).encode("utf-8", "surrogatepass")
    noise = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))
    other = chance.choice(["utf-16", "latin-1", "utf-32"])
    lines = content.splitlines(keepends=True)
    return chance.choice(
        [
            lambda: content[:place],
            lambda: content[:place] + noise + content[place:],
            lambda: b"\xef\xbb\xbf" + content,
            lambda: content.replace(b"\n", b"\r\n"),
            lambda: content[:place] + b"\0" + content[place:],
            lambda: content.decode("utf-8", "replace").encode(other, "replace"),
            lambda: content[:place] + odd + content[place:],
            lambda: content + content,
            lambda: b"".join(chance.sample(lines, len(lines))),
            lambda: alias_bomb(chance.random() < 0.5).encode() + b"\n" + chance.choice([b"", content]),
            lambda: content[:place] + content[end:],
            lambda: odd,
        ]
    )()


# --- documents --------------------------------------------------------------------------------


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the values of a document are, containers included."""
    yield place
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from places(entry, (*place, key))


def damaged(document: Any, chance: random.Random, *, more: tuple[Any, ...] = ()) -> Any:
    """Return a copy of a document with one to three values replaced, removed, moved or added."""
    changed = copy.deepcopy(document)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        place = chance.choice(list(places(changed)))
        if not place:
            return chance.choice(ODD_VALUES + more)
        _damage(changed, place, chance, more)
    return changed


def _damage(document: Any, place: tuple[Any, ...], chance: random.Random, more: tuple[Any, ...]) -> None:
    parent = document
    for key in place[:-1]:
        parent = parent[key]
    key = place[-1]
    value = parent[key]
    match chance.randrange(8):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[chance.choice(["unknown", "", f"{key}x", "<<", "__class__"])] = value
        case 1:
            parent.append(copy.deepcopy(value))
        case 2 if isinstance(value, int | float) and not isinstance(value, bool):
            parent[key] = chance.choice([-value, value * 1000, value // 1000, value + 1, [value]])
        case 3:
            other = chance.choice(list(places(document)))
            found = document
            for step in other:
                found = found[step]
            parent[key] = copy.deepcopy(found)
        case _:
            # A copy: a list put in twice could be put into itself.
            parent[key] = copy.deepcopy(chance.choice(ODD_VALUES + more))


def _yaml(content: bytes, chance: random.Random) -> bytes:
    return yaml.safe_dump(damaged(yaml.safe_load(content), chance), sort_keys=False, allow_unicode=True).encode()


def _json(content: bytes, chance: random.Random) -> bytes:
    return json.dumps(damaged(json.loads(content), chance, more=ODD_TEXTS)).encode()


def _json_lines(content: bytes, chance: random.Random) -> bytes:
    lines = content.decode().splitlines()
    place = chance.randrange(len(lines))
    lines[place] = json.dumps(damaged(json.loads(lines[place]), chance, more=ODD_TEXTS))
    return "\n".join([*lines, ""]).encode()


# --- tables -----------------------------------------------------------------------------------


def _csv(content: bytes, chance: random.Random) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    for _ in range(chance.choice([1, 1, 2])):
        _damage_table(rows, chance)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _damage_table(rows: list[list[str]], chance: random.Random) -> None:
    row = chance.randrange(len(rows)) if chance.random() < 0.3 else chance.randrange(min(1, len(rows) - 1), len(rows))
    column = chance.randrange(len(rows[row])) if rows[row] else 0
    match chance.randrange(8):
        case 0:
            del rows[row][column : column + 1]
        case 1:
            rows.insert(row, list(rows[row]))
        case 2:
            rows[row].append("x")
        case 3:
            rows[row][column : column + 1] = ["y" * LONG_CELL]
        case 4 if len(rows) > 1:
            del rows[row]
            if not rows:
                rows.append([])
        case _:
            rows[row][column : column + 1] = [_cell(chance)]


def _cell(chance: random.Random) -> str:
    return str(chance.choice((*ODD_VALUES[:-2], "9" * 5000)))


# --- texts with expressions -------------------------------------------------------------------

_ATOMS = (
    "v",
    "1",
    "0",
    "2.5",
    "1e308",
    "10**400",
    "'a'",
    "true",
    "none",
    "[]",
    "[1, 2]",
    "self",
    "range(9)",
    "range(10**9)",
)
_QUESTIONS = (
    *("v.gain('corrected', 'tpot_mean')", "v.status('corrected')", "v.count('corrected', 'tpot_mean')", "v.mape()"),
    *("v.observed('corrected', 'tpot_improves')", "v.nonsense()", "v.__class__", "v.gain.__globals__", "w", "loop"),
)
_FILTERS = (
    *("pct", "pp", "ms", "ratio", "quantity", "quantity('us')", "abs", "round", "round(10**9)", "format(1)", "xmlattr"),
    *(
        "dictsort",
        "truncate(1)",
        "center(10**9)",
        "join",
        "list",
        "sum",
        "first",
        "last",
        "int",
        "float",
        "sort",
        "nope",
    ),
    *("default", "length", "tojson", "random", "replace('a', 'b' * 9)", "indent(10**9)", "batch(10**9)", "map", "max"),
)
_SIGNS = ("+", "-", "*", "/", "//", "%", "**", "==", "<", "and", "~", "in", "is")


def expression(chance: random.Random, depth: int = 0) -> str:
    """Return something that may stand between two braces."""
    match chance.randrange(5 if depth < 3 else 2):
        case 0:
            return chance.choice(_ATOMS)
        case 1:
            return chance.choice(_QUESTIONS)
        case 2:
            return f"{expression(chance, depth + 1)} | {chance.choice(_FILTERS)}"
        case 3:
            return f"{expression(chance, depth + 1)} {chance.choice(_SIGNS)} {expression(chance, depth + 1)}"
    return f"({expression(chance, depth + 1)})"


def _text(content: bytes, chance: random.Random) -> bytes:
    lines = content.decode().split("\n")
    place = chance.randrange(len(lines))
    one = expression(chance)
    lines.insert(
        place,
        chance.choice(
            [
                f"It is {{{{ {one} }}}}.",
                f"{{% for i in {one} %}}{{{{ i }}}}{{% endfor %}}",
                f"{{% if {one} %}}x{{% endif %}}",
                f"{{% set a = {one} %}}{{{{ a }}}}",
                "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
                "{{ v.gain(",
                "12.5 ms",
            ]
        ),
    )
    return "\n".join(lines).encode()


_FORMS = {"yaml": _yaml, "json": _json, "jsonl": _json_lines, "csv": _csv, "text": _text}
