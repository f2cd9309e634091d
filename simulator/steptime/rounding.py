"""Where step times become whole microseconds."""

from __future__ import annotations


def whole_us(duration_us: float) -> int:
    """Round half up to whole microseconds; no step is shorter than one."""
    return int(duration_us + 0.5) if duration_us > 1.0 else 1
