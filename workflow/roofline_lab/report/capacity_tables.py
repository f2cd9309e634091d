"""Tables and sentences of a page about capacity."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence

from roofline_lab.capacity.answer import Answer
from roofline_lab.capacity.ask import Asked
from roofline_lab.capacity.assumptions import Moved
from roofline_lab.capacity.nearest import Ladder
from roofline_lab.capacity.question import Question
from roofline_lab.capacity.serve import Served
from roofline_lab.files import csv_text
from roofline_lab.formatting import MISSING, columns, pct, table
from simulator.input_files import csv_records
from simulator.slo import Limit
from simulator.trust.distance import Word

TPOT = "tpot_request"
# What a page says of one load, by the name of the metric.
LATENCIES = {"TTFT": "ttft", "TPOT": "tpot_request", "E2E": "e2e"}
STATISTICS = ("mean", "p50", "p90", "p99")
HELD_OUT = {"TTFT": "ttft_mean", "between tokens": "inter_token_mean", "E2E": "e2e_mean"}


def load_words(question: Question) -> str:
    """Return what is varied, with its unit, as an axis says it."""
    what, _, per_second = question.unit.partition("/")
    return f"{what} per second" if per_second else f"{what} of a closed loop"


def amount(value: float | None, unit: str) -> str:
    """Return a load in words."""
    return MISSING if value is None else f"{number(value)} {unit}"


def number(value: float | None) -> str:
    """Return a number of three digits, whole from a hundred on."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ms(value: float | None) -> str:
    """Return a latency in ms."""
    return MISSING if value is None else f"{number(value)} ms"


def headline(asked: Asked, chosen: Answer) -> str:
    """Return the answer in a sentence."""
    unit = asked.question.unit
    if chosen.best is None:
        each_misses = " ".join(_not_even(each) for each in asked.answers if not each.refused)
        return f"**No load meets the limits.** {each_misses}"
    top = amount(chosen.highest, unit)
    reach = f"at any load, tried up to {top}" if chosen.no_end else f"up to **{top}**"
    return f"{chosen.name} meets the limits {reach}{_ends_words(chosen, unit)}. {_next(chosen)}".rstrip()


def _ends_words(found: Answer, unit: str) -> str:
    low, high = found.pessimistic, found.optimistic
    if low is None and high is None:
        return f", and how sure that is, nobody knows: {found.no_interval or 'no interval is known'}"
    if low is None:
        return f"; at the pessimistic ends of the intervals no load does, at the optimistic ones {amount(high, unit)}"
    if high is None:
        return f"; {amount(low, unit)} at the pessimistic ends of the intervals, which are known no further"
    return (
        f"; {amount(low, unit)} at the pessimistic ends of the intervals, {amount(high, unit)} at the optimistic ones"
    )


def _next(found: Answer) -> str:
    return f"Beyond it fails: {found.binding}." if found.binding else ""


def _not_even(found: Answer) -> str:
    missed = [f"{each.limit} (alone on the server: {ms(each.value_ms)})" for each in found.missed_alone]
    overloaded = found.alone.overloaded if found.alone else ""
    return f"{found.name} misses {', '.join(missed) or overloaded} even where requests have it to themselves."


def prediction_headline(asked: Asked, found: Answer) -> str:
    """Return what is predicted of a server, in a sentence."""
    served, unit = found.best, asked.question.unit
    if served is None:
        return f"{found.name}: {found.refused}"
    if asked.question.at is None:
        what = "keeps up with" if asked.question.load == "rate" else "gets hardly more done beyond"
        return f"{found.name} {what} **{amount(served.load, unit)}**."
    if served.overloaded:
        return f"{found.name} does not keep up with {amount(served.load, unit)}: {served.overloaded}."
    return (
        f"{found.name} at {amount(served.load, unit)}: TTFT **{_cell(served, 'ttft_mean')} ms**, "
        f"TPOT **{_cell(served, 'tpot_request')} ms**, E2E **{_cell(served, 'e2e_mean')} ms** in the mean."
    )


def memory_words(found: Answer) -> str:
    """Return how the memory of a GPU is divided, in a sentence."""
    memory = found.memory
    if not memory:
        return ""
    weights, cache, blocks = (memory[name] for name in ("weights_gib", "kv_cache_gib", "kv_blocks"))
    return f"Memory of a GPU: weights {weights:.1f} GiB, KV cache {cache:.1f} GiB ({blocks:,.0f} KV blocks)."


