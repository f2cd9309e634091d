"""Whatever lies in a file, a reader returns an experiment or raises one `ConfigError`; nothing else."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roofline_lab.ground_truth.json_stream import stream_values
from roofline_lab.ground_truth.requests import MeasuredRequest, read_measured_requests, requests_text
from roofline_lab.importers import import_experiment
from roofline_lab.importers.inspection import inspect
from roofline_lab.importers.overrides import Overrides
from roofline_lab.importers.server_facts import SPELLINGS
from roofline_lab.importers.server_sources import stated_by_option
from roofline_lab.importers.table import read as read_csv
from roofline_lab.importers.table_rows import COLUMNS
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import (
    SAMPLES,
    aiperf_line,
    inference_perf_config,
    per_request,
    pooled,
    sent,
    tool_word,
    write_lines,
)
from tests.roofline_lab.importers.test_aiperf import CSV
from tests.roofline_lab.importers.test_table import ROW, table

EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SCALARS = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1,
        3.5,
        -0.5,
        1e300,
        10**400,
        "",
        "x",
        "inf",
        "nan",
        [],
        {},
        [1],
        {"a": 1},
        [None],
        [[]],
        "٣",
        "\ud800",
        "a\0b",
        float("nan"),
        float("inf"),
        5e-324,
        "9" * 5000,
    ]
)


def places(value, place=()):
    """Yield where the values of a document are, containers included."""
    yield place
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from places(entry, (*place, key))


def damaged(document, place, replacement):
    """Return a copy with one value replaced, or removed where the replacement is an exception class."""
    content = copy.deepcopy(document)
    if not place:
        return replacement
    parent = content
    for key in place[:-1]:
        parent = parent[key]
    if replacement is KeyError:
        del parent[place[-1]]
    else:
        parent[place[-1]] = replacement
    return content


def attempt(project, tool, folder):
    """Import and clean up; anything but a `ConfigError` is a failure of the test."""
    out = project / "ground_truth" / "mine"
    try:
        import_experiment(tool, folder, out, Overrides(model="llama-2-7b-hf"))
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right
        assert not out.exists()
    shutil.rmtree(out, ignore_errors=True)
    assert not list(project.rglob(".import*"))
    try:
        assert list(inspect(folder))
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right


def folder_of(tmp_path, tool):
    """Return a folder with all that has to lie beside the main file of a tool."""
    folder = tmp_path / tool
    (folder / SAMPLES[tool].file).parent.mkdir(parents=True, exist_ok=True)
    for name, content in SAMPLES[tool].beside.items():
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


def with_document(tmp_path, tool):
    """Return a folder with sound results of a tool."""
    folder = folder_of(tmp_path, tool)
    (folder / SAMPLES[tool].file).write_text(json.dumps(SAMPLES[tool].document), encoding="utf-8")
    return folder


@pytest.mark.parametrize("tool", sorted(SAMPLES))
def test_the_undamaged_documents_are_imported(project, tmp_path, tool):
    folder = with_document(tmp_path, tool)
    names = Overrides(model="llama-2-7b-hf")
    assert import_experiment(tool, folder, project / "ground_truth" / "mine", names).experiment.tool == tool_word(tool)


@pytest.mark.parametrize("tool", sorted(SAMPLES))
@given(data=st.data())
@EXAMPLES
def test_a_document_with_one_wrong_value_is_imported_or_refused(project, tmp_path, tool, data):
    document = SAMPLES[tool].document
    place = data.draw(st.sampled_from(sorted(places(document), key=str)))
    replacement = data.draw(SCALARS | st.just(KeyError)) if place else data.draw(SCALARS)
    folder = folder_of(tmp_path, tool)
    (folder / SAMPLES[tool].file).write_text(json.dumps(damaged(document, place, replacement)), encoding="utf-8")
    attempt(project, tool, folder)


@pytest.mark.parametrize("tool", sorted(SAMPLES))
@given(data=st.data())
@EXAMPLES
def test_a_truncated_document_is_refused(project, tmp_path, tool, data):
    text = json.dumps(SAMPLES[tool].document)
    end = data.draw(st.integers(0, len(text) - 1))
    folder = folder_of(tmp_path, tool)
    (folder / SAMPLES[tool].file).write_text(text[:end], encoding="utf-8")
    with pytest.raises(ConfigError):
        import_experiment(tool, folder, project / "ground_truth" / "mine")
    assert not (project / "ground_truth" / "mine").exists()


@pytest.mark.parametrize("tool", sorted(SAMPLES))
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@EXAMPLES
def test_bytes_that_are_no_result_are_refused(project, tmp_path, tool, content):
    folder = folder_of(tmp_path, tool)
    (folder / SAMPLES[tool].file).write_bytes(content)
    with pytest.raises(ConfigError):
        import_experiment(tool, folder, project / "ground_truth" / "mine")


@given(data=st.data())
@EXAMPLES
def test_a_profile_with_one_wrong_value_is_used_or_refused(project, tmp_path, data):
    config = inference_perf_config()
    place = data.draw(st.sampled_from(sorted(places(config), key=str)))
    replacement = data.draw(SCALARS | st.just(KeyError)) if place else data.draw(SCALARS)
    folder = with_document(tmp_path, "inference-perf")
    wrong = json.dumps(damaged(config, place, replacement))  # JSON is YAML
    (folder / "results" / "config.yaml").write_text(wrong, encoding="utf-8")
    (folder / "profile.yaml").write_text(wrong, encoding="utf-8")
    attempt(project, "inference-perf", folder)


@given(data=st.data())
@EXAMPLES
def test_single_requests_with_one_wrong_value_are_used_or_refused(project, tmp_path, data):
    content = per_request(pooled(count=20, prompts=4))
    place = data.draw(st.sampled_from(sorted(places(content[:3]), key=str)))
    replacement = data.draw(SCALARS | st.just(KeyError)) if place else data.draw(SCALARS)
    folder = with_document(tmp_path, "inference-perf")
    path = folder / "results" / "per_request_lifecycle_metrics.json"
    path.write_text(json.dumps(damaged(content, place, replacement)), encoding="utf-8")
    attempt(project, "inference-perf", folder)


@given(data=st.data())
@EXAMPLES
def test_lines_with_one_wrong_value_are_imported_or_refused(project, tmp_path, data):
    lines = [aiperf_line(*one) for one in enumerate(sent(count=5))]
    place = data.draw(st.sampled_from(sorted(places(lines[0]), key=str)))
    lines[0] = damaged(lines[0], place, data.draw(SCALARS | st.just(KeyError)) if place else data.draw(SCALARS))
    attempt(project, "aiperf", write_lines(tmp_path / "lines", lines))


@given(
    text=st.text(max_size=12) | st.sampled_from(["-1", "0", "1e999", "9" * 40, '"', "Metric"]), cell=st.integers(0, 60)
)
@EXAMPLES
def test_a_csv_of_metrics_with_one_wrong_cell_is_imported_or_refused(project, tmp_path, text, cell):
    path = tmp_path / "concurrency4" / "profile_export_aiperf.csv"
    path.parent.mkdir(exist_ok=True)
    parts = re.split("([,\n])", CSV)
    parts[2 * min(cell, len(parts) // 2)] = text
    path.write_text("".join(parts), encoding="utf-8", newline="")
    attempt(project, "aiperf", path)


@pytest.mark.parametrize("name", ["exp-config.yaml", "profile.yaml", "vllm.log", "traces.jsonl"])
@given(content=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
@EXAMPLES
def test_garbage_beside_a_report_is_ignored_or_refused(project, tmp_path, name, content):
    folder = with_document(tmp_path, "guidellm")
    for text in ("exp-config.yaml", "profile.yaml", "vllm.log", "traces.jsonl"):
        (folder / text).unlink(missing_ok=True)
    (folder / name).write_bytes(content)
    attempt(project, "guidellm", folder)


FACTS = (
    "server.yaml",
    "exp-config.yaml",
    "meta.json",
    "vllm.log",
    "server.log",
    "serve.sh",
    "command.txt",
    "deploy.yaml",
    "docker-compose.yml",
)
WORDS = (
    *("vllm serve m/m", "--no-enable-prefix-caching", "-tp", "--max-num-seqs=", "'", '"', "\\\n", "$X", "{", "}"),
    *("image: vllm/vllm-openai:v0.11.0", "args:", "command:", "- ", "prefix_caching: ", "kv_blocks: ", "0", "-1"),
    *(
        "enable_prefix_caching=False",
        "GPU KV cache size: 4,0 tokens",
        "non-default args: {",
        "1e400",
        "9" * 40,
        "[",
        "]",
    ),
    *(
        '{"engine_kwargs": ',
        "null",
        '"kv_cache": ',
        "---",
        "&a ",
        "*a",
        "date: ",
        "2026-99-99",
        "vllm_version: ",
        "0.10",
    ),
    *("none", "\n", " "),
)
ANY_KEY = st.sampled_from(sorted(SPELLINGS)) | st.text(max_size=10)


@given(name=st.sampled_from(FACTS), words=st.lists(st.sampled_from(WORDS) | st.text(max_size=4), max_size=14))
@EXAMPLES
def test_garbled_facts_about_a_server_are_used_or_refused(project, tmp_path, name, words):
    folder = with_document(tmp_path, "guidellm")
    for other in FACTS:
        (folder / other).unlink(missing_ok=True)
    (folder / name).write_bytes("".join(words).encode("utf-8", "replace"))
    attempt(project, "guidellm", folder)


@given(
    key=st.sampled_from(sorted(SPELLINGS)) | st.text(max_size=10), value=st.text(max_size=10) | st.sampled_from(WORDS)
)
@EXAMPLES
def test_a_garbled_option_about_a_server_is_used_or_refused(key, value):
    try:
        stated_by_option(f"{key}={value}")
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right


@given(column=st.sampled_from(COLUMNS), text=st.text(max_size=12) | st.sampled_from(["-1", "0", "1e999", "9" * 40]))
@EXAMPLES
def test_a_table_with_one_wrong_cell_is_read_or_refused(tmp_path, column, text):
    path = table(tmp_path, {**ROW, column: text})
    try:
        read_csv(path)
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right


@given(content=st.binary(max_size=200))
@EXAMPLES
def test_a_table_of_bytes_is_refused(tmp_path, content):
    path = tmp_path / "measured.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        read_csv(path)


@given(column=st.integers(0, 9), text=st.text(max_size=12) | st.sampled_from(["-1", "0", "1e999", "9" * 4400]))
@EXAMPLES
def test_recorded_requests_with_one_wrong_cell_are_read_or_refused(tmp_path, column, text):
    header, row = requests_text([MeasuredRequest("p", "a", 0, 5, 6, "g", 2, True, 1.0, 2.0)]).splitlines()
    cells = row.split(",")
    cells[column] = '"' + text.replace('"', '""') + '"'
    path = tmp_path / "requests.csv"
    path.write_text(f"{header}\n{','.join(cells)}\n", encoding="utf-8", newline="")
    read_measured_requests.__globals__["_read"].cache_clear()
    try:
        read_measured_requests(path)
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right


@given(content=st.binary(max_size=100))
@EXAMPLES
def test_a_stream_of_bytes_is_json_or_refused(tmp_path, content):
    path = Path(tmp_path / "values.json")
    path.write_bytes(content)
    try:
        list(stream_values(path, frozenset({(), ("a",)})))
    except ConfigError as error:
        assert str(path) in str(error)  # noqa: PT017 - both outcomes are right
