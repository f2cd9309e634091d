"""What the highest load would be if what nobody states about a server were otherwise.

Contract: `moved` asks one server of a question again with one assumption changed at a time, everything else the same,
and returns them by how much they move the answer, the most first. What the question states is not assumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roofline_lab.capacity.answer import Answer, meets
from roofline_lab.capacity.question import Variant
from roofline_lab.capacity.search import highest
from roofline_lab.capacity.serve import Simulated
from roofline_lab.ground_truth.assumed_server import BATCHES, BUDGETS
from simulator.errors import RooflineLabError
from simulator.slo import Limit
from simulator.validation import StrictModel

# Coarser than the answer itself: an assumption that moves it by less is of no interest.
TOLERANCE = 0.03
# Half as many KV blocks: the memory of a server that has other tenants, or was given less.
HALF = 0.5
BURSTY_CV = 2.0
# How far an answer is looked for, as a factor, and the steps towards it.
FAR, STEP = 4.0, 1.5


class Moved(StrictModel):
    """The answer under another assumption.

    Attributes
    ----------
    highest
        None where no load meets the limits then, or there is no such server.
    """

    assumed: str
    otherwise: str
    highest: float | None
    reason: str = ""

    def factor(self, known: float) -> float:
        """Return what the answer is multiplied by; 0 where nothing is left of it."""
        return (self.highest or 0.0) / known


@dataclass(frozen=True, slots=True)
class _Assumption:
    assumed: str
    otherwise: str
    engine: Mapping[str, Any]
    workload: Mapping[str, Any]
    seeds_on: int = 0


def moved(variant: Variant, found: Answer, limits: Sequence[Limit], configs: Path) -> tuple[Moved, ...]:
    """Return every assumption with the answer it would have, the costliest first; none where there is no answer."""
    known = found.highest
    if known is None:
        return ()
    server = Simulated(variant, configs)
    results = [_moved(variant, each, found, known, limits, configs) for each in _assumptions(variant, server)]
    return tuple(sorted(results, key=lambda each: (-abs(each.factor(known) - 1), each.assumed)))


def _assumptions(variant: Variant, server: Simulated) -> Iterator[_Assumption]:
    stated, engine = variant.data["engine"], server.setup.server.engine
    if "max_running" not in stated:
        other = BATCHES[1] if engine.max_running < BATCHES[1] else BATCHES[0]
        yield _Assumption(f"at most {engine.max_running} requests in a batch", str(other), {"max_running": other}, {})
    if "token_budget" not in stated:
        other = BUDGETS[1] if engine.token_budget < BUDGETS[1] else BUDGETS[0]
        yield _Assumption(f"a budget of {engine.token_budget} tokens a step", str(other), {"token_budget": other}, {})
    if "schedule_ahead" not in stated:
        words = ("on", "off") if engine.schedule_ahead else ("off", "on")
        change = {"schedule_ahead": not engine.schedule_ahead}
        yield _Assumption(f"asynchronous scheduling {words[0]}", words[1], change, {})
    if "prefix_caching" not in stated and variant.data["workload"].get("prefix"):
        words = ("on", "off") if engine.prefix_caching else ("off", "on")
        yield _Assumption(f"prefix caching {words[0]}", words[1], {"prefix_caching": not engine.prefix_caching}, {})
    if not {"kv_blocks", "gpu_memory_utilization"} & set(stated):
        fewer = max(1, int(engine.kv_blocks * HALF))
        yield _Assumption(f"{engine.kv_blocks:,} KV blocks", f"half of them, {fewer:,}", {"kv_blocks": fewer}, {})
    seed = variant.data["seed"]
    yield _Assumption(f"lengths and arrivals drawn with seed {seed}", f"with seed {seed + 1}", {}, {}, 1)
    if variant.load == "rate" and "arrivals" not in variant.data["workload"]:
        arrivals = {"arrivals": {"kind": "gamma", "cv": BURSTY_CV}}
        yield _Assumption("arrivals at random (Poisson)", f"in bursts (gamma, cv {BURSTY_CV:g})", {}, arrivals)


def _moved(
    variant: Variant, assumption: _Assumption, found: Answer, known: float, limits: Sequence[Limit], configs: Path
) -> Moved:
    data = variant.data
    workload = {**data["workload"], **assumption.workload}
    engine = {**data["engine"], **assumption.engine}
    changed = {**data, "engine": engine, "workload": workload, "seed": data["seed"] + assumption.seeds_on}
    told = {"assumed": assumption.assumed, "otherwise": assumption.otherwise}
    try:
        highest_load = _highest(Simulated(replace(variant, data=changed), configs), variant, found, known, limits)
    except RooflineLabError as error:
        return Moved(**told, highest=None, reason=str(error))
    return Moved(**told, highest=highest_load, reason="" if highest_load else "less than a quarter is left")


def _highest(server: Simulated, variant: Variant, found: Answer, known: float, limits: Sequence[Limit]) -> float | None:
    """Return the highest load of a changed server; the known one where that is met and the next higher one is not."""
    clients = variant.load == "concurrency"
    beyond = min((each.load for each in found.points if each.load > known), default=known)
    as_known = meets(server.at(known), limits)
    if as_known and beyond > known and not meets(server.at(beyond), limits):
        return known
    ends = (known, known * FAR) if as_known else (known / FAR, known)
    lightest, most = (max(1.0, ends[0] // 1), ends[1] // 1) if clients else ends
    step = {"tolerance": TOLERANCE, "step": STEP, "most": most}
    return highest(lambda load: meets(server.at(load), limits), lightest, whole=clients, **step).meets
