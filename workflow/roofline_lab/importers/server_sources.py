"""Where facts about a measured server are read from: what people keep beside results, and what they state by option.

Contract: `stated_beside` reads every source of a folder, `stated_in` one file that a person names, `stated_by_option`
one KEY=VALUE. A source is known by its content: our `server.yaml`, a run description, a start-up log of vLLM, a shell
text or manifest that starts a server, the `meta.json` of LLMServingSim. A file of facts that cannot be read is refused,
as its facts were meant to be used; any other file beside results may be what it likes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text
from roofline_lab.importers.server_facts import NOT_SIMULATED, Stated, is_known, name_of, stated_by
from roofline_lab.importers.vllm_command import MARKS, SGLANG, command_of, commands_in, filled
from simulator.errors import ConfigError
from simulator.input_files import unreadable
from simulator.validation import parse_yaml, read_json, read_yaml

SERVER_FILE = "server.yaml"
RUN_FILE = "exp-config.yaml"
META_FILE = "meta.json"
LOG_PATTERNS = ("*vllm*.log*", "*server*.log*", "*sglang*.log*")
TEXT_PATTERNS = ("*.sh", "*.txt", "*.cmd", "*.bash", "*command*", "Dockerfile*")
YAML_PATTERNS = ("*.yaml", "*.yml")
# YAML files that are no manifest: ours, the client's, and those above.
OTHER_YAML = (SERVER_FILE, RUN_FILE, "config.yaml", "profile.yaml", "experiment.yaml")

MAX_LINE_CHARACTERS = 1 << 24
# Scripts and manifests are short; anything longer is data.
MAX_TEXT_BYTES = 1 << 20

# Keys of `server.yaml` that hold what others write elsewhere.
COMMAND_KEYS = ("command", "args")
# Keys under which `experiment.yaml` has the same facts.
FOLDED = ("server", "known")


def stated_beside(folder: Path) -> Stated:
    """Return what the files of a folder state about the server.

    Raises
    ------
    ConfigError
        If a file of facts cannot be read, or states what cannot be.
    """
    found = Stated()
    for path in _sources(folder):
        found = found.with_(_read(path, asked=False))
    return found


def stated_in(path: Path) -> Stated:
    """Return what one file states that a person names as a source.

    Raises
    ------
    ConfigError
        If it cannot be read, or states nothing.
    """
    if not path.is_file():
        raise ConfigError(f"--server: {path}: no such file; give KEY=VALUE, or a file that states facts")
    found = _read(path, asked=True)
    if not (found.facts or found.not_simulated):
        raise ConfigError(
            f"--server: {path}: nothing in it states a fact about a server; allowed: {SERVER_FILE}, a log of vLLM, a "
            "command line, a manifest or compose file that starts vLLM, or KEY=VALUE"
        )
    return found


def stated_by_option(text: str) -> Stated:
    """Return what KEY=VALUE states, or the file that stands in its place.

    Raises
    ------
    ConfigError
        If the key is unknown, the value cannot be, or there is no such file.
    """
    key, equals, value = text.partition("=")
    if not equals or (not is_known(key) and Path(text).is_file()):
        return stated_in(Path(text))
    if not value.strip():
        raise ConfigError(f"--server: {key}: no value; give KEY=VALUE, such as prefix_caching=off")
    return stated_by("--server", {key.strip(): value.strip()}, strict=True)


def _sources(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that may state facts, each once, in a fixed order."""
    names = [folder / name for name in (SERVER_FILE, "server.yml", RUN_FILE, META_FILE)]
    patterns = (*LOG_PATTERNS, *TEXT_PATTERNS, *YAML_PATTERNS)
    matching = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    seen = dict.fromkeys(path for path in (*names, *matching) if path.is_file())
    yield from seen


