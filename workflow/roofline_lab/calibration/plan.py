"""What a calibration is fitted to, and how: one validated file per calibration.

Contract: `load_plan` reads `configs/calibration/plans/<name>.yaml` or raises one `ConfigError`. The functions behind it
say which files `snakemake calibrate` reads and writes for a plan.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from roofline_lab.config import Draws
from roofline_lab.files import digest_of_files, hash_list
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import Id, Text
from roofline_lab.ground_truth.reading import load_set
from roofline_lab.made import write_made_if_changed
from roofline_lab.places import place_of
from roofline_lab.trust import ENDING
from simulator.validation import NonNegativeInt, Positive, StrictModel, parse, read_yaml

FOLDER = Path("configs/calibration")
PLANS = FOLDER / "plans"

Sets = Annotated[tuple[Id, ...], Field(min_length=1)]


class PerMetric(StrictModel):
    """One number for mean TTFT, ITL and E2E each."""

    ttft: Positive
    itl: Positive
    e2e: Positive


class Targets(StrictModel):
    """Highest acceptable mean absolute error of held-out families, percent."""

    synchronous: PerMetric
    client: PerMetric


class Plan(StrictModel):
    """See the comments of `configs/calibration/plans/h100_vllm.yaml` for the meaning of every key."""

    title: Text
    train_sets: Sets
    judged_sets: tuple[Id, ...] = ()
    synchronous_set: Id
    weights: PerMetric
    scatter: Positive
    lineages: dict[Text, tuple[Text, ...]] = Field(default={})
    samples: Annotated[int, Field(ge=100)]
    requests_per_point: Annotated[int, Field(ge=200)]
    bootstrap_resamples: Draws
    learning_curve_subsets: Draws
    seed: NonNegativeInt
    targets: Targets

    def lineage_of(self, family: str) -> frozenset[str]:
        """Return the families to hold out together with one."""
        return frozenset([family]).union(*(members for members in self.lineages.values() if family in members))


def load_plan(root: Path, name: str) -> Plan:
    """Read one plan.

    Raises
    ------
    ConfigError
        Naming file and every wrong key.
    """
    path = root / PLANS / f"{name}.yaml"
    return parse(Plan, read_yaml(path), source=path.relative_to(root).as_posix())


def terms_discussion_path(name: str) -> Path:
    """Return where the author's text for the page on terms stands, relative to the project's folder."""
    return PLANS / f"{name}.terms.md"


def plan_names(root: Path) -> tuple[str, ...]:
    """Return the names of all plans."""
    return tuple(path.stem for path in sorted((root / PLANS).glob("*.yaml")))


RESULTS = Path("results/calibration")
REPORTS = Path("reports/calibration")
PAGE = "CALIBRATION.md"
FIGURES = ("held_out.svg", "learning_curve.svg", "sweep.svg")
TERMS_PAGE = "TERMS.md"
TERMS_FILES = (TERMS_PAGE, "terms.csv", "chain.svg", "shares.svg")


def train_experiments(root: Path, name: str) -> list[str]:
    """Return the experiments a calibration is fitted to."""
    return experiments_of(root, load_plan(root, name).train_sets)


def judged_experiments(root: Path, name: str) -> list[str]:
    """Return every experiment a calibration is judged on."""
    plan = load_plan(root, name)
    return experiments_of(root, (*plan.train_sets, *plan.judged_sets))


def judged_families(root: Path, name: str) -> set[str]:
    """Return the families of those experiments."""
    plan = load_plan(root, name)
    return {experiment.family for experiment in experiments_in(root, (*plan.train_sets, *plan.judged_sets))}


def experiment_files(root: Path, experiment: str) -> list[str]:
    """Return the data of one experiment."""
    folder = root / "ground_truth" / experiment
    return [path.relative_to(root).as_posix() for path in sorted(folder.iterdir()) if path.is_file()]


def experiment_record(root: Path, experiment: str) -> str:
    """Return the file that changes when the content of one experiment's data does."""
    return _record(root, f"data/{experiment}", experiment_files(root, experiment))


def shared_record(root: Path, name: str) -> str:
    """Return the file that changes when the content of what all experiments of a calibration share does."""
    return _record(root, f"shared/{name}", shared_files(root, name))


def discussion_record(root: Path, name: str) -> str:
    """Return the file that changes when an author's text for the report does, one that comes or goes included."""
    return _record(root, f"discussion/{name}", discussion(root, name))


