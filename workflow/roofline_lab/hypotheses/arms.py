"""An arm resolved to every option it runs with, and how arms may differ.

Shared by both kinds of hypothesis: whatever an arm is compared with, rule ED-1 (vary exactly the
declared dimension) is checked on resolved configurations, never on what the author typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roofline_lab.config import Rules
from simulator.steptime.options import StepTimeOptions
from simulator.validation import suggest

# Keys of an arm that are no option of the step-time model: how the engine schedules, and rules of the method.
ENGINE_KEY = "engine"
METHOD_KEY = "method"


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm under one method, resolved to everything that is not a fact of the experiment.

    Attributes
    ----------
    rules
        How the measurement is repeated and read; None where nothing measured is repeated.
    """

    name: str
    steptime: StepTimeOptions
    engine: Mapping[str, Any]
    rules: Rules | None = None

    @property
    def configuration(self) -> dict[str, Any]:
        """Every option with its value, dotted, defaults included."""
        rules = {} if self.rules is None else self.rules.model_dump(mode="json", exclude_none=True)
        return self.server_configuration | _flat(rules, f"{METHOD_KEY}.")

    @property
    def server_configuration(self) -> dict[str, Any]:
        """The part of it that says how the server runs."""
        engine = {f"{ENGINE_KEY}.{key}": value for key, value in self.engine.items()}
        return _flat(self.steptime.model_dump(mode="json")) | engine


def differences(arm: Arm, other: Arm) -> dict[str, tuple[Any, Any]]:
    """Return every option in which two arms differ, with both values (None where absent)."""
    left, right = arm.configuration, other.configuration
    keys = [key for key in dict.fromkeys([*left, *right]) if left.get(key) != right.get(key)]
    return {key: (left.get(key), right.get(key)) for key in keys}


def undeclared(declared_options: Sequence[str], arms: Sequence[Arm], where: str) -> Iterator[str]:
    """Yield breaches of rule ED-1: arms that vary something undeclared, or declare what none varies.

    Parameters
    ----------
    declared_options
        Dotted names in which the arms may differ; a name covers everything below it.
    arms
        Resolved arms, the reference first.
    where
        Named in the message, for instance the method the arms were resolved under.
    """
    varied: set[str] = set()
    for arm in arms[1:]:
        for key, (old, new) in differences(arms[0], arm).items():
            declared = [name for name in declared_options if key == name or key.startswith(f"{name}.")]
            varied.update(declared)
            if not declared:
                yield (
                    f"arms.{arm.name}: '{key}' differs from {arms[0].name} ({old!r} -> {new!r}, {where}) "
                    f"but is not in varied [{', '.join(declared_options)}]; "
                    "declare it, or make the arms equal (rule ED-1)"
                )
    for name in declared_options:
        if name not in varied:
            yield f"varied: '{name}' differs between no two arms; {suggest(name, arms[0].configuration)}"


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, entry in value.items():
        if isinstance(entry, Mapping) and entry:
            flat |= _flat(entry, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = entry
    return flat