def nearest_question(asked: Asked) -> str:
    """Return the limits that a server alone would meet: the nearest question that has an answer."""
    least: dict[str, float] = {}
    for found in asked.answers:
        for limit in asked.limits:
            value = found.alone.value(limit) if found.alone else None
            if value is not None:
                least[limit.name] = min(least.get(limit.name, math.inf), value)
    known = [(limit.name, limit.at_most_ms, least[limit.name]) for limit in asked.limits if limit.name in least]
    return ", ".join(f"{name}<={most if value <= most else _rounded_up(value):g}ms" for name, most, value in known)


def _rounded_up(value: float) -> float:
    """Return a value with a tenth of room, rounded up to two digits."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value * 1.1 / step) * step


def trust_words(served: Served, step_time: str) -> str:
    """Return how far the answer may be trusted."""
    if not served.word:
        return f"Nobody tested this: {served.no_interval}."
    why = f": {'; '.join(served.why)}" if served.why else ""
    near = "; ".join(served.nearest[:3])
    return f"**{served.word.capitalize()}** what `{step_time}` was validated on{why}. Nearest of it: {near}."


def tested_words(asked: Asked) -> str:
    """Return which other calibration this is nearer to, and what it says of the same load; empty where none is."""
    told = [
        f"`{each.step_time}` ({each.served.word} what it was validated on) has "
        + ", ".join(f"{limit.words.partition(' at most')[0]} {ms(each.served.value(limit))}" for limit in asked.limits)
        for each in asked.nearer
    ]
    return f"At that load {'; '.join(told)}: ask it with `steptime`." if told else ""


def proof_words(asked: Asked) -> str:
    """Return how right such answers were on measured servers; empty where none is near, or nobody checked them."""
    proof, served = asked.proof, asked.chosen.best or asked.chosen.alone
    if proof is None or served is None or served.word not in (Word.INSIDE, Word.NEAR):
        return ""
    inside = "" if proof.inside_pct is None else f", {pct(proof.inside_pct)} of the measured ones lay in the range"
    return (
        f"On measured servers (`{proof.finding}`), highest loads by `{asked.chosen.step_time}` were off by "
        f"{pct(proof.error_pct)} in the mean and {pct(proof.median_error_pct)} in the median of {proof.capacities:,}"
        f"{inside}; {pct(proof.right_pct)} of {proof.verdicts:,} verdicts on whether a load meets a limit were right."
    )


def limits_table(asked: Asked, chosen: Answer) -> str:
    """Return a row per limit: alone, at the highest load, with interval."""
    rows = [_limit_row(limit, chosen) for limit in asked.limits]
    return table(("Limit", "Alone", "At the highest load", "90 % interval", "Rests on"), rows, left=1)


def _limit_row(limit: Limit, chosen: Answer) -> tuple[str, ...]:
    alone = chosen.alone.value(limit) if chosen.alone else None
    value = chosen.best.value(limit) if chosen.best else None
    ends = chosen.best.ends(limit) if chosen.best else None
    span = MISSING if ends is None else f"{number(ends.low)} to {number(ends.high)} ms"
    rests = (
        MISSING
        if ends is None
        else f"held-out {limit.latency.upper()} of other statistics"
        if ends.borrowed
        else "held-out rows"
    )
    return (limit.words, ms(alone), ms(value), span, rests)


def load_table(served: Served) -> str:
    """Return latencies at one load: mean and percentiles, with the interval of those that have one."""
    rows = []
    for name, stem in LATENCIES.items():
        cells = [_cell(served, stem if name == "TPOT" and each == "mean" else f"{stem}_{each}") for each in STATISTICS]
        rows.append((name, *cells))
    rows.append(
        ("ITL", *(_cell(served, "itl_token_weighted" if each == "mean" else f"itl_{each}") for each in STATISTICS))
    )
    return table(("ms", *STATISTICS), rows)


def load_text(served: Served) -> str:
    """Return the same table for a terminal."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in load_table(served).split("\n")]
    return columns([row for row in rows if not row[0].startswith(":")])


def _cell(served: Served, metric: str) -> str:
    value, ends = served.values.get(metric), served.intervals.get(metric)
    span = f" ({number(ends.low)} to {number(ends.high)})" if ends else ""
    return f"{number(value)}{span}"


def throughput_words(served: Served) -> str:
    """Return what a server gives per second at a load."""
    rate, tokens = served.values.get("request_throughput"), served.values.get("output_token_throughput")
    return f"{number(rate)} requests/s, {number(tokens)} output tokens/s, {number(served.in_flight)} requests in flight"


