"""Who predicts for an arm: the project's own simulator, a program, or a table of predictions made elsewhere.

The project's own takes the options of the arm, or steps that go by a name, as on its command line: a calibration, whose
constants differ from experiment to experiment, or a step-time model that is set up for each model and GPU.

`configs/simulators/<id>.yaml` describes programs and tables that hypotheses share; an arm names one, with options, or
has a table of its own. A description of a program is data: reading it starts nothing, and `simulators.program` runs
what its `run` and `version` name and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from roofline_lab.files import digest_of, digest_of_files
from roofline_lab.ground_truth.load import Side
from roofline_lab.places import listed, name_of, place_of
from roofline_lab.simulators.contract import SIMULATORS, Text
from roofline_lab.vocabulary import MEANS, Metric
from simulator.validation import Count, StrictModel, config_error, parse, read_yaml, suggest

BUILTIN_NAME = "builtin"
# A day: who needs longer for one load point hangs.
LONGEST_WAIT_S = 86_400.0
MOST_THREADS = 1024
ARM_FORMS = (
    "the id of a file of configs/simulators, {name: ID, options: {...}}, {kind: table, file: predictions.csv}, or "
    "{kind: steptime, name: a calibration or a step-time model of our simulator}"
)


def _words(value: object) -> object:
    """Refuse a command as one text, which only a shell could take apart."""
    if isinstance(value, str):
        raise ValueError("must be a list of words, such as [python3, configs/simulators/mine.py]; no shell is used")
    return value


Word = Annotated[str, StringConstraints(min_length=1)]
Command = Annotated[tuple[Word, ...], Field(min_length=1), BeforeValidator(_words)]


class BuiltinSimulator(StrictModel):
    """The project's own."""

    kind: Literal["builtin"]


class StepTimeSimulator(StrictModel):
    """The project's own, with steps that go by a name.

    Attributes
    ----------
    name
        A calibration of `configs/calibration`, or a step-time model of `simulator.steptime.named`.
    """

    kind: Literal["steptime"]
    name: Text


class FittedTo(StrictModel):
    """What the constants of a simulator rest on; without it nobody knows which measurements are a test of it.

    Attributes
    ----------
    said
        In words, with its source.
    sets
        Sets of `ground_truth/sets.yaml` it was fitted to: predictions of their experiments are no test.
    metrics
        The only ones whose predictions depend on what was fitted; by default all do.
    """

    said: Text
    sets: tuple[Text, ...] = ()
    metrics: tuple[Metric, ...] = MEANS


class TableSimulator(StrictModel):
    """Predictions that somebody made elsewhere.

    Attributes
    ----------
    file
        CSV, beside the file that names it.
    side
        `client`: its TTFT and E2E contain what the client adds.
    source
        Who predicted it, with what.
    fitted_to
        What the predictor was fitted to; of a table that hypotheses share it stands beside `title`.
    """

    kind: Literal["table"]
    file: Text
    side: Side = "server"
    source: Text | None = None
    fitted_to: FittedTo | None = None


class CommandSimulator(StrictModel):
    """A program that answers on standard output what it is asked on standard input.

    Attributes
    ----------
    run, version
        Words of a command: a program, on the `PATH` or relative to the project's folder, and its arguments.
    timeout_s
        Longest wait for the next answer, start included.
    batch
        Whether one process answers all load points of a job; else it is started anew for each.
    side
        `client`: its TTFT and E2E contain what the client adds.
    threads, memory_mb
        What a job of it takes.
    """

    kind: Literal["command"]
    run: Command
    version: Command
    timeout_s: Annotated[float, Field(gt=0, le=LONGEST_WAIT_S, allow_inf_nan=False)] = 60.0
    batch: bool = True
    side: Side = "server"
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] = 1
    memory_mb: Count = 1000


AnySimulator = BuiltinSimulator | StepTimeSimulator | TableSimulator | CommandSimulator


