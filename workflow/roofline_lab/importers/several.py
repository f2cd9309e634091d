"""Several results of one tool as load points of one experiment: a folder of files, or several results in one file.

Contract: `result_files` finds the files of a tool in a folder, `one_experiment` joins what was read of each. Model,
hardware and server settings are said once: where two results state them differently, that is an error which names
both. Load points are named by what was varied; lengths that differ become lengths of the load point. A measurement
that was repeated is a load point for each time, and a result that is there twice is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from roofline_lab.ground_truth.load import AnySent, LoadPoint, mean_tokens
from roofline_lab.ground_truth.quality import Finding, Flag, QualityFlag
from roofline_lab.ground_truth.server import Server, ServerSettings
from roofline_lab.importers.common import UNSTATED, Measurement
from roofline_lab.importers.tools import MAX_DEPTH, tool_of
from simulator.errors import ConfigError

# Documents that are named one by one.
MAX_NAMED = 3


class _Part(NamedTuple):
    """One load point of one result."""

    found: Measurement
    point: LoadPoint

    @property
    def prompt(self) -> AnySent:
        """Lengths of its prompts."""
        return self.point.prompt or self.found.experiment.workload.prompt

    @property
    def output(self) -> AnySent:
        """Lengths of its answers."""
        return self.point.output or self.found.experiment.workload.output


# --- files ------------------------------------------------------------------------------------


def result_files(
    path: Path, tool: str, patterns: Sequence[str], wanted: str, ignored: Sequence[str] = ()
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return the result files of a path in order of their names, and a sentence about each that was left out.

    A folder that has none itself is searched through the folders in it. Files of the folder that the tool did not
    write are left out, unless all are such.

    Parameters
    ----------
    path
        A file, or a folder.
    tool
        Whose files they are: its `TOOL`.
    patterns, ignored
        Names of files that may and may not be results.
    wanted
        What messages call them.

    Raises
    ------
    ConfigError
        If there is none, or one cannot be read.
    """
    if path.is_file():
        return (path,), ()
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file or folder; give {wanted} or its folder")
    found = next((files for files in _levels(path, patterns, ignored) if files), [])
    if not found:
        raise ConfigError(f"{path}: {wanted} is expected, found none; name the file itself")
    if len(found) == 1:
        return tuple(found), ()
    own = [file for file in found if tool_of(file) == tool]
    if not own:
        names = ", ".join(file.name for file in found)
        raise ConfigError(f"{path}: {wanted} is expected, found {names}; name the file itself")
    others = [str(file.relative_to(path)) for file in found if file not in own]
    return tuple(own), ((f"No results of {tool}, so left out: {', '.join(others)}.",) if others else ())


def _levels(folder: Path, patterns: Sequence[str], ignored: Sequence[str]) -> Iterator[list[Path]]:
    for depth in range(MAX_DEPTH + 1):
        matching = {file for pattern in patterns for file in folder.glob("*/" * depth + pattern)}
        yield sorted(file for file in matching if not any(file.match(other) for other in ignored))


# --- one experiment ---------------------------------------------------------------------------


