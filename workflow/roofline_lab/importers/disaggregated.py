"""Results of servers whose prefill and decode run apart: only their names say so, and they are not of one server.

Contract: `refuse_disaggregated` raises a `ConfigError` where the name of a file, or of the folder it lies in, says that
the GPUs were split between prefill and decode, as those of InferenceX on several nodes do.
"""

from __future__ import annotations

import re
from pathlib import Path

from simulator.errors import ConfigError

_SPLIT = re.compile(
    r"ctx[_-]?(?P<prefill>\d+)[_-]gen[_-]?(?P<decode>\d+)|(?<![a-z0-9])\d+p\d+d(?![a-z0-9])|disagg", re.IGNORECASE
)


def refuse_disaggregated(file: Path) -> None:
    """Refuse a result of prefill and decode on GPUs of their own.

    Raises
    ------
    ConfigError
        If the names say so.
    """
    for name in (file.name, file.absolute().parent.name):
        if found := _SPLIT.search(name):
            gpus = f" ({found['prefill']} GPUs for prefill, {found['decode']} for decode)" if found["decode"] else ""
            raise ConfigError(
                f"{file}: by its name '{name[:80]}' a result of prefill and decode on GPUs of their own{gpus}; "
                "disaggregation and servers on several nodes are not modelled; give results of one server, or rename "
                "what is one"
            )