def _read(path: Path, *, asked: bool) -> Stated:
    """Read one file by what it is; `asked`: a person names it as a source of facts."""
    name = path.name
    if name in (SERVER_FILE, "server.yml"):
        return _own(path)
    if name == RUN_FILE:
        return stated_by(str(path), read_mapping(path))
    if name.endswith(".json"):
        return _described_by_json(path, asked=asked)
    if any(path.match(pattern) for pattern in LOG_PATTERNS):
        return _logged(path).with_(_commanded(path))
    if name.endswith((".yaml", ".yml")):
        if name in OTHER_YAML:
            return Stated()
        found = _in_manifest(path)
        return _own(path) if asked and not found.facts else found
    found = _commanded(path)
    return found.with_(_logged(path)) if asked else found


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file that must be a mapping.

    Raises
    ------
    ConfigError
        If it cannot be read or is something else.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{path}: must be a mapping of names to values")
    return content


# --- server.yaml ------------------------------------------------------------------------------


def _own(path: Path) -> Stated:
    """Read our own file: facts by any of their names, and a command line under `command`."""
    content = read_mapping(path)
    for key in FOLDED:
        inside = content.get(key)
        if isinstance(inside, dict):
            content = {**{name: value for name, value in content.items() if name != key}, **inside}
    commands = {key: content.pop(key) for key in COMMAND_KEYS if key in content}
    found = stated_by(str(path), content, strict=True)
    for options in _started(commands, None):
        found = found.with_(_of_options(f"{path}: command", options))
    return found


# --- command lines ----------------------------------------------------------------------------


def _commanded(path: Path) -> Stated:
    """Read every command of a text that starts a server."""
    text = _short_text(path)
    found = Stated()
    if text is None or not any(mark in text for mark in MARKS):
        return found
    for options in commands_in(text):
        found = found.with_(_of_options(str(path), options))
    return found


def _of_options(source: str, options: Mapping[str, object]) -> Stated:
    """Translate options of a server; one whose value only its shell knows is named, not guessed."""
    known = {key: value for key, value in options.items() if "$" not in str(value)}
    open_ones = tuple(f"{key}={options[key]}" for key in options if key not in known and is_known(key))
    found = stated_by(source, known, loose=True)
    names = (*found.unused.get(source, ()), *open_ones)
    return Stated(found.facts, {source: names} if names else {}, found.not_simulated)


def _short_text(path: Path) -> str | None:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            return None
        with open_text(path, "replace") as stream:
            return stream.read(MAX_TEXT_BYTES)
    except READ_ERRORS:
        return None


# --- manifests --------------------------------------------------------------------------------


_STARTS = re.compile(
    r"(?:vllm|sglang)[\"',\s\]-]{1,20}serve|vllm\.entrypoints|vllm-openai|/vllm[\w.-]*[:@]|vllmServe|vllmConfig"
    r"|sglang\.launch_server"
)


def _in_manifest(path: Path) -> Stated:
    """Read containers of a Kubernetes manifest or compose file that start a server."""
    text = _short_text(path)
    found = Stated()
    if text is None or not _STARTS.search(text):
        return found
    for document in re.split(r"(?m)^---.*$", text):
        try:
            content = parse_yaml(document, source=str(path))
        except ConfigError:
            return Stated(unused={str(path): ("a template, or no YAML",)})
        found = found.with_(_of_document(str(path), content))
    return found


def _of_document(source: str, content: Any) -> Stated:
    found = Stated()
    servers = 0
    for mapping in _mappings(content):
        image = mapping.get("image")
        started = [*_started(mapping, image if isinstance(image, str) else None), *_of_helm_values(mapping)]
        for options in started:
            servers += 1
            found = found.with_(_of_options(source, options))
    if servers:
        extra = {key: value for key, value in _around(content) if key in NOT_SIMULATED or key == "hardware"}
        found = found.with_(stated_by(source, extra, loose=True))
    return found