def pareto(answers: Sequence[Answer]) -> list[Answer]:
    """Return the servers none of the others is better than in both: tokens per second and GPU, and TPOT."""
    able = [each for each in answers if each.best]
    return [each for each in able if not any(_better(other, each) for other in able)]


def _better(one: Answer, other: Answer) -> bool:
    rate, tpot = (one.tokens_per_s_per_gpu or 0.0, other.tokens_per_s_per_gpu or 0.0), (tpot_ms(one), tpot_ms(other))
    return rate[0] >= rate[1] and tpot[0] <= tpot[1] and (rate[0] > rate[1] or tpot[0] < tpot[1])


def tpot_ms(found: Answer) -> float:
    """Return the mean TPOT at the highest load."""
    value = found.best.values.get(TPOT) if found.best else None
    return math.inf if value is None else value


def servers_wanted(at: float, each: float | None) -> int | None:
    """Return how many servers share a load of which each takes so much; None where it takes none."""
    return None if not each else math.ceil(at / each - 1e-9)


def fewest(asked: Asked) -> Answer | None:
    """Return the server of which the fewest GPUs serve the load that is wanted; None where nothing does, or none is."""
    at = asked.question.at
    able = [each for each in asked.answers if each.highest and each.gpus]
    if at is None or not able:
        return None
    return min(
        able,
        key=lambda each: (*(_gpus(each, at, end) or math.inf for end in (each.highest, each.pessimistic)), each.name),
    )


def fewest_words(asked: Asked) -> str:
    """Return how many GPUs serve the load that is wanted, at both ends of what is known."""
    found, at = fewest(asked), asked.question.at
    if found is None or at is None:
        return ""
    gpus, worst, best = (_gpus(found, at, each) for each in (found.highest, found.pessimistic, found.optimistic))
    load = amount(at, asked.question.unit)
    told = f"**{gpus} GPUs** ({found.name}, each server with its share of the requests) serve {load} within the limits"
    ends = [f"{count} at the {end} ends" for count, end in ((worst, "pessimistic"), (best, "optimistic")) if count]
    return f"{told}; {', '.join(ends)}." if ends else f"{told}; no interval says how sure that is."


def _gpus(found: Answer, at: float, each: float | None) -> int | None:
    count = servers_wanted(at, each)
    return None if count is None else count * (found.gpus or 0)


def answers_table(asked: Asked) -> str:
    """Return a row per server, the best first, those that cannot be last."""
    at, prices = asked.question.at, asked.question.price_per_gpu_hour
    header = ["#", "Server", "GPUs", f"Highest load [{asked.question.unit}]", "Pessimistic", "Optimistic"]
    header += ["Fails next", "Tokens/s per GPU", "TPOT [ms]", "Word"]
    header += [f"GPUs for {number(at)}"] if at is not None else []
    header += ["Cost per 1M output tokens"] if prices else []
    able = sorted(each.name for each in asked.answers if each.best)
    best = {each.name for each in pareto(asked.answers)}
    rows = []
    for each in in_order(asked.answers):
        mark = "**" if each.name in best else ""
        place = str(able.index(each.name) + 1) if each.best else ""
        row = [place, f"{mark}{each.name}{mark}", str(each.gpus or MISSING), *_highest_cells(each)]
        row += [why_no_more(each), number(each.tokens_per_s_per_gpu), *_at_the_highest(each)]
        row += [str(_gpus(each, at, each.highest) or MISSING)] if at is not None else []
        row += [_cost(each, prices.get(each.hardware))] if prices else []
        rows.append(row)
    return table(header, rows, left=2)


def _at_the_highest(found: Answer) -> tuple[str, str]:
    if found.best is None:
        return MISSING, MISSING
    return number(tpot_ms(found)), found.best.word or "untested"


def why_no_more(found: Answer) -> str:
    """Return what fails at the next higher load, or why there is no load at all."""
    if found.refused:
        return found.refused.split("\n")[0]
    return (
        found.binding
        if found.best
        else "; ".join(f"{each.limit}: {ms(each.value_ms)} alone" for each in found.missed_alone)
    )


def _highest_cells(found: Answer) -> tuple[str, str, str]:
    more = "more than " if found.no_end and found.highest else ""
    return f"{more}{number(found.highest)}", number(found.pessimistic), number(found.optimistic)


def _cost(found: Answer, price: float | None) -> str:
    cost = None if price is None else found.cost_per_million_tokens(price)
    return MISSING if cost is None else f"{cost:.3g}"


