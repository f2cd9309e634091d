"""What a page of the site is, before the frame that all pages share is put around it."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Groups of pages, in the order of the navigation, with the page each leads to.
NAVIGATION: Mapping[str, str] = {
    "Overview": "index.html",
    "Findings": "reports/README.html",
    "Calibration": "calibration.html",
    "Trust": "reports/trust/TRUST.html",
    "Replay": "reports/replay/REPLAY.html",
    "Simulators": "reports/simulators/SIMULATORS.html",
    "Capacity": "reports/questions/README.html",
    "Errata": "reports/errata.html",
    "Ground truth": "ground_truth/index.html",
    "Documentation": "docs/README.html",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with the text below it, up to the next one: what the search finds and where a page can be entered."""

    anchor: str
    heading: str
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes
    ----------
    path
        Below the site's folder, with forward slashes.
    template
        Of `workflow/templates/site/`.
    context
        What the template shows; HTML only where it is marked as such.
    group
        The entry of the navigation it belongs to.
    tabs
        Pages beside this one, label to path: the other views of one report.
    """

    path: str
    title: str
    group: str
    template: str
    context: Mapping[str, Any] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()
    tabs: Mapping[str, str] = field(default_factory=dict)


def relative(target: str, page: str) -> str:
    """Return the way from one page of the site to another, both given below the site's folder."""
    path, mark, anchor = target.partition("#")
    return posixpath.relpath(path, posixpath.dirname(page) or ".") + mark + anchor
