"""Single requests of a serving benchmark's lists, and what of them is a measurement.

Contract: `answers_of` turns the lists of one result into answered requests in order of sending. A time of 0 was not
measured, a request without a token is no answer, and a first chunk that came before the first token is no token: what
follows for the figures is in `Answers.findings`, in words. Lists are in seconds, what is returned in ms.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.quality import Finding, Flag, Treatment
from roofline_lab.ground_truth.requests import MeasuredRequest, refuse_too_many
from roofline_lab.importers.common import LARGEST, MS_PER_S, US_PER_S, Foreign, Latency, WholeNumber, statistics_of
from simulator.errors import ConfigError
from simulator.validation import parse

LOAD_POINT = "bench"


class _Lists(Foreign):
    input_lens: tuple[WholeNumber, ...] = ()
    output_lens: tuple[WholeNumber, ...] = ()
    ttfts: tuple[Latency, ...] = ()
    start_times: tuple[Latency, ...] = ()
    errors: tuple[str | None, ...] = ()


class GapsOfRequests:
    """Of the gaps between the tokens of each request: their sum, the first, a typical other one, their number.

    Arrays, as floats kept among those of all gaps would keep their memory from being used again.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self.total_s, self.first_s, self.typical_s, self.count = array("d"), array("d"), array("d"), array("q")

    def __len__(self) -> int:
        return len(self.total_s)

    def add(self, place: tuple[str | int, ...], value: object) -> None:
        """Take the gaps of the next request.

        Raises
        ------
        ConfigError
            If they are no list of seconds, or there are more requests than are kept.
        """
        refuse_too_many(f"{self._source}: itls", len(self) + 1)
        gaps: list[Any] = value if isinstance(value, list) else [value]
        for gap in gaps:
            if isinstance(gap, bool) or not isinstance(gap, int | float) or not 0 <= gap <= LARGEST:
                where = ".".join(map(str, place))
                raise ConfigError(f"{self._source}: {where}: must be a list of seconds, 0 or greater, got {gap!r:.40}")
        self.total_s.append(math.fsum(gaps))
        self.first_s.append(gaps[0] if gaps else 0.0)
        self.typical_s.append(median(gaps[1:]) if len(gaps) > 1 else 0.0)
        self.count.append(len(gaps))


@dataclass(frozen=True, slots=True)
class Row:
    """One request as it was recorded, times in seconds; a `ttft_s` of 0 was not measured.

    Attributes
    ----------
    lost
        Why it was not answered, by a name of `RequestCounts`; empty if it was.
    decode_s
        From the first chunk to the last.
    first_gap_s, typical_gap_s, gaps
        Between the first two chunks, between two later ones, and how many gaps there are.
    """

    start_s: float
    prompt: int
    output: int
    lost: str
    ttft_s: float
    decode_s: float
    first_gap_s: float
    typical_gap_s: float
    gaps: int

    @property
    def answered(self) -> bool:
        """Whether it is a measurement at all."""
        return bool(self.output and self.prompt and not self.lost)