def in_order(answers: Sequence[Answer]) -> list[Answer]:
    """Return servers by tokens per second and GPU, the most first; those without an answer last, by name."""
    return sorted(answers, key=lambda each: (-(each.tokens_per_s_per_gpu or 0.0), bool(each.refused), each.name))


def moved_words(asked: Asked) -> str:
    """Return which assumption the answer hangs on most, in a sentence; empty where there is none."""
    known = asked.chosen.highest
    if not asked.moved or known is None:
        return ""
    first = asked.moved[0]
    if _change(first, known) == "none":
        return "No assumption about what nobody states moves it by 3 %."
    otherwise = first.reason.split("\n")[0] if first.highest is None else amount(first.highest, asked.question.unit)
    return f"{first.assumed}, which nobody states; otherwise ({first.otherwise}): {otherwise}."


def moved_table(moved: Sequence[Moved], known: float, unit: str) -> str:
    """Return what every assumption would do to the answer if it were otherwise."""
    rows = [(each.assumed, each.otherwise, amount(each.highest, unit), _change(each, known)) for each in moved]
    return table(("Assumed, as nobody states it", "If it is", "Highest load", "Change"), rows, left=2)


def _change(moved: Moved, known: float) -> str:
    if moved.highest is None:
        return moved.reason.split("\n")[0]
    change = (moved.factor(known) - 1) * 100
    return "none" if abs(change) < 3 else f"{change:+.0f} %"


def ladders_table(ladders: Sequence[Ladder]) -> str:
    """Return the nearest validated experiments: requests in flight, and the mean error of held-out predictions."""
    rows = [
        (
            ladder.experiment,
            ladder.name,
            f"{number(ladder.rows[0].concurrency)} to {number(ladder.rows[-1].concurrency)}",
            *(pct(ladder.mape_pct(figure)) for figure in HELD_OUT.values()),
        )
        for ladder in ladders
    ]
    return table(
        ("Experiment", "Server, prompt / answer", "In flight", *(f"Error {name}" for name in HELD_OUT)), rows, left=2
    )


ANSWER_COLUMNS = (
    *("gpus", "step_time", "load", "unit", "highest", "pessimistic", "optimistic", "binding", "word"),
    *("output_tokens_per_s_per_gpu", "tpot_mean_ms", "status", "reason"),
)


def answers_csv(asked: Asked) -> str:
    """Return a row per server."""
    keys = sorted({key for each in asked.answers for key in each.varied})
    rows = (tuple(_answer_row(each, keys, asked.question)) for each in asked.answers)
    return csv_text(("server", *keys, *ANSWER_COLUMNS), rows)


def _answer_row(found: Answer, keys: Sequence[str], question: Question) -> Iterator[object]:
    yield found.name
    yield from (found.varied.get(key, "") for key in keys)
    yield from (found.gpus or "", found.step_time, question.load, question.unit)
    yield from (_digits(value) for value in (found.highest, found.pessimistic, found.optimistic))
    yield from (found.binding, found.best.word if found.best else "")
    yield from (_digits(found.tokens_per_s_per_gpu), _digits(tpot_ms(found)) if found.best else "")
    yield "refused" if found.refused else "answered" if found.highest is not None else "no_load_meets"
    yield found.no_interval if found.best else why_no_more(found)


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


# --- all questions ------------------------------------------------------------------------------------


def question_row(name: str, question: Question, answers: str) -> tuple[str, ...]:
    """Return a question with the answer of its best server, as its `answers.csv` has it."""
    records = csv_records(io.StringIO(answers, newline=""), f"{name}/answers.csv")
    header = next(records)[1]
    rows = [dict(zip(header, cells, strict=True)) for _, cells in records]
    able = [row for row in rows if row["status"] == "answered"]
    link = f"[{question.title or name}]({name}/CAPACITY.md)"
    if not able:
        return (link, str(question.slo), "no load meets the limits", MISSING, MISSING, MISSING)
    best = max(able, key=lambda row: float(row["output_tokens_per_s_per_gpu"] or 0))
    ends = [number(float(best[end])) if best[end] else MISSING for end in ("pessimistic", "optimistic")]
    top = amount(float(best["highest"]), question.unit)
    return (link, str(question.slo), best["server"], top, " to ".join(ends), best["word"] or "untested")


def questions_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return a row per question."""
    header = ("Question", "Limits", "Best server", "Highest load", "Pessimistic to optimistic", "Word")
    return table(header, rows, left=3)
