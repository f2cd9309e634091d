"""Templates to text: the laboratory's own pages. The texts authors write are `author_texts.py`.

Numbers are formatted by the filters `pct`, `signed_pct`, `pp`, `ms`, `ratio` (a share as percent) and
`quantity` (any number with its unit), and `counted` puts a noun behind one (1 experiment, 2 experiments); a name that
does not exist is an error, never an empty text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from roofline_lab.formatting import counted, ms, pct, pp, quantity, signed_pct
from roofline_lab.places import TEMPLATES
from simulator.errors import ConfigError


def render(name: str, context: Mapping[str, Any]) -> str:
    """Render a template of the laboratory, with blank lines and line ends made uniform.

    Raises
    ------
    ConfigError
        If the template is missing or broken.
    """
    try:
        text = _environment().get_template(name).render(**context)
    except TemplateError as error:
        raise ConfigError(f"workflow/templates/{name}: {error}; restore the file") from None
    text = re.sub(r"\n{3,}", "\n\n", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(loader=loader, undefined=StrictUndefined, autoescape=False, trim_blocks=True)
    environment.filters |= {**NUMBER_FILTERS, "bullets": _bullets, "counted": counted}
    return environment


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {' '.join(line.split())}" for line in lines)


def _ratio(value: float) -> str:
    return f"{value * 100:.0f} %"


NUMBER_FILTERS: Mapping[str, Callable[..., str]] = {
    "pct": pct,
    "signed_pct": signed_pct,
    "pp": pp,
    "ms": ms,
    "ratio": _ratio,
    "quantity": quantity,
}
