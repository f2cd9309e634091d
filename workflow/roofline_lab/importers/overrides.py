"""From what files call things to the names of the project: model, GPU, family, defaults.

Contract: what a person says decides; else what the files say, if something in `configs` answers to it; else a stated
default, which becomes a quality flag. A model nobody describes is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from roofline_lab.ground_truth.assumed_server import taken_ahead, unknown_software
from roofline_lab.ground_truth.catalog import HARDWARE, MODELS, hardware_in
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.quality import Finding, Flag
from roofline_lab.ground_truth.reading import words_of
from roofline_lab.ground_truth.server import Server
from roofline_lab.importers.common import UNSTATED, Measurement
from roofline_lab.importers.server_sources import read_mapping
from roofline_lab.places import shelves
from roofline_lab.vocabulary import DEFAULT_HARDWARE, DEFAULT_WORKLOAD
from simulator.errors import ConfigError
from simulator.gpu_names import gpu_named, gpus_named
from simulator.model_files import CONFIG_FILE, contents_of, find_model_file, known_as, load_model, models_in
from simulator.trust.distance import precision_of
from simulator.validation import parse, suggest


class UnknownNameError(ConfigError):
    """What files call something that nothing in the project answers to.

    Attributes
    ----------
    with_option
        The message with the option that names it, for an import of one run.
    """

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.with_option = f"{message}; or name it with --{option}"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a person says about an import; None leaves it to the files.

    Attributes
    ----------
    model, hardware, family, workload
        Names of `configs` and of the vocabulary.
    tensor_parallel
        GPUs the model is split over.
    client_offset_ms
        Time between client and engine.
    site
        Where it was measured; experiments of one site share the time of client and host.
    server
        Facts about the server, KEY=VALUE or files that state them.
    document, licence
        Where the figures are published, and on what terms they are used.
    """

    model: str | None = None
    hardware: str | None = None
    family: str | None = None
    workload: str | None = None
    tensor_parallel: int | None = None
    client_offset_ms: float | None = None
    site: str | None = None
    server: tuple[str, ...] = ()
    document: str | None = None
    licence: str | None = None


def named(found: Measurement, name: str, overrides: Overrides, root: Path, beside: Path | None = None) -> Experiment:
    """Return the experiment under names of the project, with a flag for what had to be assumed.

    Parameters
    ----------
    name
        Its id.
    root
        The project whose models, GPUs and words are used.
    beside
        The folder an experiment is written into if that is not the project's ground truth: models and GPUs
        described there can be named too, and a model nobody has measured is a family of its own.

    Raises
    ------
    ConfigError
        If no model of `configs` or no family of the vocabulary fits.
    """
    measured = found.experiment
    models, sheets = (_described(kind, root, beside) for kind in (MODELS, HARDWARE))
    model = _known(overrides.model, models, root, beside) if overrides.model else _model(measured.model, models)
    hardware = _stated_gpu(overrides.hardware, sheets) if overrides.hardware else _hardware(measured.hardware, sheets)
    server = _server(measured.server, overrides)
    stated_workload = None if measured.workload.name == UNSTATED else measured.workload.name
    source = {"document": overrides.document, "licence": overrides.licence}
    return measured.model_copy(
        update={
            "id": name,
            "family": overrides.family or _family(model, root, beside),
            "model": model,
            "hardware": hardware or DEFAULT_HARDWARE,
            "tensor_parallel": overrides.tensor_parallel or measured.tensor_parallel,
            **({"site": overrides.site} if overrides.site else {}),
            "source": measured.source.model_copy(update={key: text for key, text in source.items() if text}),
            "server": server,
            "workload": measured.workload.model_copy(
                update={"name": overrides.workload or stated_workload or DEFAULT_WORKLOAD}
            ),
            "quality": (
                *measured.quality,
                *_weights(found.stored_as, model, models.get(model)),
                *_assumptions(
                    server,
                    hardware=hardware is not None,
                    form=_assumed_form(overrides.hardware or measured.hardware, hardware, sheets),
                    tensor_parallel=found.tensor_parallel_stated or overrides.tensor_parallel is not None,
                    client=measured.side == "client",
                    ahead=taken_ahead(measured.date) if unknown_software(server.settings) else None,
                ),
            ),
        }
    )


def _assumptions(
    server: Server, *, hardware: bool, form: str, tensor_parallel: bool, client: bool, ahead: bool | None
) -> Iterable[object]:
    """Yield the flag that names what nobody stated.

    Parameters
    ----------
    form
        Which form of the GPU is taken, where its name leaves that open; else empty.
    ahead
        What follows from unknown software, else None.
    """
    assumed = server.assumed.model_dump(exclude_none=True)
    guesses = [] if hardware else [f"hardware {DEFAULT_HARDWARE}"]
    guesses += [form] if form else []
    guesses += [] if tensor_parallel else ["tensor parallelism 1"]
    guesses += [f"{name.replace('_', ' ')} {_shown(value)}" for name, value in assumed.items()]
    guesses += [] if ahead is None else [f"asynchronous scheduling {_shown(ahead)}, as the serving software is unknown"]
    if not guesses:
        return
    text = f"Not stated by the files, so assumed: {', '.join(guesses)}. --server KEY=VALUE, or a file server.yaml "
    text += "beside the results, states what was true."
    if assumed.get("client_offset_ms") == 0 and client:
        text += " All time between client and engine then counts as error; --client-offset-ms states it."
    yield Finding(Flag.SETTING_ASSUMED, text).quality("noted")


