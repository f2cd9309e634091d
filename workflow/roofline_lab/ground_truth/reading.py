"""Measured experiments: reading and checking them.

Contract: `load_experiment` and `load_set` return immutable records or raise one `ConfigError` that
lists every problem with file, key and remedy. A figure without a source, in another unit than it
says, or at odds with the other figures of its load point is refused, never repaired.

Layout: `ground_truth/<id>/experiment.yaml` is one experiment, `requests.csv` beside it its single
requests where they are recorded, `ground_truth/sets.yaml` names groups of experiments,
`ground_truth/vocabulary.yaml` lists the families and workloads an experiment may name; models and
GPUs are the files of the neighbouring `configs`. docs/ground-truth.md describes the format.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from roofline_lab.files import json_text, write_text
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import DrawnLengths, Id, LoadPoint, Text
from roofline_lab.ground_truth.metrics import problems_of
from roofline_lab.ground_truth.requests import REQUESTS_FILE
from roofline_lab.places import listed, shelves
from simulator.errors import ConfigError
from simulator.validation import StrictModel, config_error, parse, read_yaml, suggest
from simulator.workload.lengths import GaussianLengths, UniformLengths, expected_tokens

EXPERIMENT_FILE = "experiment.yaml"
SCHEMA_FILE = "experiment.schema.json"
SETS_FILE = "sets.yaml"
VOCABULARY_FILE = "vocabulary.yaml"

# How many standard errors a mean of n random lengths may lie from the mean of their distribution: less often than once
# in 15,000 load points one does.
DEVIATIONS = 4.0


def load_experiment(folder: Path, words: Words | None = None) -> Experiment:
    """Read one experiment and check it against vocabulary, models, GPUs and itself.

    Parameters
    ----------
    folder
        `<root>/ground_truth/<id>`; `<root>/configs` holds the models and GPUs.
    words
        Those of `<root>`, if they were read before.

    Raises
    ------
    ConfigError
        Naming file and every wrong key.
    """
    root = folder.parent.parent
    path = folder / EXPERIMENT_FILE
    return experiment_from(
        read_yaml(path),
        source=path.relative_to(root).as_posix(),
        name=folder.name,
        folder=folder,
        root=root,
        words=words,
    )


@dataclass(frozen=True, slots=True)
class Words:
    """What an experiment may name; None allows any word."""

    families: Collection[str] | None = None
    workloads: Collection[str] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    models: Collection[str] | None = None
    hardware: Collection[str] | None = None


def words_of(root: Path) -> Words:
    """Return the words of a project: its vocabulary, its models and GPUs.

    Raises
    ------
    ConfigError
        If the vocabulary cannot be read.
    """
    vocabulary = _vocabulary(root)
    return Words(
        families=tuple(vocabulary.families),
        workloads=tuple(vocabulary.workloads),
        renamed=vocabulary.renamed,
        models=tuple(path.stem for path in listed(root, "configs/models", "*.json")),
        hardware=tuple(path.stem for path in listed(root, "configs/hardware", "*.yaml")),
    )


def _vocabulary(root: Path) -> Vocabulary:
    """Return the words of a project's own vocabulary, added to those that are shipped."""
    name = f"ground_truth/{VOCABULARY_FILE}"
    paths = [path for path in shelves(root, name) if path.is_file()] or [root / name]
    words = Vocabulary(families={}, workloads={})
    for path in reversed(paths):
        own = parse(Vocabulary, read_yaml(path), source=name)
        words = Vocabulary(
            families=words.families | own.families,
            workloads=words.workloads | own.workloads,
            renamed=words.renamed | own.renamed,
        )
    return words


def experiment_from(
    content: object, *, source: str, name: str, folder: Path, root: Path | None = None, words: Words | None = None
) -> Experiment:
    """Validate the content of an `experiment.yaml`; see `load_experiment`.

    Parameters
    ----------
    content, source
        What the file says, and what messages call the file.
    name
        The id the experiment must have.
    folder
        Where `requests.csv` is looked for.
    root, words
        The project whose words it may use, or those words themselves; without either any word is allowed.
    """
    allowed = words or (words_of(root) if root else Words())
    experiment = _called(parse(Experiment, content, source=source).located(folder), allowed.renamed)
    problems = [*_reference_problems(experiment, name, allowed), *_load_point_problems(experiment)]
    if problems:
        raise config_error(source, problems)
    return experiment