def one_experiment(found: Sequence[Measurement], source: str, said: Sequence[str] = ()) -> Measurement:
    """Return results as load points of one experiment; one result stays as it is.

    Parameters
    ----------
    found
        What was read of each, with its file as `source`.
    source
        The folder or file that holds all of them, for messages.
    said
        Further sentences about what was converted.

    Raises
    ------
    ConfigError
        If there is none, two results state a setting differently, or one is there twice.
    """
    if not found:
        raise ConfigError(f"{source}: no result that can be read; give the file or folder that the tool wrote")
    if len(found) == 1:
        return replace(found[0], conversions=(*found[0].conversions, *said))
    _refuse_conflicts(found)
    parts = sorted((_Part(one, point) for one in found for point in one.experiment.load_points), key=_order)
    _refuse_copies(parts)
    names = _names(parts, by_load=len(parts) == len(found))
    renamed = {(id(part.found), part.point.id): name for part, name in zip(parts, names, strict=True)}
    first = found[0].experiment
    workload = first.workload.model_copy(update={"prompt": parts[0].prompt, "output": parts[0].output})
    points = tuple(_load_point(part, name, parts[0]) for part, name in zip(parts, names, strict=True))
    dates = sorted(one.experiment.date for one in found if one.experiment.date is not None)
    earliest = next((one.experiment for one in found if dates and one.experiment.date == dates[0]), first)
    experiment = first.model_copy(
        update={
            **{name: _stated([getattr(one.experiment, name) for one in found]) for name in ("model", "hardware")},
            "tensor_parallel": next(
                (one.experiment.tensor_parallel for one in found if one.tensor_parallel_stated), first.tensor_parallel
            ),
            "date": earliest.date,
            "date_basis": earliest.date_basis,
            "source": earliest.source.model_copy(update={"document": _document(found)}),
            "server": _server([one.experiment.server for one in found]),
            "workload": workload,
            "load_points": points,
            "quality": (*_quality(found, renamed, names), *_copies(parts, names)),
        }
    )
    requests = tuple(
        replace(request, load_point=renamed[id(one), request.load_point])
        for one in found
        for request in one.experiment.recorded()
    )
    told = [sentence for one in found for sentence in one.conversions]
    return Measurement(
        experiment.with_requests(requests),
        source,
        tuple(dict.fromkeys((*told, *said, _told(parts, names)))),
        tensor_parallel_stated=any(one.tensor_parallel_stated for one in found),
        both_sides=tuple(both for one in found for both in one.both_sides),
    )


def _load_point(part: _Part, name: str, base: _Part) -> LoadPoint:
    """Return a load point under its name, with lengths of its own where they are not those of the experiment."""
    own = {key: getattr(part, key) for key in ("prompt", "output") if getattr(part, key) != getattr(base, key)}
    return part.point.model_copy(update={"id": name, "prompt": None, "output": None, **own})


def _told(parts: Sequence[_Part], names: Sequence[str]) -> str:
    where = [f"{name} ({Path(part.found.source).name})" for part, name in zip(parts, names, strict=True)]
    return f"{len(parts)} results are load points of one experiment: {', '.join(where)}."


def _document(found: Sequence[Measurement]) -> str:
    documents = list(dict.fromkeys(one.experiment.source.document for one in found))
    more = len(documents) - MAX_NAMED
    return "; ".join((*documents[:MAX_NAMED], *((f"and {more} more",) if more > 0 else ())))


def _quality(
    found: Sequence[Measurement], renamed: Mapping[tuple[int, str], str], names: Sequence[str]
) -> tuple[QualityFlag, ...]:
    """Return the flags of all results, each once, with the load points it is about."""
    about: dict[tuple[Any, ...], list[str]] = {}
    for one in found:
        for flag in one.experiment.quality:
            points = flag.load_points or [point.id for point in one.experiment.load_points]
            known = about.setdefault((flag.flag, flag.treatment, flag.text), [])
            known += [renamed[id(one), point] for point in points]
    return tuple(
        QualityFlag(flag=flag, treatment=how, text=text, load_points=() if set(points) == set(names) else tuple(points))
        for (flag, how, text), points in about.items()
    )


# --- what is said once ------------------------------------------------------------------------


def _refuse_conflicts(found: Sequence[Measurement]) -> None:
    problems: list[str] = []
    for what, stated in _SAID_ONCE.items():
        values = [(one.source, value) for one in found if (value := stated(one)) not in (None, UNSTATED)]
        problems += _differing(what, values)
    for name in ServerSettings.model_fields:
        known = [(one.source, getattr(one.experiment.server.known, name)) for one in found]
        problems += _differing(name.replace("_", " "), [pair for pair in known if pair[1] is not None])
    if problems:
        raise ConfigError("\n".join(problems))


def _differing(what: str, values: Sequence[tuple[str, object]]) -> Iterator[str]:
    for source, value in values[1:]:
        if value != values[0][1]:
            yield (
                f"{source}: {what} {value}, but {values[0][0]} has {what} {values[0][1]}; load points of one "
                "experiment have one server: import them apart, each group from a folder of its own"
            )
            return


def _tensor_parallel(found: Measurement) -> int | None:
    return found.experiment.tensor_parallel if found.tensor_parallel_stated else None


