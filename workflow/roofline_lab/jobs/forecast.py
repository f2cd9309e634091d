"""What a look ahead (`snakemake -n`) tells: for every finding how much would run, and why, in one line.

Rows of an earlier run that still stand are not simulated again, so a job that would run says little; runs are counted
as the job itself would find them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from roofline_lab.jobs.paths import CODE, INPUTS, JUDGED_BY, WRITTEN, arms_of, runs_by_arm
from roofline_lab.predict.sweeps import swept_arms
from roofline_lab.project import Project, Run

# Reasons that one line names; the others are counted.
REASONS_SHOWN = 3
FORCED = "everything asked for is forced"
# The step that copies a page into reports/, whatever finding it is of.
PUBLISH = "publish"
METHOD, ARM = "method", "arm"
NEVER = "there is no result yet"
INTERRUPTED = "an earlier run was interrupted"
RULES = "the workflow's rules changed"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that would run.

    Attributes
    ----------
    rule
        The rule's name.
    wildcards
        What the rule stands for: hypothesis, method, arm, where it has them.
    updated
        Inputs that changed by themselves, not because another job makes them again.
    missing
        It makes what is not there.
    """

    rule: str
    wildcards: dict[str, str]
    updated: tuple[str, ...] = ()
    missing: bool = False
    interrupted: bool = False
    forced: bool = False
    rules_changed: bool = False


@dataclass(slots=True)
class _Finding:
    jobs: list[Waiting] = field(default_factory=list)

    def of(self, rule: str) -> list[Waiting]:
        return [job for job in self.jobs if job.rule == rule]


Standing = Callable[[Sequence[Run]], int]


def forecast(project: Project, waiting: Iterable[Waiting], standing: Standing) -> list[str]:
    """Return one line per finding of which something would be made again, and one about all.

    Parameters
    ----------
    standing
        How many runs of an arm have rows that still stand.
    """
    found: dict[str, _Finding] = {}
    others = []
    for job in waiting:
        if name := job.wildcards.get("hypothesis"):
            found.setdefault(name, _Finding()).jobs.append(job)
        else:
            others.append(job.rule)
    lines = [f"{name}: {_amount(project, name, found[name], standing)}" for name in project.names if name in found]
    known = len(project.names)
    told = f"{len(found)} of {known} findings would be made again" if found else "no finding would be made again"
    steps = ", ".join(sorted(set(others)))
    return [*lines, f"{told}{f'; beside them: {steps}' if steps else ''}"]


def _amount(project: Project, name: str, finding: _Finding, standing: Standing) -> str:
    """Return how much of one finding would run, and why."""
    predicting = finding.of("predict")
    if not predicting:
        what = "no run new, scores and page made again" if finding.of("score") else "no run new, page made again"
    elif name in project.synthetic:
        what = f"{len(predicting)} of {len(arms_of(project, name))} arms priced again"
    else:
        what = f"{_new_runs(project, name, predicting, standing)} new"
    return f"{what}, because {_reasons(finding.jobs)}"


def _new_runs(project: Project, name: str, predicting: Sequence[Waiting], standing: Standing) -> str:
    """Return how many runs are to be simulated: of an arm whose value is still searched for, up to all."""
    matrix, swept = runs_by_arm(project, name), swept_arms(project, name)
    total, new, unsure = sum(map(len, matrix.values())), 0, False
    for job in predicting:
        runs = matrix[job.wildcards[METHOD], job.wildcards[ARM]]
        known = job.wildcards[ARM] not in swept and not job.forced
        new += len(runs) - (standing(runs) if known else 0)
        unsure |= job.wildcards[ARM] in swept
    return f"{'up to ' if unsure and new else ''}{new} of {total} runs"


def _reasons(jobs: Sequence[Waiting]) -> str:
    if any(job.forced for job in jobs):
        return FORCED
    found = [words for job in jobs for words in _because(job)]
    arms = list(dict.fromkeys(words for words in found if words.startswith("options or data of ")))
    if len(arms) > 1:
        found = [words for words in found if words not in arms] + [f"options or data of {len(arms)} arms changed"]
    told = list(dict.fromkeys(found)) or ["what it is made from is made again"]
    more = [f"{len(told) - REASONS_SHOWN} more changes"] if len(told) > REASONS_SHOWN else []
    return " and ".join([*told[:REASONS_SHOWN], *more])


def _because(job: Waiting) -> Iterable[str]:
    """Yield why a job would run, in words; nothing where only another job is the reason."""
    if job.missing and job.rule != PUBLISH:
        yield NEVER
        return
    if job.missing:
        yield "reports/ lacks files of it"
    if job.interrupted:
        yield INTERRUPTED
    if job.rules_changed:
        yield RULES
    for path in job.updated:
        yield _changed(path, job)


def _changed(path: str, job: Waiting) -> str:
    """Return what a changed input stands for."""
    code = {file: stage for stage, file in CODE.items()}
    if path in code:
        return f"code or settings of '{code[path]}' changed"
    if path.endswith(JUDGED_BY):
        return "its criteria, methods or published tables changed"
    if path.endswith(WRITTEN):
        return "what its author wrote changed"
    if path.startswith(f"{INPUTS}/"):
        return "an input changed"
    if "/arms/" in path and ARM in job.wildcards:
        return f"options or data of {job.wildcards[METHOD]}/{job.wildcards[ARM]} changed"
    return f"{path} changed"
