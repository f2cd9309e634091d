"""How hypotheses fit together: each name once, and references that lead back to where nothing is referenced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roofline_lab.hypotheses.spec import Claim
from simulator.errors import ConfigError


def check_names_and_cycles(claims: Sequence[Claim]) -> None:
    """Refuse a name that two hypotheses have, and references that form a cycle.

    Raises
    ------
    ConfigError
        Naming the hypotheses concerned.
    """
    owners: dict[str, str] = {}
    for claim in claims:
        for name in dict.fromkeys((claim.id, *claim.aliases)):
            if name in owners:
                raise ConfigError(
                    f"hypotheses/{claim.id}/hypothesis.yaml: the name '{name}' is also that of "
                    f"{owners[name]}; ids and aliases must be different"
                )
            owners[name] = claim.id
    cycle = reference_cycle({claim.id: claim.references for claim in claims})
    if cycle:
        raise ConfigError(
            f"hypotheses/{cycle[0]}/hypothesis.yaml: references form a cycle: {' -> '.join(cycle)}; "
            "a hypothesis can only build on earlier ones"
        )


def reference_cycle(references: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the first cycle, its start repeated at the end, or nothing; unknown names are no cycle."""
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> tuple[str, ...]:
        if name in path:
            return (*path[path.index(name) :], name)
        if name in done:
            return ()
        for other in references.get(name, ()):
            if found := walk(other, (*path, name)):
                return found
        done.add(name)
        return ()

    return next((found for name in references if (found := walk(name, ()))), ())
