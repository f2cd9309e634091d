"""The names of the tools whose results can be imported, found without loading their readers.

A page of help names them, and loading every reader would take longer than a person waits for it.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

READERS = Path(__file__).parent.parent / "importers"
NAMED = re.compile(r"^TOOL = \"(.+)\"$", re.MULTILINE)


@cache
def tool_names() -> tuple[str, ...]:
    """Return the keys of `importers.tools.tools()`, in its order."""
    texts = (path.read_text(encoding="utf-8") for path in READERS.glob("*.py"))
    return tuple(sorted(name for text in texts for name in NAMED.findall(text)))