def _mappings(content: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    if depth > 40:
        return
    if isinstance(content, Mapping):
        yield content
        content = list(content.values())
    if isinstance(content, list):
        for entry in content:
            yield from _mappings(entry, depth + 1)


def _started(mapping: Mapping[str, Any], image: str | None) -> Iterator[dict[str, object]]:
    """Yield the options of servers that `entrypoint`, `command` and `args` of a container start."""
    # The chart of llm-d says in a word of its own what a container starts.
    words: list[str] = ["vllm", "serve"] if mapping.get("modelCommand") == "vllmServe" else []
    scripts: list[str] = []
    for key in ("entrypoint", "command", "args"):
        value = mapping.get(key)
        if isinstance(value, str):
            scripts.append(value)
            words += _words(value)
        elif isinstance(value, list):
            parts = [str(part) for part in value if isinstance(part, str | int | float)]
            scripts += [part for part in parts if "\n" in part or " " in part]
            words += parts
    assigned = dict(_environment(mapping))
    whole = command_of([filled(word, assigned) for word in words], image)
    inside = [options for script in scripts for options in commands_in(filled(script, assigned))]
    if inside:
        yield from ({**options, **({"image": image} if image and "vllm" in image else {})} for options in inside)
    elif whole is not None and words:
        yield whole


def _environment(mapping: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the variables that a container sets, as Kubernetes and compose files write them."""
    for given in (mapping.get("env"), mapping.get("environment")):
        if isinstance(given, Mapping):
            yield from (
                (str(name), str(value)) for name, value in given.items() if isinstance(value, str | int | float)
            )
        for entry in given if isinstance(given, list) else ():
            if isinstance(entry, str) and "=" in entry:
                name, _, value = entry.partition("=")
                yield name, value
            elif isinstance(entry, Mapping) and isinstance(entry.get("value"), str | int | float):
                yield str(entry.get("name")), str(entry["value"])


def _of_helm_values(mapping: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """Yield the options of a server that the values of vLLM's own chart describe (`modelSpec[].vllmConfig`)."""
    config = mapping.get("vllmConfig")
    if not isinstance(config, Mapping):
        return
    named = {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(key)).lower(): value for key, value in config.items()}
    extra = named.pop("extra_args", None)
    words = [str(word) for word in extra] if isinstance(extra, list) else []
    tag = {"image": f"{mapping.get('repository')}:{mapping['tag']}"} if mapping.get("tag") else {}
    yield {**named, **(command_of(["vllm", "serve", *words]) or {}), **tag}


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text.replace("\\\n", " "))
    except ValueError:
        return text.split()


