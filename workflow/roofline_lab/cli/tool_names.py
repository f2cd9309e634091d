"""The names of the tools whose results can be imported, found without loading their readers.

A page of help names them, and loading every reader would take longer than a person waits for it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

READERS = Path(__file__).parent.parent / "importers"
NAMED = re.compile(r"^TOOL = \"(.+)\"$", re.MULTILINE)


def tool_names() -> tuple[str, ...]:
    """Return the keys of `importers.tools.tools()`, in its order."""
    texts = (path.read_text(encoding="utf-8") for folder in _folders() for path in Path(folder).glob("*.py"))
    return tuple(sorted(name for text in texts for name in NAMED.findall(text)))


def _folders() -> Iterable[str | Path]:
    """Return where readers lie; a folder that was added to the package's path counts once the package is loaded."""
    loaded = sys.modules.get("roofline_lab.importers")
    return [READERS] if loaded is None else loaded.__path__
