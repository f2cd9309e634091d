"""Files of `snakemake calibrate`: what each job reads and writes.

Imports nothing heavy, because every Snakemake run loads this module.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from workflow.lib.calibration.plan import FOLDER, PLANS, load_plan, plan_names, terms_discussion_path
from workflow.lib.files import digest_of_files, hash_list, write_text
from workflow.lib.ground_truth import Experiment, load_set
from workflow.lib.provenance import simulator_sources

RESULTS = Path("results/calibration")
REPORTS = Path("reports/calibration")
PAGE = "CALIBRATION.md"
FIGURES = ("held_out.svg", "learning_curve.svg", "sweep.svg")
TERMS_PAGE = "TERMS.md"
TERMS_FILES = (TERMS_PAGE, "terms.csv", "chain.svg", "shares.svg")
SOURCES = f"{RESULTS}/sources.sha256"
SURFACE_SOURCES = f"{RESULTS}/surface_sources.sha256"
PAGE_SOURCES = f"{RESULTS}/page_sources.sha256"
# Modules a response surface depends on; surfaces take most of the time, and a new table needs none.
SURFACE_MODULES = ("constants.py", "points.py", "surface.py")

# Modules that only write pages: a new table needs no new fit.
PAGE_MODULES = ("drawings.py", "page_tables.py", "report.py", "rows.py", "terms_drawings.py", "terms_report.py")


def record_sources(root: Path) -> None:
    """Write the hashes of the code each stage depends on; untouched where nothing changed."""
    package = root / "workflow" / "lib" / "calibration"
    simulator = simulator_sources(root)
    _record(root, SURFACE_SOURCES, [*simulator, *(package / name for name in SURFACE_MODULES)])
    pages = [package / name for name in PAGE_MODULES]
    _record(root, SOURCES, [*simulator, *sorted(set(package.glob("*.py")) - set(pages))])
    _record(root, PAGE_SOURCES, pages)


def _record(root: Path, file: str, sources: list[Path]) -> None:
    text, path = hash_list(sources, root), root / file
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def train_experiments(root: Path, name: str) -> list[str]:
    """Return the experiments a calibration is fitted to."""
    return experiments_of(root, load_plan(root, name).train_sets)


def judged_experiments(root: Path, name: str) -> list[str]:
    """Return every experiment a calibration is judged on."""
    plan = load_plan(root, name)
    return experiments_of(root, (*plan.train_sets, *plan.judged_sets))


def experiment_files(root: Path, experiment: str) -> list[str]:
    """Return the data of one experiment."""
    folder = root / "ground_truth" / experiment
    return [path.relative_to(root).as_posix() for path in sorted(folder.iterdir()) if path.is_file()]


def shared_files(root: Path, name: str) -> list[str]:
    """Return what all experiments of a calibration share: the plan, and the models and GPUs that ran."""
    plan = load_plan(root, name)
    ran = _experiments(root, (*plan.train_sets, *plan.judged_sets))
    found = {f"{PLANS.as_posix()}/{name}.yaml"}
    found |= {f"configs/models/{one.model}.json" for one in ran}
    found |= {f"configs/hardware/{one.hardware}.yaml" for one in ran}
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
    return [f"{RESULTS}/{name}/surfaces/{one}.json" for one in train_experiments(root, name)]


def waiting_paths(root: Path, name: str) -> list[str]:
    """Return the surface file without scheduling ahead of every experiment whose server schedules ahead."""
    ran = _experiments(root, load_plan(root, name).train_sets)
    ahead = [one.id for one in ran if one.server.engine_settings.get("schedule_ahead")]
    return [f"{RESULTS}/{name}/waiting/{one}.json" for one in ahead]


def judged_paths(root: Path, name: str) -> list[str]:
    """Return the judgement of every experiment."""
    return [f"{RESULTS}/{name}/judged/{one}.json" for one in judged_experiments(root, name)]


def published_paths(name: str) -> list[str]:
    """Return the committed files of one calibration."""
    return [f"{FOLDER}/{name}.yaml", *(f"{REPORTS}/{name}/{file}" for file in (PAGE, "predictions.csv", *FIGURES))]


def terms_paths(name: str) -> list[str]:
    """Return the committed files of one calibration's page on terms."""
    return [f"{REPORTS}/{name}/{file}" for file in TERMS_FILES]


def all_published(root: Path) -> list[str]:
    """Return the committed files of every calibration."""
    return [path for name in plan_names(root) for path in (*published_paths(name), *terms_paths(name))]


def surface_job(root: Path, name: str, experiment: str, output: str) -> None:
    """Simulate one experiment over the constants a calibration may choose from."""
    from workflow.lib.calibration import jobs

    write_text(Path(output), jobs.surface_job(root, name, experiment))


def fit_job(root: Path, name: str, surfaces: Iterable[str], output: str) -> None:
    """Fit the constants of one calibration."""
    from workflow.lib.calibration import jobs

    write_text(Path(output), jobs.fit_job(root, name, list(surfaces)))


def waiting_surface_job(root: Path, name: str, experiment: str, output: str) -> None:
    """Simulate one experiment as if its server never scheduled ahead."""
    from workflow.lib.calibration import term_jobs

    write_text(Path(output), term_jobs.waiting_surface_job(root, name, experiment))


def subsets_job(root: Path, name: str, ahead: str, surfaces: Iterable[str], waiting: Iterable[str], out: str) -> None:
    """Fit and judge every set of terms with or without scheduling ahead."""
    from workflow.lib.calibration import term_jobs

    write_text(Path(out), term_jobs.subsets_job(root, name, ahead, list(surfaces), list(waiting)))


def chain_job(root: Path, name: str, surfaces: Iterable[str], waiting: Iterable[str], output: str) -> None:
    """Fit and simulate one term more at a time."""
    from workflow.lib.calibration import term_jobs

    write_text(Path(output), term_jobs.chain_job(root, name, list(surfaces), list(waiting)))


def publish_terms_job(root: Path, name: str, chain: str, subsets: Iterable[str]) -> None:
    """Write the page on terms of one calibration."""
    from workflow.lib.calibration.terms_report import publish

    publish(root, name, chain, list(subsets))


def judge_job(root: Path, name: str, experiment: str, fit: str, output: str) -> None:
    """Judge a fit on one experiment."""
    from workflow.lib.calibration import jobs

    write_text(Path(output), jobs.judge_job(root, name, experiment, fit))


def publish_job(root: Path, parameters: str, fit: str, judged: Iterable[str]) -> None:
    """Write the parameter file, whose stem names the calibration, and its report."""
    from workflow.lib.calibration.report import publish

    publish(root, Path(parameters).stem, fit, list(judged))


def data_digest(root: Path, name: str) -> str:
    """Return a hash of all measured data a calibration rests on."""
    files = [root / path for one in train_experiments(root, name) for path in experiment_files(root, one)]
    return digest_of_files([*files, *(root / path for path in shared_files(root, name))], root)


def experiments_of(root: Path, sets: Iterable[str]) -> list[str]:
    """Return the ids of all experiments of some sets, each once."""
    return [one.id for one in _experiments(root, tuple(sets))]


@functools.cache
def _experiments(root: Path, sets: tuple[str, ...]) -> tuple[Experiment, ...]:
    """Return the experiments of some sets, each once; read once, because Snakemake asks for every job, many times."""
    return tuple({one.id: one for name in sets for one in load_set(root, name)}.values())