@dataclass(frozen=True, slots=True)
class Answers:
    """The answered requests of one result.

    Attributes
    ----------
    requests
        In order of sending; a latency that was not measured is None.
    sent
        How many the lists have, lost ones included.
    lost
        Why the others are lost, by the names of `ground_truth.load.LOST`.
    timed
        Whether the lists say when they were sent.
    first_s
        When the first of them was sent, by the client's clock.
    itl_mean_ms
        Mean gap between tokens where the one of the file is not right; else None.
    listed_ttft_s
        Mean of the times to the first token as the list has them.
    findings
        What of the lists was no measurement.
    """

    requests: tuple[MeasuredRequest, ...]
    sent: int
    lost: Mapping[str, int]
    timed: bool
    first_s: float
    itl_mean_ms: float | None
    listed_ttft_s: float
    findings: tuple[tuple[Finding, Treatment], ...]

    @property
    def corrected(self) -> bool:
        """Whether anything was taken out or moved, so that the file's own figures are of something else."""
        return any(treatment == "corrected" for _, treatment in self.findings)

    @property
    def completed(self) -> int:
        """How many were answered."""
        return len(self.requests)

    @property
    def prompt_tokens(self) -> int:
        """Sum of the prompts."""
        return sum(request.prompt_tokens for request in self.requests)

    @property
    def output_tokens(self) -> int:
        """Sum of the answers."""
        return sum(request.output_tokens for request in self.requests)

    @property
    def ttft_ms(self) -> list[float]:
        """Those that were measured, in order of sending."""
        return [request.ttft_ms for request in self.requests if request.ttft_ms is not None]

    @property
    def e2e_ms(self) -> list[float]:
        """Those that were measured, in order of sending."""
        return [request.e2e_ms for request in self.requests if request.e2e_ms is not None]

    def statistics(self) -> dict[str, float | None]:
        """Return mean and percentiles of TTFT, TPOT and E2E, and of the gaps where the file's are not right."""
        values: dict[str, float | None] = {}
        for name in ("ttft", "e2e", "tpot"):
            latencies = [getattr(request, f"{name}_ms") for request in self.requests]
            values |= dict.fromkeys((f"{name}_{rank}" for rank in ("p95", "p98")), None)
            values |= statistics_of(name, [latency for latency in latencies if latency is not None])
        if self.itl_mean_ms is not None:
            values |= {f"itl_{rank}": None for rank in ("p50", "p90", "p95", "p98", "p99")}
            values["itl_mean"] = self.itl_mean_ms
        return values


def answers_of(
    source: str, values: Mapping[str, Any], gaps: GapsOfRequests, *, completed: int, remedy: str
) -> Answers | None:
    """Return the answered requests where the lists have them all, else None.

    Parameters
    ----------
    source
        The file and the place in it, for messages.
    values, gaps
        What is at the top of the result, and the gaps of its requests.
    completed
        How many requests the result counts as answered.
    remedy
        How lists that are not there are recorded.

    Raises
    ------
    ConfigError
        If the lists do not belong together, or nothing was answered.
    """
    lists = parse(_Lists, values, source=source)
    if not lists.ttfts or not lists.output_lens or not lists.input_lens or not gaps:
        _refuse_hidden_zeros(source, lists, completed, remedy)
        return None
    rows = _rows(source, lists, gaps)
    found = answers_from(source, rows, timed=bool(lists.start_times), load_point=LOAD_POINT)
    failed, empty = (found.lost.get(name, 0) for name in ("failed", "without_output"))
    # Earlier versions count an answer without a token as completed.
    if completed not in (found.completed, found.completed + empty, len(rows)):
        raise ConfigError(
            f"{source}: completed: {completed}, but the lists have {found.completed} answered requests, {empty} "
            f"without a token and {failed} failed; is the result complete?"
        )
    return found


def answers_from(source: str, rows: Sequence[Row], *, timed: bool, load_point: str) -> Answers:
    """Return the answered requests among those that were recorded, corrected as the module says.

    Parameters
    ----------
    timed
        Whether the rows say when they were sent.

    Raises
    ------
    ConfigError
        If nothing was answered.
    """
    answered = [row for row in rows if row.answered]
    if not answered:
        raise ConfigError(f"{source}: no request was answered with a token, so nothing is measured")
    lost = Counter(row.lost or "without_output" for row in rows if row.lost or not row.output)
    listed_s = fmean(row.ttft_s for row in answered)
    answered, shown = _without_role_chunk(answered)
    role = any(treatment == "corrected" for _, treatment in shown)
    wrong_gaps = role or any(not row.ttft_s for row in answered)
    return Answers(
        requests=_requests(sorted(answered, key=lambda row: row.start_s), load_point),
        sent=len(rows),
        lost=lost,
        timed=timed,
        first_s=min(row.start_s for row in answered),
        itl_mean_ms=_mean_gap_ms(answered, role=role) if wrong_gaps else None,
        listed_ttft_s=listed_s,
        findings=(*shown, *((finding, "corrected") for finding in _unmeasured(answered))),
    )


def _refuse_hidden_zeros(source: str, lists: _Lists, completed: int, remedy: str) -> None:
    """Refuse means that contain requests without an answer, where nothing lets them be taken out."""
    failed = [bool(error) for error in lists.errors] or [False] * len(lists.output_lens)
    empty = sum(not tokens and not lost for tokens, lost in zip(lists.output_lens, failed, strict=False))
    if empty and completed > len(lists.output_lens) - empty - sum(failed):
        raise ConfigError(
            f"{source}: output_lens: {empty} of {len(lists.output_lens)} requests generated no token, but count as "
            f"completed, so that every mean contains them; {remedy}"
        )
    if 0 in lists.ttfts and not any(failed):
        raise ConfigError(
            f"{source}: ttfts: {lists.ttfts.count(0)} of {len(lists.ttfts)} are 0, which means not measured, and in "
            f"the means; {remedy}"
        )


