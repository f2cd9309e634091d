"""What is known to be wrong or special about a measurement, in a closed vocabulary.

Contract: an experiment lists `QualityFlag`s; every report that uses the experiment prints them.
`flag_lines` turns the flags of several experiments into sentences, each once, with the experiments
and load points it is about. The first fourteen flags are the pitfalls of measured latencies that
docs/importing.md explains one by one; `lint` finds them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, Protocol

from pydantic import StringConstraints

from simulator.validation import StrictModel

Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Flag(StrEnum):
    """What can be special about a measurement."""

    TPOT_INCLUDES_TTFT = "tpot_includes_ttft"
    LENGTHS_UNKNOWN = "lengths_unknown"
    FIGURES_CONTRADICT = "figures_contradict"
    STREAM_LINES_COUNTED = "stream_lines_counted"
    OUTPUT_RETOKENISED = "output_retokenised"
    PROMPTS_REPEAT = "prompts_repeat"
    CONSTANT_IS_POISSON = "constant_is_poisson"
    COLD_START_INCLUDED = "cold_start_included"
    CLIENT_TIME_INCLUDED = "client_time_included"
    COPY_OF_ANOTHER_RUN = "copy_of_another_run"
    PART_OF_THE_RUN = "part_of_the_run"
    USED_FOR_FITTING = "used_for_fitting"
    SECONDS_CONVERTED = "seconds_converted"
    LENGTHS_FROM_SEED = "lengths_from_seed"
    OVERLOADED = "overloaded"
    CLIENT_FELL_SHORT = "client_fell_short"
    STAGES_OVERLAP = "stages_overlap"
    ARRIVALS_IRREGULAR = "arrivals_irregular"
    LOCK_STEP = "lock_step"
    SETTING_ASSUMED = "setting_assumed"


MEANINGS: Mapping[Flag, str] = {
    Flag.TPOT_INCLUDES_TTFT: "the reported time per output token contains the time to the first one",
    Flag.LENGTHS_UNKNOWN: "lengths of single requests are not known; the workload has their mean or their setting",
    Flag.FIGURES_CONTRADICT: "two figures of one configuration contradict each other",
    Flag.STREAM_LINES_COUNTED: "the client took every line of the stream for a token",
    Flag.OUTPUT_RETOKENISED: "the reported output length is the client's own count of the text",
    Flag.PROMPTS_REPEAT: "prompts repeat, so that the prefix cache answers most of them",
    Flag.CONSTANT_IS_POISSON: "arrivals called constant have exponential gaps",
    Flag.COLD_START_INCLUDED: "the slow first requests are in the figures",
    Flag.CLIENT_TIME_INCLUDED: "time between client and engine is in TTFT and E2E",
    Flag.COPY_OF_ANOTHER_RUN: "the figures are those of another run",
    Flag.PART_OF_THE_RUN: "the figures stand for a part of the requests only",
    Flag.USED_FOR_FITTING: "published models were fitted to these figures, so their errors on them are training errors",
    Flag.SECONDS_CONVERTED: "the source mixes seconds and milliseconds",
    Flag.LENGTHS_FROM_SEED: "request lengths are drawn again from the client's seed",
    Flag.OVERLOADED: "the server could not keep up with the load",
    Flag.CLIENT_FELL_SHORT: "the client did not send what it was asked for",
    Flag.STAGES_OVERLAP: "a stage began before the one before it had ended",
    Flag.ARRIVALS_IRREGULAR: "requests did not arrive as the load point's name says",
    Flag.LOCK_STEP: "answers of one length keep all requests of a closed loop in step, so that predictions are a range",
    Flag.SETTING_ASSUMED: "something the description needs was not published and is assumed",
}

Treatment = Literal["corrected", "noted"]


class QualityFlag(StrictModel):
    """One flag of one experiment.

    Attributes
    ----------
    flag
        Which.
    treatment
        `corrected`: the figures and the workload written down are free of it. `noted`: they are not.
    text
        What it means for this experiment, with numbers.
    load_points
        The load points it is about; none named means all.
    """

    flag: Flag
    treatment: Treatment
    text: Sentence
    load_points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One pitfall that was found.

    Attributes
    ----------
    flag
        Which.
    text
        What the numbers say.
    value
        The number a correction needs: a factor, a count, an offset, or NaN.
    """

    flag: Flag
    text: str
    value: float = math.nan

    def quality(self, treatment: Treatment, load_points: Sequence[str] = (), more: str = "") -> QualityFlag:
        """Return the flag of an experiment, saying whether the figures written down are free of it."""
        text = f"{self.text} {more}".strip()
        return QualityFlag(flag=self.flag, treatment=treatment, text=text, load_points=tuple(load_points))


def flag_sentence(flag: QualityFlag) -> str:
    """Return a flag as one sentence: what, whether the figures are free of it, where, and what it means."""
    points = f" [{', '.join(flag.load_points)}]" if flag.load_points else ""
    return f"{flag.flag} ({flag.treatment}){points}: {flag.text}"


class Flagged(Protocol):
    """Anything with an id and quality flags."""

    @property
    def id(self) -> str:
        """Its name in the output."""
        ...

    @property
    def quality(self) -> tuple[QualityFlag, ...]:
        """Its flags."""
        ...


def flag_lines(experiments: Iterable[Flagged]) -> tuple[str, ...]:
    """Return one sentence per different flag text, in order of the vocabulary.

    Each names flag, treatment, text, and the experiments (with load points) it is about.
    """
    about: dict[tuple[Flag, Treatment, str], list[str]] = {}
    for experiment in experiments:
        for quality_flag in experiment.quality:
            points = f" [{', '.join(quality_flag.load_points)}]" if quality_flag.load_points else ""
            about.setdefault((quality_flag.flag, quality_flag.treatment, quality_flag.text), []).append(
                f"{experiment.id}{points}"
            )
    order = list(Flag)
    keys = sorted(about, key=lambda key: (order.index(key[0]), key[2]))
    return tuple(f"`{flag}` ({how}): {text} - {', '.join(about[flag, how, text])}" for flag, how, text in keys)
