"""What a calibration is fitted to, and how: one validated file per calibration.

Contract: `load_plan` reads `configs/calibration/plans/<name>.yaml` or raises one `ConfigError`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from roofline_lab.ground_truth.load import Id, Text
from simulator.validation import Count, NonNegativeInt, Positive, StrictModel, parse, read_yaml

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
    bootstrap_resamples: Count
    learning_curve_subsets: Count
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