def _rows(source: str, lists: _Lists, gaps: GapsOfRequests) -> list[Row]:
    sent = len(lists.ttfts)
    counts = {sent, len(lists.output_lens), len(lists.input_lens), len(gaps), len(lists.start_times) or sent}
    if len(counts) != 1:
        raise ConfigError(
            f"{source}: input_lens, output_lens, ttfts, itls and start_times differ in length; truncated?"
        )
    if lists.errors and len(lists.errors) != sent:
        raise ConfigError(f"{source}: errors: differs in length from ttfts; truncated?")
    failed = ["failed" if error else "" for error in lists.errors] or [""] * sent
    begins_s = lists.start_times or (0.0,) * sent
    columns = (begins_s, lists.input_lens, lists.output_lens, failed, lists.ttfts)
    return [Row(*row) for row in zip(*columns, gaps.total_s, gaps.first_s, gaps.typical_s, gaps.count, strict=True)]


def _without_role_chunk(rows: Sequence[Row]) -> tuple[list[Row], list[tuple[Finding, Treatment]]]:
    """Return requests whose first token is one, where the first chunk of every stream was none.

    With as many gaps as tokens the first gap leads to the first token. With one gap less, two tokens came with the
    second chunk: the first of them a typical gap before it.
    """
    judged = [row for row in rows if row.ttft_s and row.gaps > 1]
    first_ms, typical_ms = (
        [getattr(row, f"{name}_gap_s") * MS_PER_S for row in judged] for name in ("first", "typical")
    )
    finding = lint.first_chunk_is_no_token(
        ttft=[row.ttft_s * MS_PER_S for row in judged], first_gap=first_ms, typical_gap=typical_ms
    )
    if finding is not None:
        corrected = [_after_role_chunk(row) if row.ttft_s and row.gaps else row for row in rows]
        return corrected, [(finding, "corrected")]
    doubt = lint.first_gap_stands_out(first_gap=first_ms, typical_gap=typical_ms)
    return list(rows), [] if doubt is None else [(doubt, "noted")]


def _after_role_chunk(row: Row) -> Row:
    ahead_s = row.first_gap_s - (0.0 if row.gaps >= row.output else row.typical_gap_s)
    return replace(row, ttft_s=row.ttft_s + ahead_s, decode_s=row.decode_s - ahead_s)


def _unmeasured(rows: Sequence[Row]) -> list[Finding]:
    zeros = sum(not row.ttft_s for row in rows)
    if not zeros:
        return []
    what = "TTFT and TPOT stand for the others" if zeros < len(rows) else "there are no TTFT and no TPOT"
    return [
        Finding(
            Flag.PART_OF_THE_RUN,
            f"{zeros} of {len(rows)} answers have no time to the first token, or one of 0, which means that it was not "
            f"measured: {what}.",
            float(zeros),
        )
    ]


def _mean_gap_ms(rows: Sequence[Row], *, role: bool) -> float:
    """Return the mean gap between tokens of the requests whose first token was measured, or 0."""
    measured = [row for row in rows if row.ttft_s]
    gaps = sum(row.output - 1 if role else row.gaps for row in measured)
    return MS_PER_S * math.fsum(row.decode_s for row in measured) / gaps if gaps else 0.0


def _requests(rows: Sequence[Row], load_point: str) -> tuple[MeasuredRequest, ...]:
    first_s = min(row.start_s for row in rows)
    return tuple(
        MeasuredRequest(
            load_point=load_point,
            id=f"request_{position}",
            arrival_us=round((row.start_s - first_s) * US_PER_S),
            prompt_tokens=row.prompt,
            output_tokens=row.output,
            ttft_ms=row.ttft_s * MS_PER_S or None,
            e2e_ms=(row.ttft_s + row.decode_s) * MS_PER_S or None,
        )
        for position, row in enumerate(rows)
    )
