"""From a question to its answers, in several processes, kept as they come.

Contract: `ask` returns the same whatever the number of processes and whatever was kept from an earlier run: an answer
is kept under a hash of everything it depends on, so that a question that was cut off goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from roofline_lab.capacity.answer import Answer, answer
from roofline_lab.capacity.assumptions import Moved, moved
from roofline_lab.capacity.nearest import Ladder, nearest_ladders
from roofline_lab.capacity.prediction import prediction, swept
from roofline_lab.capacity.question import Question, Variant, limits_of, variants
from roofline_lab.capacity.serve import PROMPT_TOKENS, Served, Simulated
from roofline_lab.files import digest_of, digest_of_files, json_text, write_text
from roofline_lab.places import CONFIGS, SHIPPED, code_folders, listed
from roofline_lab.predict.processes import answers
from roofline_lab.trust.proof import Proof
from simulator.cli.step_time import calibrations
from simulator.errors import ConfigError, RooflineLabError
from simulator.slo import Limit
from simulator.trust.distance import Cell, Word, kind_of, load_of, precision_of

# Answers of more servers are told without what assumptions would change.
MOST_WITH_ASSUMPTIONS = 1


@dataclass(frozen=True, slots=True)
class Nearer:
    """What another calibration, which is nearer to a server, says of it at the load of the answer."""

    step_time: str
    served: Served


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its answers.

    Attributes
    ----------
    answers
        In the order of the question's servers.
    moved
        What assumptions would change, of the first of the best servers.
    ladders
        The validated experiments nearest to it.
    nearer
        Other calibrations that were validated on something nearer to it.
    proof
        How right answers of the calibration were on measured servers; None where nobody checked them.
    """

    question: Question
    source: str
    limits: tuple[Limit, ...]
    answers: tuple[Answer, ...]
    moved: tuple[Moved, ...] = ()
    ladders: tuple[Ladder, ...] = ()
    nearer: tuple[Nearer, ...] = ()
    proof: Proof | None = None

    @property
    def best(self) -> Answer | None:
        """The server with most output tokens per second and GPU of those that meet the limits; None where none does."""
        able = [each for each in self.answers if each.tokens_per_s_per_gpu]
        return max(able, key=lambda each: each.tokens_per_s_per_gpu or 0.0, default=None)

    @property
    def chosen(self) -> Answer:
        """The server a page speaks of: the best one, else the first there can be."""
        return self.best or next(each for each in self.answers if not each.refused)


def ask(
    question: Question,
    source: str,
    root: Path,
    *,
    jobs: int = 1,
    kept: Path | None = None,
    say: Callable[[int, int], None] = lambda done, total: None,
) -> Asked:
    """Return the answers of a question.

    Parameters
    ----------
    kept
        Folder of answers that are kept; None: none are.
    say
        Told how many of how many servers are answered.

    Raises
    ------
    RooflineLabError
        If the question is wrong, or no server it asks about can be, with the reason of each.
    """
    limits = limits_of(question, source)
    servers = variants(question, source, root)
    found = _answers(servers, limits, root, jobs, kept, say)
    if all(each.refused for each in found):
        reasons = list(dict.fromkeys(each.refused for each in found))
        raise ConfigError(reasons[0] if len(reasons) == 1 else "\n".join(f"{one.name}: {one.refused}" for one in found))
    asked = Asked(question, source, limits, found)
    chosen = asked.chosen
    variant = servers[found.index(chosen)]
    configs = SHIPPED / CONFIGS
    if len(servers) > MOST_WITH_ASSUMPTIONS:
        return replace(asked, ladders=_nearest(root, variant, chosen))
    return replace(
        asked,
        answers=(swept(variant, chosen, configs),),
        moved=moved(variant, chosen, limits, configs),
        ladders=_nearest(root, variant, chosen),
        nearer=tuple(_nearer(variant, chosen, configs)),
    )


def _nearer(variant: Variant, chosen: Answer, configs: Path) -> Iterator[Nearer]:
    """Yield what calibrations say that were validated on something nearer than the one that answered was."""
    at = chosen.best or chosen.alone
    words = list(Word)
    # What is outside as well tells nobody more.
    known = min(words.index(Word(at.word)) if at and at.word else len(words), words.index(Word.OUTSIDE))
    for name in calibrations(configs):
        if at is None or name == chosen.step_time:
            continue
        try:
            own = {key: file for key, file in variant.own.items() if key != "steptime"}
            other = replace(variant, data={**variant.data, "steptime": name}, own=own)
            served = Simulated(other, configs).at(at.load)
        except RooflineLabError:
            continue
        if served.word and words.index(Word(served.word)) < known:
            yield Nearer(name, served)


def predict(question: Question, source: str, root: Path) -> Asked:
    """Return what the one server of a question does at its load `at`, or from idle to saturation.

    Raises
    ------
    RooflineLabError
        If the question is wrong, asks about several servers, or there is no such server.
    """
    servers = variants(question, source, root)
    if len(servers) > 1:
        raise ConfigError(f"{source}: {len(servers)} servers; a prediction is of one: `roofline-lab capacity` compares")
    found = prediction(servers[0], question.at, SHIPPED / CONFIGS)
    return Asked(question, source, (), (found,), (), _nearest(root, servers[0], found))


def _answers(
    servers: Sequence[Variant],
    limits: Sequence[Limit],
    root: Path,
    jobs: int,
    kept: Path | None,
    say: Callable[[int, int], None],
) -> tuple[Answer, ...]:
    rests_on = _rests_on(root, limits) if kept is not None else ""
    files = [None if kept is None else kept / f"{digest_of([each.digest, rests_on])}.json" for each in servers]
    found = {place: answer_in(file) for place, file in enumerate(files) if file is not None and file.is_file()}
    missing = [place for place in range(len(servers)) if place not in found]
    say(len(found), len(servers))
    ask_one = partial(answer, limits=tuple(limits), configs=SHIPPED / CONFIGS)
    for which, one in answers(ask_one, [servers[place] for place in missing], jobs, [1] * len(missing)):
        place = missing[which]
        found[place] = one
        file = files[place]
        if file is not None:
            write_text(file, json_text(one.model_dump(mode="json")))
        say(len(found), len(servers))
    return tuple(found[place] for place in range(len(servers)))


def answer_in(file: Path) -> Answer:
    """Return an answer that was kept."""
    return Answer.model_validate(json.loads(file.read_text(encoding="utf-8")))


def _rests_on(root: Path, limits: Sequence[Limit]) -> str:
    """Return a hash of everything but the server that an answer depends on: limits, code, and all of `configs`."""
    code = [path for folder in code_folders(root)[:2] for path in sorted(folder.rglob("*.py"))]
    configs = [path for path in listed(root, CONFIGS, "**/*") if path.is_file()]
    return digest_of([[limit.text for limit in limits], digest_of_files([*code, *configs], root)])


def _nearest(root: Path, variant: Variant, chosen: Answer) -> tuple[Ladder, ...]:
    at = chosen.best or chosen.alone
    if at is None:
        return ()
    setup = Simulated(variant, SHIPPED / CONFIGS).setup
    model = setup.model
    cell = Cell(model.id, kind_of(model), setup.hardware.id, precision_of(model))
    names = ("request_throughput", "e2e_mean", PROMPT_TOKENS, "output_tokens_mean")
    known = [value for name in names if (value := at.values.get(name)) is not None]
    if len(known) < len(names):
        return ()
    load = load_of(setup.spec.tensor_parallel, *known)
    return nearest_ladders(root, chosen.step_time, cell, load)
