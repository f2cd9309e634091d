"""Carrying out sweeps: which values are simulated at which stage, and what they choose.

An experiment that judges is simulated with the chosen value; in a split it never sees another, and in cross-validation
its other values choose for the folds it does not judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roofline_lab.hypotheses.sweep import COARSE, FINE, Fold, Search, Sweep, curve, located, optimum
from roofline_lab.predict.arms import VALUES, Simulation
from roofline_lab.project import Project
from roofline_lab.run_files import Row, error_rows
from roofline_lab.scoring.uncertainty import Uncertainty
from simulator.errors import InvariantError

Chosen = tuple[tuple[str, float], ...]


def folds_of(project: Project, hypothesis: str) -> tuple[Fold, ...]:
    """Return which experiments choose for which; none without a division."""
    division = project.hypotheses[hypothesis].division
    return () if division is None else division.folds(project.experiments(hypothesis))


def choosing_experiments(project: Project, hypothesis: str) -> tuple[str, ...]:
    """Return the experiments that choose in some fold, in the set's order."""
    choosing = {name for fold in folds_of(project, hypothesis) for name in fold.chose}
    return tuple(experiment.id for experiment in project.experiments(hypothesis) if experiment.id in choosing)


def stage_values(
    project: Project, hypothesis: str, method: str, sweep: Sweep, stage: str, earlier: Sequence[Row]
) -> tuple[float, ...]:
    """Return the values of one stage of a sweep; the finer ones depend on the rows of the first stage."""
    if stage == COARSE:
        return sweep.values()
    if stage != FINE:
        raise InvariantError(f"sweep: no stage '{stage}'")
    if sweep.then is None:
        return ()
    found = (one.chosen for one in searches(project, hypothesis, method, earlier) if one.sweep is sweep)
    return tuple(sorted({value for chosen in found for value in sweep.finer_values(chosen)}))


def stage_simulations(
    project: Project, hypothesis: str, method: str, stage: str, earlier: Sequence[Row]
) -> tuple[Simulation, ...]:
    """Return what one stage simulates: every experiment that chooses, at every value of the stage of every sweep."""
    experiments = choosing_experiments(project, hypothesis)
    return tuple(
        Simulation(hypothesis, method, sweep.arm, experiment, ((sweep.option, value),))
        for sweep in project.hypotheses[hypothesis].all_sweeps
        for values in (stage_values(project, hypothesis, method, sweep, stage, earlier),)
        for experiment in experiments
        for value in values
    )


def swept_arms(project: Project, hypothesis: str) -> tuple[str, ...]:
    """Return the arms for which a sweep chooses a value; none without a sweep."""
    return project.hypotheses[hypothesis].sweep_arms if hypothesis in project.hypotheses else ()


def chosen_values(
    project: Project, hypothesis: str, method: str, arm: str, rows: Sequence[Row]
) -> Mapping[str, Chosen]:
    """Return by experiment what the rows of all stages choose for an arm; empty for an arm that is not swept."""
    if arm not in swept_arms(project, hypothesis):
        return {}
    found = searches(project, hypothesis, method, rows)
    return {
        experiment: values_of(found, fold, arm) for fold in folds_of(project, hypothesis) for experiment in fold.run
    }


def values_of(found: Sequence[Search], fold: Fold, arm: str) -> Chosen:
    """Return the values that one fold chose for an arm."""
    return tuple((one.sweep.option, one.chosen) for one in found if one.fold == fold and arm in one.sweep.arms)


def searches(project: Project, hypothesis: str, method: str, rows: Sequence[Row]) -> tuple[Search, ...]:
    """Return what every sweep found in every fold, from the rows of a sweep (those of other methods are ignored)."""
    own = [row for row in rows if row["method"] == method]
    folds, uncertainty = folds_of(project, hypothesis), Uncertainty.of_settings(project.settings)
    return tuple(
        _search(
            sweep,
            fold,
            own if len(folds) == 1 else [row for row in own if row["experiment"] in fold.chose],
            uncertainty,
        )
        for sweep in project.hypotheses[hypothesis].all_sweeps
        for fold in folds
    )


def _search(sweep: Sweep, fold: Fold, rows: Sequence[Row], uncertainty: Uncertainty) -> Search:
    metric = sweep.select.metric
    own = [row for row in rows if row["arm"] == sweep.arm and sweep.option in row[VALUES]]
    pairs = [
        (float(row[VALUES][sweep.option]), error) for row, error in zip(own, error_rows(own, (metric,)), strict=True)
    ]
    errors = curve(pairs, metric, fold.chose)
    return Search(sweep, errors, optimum(errors), fold, located(pairs, metric, fold.chose, uncertainty))
