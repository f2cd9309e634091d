"""What people, tools and drivers call a GPU, and which described one they mean.

Contract: `gpu_named` answers for command lines, logs, manifests and result files alike. A name is read as a model
(`h100`), a form (`sxm`) and a memory size; what it does not say it leaves open, and what contradicts a description is
another GPU: an H100 PCIe is no `h100-sxm`, nor is a slice of one. Where a name leaves open the form alone, the SXM form
answers, which servers for models have (`USUAL_FORM`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simulator.hardware import load_hardware

# How far a memory size in a name may lie from the data sheet's: 80 GB is called 80 GiB, 79.6 GB and 81559 MiB.
MEMORY_TOLERANCE = 0.06

# Words around a name that say nothing about which GPU it is.
_DECORATION = frozenset(
    ("nvidia", "corporation", "tesla", "geforce", "gpu", "gpus", "tensor", "core", "graphics", "accelerator", "amd",
     "instinct", "hopper", "ampere", "lovelace", "blackwell", "mega", "hbm", "hbm2", "hbm2e", "hbm3", "hbm3e", "gddr6",
     "gddr6x", "gddr7", "single", "workstation", "server", "edition")
)  # fmt: skip
_FORMS: Mapping[str, str] = {"sxm": "sxm", "hgx": "sxm", "dgx": "sxm", "pcie": "pcie", "pci": "pcie", "nvl": "nvl"}
USUAL_FORM = "sxm"
_FORM = re.compile(r"(sxm|hgx|dgx|pcie|pci|nvl)\d?")
_MEMORY = re.compile(r"(?<![a-z0-9.])(\d{1,4}(?:\.\d+)?)\s?g(?:i?b)?(?![a-z0-9])")
# How many there are: 8xH100, H100 x8, 4 x H100.
_COUNT = re.compile(r"^\s*\d{1,4}\s?x\s?(?=[a-z])|(?<=[\s\d])x\s?\d{1,4}\s*$")


@dataclass(frozen=True, slots=True)
class GpuName:
    """What a name says; None where it leaves something open.

    Attributes
    ----------
    model
        Letters and digits of the model, such as `h100` or `l40s`, with every word nobody knows.
    form
        `sxm`, `pcie` or `nvl`.
    memory_gb
        Size of its memory.
    """

    model: str
    form: str | None
    memory_gb: float | None


def read_gpu_name(name: str) -> GpuName:
    """Read a name as it stands in a file, a log or on a command line."""
    text = re.sub(r"[\s_,/()\[\]:;+-]+", " ", name.lower()).strip()
    text = _COUNT.sub(" ", text)
    sizes = _MEMORY.findall(text)
    text = _MEMORY.sub(" ", text)
    forms = {_FORMS[found] for found in _FORM.findall(text)}
    words = [word for word in _FORM.sub(" ", text).split() if word not in _DECORATION]
    # Two forms or two sizes are no name of one GPU: keep them, so that nothing answers to it.
    unclear = [*sorted(forms)[1:], *sizes[1:]]
    return GpuName("".join([*words, *unclear]), min(forms) if forms else None, float(sizes[0]) if sizes else None)


def gpus_named(name: str, described: Mapping[str, Path]) -> list[str]:
    """Return the ids of all described GPUs that a name may mean, in order.

    Parameters
    ----------
    name
        An id, or what a tool, a driver or a person calls the GPU.
    described
        Data sheets by id.

    Raises
    ------
    ConfigError
        If the data sheet of one that may be meant cannot be read.
    """
    exact = [gpu for gpu in described if gpu.lower() == name.strip().lower()]
    if exact:
        return exact[:1]
    wanted = read_gpu_name(name)
    return [gpu for gpu, path in described.items() if wanted.model and _fits(wanted, read_gpu_name(gpu), path)]


def gpu_named(name: str, described: Mapping[str, Path]) -> str | None:
    """Return the id of the described GPU that a name means; None if there is none, or more than one in a form."""
    found = gpus_named(name, described)
    usual = [gpu for gpu in found if read_gpu_name(gpu).form == USUAL_FORM] if len(found) > 1 else found
    return usual[0] if len(usual) == 1 else None


def _fits(wanted: GpuName, gpu: GpuName, sheet: Path) -> bool:
    if wanted.model != gpu.model or (wanted.form and gpu.form and wanted.form != gpu.form):
        return False
    if wanted.memory_gb is None:
        return True
    memory_gb = gpu.memory_gb or load_hardware(sheet).memory_gib.value
    return abs(wanted.memory_gb - memory_gb) <= MEMORY_TOLERANCE * memory_gb
