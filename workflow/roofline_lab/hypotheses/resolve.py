"""From what an author wrote to a complete arm: base, method and arm overlaid, then validated.

Contract: `resolve_arm` returns an arm that can run or raises one `ConfigError` naming file, arm and key.
Step-time options are replaced as a whole, so that a record of another kind leaves nothing of the old
one behind; rules of the method are overlaid key by key, so that an arm can vary exactly one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roofline_lab.config import Method, Rules
from roofline_lab.files import digest_of
from roofline_lab.hypotheses.arms import ENGINE_KEY, METHOD_KEY, Arm
from roofline_lab.hypotheses.spec import Hypothesis
from simulator.engine.options import EngineOptions
from simulator.steptime.options import parse_options
from simulator.validation import config_error, parse

RULES = frozenset(Rules.model_fields)


def resolve_arm(spec: Hypothesis, method: Method, arm: str, value: float | None = None) -> Arm:
    """Overlay base, method and arm, in this order.

    Parameters
    ----------
    value
        That of the swept option; where none is given, an arm the sweep sets has its first value.
    """
    source = f"hypotheses/{spec.id}/hypothesis.yaml: arms.{arm} (method {method.id})"
    steptime = {**spec.base, **method.steptime, **spec.arms[arm]}
    if spec.sweep is not None and arm in spec.sweep.arms:
        steptime = spec.sweep.overlay(steptime, spec.sweep.start if value is None else value)
    engine = {**spec.base.get(ENGINE_KEY, {}), **method.engine, **spec.arms[arm].get(ENGINE_KEY, {})}
    for key in (ENGINE_KEY, METHOD_KEY):
        steptime.pop(key, None)
    options = parse_options(steptime, source=source)
    parse(EngineOptions, engine, source=f"{source}.{ENGINE_KEY}")
    return Arm(arm, options, engine, _rules(spec, method, arm, f"{source}.{METHOD_KEY}"))


def digest(method: Method, arm: Arm) -> str:
    """Return a hash of everything that decides what a run of the arm predicts and is compared with."""
    rules = (arm.rules or method).model_dump(mode="json", include=set(RULES), exclude_none=True)
    return digest_of({"arm": arm.server_configuration, "method": rules})


def _rules(spec: Hypothesis, method: Method, arm: str, source: str) -> Rules:
    of_method = method.model_dump(mode="json", include=set(RULES), exclude_none=True)
    overlaid = overlay(overlay(spec.base.get(METHOD_KEY, {}), of_method), spec.arms[arm].get(METHOD_KEY, {}))
    rules = parse(Rules, overlaid, source=source)
    if rules.unknown_definitions:
        raise config_error(source, rules.unknown_definitions)
    return rules


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both mappings as one; where both have a key, mappings are joined and `above` wins else."""
    both = {
        key: overlay(below[key], value)
        for key, value in above.items()
        if isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
    }
    return {**below, **above, **both}
