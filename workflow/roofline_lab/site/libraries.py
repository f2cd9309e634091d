"""The libraries of others that the site is made with: markdown in Python, and scripts that Python packages carry.

Contract: no file of others is part of this project; each is copied from the installed package at build time. Nothing
here is imported until a site is built, so that all else works without these packages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from simulator.errors import ConfigError

# Module -> the distribution that brings it (`site` in pyproject.toml).
MODULES: Mapping[str, str] = {
    "markdown_it": "markdown-it-py",
    "itables": "itables",
    "pdoc": "pdoc",
    "plotly": "plotly",
}
# Name in the site -> package and file: tables (DataTables), search (elasticlunr), plots (Plotly).
FILES: Mapping[str, tuple[str, str]] = {
    "datatables.css": ("itables", "html/dt_bundle.css"),
    "datatables.js": ("itables", "html/dt_bundle.js"),
    "elasticlunr.js": ("pdoc", "templates/resources/elasticlunr.min.js"),
    "plotly.js": ("plotly", "package_data/plotly.min.js"),
}
# What the bundle of DataTables exports, as its last statement; browsers load no module from a file.
EXPORT = re.compile(r"export\{[^}]*?([\w$]+) as default[^}]*\};?")


def require_libraries() -> None:
    """Check that all packages of the site are there.

    Raises
    ------
    ConfigError
        Naming all that are missing, and how to install them.
    """
    missing = [name for module, name in MODULES.items() if find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"the site needs {', '.join(missing)}, not installed here: "
            "run `make setup`, or `pip install 'roofline-lab[site]'`"
        )


def library_files() -> dict[str, bytes]:
    """Return the scripts and styles of others by their name in the site.

    Raises
    ------
    ConfigError
        If a package no longer carries its file, or not in the form expected.
    """
    found = {name: _content(package, path) for name, (package, path) in FILES.items()}
    found["datatables.js"] = _as_script(found["datatables.js"])
    return found


def _content(package: str, path: str) -> bytes:
    spec = find_spec(package)
    file = Path(spec.origin).parent / path if spec is not None and spec.origin else Path(path)
    if not file.is_file():
        raise ConfigError(f"package {package}: has no {path}; install the version named in requirements.lock")
    return file.read_bytes()


def _as_script(module: bytes) -> bytes:
    """Return the bundle of DataTables as a plain script that sets `window.DataTable`."""
    text = module.decode()
    exports = EXPORT.findall(text)
    if len(exports) != 1:
        raise ConfigError(
            "package itables: html/dt_bundle.js exports DataTables in another way than expected; "
            "install the version named in requirements.lock"
        )
    script = EXPORT.sub(lambda export: f"window.DataTable={export[1]};", text)
    return f"(()=>{{{script}\n}})();\n".encode()