def _weights(stored_as: tuple[str, ...], model: str, file: Path | None) -> Iterable[object]:
    """Yield the flag of a model whose weights are stored otherwise than the files say."""
    stored = precision_of(load_model(file, model)) if stored_as and file else None
    if stored is not None and stored not in stored_as:
        text = (
            f"The files say weights in {' or '.join(stored_as)}; what is simulated is {model} with weights in {stored}."
        )
        text += " If another checkpoint was served, name that one."
        yield Finding(Flag.FIGURES_CONTRADICT, text).quality("noted")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _server(server: Server, overrides: Overrides) -> Server:
    if overrides.client_offset_ms is None:
        return server
    content = server.model_dump(exclude_none=True)
    content["assumed"].pop("client_offset_ms", None)
    content["known"]["client_offset_ms"] = overrides.client_offset_ms
    return parse(Server, content, source="--client-offset-ms")


def _described(kind: str, root: Path, beside: Path | None) -> Mapping[str, Path]:
    folders = _shelves(kind, root, beside)
    return models_in(folders) if kind == MODELS else hardware_in(folders)


def _shelves(kind: str, root: Path, beside: Path | None) -> list[Path]:
    return [*([beside / kind] if beside else []), *shelves(root, f"configs/{kind}")]


def brought_model(model: str | None, root: Path, beside: Path | None) -> Path | None:
    """Return the file of a model that a person names and nobody describes yet; None where one is known, or none is."""
    file = None if model is None else find_model_file(model, _shelves(MODELS, root, beside))
    described = _described(MODELS, root, beside)
    return file if file and file not in described.values() and load_model(file).id not in described else None


def _known(model: str, described: Mapping[str, Path], root: Path, beside: Path | None) -> str:
    """Return the id of the model a person names: as it is described, or as its own files call it."""
    file = find_model_file(model, _shelves(MODELS, root, beside))
    if file is None:
        raise ConfigError(
            f"--model: unknown model '{model}'; {suggest(model, described)} (or give a {CONFIG_FILE}, or the folder of "
            "a downloaded model)"
        )
    known = [name for name, path in described.items() if path == file]
    if known:
        return known[0]
    if beside is None:
        raise ConfigError(
            f"--model: {model} is a file, and a project describes its models itself; copy it to "
            "configs/models/<id>.json"
        )
    found = load_model(file).id
    if found in described and contents_of(described[found]) != contents_of(file):
        raise ConfigError(
            f"--model: {model}: another model is described as '{found}' ({described[found]}); name that one, or rename "
            "the file or folder"
        )
    return found


def _model(name: str, described: Mapping[str, Path]) -> str:
    if name == UNSTATED:
        raise UnknownNameError(f"model: the files do not name it; {suggest('', described)}", "model")
    known = known_as(name, described)
    if known is not None:
        return known
    last = name.rsplit("/", 1)[-1].lower()
    raise UnknownNameError(
        f"model: no model of configs/models is '{name[:80]}'; add configs/models/<id>.json "
        f"({suggest(last[:80], described)})",
        "model",
    )


def _stated_gpu(name: str, described: Mapping[str, Path]) -> str:
    gpu = gpu_named(name, described)
    if gpu is None:
        raise ConfigError(f"--hardware: unknown hardware '{name[:80]}'; {suggest(name, described)}")
    return gpu


def _hardware(name: str, described: Mapping[str, Path]) -> str | None:
    """Return the GPU that a name of the files means, by `simulator.gpu_names`."""
    if name == UNSTATED:
        return None
    gpu = gpu_named(name, described)
    if gpu is None:
        raise UnknownNameError(
            f"hardware: no single GPU of configs/hardware is '{name[:80]}'; add configs/hardware/<id>.yaml "
            f"({suggest(name[:80], described)})",
            "hardware",
        )
    return gpu


def _assumed_form(name: str, gpu: str | None, described: Mapping[str, Path]) -> str:
    """Return which form of a GPU its name leaves open; empty where it names one, or only one is described."""
    several = [] if gpu is None else gpus_named(name, described)
    return f"the form of {name}, as {gpu}" if len(several) > 1 else ""


def _letters(name: str) -> str:
    """Return a name as models and families have it in common: llama318b of llama-3.1-8b and of Llama3.1-8B."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _family(model: str, root: Path, beside: Path | None) -> str:
    """Return the family that other experiments with the same model have, else the word its name begins with."""
    for path in sorted((root / "ground_truth").glob("*/experiment.yaml")):
        experiment = read_mapping(path)
        if experiment.get("model") == model and isinstance(experiment.get("family"), str):
            return str(experiment["family"])
    if beside is not None:
        return model
    words = list(words_of(root).families or ())
    named_so = [word for word in words if _letters(model).startswith(_letters(word))]
    if named_so:
        return max(named_so, key=len)
    raise UnknownNameError(
        f"family: no experiment has the model '{model}' yet, and its family is a word of ground_truth/vocabulary.yaml "
        f"({suggest(model, words)})",
        "family",
    )
