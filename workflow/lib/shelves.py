"""Files that describe models and GPUs, by the names experiments use.

Contract: of several folders the first one that has a name wins. A model is `<id>.json`, or a folder
`<id>/` with Hugging Face's `config.json`; a GPU is `<id>.yaml`. Nothing is read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

MODELS = "models"
HARDWARE = "hardware"
CONFIG_FILE = "config.json"


def models_in(folders: Sequence[Path]) -> Mapping[str, Path]:
    """Return the file of every model."""
    return _named(folders, ("*.json", f"*/{CONFIG_FILE}"))


def hardware_in(folders: Sequence[Path]) -> Mapping[str, Path]:
    """Return the file of every GPU."""
    return _named(folders, ("*.yaml",))


def _named(folders: Sequence[Path], patterns: Sequence[str]) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)):
                found.setdefault(path.parent.name if path.name == CONFIG_FILE else path.stem, path)
    return found