class Described(StrictModel):
    """`configs/simulators/<id>.yaml`.

    Attributes
    ----------
    title, source
        What readers call it; where it is from, and on what terms it is used.
    fitted_to
        What its constants rest on, and which measurements are therefore no test of it.
    """

    id: Annotated[Text, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    title: Text
    source: Text | None = None
    fitted_to: FittedTo | None = None
    simulator: Annotated[TableSimulator | CommandSimulator, Field(discriminator="kind")]


class _Named(StrictModel):
    name: Text
    options: dict[str, Any] = Field(default_factory=dict)


class _OfArm(StrictModel):
    simulator: Annotated[BuiltinSimulator | StepTimeSimulator | TableSimulator, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Simulator:
    """The simulator of an arm, as described and with the arm's options.

    Attributes
    ----------
    name
        Id of `configs/simulators`, the file of a table of the arm's own, or `builtin`.
    described
        What kind it is, and how it is asked.
    options
        What the arm sets; every question carries them.
    folder
        Where names of its files start, relative to the project.
    """

    name: str
    title: str
    described: AnySimulator
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: str = "."
    source: str | None = None
    fitted_to: FittedTo | None = None

    @property
    def is_builtin(self) -> bool:
        """Whether it is the project's own with the options of the arm."""
        return isinstance(self.described, BuiltinSimulator)

    @property
    def is_ours(self) -> bool:
        """Whether it is the project's own, which simulates every load point."""
        return isinstance(self.described, BuiltinSimulator | StepTimeSimulator)

    @property
    def side(self) -> Side:
        """Where the time is taken that it predicts; ours is told by figures of the server."""
        return "server" if isinstance(self.described, BuiltinSimulator | StepTimeSimulator) else self.described.side

    @property
    def configuration(self) -> dict[str, Any]:
        """What an arm varies when it names it."""
        options = {"options": dict(self.options)} if self.options else {}
        return {"name": self.name, "kind": self.described.kind, "side": self.side, **options}

    @property
    def identity(self) -> dict[str, Any]:
        """The same with how it is asked; how long it may take and what it needs is none of it."""
        apart = {"threads", "memory_mb", "timeout_s", "source", "fitted_to"}
        return {**self.configuration, **self.described.model_dump(mode="json", exclude=apart)}

    @property
    def table_file(self) -> str | None:
        """The file of a table, relative to the project; None if it is none."""
        return (
            (PurePosixPath(self.folder) / self.described.file).as_posix()
            if isinstance(self.described, TableSimulator)
            else None
        )


BUILTIN = Simulator(BUILTIN_NAME, "the project's own simulator", BuiltinSimulator(kind="builtin"))


def load_simulators(root: Path) -> dict[str, Described]:
    """Read every file of `configs/simulators`, by id; none where there is no such folder.

    Raises
    ------
    ConfigError
        Naming file and key; also when an id is not the file's name, or the one of the project's own.
    """
    found = {}
    for path in listed(root, SIMULATORS, "*.yaml"):
        source = name_of(path, root)
        described = parse(Described, read_yaml(path), source=source)
        if described.id != path.stem:
            raise config_error(source, [f"id: must be the file's name '{path.stem}' (got '{described.id}')"])
        if described.id == BUILTIN_NAME:
            raise config_error(source, [f"id: '{BUILTIN_NAME}' is the project's own simulator; choose another id"])
        _check_file(described.simulator, source)
        found[described.id] = described
    return found


def simulator_of(value: object, known: Mapping[str, Described], folder: str, source: str) -> Simulator:
    """Return the simulator an arm asks for.

    Parameters
    ----------
    value
        What stands under its key `simulator`; None where the key is absent.
    folder
        The arm's hypothesis, relative to the project.
    source
        What messages call the place.

    Raises
    ------
    ConfigError
        If there is no such simulator, or an arm describes a program.
    """
    if value is None or value == BUILTIN_NAME:
        return BUILTIN
    if isinstance(value, str):
        return _named(_Named(name=value), known, source)
    if not isinstance(value, Mapping):
        raise config_error(source, [f"must be {ARM_FORMS} (got {value!r})"])
    if value.get("kind") == "command":
        raise config_error(
            source,
            [
                "a program is described in configs/simulators/<id>.yaml, where who wants to know what is run looks for "
                "it, and an arm names it: simulator: <id>"
            ],
        )
    if "kind" in value:
        return _own(parse(_OfArm, {"simulator": value}, source=source).simulator, folder, source)
    return _named(parse(_Named, value, source=source), known, source)


def _named(asked: _Named, known: Mapping[str, Described], source: str) -> Simulator:
    described = known.get(asked.name)
    if described is None:
        nearest = suggest(asked.name, [BUILTIN_NAME, *known])
        raise config_error(source, [f"unknown simulator '{asked.name}'; {nearest} (files of {SIMULATORS.as_posix()})"])
    if asked.options and isinstance(described.simulator, TableSimulator):
        raise config_error(source, [f"options: '{asked.name}' is a table, which takes none; leave them away"])
    shared = (SIMULATORS.as_posix(), described.source, described.fitted_to)
    return Simulator(asked.name, described.title, described.simulator, asked.options, *shared)


def _own(described: BuiltinSimulator | StepTimeSimulator | TableSimulator, folder: str, source: str) -> Simulator:
    if isinstance(described, BuiltinSimulator):
        return BUILTIN
    if isinstance(described, StepTimeSimulator):
        return Simulator(described.name, f"the project's own simulator, steps `{described.name}`", described)
    _check_file(described, source)
    title = f"predictions of {described.file}"
    return Simulator(described.file, title, described, {}, folder, described.source, described.fitted_to)


def _check_file(described: TableSimulator | CommandSimulator, source: str) -> None:
    """Refuse a table outside the folder of the file that names it."""
    if not isinstance(described, TableSimulator):
        return
    place = PurePosixPath(described.file)
    if place.is_absolute() or ".." in place.parts:
        raise config_error(
            source, [f"simulator.file: must lie beside this file, such as predictions.csv (got '{described.file}')"]
        )


def program_files(described: CommandSimulator, root: Path) -> list[Path]:
    """Return the files of the project that the words of a program's command name: its adapter, mostly.

    What lies in a hidden folder is an environment, which differs from machine to machine; its version stands for it.
    """
    words = (PurePosixPath(word) for word in described.run if "/" in word)
    inside = (word for word in words if not word.is_absolute() and not any(part[0] == "." for part in word.parts))
    files = {place_of(root, Path(word)) for word in inside}
    return sorted(path for path in files if path.is_file())


def program_digest(described: CommandSimulator, root: Path) -> str:
    """Return a hash of what answers rest on beside the question: the command, and the project's files it names."""
    return digest_of([list(described.run), digest_of_files(program_files(described, root), root)])