def _called(experiment: Experiment, renamed: Mapping[str, str]) -> Experiment:
    """Return an experiment whose workload has the name it goes by now."""
    name = renamed.get(experiment.workload.name)
    if name is None:
        return experiment
    return experiment.model_copy(update={"workload": experiment.workload.model_copy(update={"name": name})})


def json_schema() -> dict[str, Any]:
    """Return the format of `experiment.yaml` as a JSON schema, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Experiment.model_json_schema()}


def write_schema(root: Path) -> None:
    """Write the schema to where the experiments of a project name it."""
    write_text(root / "ground_truth" / SCHEMA_FILE, json_text(json_schema()))


def load_set(root: Path, name: str, loaded: dict[str, Experiment] | None = None) -> tuple[Experiment, ...]:
    """Read the experiments of one set, in the set's order.

    Parameters
    ----------
    root
        The folder that holds `ground_truth` and `configs`.
    name
        A key of `ground_truth/sets.yaml`.
    loaded
        Experiments read before, by id; those of this set are added. Sets share many of them.

    Raises
    ------
    ConfigError
        If the set or one of its experiments is unknown, listed twice or malformed.
    """
    members = members_of(root, name)
    loaded = {} if loaded is None else loaded
    missing = [member for member in members if member not in loaded]
    words = words_of(root) if missing else None
    loaded |= {member: load_experiment(root / "ground_truth" / member, words) for member in missing}
    return tuple(loaded[member] for member in members)


def members_of(root: Path, name: str) -> tuple[str, ...]:
    """Return the ids of the experiments of one set, in the set's order.

    Raises
    ------
    ConfigError
        If the set or one of its experiments is unknown, or one is listed twice.
    """
    folder = root / "ground_truth"
    sets = _sets(root)
    if name not in sets:
        raise ConfigError(f"ground_truth/{SETS_FILE}: unknown set '{name}'; {suggest(name, sets)}")
    members = sets[name].experiments
    known = [path.parent.name for path in folder.glob(f"*/{EXPERIMENT_FILE}")]
    problems = [
        f"sets.{name}: unknown experiment '{member}'; {suggest(member, known)}"
        for member in members
        if member not in known
    ]
    problems += [
        f"sets.{name}: '{member}' is listed twice" for member in sorted(set(members)) if members.count(member) > 1
    ]
    if problems:
        raise config_error(f"ground_truth/{SETS_FILE}", problems)
    return members


def ids_of_set(root: Path, name: str) -> tuple[str, ...]:
    """Return the ids of a set of the project, else of one that is shipped by name alone, without its measurements.

    Raises
    ------
    ConfigError
        If neither has it.
    """
    own, *others = shelves(root, "")
    if not (own / "ground_truth" / SETS_FILE).is_file() or name not in _sets(own):
        shipped = {each: found for folder in others for each, found in _sets(folder).items()}
        if name in shipped:
            return shipped[name].experiments
    return members_of(root, name)


def titles_of_sets(root: Path) -> dict[str, str]:
    """Return what every set is about, by name."""
    return {name: each.title for name, each in _sets(root).items()}


def _sets(root: Path) -> dict[str, _Set]:
    return parse(SetsFile, read_yaml(root / "ground_truth" / SETS_FILE), source=f"ground_truth/{SETS_FILE}").sets


class _Set(StrictModel):
    """One group of experiments.

    Attributes
    ----------
    title
        How pages call it.
    experiments
        Folders of `ground_truth/`; tables follow this order.
    """

    title: Text
    experiments: Annotated[tuple[Id, ...], Field(min_length=1)]


class SetsFile(StrictModel):
    """`ground_truth/sets.yaml`: experiments that hypotheses name together.

    Attributes
    ----------
    sets
        Each by the name that hypotheses use.
    """

    sets: dict[Id, _Set]


class Vocabulary(StrictModel):
    """`ground_truth/vocabulary.yaml`: the words for families and workloads, each with what it means.

    Attributes
    ----------
    families, workloads
        Word and meaning; results are aggregated by these words.
    renamed
        Workloads under names that experiments were filed with, and what they are called.
    """

    families: dict[Text, Text]
    workloads: dict[Text, Text]
    renamed: dict[Text, Text] = Field(default_factory=dict)


def _reference_problems(experiment: Experiment, name: str, words: Words) -> Iterator[str]:
    """Yield names that nothing in the project answers to."""
    if experiment.id != name:
        yield f"id: must be the folder's name '{name}' (got '{experiment.id}')"
    named: tuple[tuple[str, str, Collection[str] | None], ...] = (
        ("family", experiment.family, words.families),
        ("workload.name", experiment.workload.name, words.workloads),
        ("model", experiment.model, words.models),
        ("hardware", experiment.hardware, words.hardware),
    )
    for key, word, known in named:
        if known is not None and word not in known:
            yield f"{key}: unknown {key.removesuffix('.name')} '{word}'; {suggest(word, known)}"


def _load_point_problems(experiment: Experiment) -> Iterator[str]:
    if not experiment.load_points:
        yield "load_points: empty; give at least one measured load point"
    ids = [point.id for point in experiment.load_points]
    yield from (f"load_points: id '{name}' is used twice" for name in sorted(set(ids)) if ids.count(name) > 1)
    for position, flag in enumerate(experiment.quality):
        for name in flag.load_points:
            if name not in ids:
                yield f"quality.{position}.load_points: unknown load point '{name}'; {suggest(name, ids)}"
    if experiment.requests_file is not None:
        yield from _recording_problems(experiment)
    for position, point in enumerate(experiment.load_points):
        if not point.measured:
            yield f"load_points.{position}.measured: empty; give at least one figure"
        try:
            mean_output_tokens = experiment.mean_output_tokens(point.id)
        except ConfigError as error:
            yield f"load_points.{position}: {error}"
            continue
        yield from (f"load_points.{position}.{problem}" for problem in _drawn_problems(experiment, point))
        for problem in problems_of(point.measured, mean_output_tokens, _half_token(experiment, point)):
            yield f"load_points.{position}.measured.{problem}"


def _recording_problems(experiment: Experiment) -> Iterator[str]:
    """Yield where the recorded requests and the load points do not belong together."""
    try:
        recorded = experiment.recorded()
    except ConfigError as error:
        yield f"requests_file: {error}"
        return
    ids = [point.id for point in experiment.load_points]
    for name in sorted({request.load_point for request in recorded} - set(ids)):
        yield f"{REQUESTS_FILE}: unknown load point '{name}'; {suggest(name, ids)}"
    completed = Counter(request.load_point for request in recorded if request.completed)
    for point in experiment.load_points:
        if completed[point.id] not in (0, point.requests.completed):
            yield (
                f"{REQUESTS_FILE}: {completed[point.id]} completed requests of load point '{point.id}', but its "
                f"requests.completed is {point.requests.completed}; record all of them or none"
            )


def _drawn_problems(experiment: Experiment, point: LoadPoint) -> Iterator[str]:
    """Yield measured mean lengths that the distribution in the workload does not have."""
    sides = {"prompt": experiment.prompt_lengths(point.id), "output": experiment.output_lengths(point.id)}
    for side, lengths in sides.items():
        name = f"{side}_tokens_mean"
        counted = point.measured.get(name)
        if counted is None or not isinstance(lengths, DrawnLengths) or experiment.measured_requests(point.id):
            continue
        expected = expected_tokens(lengths)[0] + (experiment.workload.prefix_tokens if side == "prompt" else 0)
        if abs(counted.value - expected) > standard_errors(lengths, point.requests.completed) + 0.5:
            yield (
                f"measured.{name}.value: {counted.value:g} measured, but workload.{side} has a mean of {expected:.2f}; "
                "check the distribution"
            )


def standard_errors(lengths: GaussianLengths | UniformLengths, count: int) -> float:
    """Return how far the mean of `count` draws may lie from that of their distribution, in tokens."""
    return DEVIATIONS * expected_tokens(lengths)[1] / math.sqrt(count)


def _half_token(experiment: Experiment, point: LoadPoint) -> float:
    """Return how far the mean output length may lie from what is written down, in tokens.

    A constant length that stands for a mean is rounded; the mean of n draws varies by their deviation over sqrt(n).
    """
    output = experiment.output_lengths(point.id)
    if experiment.measured_requests(point.id) or "output_tokens_mean" in point.measured:
        return 0.0
    if isinstance(output, DrawnLengths):
        return standard_errors(output, point.requests.completed)
    return 0.5 if output.kind == "constant" else 0.0


if __name__ == "__main__":
    write_schema(Path())