def terms_discussion_record(root: Path, name: str) -> str:
    """Return the file that changes when an author's text for the page on terms does."""
    return _record(root, f"terms/{name}", terms_discussion(root, name))


def _record(root: Path, name: str, files: Iterable[str]) -> str:
    """Write down the content of some files, unless it is what was written down before; return where."""
    record = RESULTS / "inputs" / f"{name}.sha256"
    write_made_if_changed(record, hash_list((place_of(root, file) for file in files), root), root)
    return record.as_posix()


def shared_files(root: Path, name: str) -> list[str]:
    """Return what all experiments of a calibration share: the plan, and the models and GPUs that ran."""
    plan = load_plan(root, name)
    ran = experiments_in(root, (*plan.train_sets, *plan.judged_sets))
    found = {f"{PLANS.as_posix()}/{name}.yaml"}
    found |= {f"configs/models/{experiment.model}.json" for experiment in ran}
    found |= {f"configs/hardware/{experiment.hardware}.yaml" for experiment in ran}
    return sorted(found)


def discussion(root: Path, name: str) -> list[str]:
    """Return the author's text for the report, if there is one."""
    path = PLANS / f"{name}.md"
    return [path.as_posix()] if (root / path).exists() else []


def terms_discussion(root: Path, name: str) -> list[str]:
    """Return the author's text for the page on terms, if there is one."""
    path = terms_discussion_path(name)
    return [path.as_posix()] if (root / path).exists() else []


def surface_paths(root: Path, name: str) -> list[str]:
    """Return the surface file of every experiment that is fitted to."""
    return [f"{RESULTS}/{name}/surfaces/{experiment}.json" for experiment in train_experiments(root, name)]


def waiting_paths(root: Path, name: str) -> list[str]:
    """Return the surface file without scheduling ahead of every experiment whose server schedules ahead."""
    ran = experiments_in(root, load_plan(root, name).train_sets)
    ahead = [experiment.id for experiment in ran if experiment.server.engine_settings.get("schedule_ahead")]
    return [f"{RESULTS}/{name}/waiting/{text}.json" for text in ahead]


def judged_paths(root: Path, name: str) -> list[str]:
    """Return the judgement of every experiment."""
    return [f"{RESULTS}/{name}/judged/{experiment}.json" for experiment in judged_experiments(root, name)]


def published_paths(name: str) -> list[str]:
    """Return the committed files of one calibration."""
    return [f"{FOLDER}/{name}.yaml", *(f"{REPORTS}/{name}/{file}" for file in (PAGE, "predictions.csv", *FIGURES))]


def held_out_path(name: str) -> str:
    """Return the committed table of held-out predictions of one calibration."""
    return f"{FOLDER}/{name}{ENDING}"


def terms_paths(name: str) -> list[str]:
    """Return the committed files of one calibration's page on terms."""
    return [f"{REPORTS}/{name}/{file}" for file in TERMS_FILES]


def all_published(root: Path) -> list[str]:
    """Return the committed files of every calibration."""
    names = plan_names(root)
    own = ((*published_paths(name), held_out_path(name), *terms_paths(name), record_path(name)) for name in names)
    return [path for paths in own for path in paths]


def record_path(name: str) -> str:
    """Return the committed record of what a calibration's files are and what made them."""
    return f"{REPORTS}/{name}/provenance.json"


def data_digest(root: Path, name: str) -> str:
    """Return a hash of all measured data a calibration rests on."""
    return digest_of_experiments(root, train_experiments(root, name), shared_files(root, name))


def digest_of_experiments(root: Path, experiments: Iterable[str], more: Iterable[str]) -> str:
    """Return a hash of the data of experiments and of further files."""
    files = [root / path for experiment in experiments for path in experiment_files(root, experiment)]
    return digest_of_files([*files, *(place_of(root, path) for path in more)], root)


def experiments_of(root: Path, sets: Iterable[str]) -> list[str]:
    """Return the ids of all experiments of some sets, each once."""
    return [experiment.id for experiment in experiments_in(root, tuple(sets))]


@functools.cache
def experiments_in(root: Path, sets: tuple[str, ...]) -> tuple[Experiment, ...]:
    """Return the experiments of some sets, each once; read once, because Snakemake asks for every job, many times."""
    return tuple({experiment.id: experiment for name in sets for experiment in load_set(root, name)}.values())
