"""An arm: what an author overlays, resolved to every option it runs with, and how arms may differ.

Whatever an arm is compared with, rule ED-1 (vary exactly the declared dimension) is checked on resolved
configurations, never on what the author typed. Step-time options are replaced as a whole, so that a record of another
kind leaves nothing of the old one behind; rules of the method are overlaid key by key, so that an arm can vary exactly
one. An arm of another simulator has no options of ours, so it differs from one of ours in who predicts alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from roofline_lab.config import Method, Rules
from roofline_lab.files import digest_of
from roofline_lab.hypotheses.spec import ENGINE_KEY, METHOD_KEY, SIMULATOR_KEY, Hypothesis
from roofline_lab.simulators.description import BUILTIN, Described, Simulator, simulator_of
from simulator.engine.options import EngineOptions
from simulator.errors import InvariantError
from simulator.steptime.options import StepTimeOptions, parse_options
from simulator.validation import config_error, parse, suggest

RULES = frozenset(Rules.model_fields)


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm under one method, resolved to everything that is not a fact of the experiment.

    Attributes
    ----------
    own, engine
        Options of our simulator, of step times and of the scheduler; None and nothing where another one predicts.
    rules
        How the measurement is repeated and read; None where nothing measured is repeated.
    simulator
        Who predicts.
    """

    name: str
    own: StepTimeOptions | None
    engine: Mapping[str, Any]
    rules: Rules | None = None
    simulator: Simulator = BUILTIN

    @property
    def steptime(self) -> StepTimeOptions:
        """Options of our step times; only asked of an arm that our simulator predicts."""
        if self.own is None:
            raise InvariantError(f"arm {self.name} is predicted by {self.simulator.name}, not by our step times")
        return self.own

    @property
    def configuration(self) -> dict[str, Any]:
        """Every option with its value, dotted, defaults included."""
        rules = {} if self.rules is None else self.rules.model_dump(mode="json", exclude_none=True)
        return self.server_configuration | _flat(rules, f"{METHOD_KEY}.")

    @property
    def server_configuration(self) -> dict[str, Any]:
        """The part of it that says how the server runs, or which other simulator says so."""
        if self.own is None:
            return _flat(self.simulator.configuration, f"{SIMULATOR_KEY}.")
        return _flat(self.own.model_dump(mode="json")) | self._engine

    @property
    def departures(self) -> dict[str, Any]:
        """The options of the server that differ from their defaults, and the family.

        What an arm is known by: an option added with a default that changes nothing leaves it as it was. Of another
        simulator, how it is asked.
        """
        if self.own is None:
            return _flat(self.simulator.identity, f"{SIMULATOR_KEY}.")
        chosen = self.own.model_dump(mode="json", exclude_defaults=True)
        return _flat({**chosen, "family": self.own.family}) | self._engine

    @property
    def _engine(self) -> dict[str, Any]:
        return {f"{ENGINE_KEY}.{key}": value for key, value in self.engine.items()}


def resolve_arm(
    spec: Hypothesis,
    method: Method,
    arm: str,
    values: Mapping[str, float] = MappingProxyType({}),
    simulators: Mapping[str, Described] = MappingProxyType({}),
) -> Arm:
    """Overlay base, method and arm, in this order.

    Parameters
    ----------
    values
        Those of swept options by name; an option that a sweep sets and that has none here is at its first value.
    simulators
        Those that arms may name.
    """
    source = f"hypotheses/{spec.id}/hypothesis.yaml: arms.{arm} (method {method.id})"
    named = spec.arms[arm].get(SIMULATOR_KEY, spec.base.get(SIMULATOR_KEY))
    simulator = simulator_of(named, simulators, f"hypotheses/{spec.id}", f"{source}.{SIMULATOR_KEY}")
    if not simulator.is_builtin:
        _refuse_options(spec, arm, simulator, source)
        return Arm(arm, None, {}, _rules(spec, method, arm, f"{source}.{METHOD_KEY}"), simulator)
    steptime = {**spec.base, **method.steptime, **spec.arms[arm]}
    for sweep in spec.all_sweeps:
        if arm in sweep.arms:
            steptime = sweep.overlay(steptime, values.get(sweep.option, sweep.start))
    engine = {**spec.base.get(ENGINE_KEY, {}), **method.engine, **spec.arms[arm].get(ENGINE_KEY, {})}
    for key in (ENGINE_KEY, METHOD_KEY, SIMULATOR_KEY):
        steptime.pop(key, None)
    options = parse_options(steptime, source=source)
    parse(EngineOptions, engine, source=f"{source}.{ENGINE_KEY}")
    return Arm(arm, options, engine, _rules(spec, method, arm, f"{source}.{METHOD_KEY}"))


def _refuse_options(spec: Hypothesis, arm: str, simulator: Simulator, source: str) -> None:
    """Refuse options of our simulator in an arm of another one, which would not know of them."""
    ours = [key for key in spec.arms[arm] if key not in (METHOD_KEY, SIMULATOR_KEY)]
    ours += [f"sweep ({sweep.option})" for sweep in spec.all_sweeps if arm in sweep.arms]
    if ours:
        told = f"are options of our simulator, but this arm is predicted by '{simulator.name}'"
        remedy = f"leave them away, or set options of its own: {SIMULATOR_KEY}: {{name: ..., options: {{...}}}}"
        raise config_error(source, [f"{', '.join(ours)}: {told}; {remedy}"])


def digest(method: Method, arm: Arm) -> str:
    """Return a hash of everything that decides what a run of the arm predicts and is compared with."""
    rules = (arm.rules or method).model_dump(mode="json", include=set(RULES), exclude_defaults=True)
    return digest_of({"arm": arm.departures, "method": rules})


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


def differences(arm: Arm, other: Arm) -> dict[str, tuple[Any, Any]]:
    """Return every option in which two arms differ, with both values (None where absent).

    Options of our simulator say nothing of another one: arms of both differ in who predicts, and in rules.
    """
    left, right = arm.configuration, other.configuration
    if arm.simulator.is_builtin != other.simulator.is_builtin:
        left, right = _without_options(arm), _without_options(other)
    keys = [key for key in dict.fromkeys([*left, *right]) if left.get(key) != right.get(key)]
    return {key: (left.get(key), right.get(key)) for key in keys}


def _without_options(arm: Arm) -> dict[str, Any]:
    rules = {key: value for key, value in arm.configuration.items() if key.startswith(f"{METHOD_KEY}.")}
    return _flat(arm.simulator.configuration, f"{SIMULATOR_KEY}.") | rules


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
