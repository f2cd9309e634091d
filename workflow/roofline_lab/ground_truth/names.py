"""What readers call experiments and GPUs: what was measured, instead of the name of a folder.

Contract: no two experiments of one page, or two GPUs, get the same name. The id stays the name of a row, in
`numbers.csv` and in tables that are looked up by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import mean_tokens


def readable_names(experiments: Iterable[Experiment]) -> dict[str, str]:
    """Return the name of every experiment, by id: model family, TP and workload.

    The GPU stands in it where there are several; behind those that are still alike stands what tells them apart:
    lengths, day or software, at last the id.
    """
    chosen = {each.id: each for each in experiments}
    gpus = short_gpu_names(each.hardware for each in chosen.values())
    names = {key: _named(each, gpus) for key, each in chosen.items()}
    for fact in _FACTS:
        names = _told_apart(names, chosen, fact)
    return names


def short_gpu_names(hardware: Iterable[str]) -> dict[str, str]:
    """Return what readers call GPUs, by id: `H100` for `h100-sxm`, unless another one would be called the same."""
    short = {each: each.partition("-")[0].upper() for each in dict.fromkeys(hardware)}
    count = Counter(short.values())
    return {each: name if count[name] == 1 else each for each, name in short.items()}


def server_name(family: str, tensor_parallel: int, gpu: str = "") -> str:
    """Return what a load point was measured on, in words."""
    return " ".join(filter(None, (family, gpu, f"TP{tensor_parallel}")))


def _named(experiment: Experiment, gpus: Mapping[str, str]) -> str:
    gpu = gpus[experiment.hardware] if len(gpus) > 1 else ""
    return f"{server_name(experiment.family, experiment.tensor_parallel, gpu)} {experiment.workload.name}"


def _told_apart(
    names: Mapping[str, str], experiments: Mapping[str, Experiment], fact: Callable[[Experiment], str]
) -> dict[str, str]:
    """Put a fact behind those names of which some are alike, where it differs among them."""
    facts: dict[str, set[str]] = {}
    for key, name in names.items():
        facts.setdefault(name, set()).add(fact(experiments[key]))
    return {key: f"{name} ({fact(experiments[key])})" if len(facts[name]) > 1 else name for key, name in names.items()}


def _lengths(experiment: Experiment) -> str:
    first = experiment.load_points[0].id
    prompt, output = mean_tokens(experiment.prompt_lengths(first)), mean_tokens(experiment.output_lengths(first))
    return f"{prompt:g} + {output:g} tokens"


def _day(experiment: Experiment) -> str:
    return str(experiment.date or "day not known")


def _software(experiment: Experiment) -> str:
    server = experiment.server
    return server.known.software or server.assumed.software or "software not known"


_FACTS: tuple[Callable[[Experiment], str], ...] = (_lengths, _day, _software, lambda experiment: experiment.id)
