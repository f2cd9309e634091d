"""Which experiments may choose a parameter, and which judge the choice.

A split names both sides. A model family on both sides lets the test experiments share their errors
with the train experiments, so that needs a reason in the spec, which the report prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

from roofline_lab.ground_truth.reading import Experiment
from simulator.validation import StrictModel, suggest

Names = Annotated[tuple[str, ...], Field(min_length=1)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
TRAIN = "train"
TEST = "test"


class Split(StrictModel):
    """Experiments by side.

    Attributes
    ----------
    shared_families
        Why a model family may be on both sides; without it that is refused.
    """

    train: Names
    test: Names
    shared_families: Text | None = None

    def side_of(self, experiment: str) -> str:
        """Return `train` or `test`, or an empty text for an experiment of neither side."""
        if experiment in self.train:
            return TRAIN
        return TEST if experiment in self.test else ""

    def families_on_both_sides(self, experiments: Sequence[Experiment]) -> list[str]:
        """Return the model families with experiments on both sides, sorted."""
        sides = {
            side: {experiment.family for experiment in experiments if self.side_of(experiment.id) == side}
            for side in (TRAIN, TEST)
        }
        return sorted(sides[TRAIN] & sides[TEST])

    def problems(self, experiments: Sequence[Experiment]) -> Iterator[str]:
        """Yield what is wrong with the split of these experiments."""
        known = [experiment.id for experiment in experiments]
        for side, names in ((TRAIN, self.train), (TEST, self.test)):
            for name in names:
                if name not in known:
                    yield f"split.{side}: unknown experiment '{name}'; {suggest(name, known)}"
        for name in sorted(set(self.train) & set(self.test)):
            yield f"split: '{name}' is on both sides; an experiment can only choose or judge"
        for name in known:
            if not self.side_of(name):
                yield f"split: '{name}' is on neither side; add it to train or test"
        shared = self.families_on_both_sides(experiments)
        if shared and self.shared_families is None:
            yield (
                f"split: the model families {', '.join(shared)} are on both sides, so the test is not independent; "
                "move them to one side, or say in shared_families why this is accepted"
            )
