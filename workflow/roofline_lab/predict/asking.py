"""Asking a program what nobody has asked it before: which questions there are, and which of them still have an answer.

Contract: `asked` starts a program only for questions without an answer that stands, and never mixes answers of two
versions. What it cannot ask it says why, and leaves the answers it knows as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from roofline_lab.predict.outside import question_of
from roofline_lab.project import Project, Run
from roofline_lab.simulators.answers import Predicted, read_answers, without
from roofline_lab.simulators.contract import SIMULATORS, Question
from roofline_lab.simulators.description import CommandSimulator, program_digest
from roofline_lab.simulators.program import Heard, ask, version_of
from roofline_lab.simulators.recording import FOLDER, Recorded, question_digest
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError, UnsupportedError

Known = Mapping[tuple[str, str], Recorded]
OTHER_VERSION = (
    "{file}: version: its answers are of '{recorded}', the program that is installed says '{installed}'; install the "
    "recorded one, or ask all anew: --config ask=again"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The answers of a program to all that hypotheses ask of it.

    Attributes
    ----------
    answers
        Those that stand, of one version.
    questions
        How many there are, and how many of them were asked now.
    why
        Why others were not; empty where every question has an answer.
    """

    answers: tuple[Recorded, ...]
    questions: int
    asked_now: int
    why: str = ""


def asking_runs(project: Project, simulator: str) -> tuple[Run, ...]:
    """Return every run of the project that a simulator of `configs/simulators` predicts."""
    return tuple(
        run
        for hypothesis in project.hypotheses
        for run in project.runs(hypothesis)
        if run.arm.simulator.name == simulator and isinstance(run.arm.simulator.described, CommandSimulator)
    )


def asked(project: Project, simulator: str, known: Known, *, anew: bool, any_version: bool) -> Asked:
    """Return the answers of a program, asked where none that is known stands.

    Parameters
    ----------
    known
        Answers by question and program.
    anew
        Ask all questions again, if the version that is installed is the one whose answers are known.
    any_version
        Ask all questions again whatever is known.
    """
    program = project.simulators[simulator].simulator
    assert isinstance(program, CommandSimulator), "only programs are asked"
    digest = program_digest(program, project.root)
    questions = dict(_questions(project, asking_runs(project, simulator)))
    standing = {name: known[name, digest] for name in questions if (name, digest) in known}
    wanted = [name for name in questions if anew or any_version or name not in standing]
    why = ""
    if wanted:
        found = _version(project, simulator, program, () if any_version else standing.values())
        why = found.why
    if not wanted or why:
        return Asked(tuple(standing.values()), len(questions), 0, why)
    apart = _named_apart({name: questions[name] for name in wanted})
    heard = ask(program, project.root, list(apart.values()))
    new = {name: _answer(heard[question.id], question, found.version, simulator) for name, question in apart.items()}
    made = {name: Recorded(questions[name].id, name, digest, said) for name, said in new.items()}
    kept = {name: _kept(standing.get(name), answer) for name, answer in made.items()}
    return Asked(tuple((standing | kept).values()), len(questions), len(new))


@dataclass(frozen=True, slots=True)
class _Installed:
    """The version that is installed, or why it is not to be asked."""

    version: str = ""
    why: str = ""


def _version(project: Project, simulator: str, program: CommandSimulator, standing: Iterable[Recorded]) -> _Installed:
    """Return the version of a program, if answers of it may stand beside those that are known."""
    try:
        version = version_of(program, project.root, (SIMULATORS / f"{simulator}.yaml").as_posix())
    except ConfigError as error:
        return _Installed(why=str(error))
    versions = sorted({answer.predicted.version for answer in standing})
    if versions in ([], [version]):
        return _Installed(version)
    file = (FOLDER / f"{simulator}.jsonl").as_posix()
    return _Installed(why=OTHER_VERSION.format(file=file, recorded=", ".join(versions), installed=version))


def _questions(project: Project, runs: Sequence[Run]) -> Iterator[tuple[str, Question]]:
    """Yield every question of some runs by its digest; what nobody could describe is not asked."""
    for run in runs:
        for point in run.experiment.load_points:
            try:
                question = question_of(project, run, point)
            except UnsupportedError:
                continue
            yield question_digest(question), question


def _named_apart(questions: Mapping[str, Question]) -> dict[str, Question]:
    """Return questions with names of their own: methods and options may ask several of one load point."""
    taken: dict[str, int] = {}
    found = {}
    for digest, question in questions.items():
        copies = taken[question.id] = taken.get(question.id, 0) + 1
        found[digest] = question if copies == 1 else question.model_copy(update={"id": f"{question.id}#{copies}"})
    return found


def _answer(heard: Heard, question: Question, version: str, simulator: str) -> Predicted:
    """Return what a program said; what went wrong begins with the file that describes the program."""
    said = read_answers(heard.answers, question) if heard.answers else without(RowStatus.FAILED, heard.failure)
    file = (SIMULATORS / f"{simulator}.yaml").as_posix()
    refused = {
        name: (status, f"{file}: {reason}" if status is RowStatus.FAILED else reason)
        for name, (status, reason) in said.refused.items()
    }
    reason = f"{file}: {said.reason}" if said.status is RowStatus.FAILED else said.reason
    return replace(said, reason=reason, refused=refused, version=version, seconds=heard.seconds)


def _kept(earlier: Recorded | None, answer: Recorded) -> Recorded:
    """Return the earlier answer where the new one says the same: how long it took is then no change."""
    if earlier is None:
        return answer
    timed = replace(answer.predicted, seconds=earlier.predicted.seconds)
    return earlier if replace(answer, predicted=timed) == earlier else answer