def _around(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a manifest says around its containers: replicas, and the GPU its nodes have."""
    for mapping in _mappings(content):
        if isinstance(mapping.get("replicas"), int):
            yield "replicas", mapping["replicas"]
        product = mapping.get("nvidia.com/gpu.product")
        if isinstance(product, str):
            yield "hardware", product


# --- logs -------------------------------------------------------------------------------------

# Sentences of a log, by what they state.
_SENTENCES: Mapping[str, re.Pattern[str]] = {
    "software": re.compile(r"(?:LLM engine \(v|vLLM API server version |\bvLLM version )(\d+\.\d+[^)\s,]*)"),
    "kv_cache_tokens": re.compile(r"GPU KV cache size: ([\d,]{1,20}) tokens"),
    "kv_blocks": re.compile(r"(?:num_gpu_blocks is: |# (?:GPU|cuda) blocks: )(\d{1,9})\b"),
    "cpu_kv_blocks": re.compile(r"# CPU blocks: (\d{1,9})\b"),
    "token_budget": re.compile(r"[Cc]hunked prefill is enabled with max_num_batched_tokens=(\d{1,9})\b"),
    "schedule_ahead": re.compile(r"Asynchronous scheduling is (enabled|disabled)"),
}
# Settings in the lines that print a configuration: `key=value`, or `'key': value` of non-default arguments.
_LOGGED_KEYS = (
    *("tensor_parallel_size", "max_seq_len", "max_model_len", "enable_prefix_caching", "chunked_prefill_enabled"),
    *("enable_chunked_prefill", "max_num_batched_tokens", "max_num_seqs", "kv_cache_dtype", "block_size"),
    *("gpu_memory_utilization", "num_gpu_blocks_override", "async_scheduling", "pipeline_parallel_size"),
    *("data_parallel_size", "quantization", "enforce_eager", "speculative_config", "enable_expert_parallel"),
    # Of SGLang.
    *("tp_size", "dp_size", "disable_radix_cache", "max_running_requests", "mem_fraction_static", "page_size"),
    *("context_length", "chunked_prefill_size", "max_total_num_tokens", "speculative_algorithm"),
    "disable_overlap_schedule",
)
_LOGGED = re.compile(
    rf"(?<![\w.])['\"]?({'|'.join(_LOGGED_KEYS)})['\"]?(?:=|: ?)"
    r"('[^']{0,200}'|\"[^\"]{0,200}\"|[\w.+-]{0,39}[\w]|[{\[])"
)
# Parts of every sentence and key above; looked for first, because a log has millions of other lines.
_HINTS = (
    *("_size", "_len", "_caching", "prefill", "max_num_", "kv_cache_dtype", "_override", "cheduling", "_utilization"),
    *(
        "ServerArgs(",
        "max_total_num_tokens",
        "version ",
        "engine (v",
        "locks",
        "cache size",
        "quantization",
        "enforce_eager",
        "speculative",
        "_expert_",
    ),
)
# Lines that print what a server was asked for, not what it made of that.
_ARGUMENTS = ("non-default args", "args: Namespace", "ServerArgs(")


def _logged(path: Path) -> Stated:
    """Search a log; a server may have printed bytes that are no text."""
    asked: dict[tuple[str, str], None] = {}
    made: dict[tuple[str, str], None] = {}
    for line in lines(path, errors="replace"):
        if any(hint in line for hint in _HINTS):
            said = asked if any(mark in line for mark in _ARGUMENTS) else made
            said.update(dict.fromkeys(_in_line(line)))
            if "ServerArgs(" in line:
                asked["software", SGLANG] = None
    # GPUs of one server print their own number of tokens; the server has room for the least.
    sizes = sorted((int(text.replace(",", "") or 0), text) for key, text in made if key == "kv_cache_tokens")
    kept = [(key, text) for key, text in made if key != "kv_cache_tokens" or text == sizes[0][1]]
    # What the server made of its arguments decides over what it was asked for.
    decided = {name_of(key)[0] or key for key, _ in kept}
    kept += [(key, text) for key, text in asked if (name_of(key)[0] or key) not in decided]
    found = Stated()
    for key, text in kept:
        found = found.with_(stated_by(str(path), {key: text}, loose=True))
    return found


def _in_line(line: str) -> Iterator[tuple[str, str]]:
    for key, pattern in _SENTENCES.items():
        if match := pattern.search(line):
            yield key, match[1]
    for key, text in _LOGGED.findall(line):
        value = text.strip("'\"")
        if value not in ("None", ""):
            yield key, value


# --- LLMServingSim ----------------------------------------------------------------------------


def _described_by_json(path: Path, *, asked: bool) -> Stated:
    """Read the `meta.json` of LLMServingSim: what the server was asked for, and what it made of it."""
    content = read_json(path)
    if not isinstance(content, Mapping) or "engine_kwargs" not in content:
        if asked and isinstance(content, Mapping):
            return stated_by(str(path), content, strict=True)
        return Stated()
    resolved = _part(content, "resolved_config")
    settings = {
        **{key: value for key, value in _part(content, "engine_kwargs").items() if is_known(key)},
        **{key: value for key, value in _part(content, "kv_cache").items() if is_known(key)},
        **{key: value for key, value in _part(resolved, "scheduler_config").items() if is_known(key)},
        "vllm_version": content.get("vllm_version"),
        "date": content.get("started_at"),
        "hardware": _part(content, "hardware").get("device_name"),
        "model": content.get("model"),
    }
    # What the server resolved to its own choice is stated there alone.
    return stated_by(str(path), {key: value for key, value in settings.items() if value != "auto"}, loose=True)


def _part(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = content.get(key)
    return part if isinstance(part, Mapping) else {}


def lines(path: Path, errors: str = "strict") -> Iterator[str]:
    """Yield the lines of a text file, plain or compressed.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    try:
        with open_text(path, errors) as stream:
            while line := stream.readline(MAX_LINE_CHARACTERS):
                yield line
    except READ_ERRORS as error:
        raise unreadable(path, error) from None
