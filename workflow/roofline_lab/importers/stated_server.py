"""What is stated of a server, put into the experiment that a reader has formed.

Contract: `with_server` is applied to every measurement, whatever tool it is of, so that no reader has to know where
facts stand. What nobody states stays assumed. A fact that contradicts what the results say, or another fact, is a
`ConfigError` that names both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.server import Server
from roofline_lab.importers.common import FOLDER_DAY, UNSTATED, Measurement
from roofline_lab.importers.server_facts import OF_THE_EXPERIMENT, Fact, Stated, agreed, same
from roofline_lab.importers.server_sources import stated_beside, stated_by_option
from simulator.errors import ConfigError
from simulator.validation import parse

# Folders of results that lie one level deeper.
RESULTS_FOLDER = "results"


def stated_of(path: Path, options: Sequence[str] = ()) -> Stated:
    """Return what the files beside results, and options, state of the server.

    Parameters
    ----------
    path
        Results as a person names them: a file or a folder.
    options
        KEY=VALUE, or files that state facts.

    Raises
    ------
    ConfigError
        If one of them cannot be read or states what cannot be.
    """
    found = Stated()
    for folder in _folders(path):
        found = found.with_(stated_beside(folder))
    return found.with_(by_options(options))


def by_options(options: Sequence[str]) -> Stated:
    """Return what options state.

    Raises
    ------
    ConfigError
        Naming every option that cannot be used.
    """
    found, problems = Stated(), []
    for option in options:
        try:
            found = found.with_(stated_by_option(option))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def _folders(path: Path) -> tuple[Path, ...]:
    folder = path if path.is_dir() else path.parent
    if folder.name == RESULTS_FOLDER:
        return (folder.parent, folder)
    inside = folder / RESULTS_FOLDER
    return (folder, inside) if path.is_dir() and inside.is_dir() else (folder,)


def with_server(found: Measurement, stated: Stated) -> Measurement:
    """Return a measurement with what is stated of its server.

    Raises
    ------
    ConfigError
        Naming both sources of every contradiction, or the source of a value that cannot be.
    """
    facts = agreed(stated.facts)
    if not (facts or stated.unused or stated.not_simulated):
        return found
    experiment = found.experiment
    problems = list(_contradictions(found, facts))
    if problems:
        raise ConfigError("\n".join(problems))
    changes: dict[str, Any] = {"server": _server(experiment.server, facts, stated)}
    for name in ("model", "hardware"):
        fact = facts.get(name)
        if fact is not None and (not fact.loose or getattr(experiment, name) == UNSTATED):
            changes[name] = fact.value
    if "tensor_parallel" in facts:
        changes["tensor_parallel"] = facts["tensor_parallel"].value
    if "date" in facts and not _is_recorded(experiment):
        changes |= {"date": facts["date"].value, "date_basis": f"Stated by {_file(facts['date'])}."}
        changes["source"] = experiment.source.model_copy(update={"date": facts["date"].value, "date_note": None})
    return replace(
        found,
        experiment=experiment.model_copy(update=changes),
        conversions=(*found.conversions, *_sentences(facts, stated)),
        tensor_parallel_stated=found.tensor_parallel_stated or "tensor_parallel" in facts,
    )


def settings_by_options(options: Sequence[str]) -> dict[str, Fact]:
    """Return what options state of servers that are described already: settings, and the day.

    Raises
    ------
    ConfigError
        If an option cannot be used, contradicts another one, or states what every experiment names itself.
    """
    facts = agreed(by_options(options).facts)
    own = [name for name in ("model", "hardware", "tensor_parallel") if name in facts and not facts[name].loose]
    if own:
        raise ConfigError(f"--server: {own[0]}: every experiment names its own; change it there, or import it again")
    return {name: fact for name, fact in facts.items() if name not in OF_THE_EXPERIMENT or name == "date"}


def filled(experiment: Experiment, facts: Mapping[str, Fact]) -> tuple[Experiment, str]:
    """Return an experiment with facts in place of what nobody had stated of it, and a sentence about them, or none."""
    known = experiment.server.known
    new = {name: fact for name, fact in facts.items() if name != "date" and getattr(known, name) is None}
    day = facts.get("date") if experiment.date is None else None
    if not new and day is None:
        return experiment, ""
    changes: dict[str, Any] = {"server": _server(experiment.server, new, Stated())}
    if day is not None:
        changes |= {"date": day.value, "date_basis": "Stated by --server."}
        new["date"] = day
    said = ", ".join(f"{name} {_shown(fact.value)}" for name, fact in new.items())
    return experiment.model_copy(update=changes), f"stated by --server: {said}"


def _server(server: Server, facts: Mapping[str, Fact], stated: Stated) -> Server:
    known = {name: fact.value for name, fact in facts.items() if name not in OF_THE_EXPERIMENT}
    note = server.note
    if stated.not_simulated:
        beyond = f"Stated, and not simulated: {', '.join(map(_without_folder, stated.not_simulated))}."
        note = f"{note} {beyond}" if note else beyond
    content = server.model_dump(exclude_none=True)
    content["known"] = {**content.get("known", {}), **known}
    content["assumed"] = {name: value for name, value in content.get("assumed", {}).items() if name not in known}
    return parse(Server, {**content, "note": note}, source=", ".join(sorted({_file(fact) for fact in facts.values()})))


def _contradictions(found: Measurement, facts: Mapping[str, Fact]) -> Iterator[str]:
    """Yield where the results themselves say otherwise."""
    experiment = found.experiment
    results = {name: value for name, value in experiment.server.known if value is not None}
    if found.tensor_parallel_stated:
        results["tensor_parallel"] = experiment.tensor_parallel
    if _is_recorded(experiment):
        results["date"] = experiment.date
    for name, fact in facts.items():
        if name in results and not _same(name, results[name], fact.value):
            yield (
                f"{name}: {found.source} says {results[name]}, {fact.source} contradicts it; keep what was true of the "
                "run, and correct or move away the other"
            )


def _same(name: str, one: Any, other: Any) -> bool:
    if name == "date" and isinstance(one, date) and isinstance(other, date):
        # The day of one moment differs between time zones.
        return abs(one - other) <= timedelta(days=1)
    return same(name, one, other)


def _is_recorded(experiment: Experiment) -> bool:
    """Whether the results themselves record their day; one in the name of a folder is a guess beside a statement."""
    return experiment.date is not None and experiment.date_basis != FOLDER_DAY


def _sentences(facts: Mapping[str, Fact], stated: Stated) -> Iterator[str]:
    if facts:
        said = ", ".join(f"{name} {_shown(fact.value)} ({_file(fact)})" for name, fact in facts.items())
        yield f"Stated of the server: {said}."
    if stated.not_simulated:
        yield f"Stated, and not simulated: {', '.join(map(_without_folder, stated.not_simulated))}."
    for source, names in stated.unused.items():
        yield f"{Path(source).name}: not used: {', '.join(names)}."


def _file(fact: Fact) -> str:
    return Path(fact.source.partition(": ")[0]).name


def _without_folder(text: str) -> str:
    words, _, source = text.rpartition(" (")
    return f"{words} ({Path(source.rstrip(')')).name})"


def _shown(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