_SAID_ONCE: Mapping[str, Callable[[Measurement], object]] = {
    "model": lambda found: found.experiment.model,
    "hardware": lambda found: found.experiment.hardware,
    "tensor parallelism": _tensor_parallel,
    "client version": lambda found: found.experiment.tool_version,
    "side": lambda found: found.experiment.side,
    "workload": lambda found: found.experiment.workload.name,
    "shared prefix": lambda found: found.experiment.workload.prefix,
}


def _stated(names: Sequence[str]) -> str:
    return next((name for name in names if name != UNSTATED), UNSTATED)


def _server(servers: Sequence[Server]) -> Server:
    """Return what any result states; what none does is assumed."""
    known, assumed = dict[str, Any](), dict[str, Any]()
    for server in servers:
        known |= server.known.model_dump(exclude_none=True)
        assumed |= server.assumed.model_dump(exclude_none=True)
    return Server(
        known=ServerSettings(**known),
        assumed=ServerSettings(**{name: value for name, value in assumed.items() if name not in known}),
        note=next((server.note for server in servers if server.note), None),
    )


# --- load points ------------------------------------------------------------------------------


def _refuse_copies(parts: Sequence[_Part]) -> None:
    """Refuse a result that is there twice; two measurements never agree in all figures."""
    first: dict[str, str] = {}
    for part in parts:
        figures = _figures(part) + repr((part.point.arrivals, part.found.asked))
        other = first.setdefault(figures, part.found.source)
        if other != part.found.source:
            raise ConfigError(
                f"{part.found.source}: every figure is that of {other}; two measurements never agree in all digits, "
                "so one is a copy: remove it"
            )


def _figures(part: _Part) -> str:
    return repr((part.point.measured, part.point.duration_s, part.point.requests))


def _copies(parts: Sequence[_Part], names: Sequence[str]) -> Iterator[QualityFlag]:
    """Yield load points whose figures are those of another one that was asked for another load."""
    first: dict[str, str] = {}
    for part, name in zip(parts, names, strict=True):
        other = first.setdefault(_figures(part), name)
        if other != name:
            text = f"Every figure equals that of {other}; two measurements never agree in all digits."
            yield Finding(Flag.COPY_OF_ANOTHER_RUN, text).quality("noted", (name,))


def _order(part: _Part) -> tuple[Any, ...]:
    """Return what load points are sorted by: kind of load, then how much of it, then lengths."""
    return (
        _stem(part.point),
        _amount(part.point),
        mean_tokens(part.prompt),
        mean_tokens(part.output),
        part.found.source,
    )


def _stem(point: LoadPoint) -> str:
    match point.arrivals.kind:
        case "closed_loop":
            return "concurrency"
        case "burst":
            return "burst"
        case _:
            return "rate" if _amount(point) else point.arrivals.kind


def _amount(point: LoadPoint) -> float:
    if point.arrivals.kind == "closed_loop":
        return point.arrivals.concurrency
    return (point.rate.requested_per_s or point.rate.achieved_per_s or 0.0) if point.rate else 0.0


def _names(parts: Sequence[_Part], *, by_load: bool) -> list[str]:
    """Return a name for each load point: by its load, and by what else differs among those of the same load."""
    names = [_by_load(part.point) if by_load else part.point.id for part in parts]
    for describe in (_asked, _kind, _lengths, _sent):
        suffixes = [describe(part) for part in parts]
        differ = {
            name: len({suffix for other, suffix in zip(names, suffixes, strict=True) if other == name}) > 1
            for name in names
        }
        names = [f"{name}_{suffix}" if differ[name] else name for name, suffix in zip(names, suffixes, strict=True)]
    times, seen = Counter(names), Counter[str]()
    for position, name in enumerate(names):
        seen[name] += 1
        if times[name] > 1:
            names[position] = f"{name}_run_{seen[name]}"
    return names


def _by_load(point: LoadPoint) -> str:
    amount = _amount(point)
    return f"{_stem(point)}_{amount:g}".replace("+", "") if amount else _stem(point)


def _asked(part: _Part) -> str:
    return part.found.asked


def _kind(part: _Part) -> str:
    return part.point.arrivals.kind.replace("_", "-")


def _lengths(part: _Part) -> str:
    return "_".join(f"{mean_tokens(lengths):g}{way}" for lengths, way in ((part.prompt, "in"), (part.output, "out")))


def _sent(part: _Part) -> str:
    return f"{part.point.requests.sent}_requests"
