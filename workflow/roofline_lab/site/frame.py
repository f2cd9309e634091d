"""The frame around every page: navigation, search box, contents; HTML from `workflow/templates/site/`.

Contract: what templates show is escaped, so that a title with HTML, markdown or Jinja in it appears as text; only the
body of a page of markdown is HTML already (`roofline_lab.site.markdown`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from functools import lru_cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from roofline_lab.formatting import pct, quantity, signed_pct
from roofline_lab.places import TEMPLATES
from roofline_lab.site.pages import Page, relative

# Headings down to this level are told in a page's contents, if it has more than so many.
DEEPEST, FEWEST = 3, 3


def framed(page: Page, navigation: Mapping[str, str]) -> str:
    """Return a page as HTML.

    Parameters
    ----------
    navigation
        Pages by the name of their entry.
    """
    contents = [each for each in page.sections if 1 < each.level <= DEEPEST]
    context = {
        **page.context,
        "page": page,
        "navigation": navigation,
        "contents": contents if len(contents) > FEWEST else [],
        "base": posixpath.relpath(".", posixpath.dirname(page.path) or ".") + "/",
        "to": lambda target: relative(target, page.path),
    }
    if "body" in context:
        context["body"] = Markup(context["body"])
    return _environment().get_template(page.template).render(**context)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = FileSystemLoader(TEMPLATES / "site")
    environment = Environment(loader=loader, undefined=StrictUndefined, autoescape=True, trim_blocks=True)
    environment.filters |= {"pct": pct, "signed_pct": signed_pct, "quantity": quantity}
    return environment
