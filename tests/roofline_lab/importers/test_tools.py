"""A new tool is one file: import, inspect, the help and messages know it without another edit."""

from __future__ import annotations

import json
import sys

import pytest

from roofline_lab import importers
from roofline_lab.cli.main import EXIT_FAILURE, main
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.importers.tools import tool_of, tools
from tests.roofline_lab.importers.samples import SAMPLES, write_vllm

# The template of docs/importing.md for another tool.
MADE_UP = '''
"""Results of a made-up load generator: one JSON object, one load point."""

import json

from roofline_lab.importers.common import Notes, measured_metrics, measurement, only_file, unrecorded_day

TOOL = "made-up"
MARKS = frozenset({"made_up_version"})


def read(path):
    path = only_file(path, ("*.json",), "a made-up result")
    content = json.loads(path.read_text(encoding="utf-8"))
    latencies = {"ttft_mean": content["ttft_ms"], "e2e_mean": content["e2e_ms"]}
    return measurement(
        tool=TOOL,
        tool_version=content["made_up_version"],
        source=str(path),
        document=path.name,
        measured_on=unrecorded_day(path.absolute().parent),
        model_name=content["model"],
        workload={
            "prompt": {"kind": "constant", "tokens": content["prompt"]},
            "output": {"kind": "constant", "tokens": content["output"]},
        },
        load_points=[
            {
                "id": "one",
                "arrivals": {"kind": "closed_loop", "concurrency": 1},
                "requests": {"sent": content["count"], "completed": content["count"], "basis": "The file."},
                "measured": measured_metrics(str(path), latencies, {}),
            }
        ],
        notes=Notes(),
    )
'''
RESULT = {
    "tool": "made-up",
    "made_up_version": "1.2",
    "model": "meta-llama/Llama-2-7b-hf",
    "prompt": 200,
    "output": 40,
    "count": 10,
}


MARK = 'frozenset({"made_up_version"})'


@pytest.fixture
def add_tool(tmp_path, monkeypatch):
    """Add a tool nobody else has heard of by its source."""

    def add(source):
        folder = tmp_path / "importers"
        folder.mkdir()
        (folder / "made_up_tool.py").write_text(source, encoding="utf-8")
        monkeypatch.setattr(importers, "__path__", [*importers.__path__, str(folder)])
        tools.cache_clear()

    yield add
    monkeypatch.undo()
    sys.modules.pop("roofline_lab.importers.made_up_tool", None)
    tools.cache_clear()


@pytest.fixture(params=[MARK, '{"tool": "made-up"}'], ids=["marked_by_a_key", "marked_by_a_value"])
def made_up(request, tmp_path, add_tool):
    """Add the tool, and return one of its results."""
    assert MARK in MADE_UP
    add_tool(MADE_UP.replace(MARK, request.param))
    result = tmp_path / "results" / "out.json"
    result.parent.mkdir()
    result.write_text(json.dumps({**RESULT, "ttft_ms": 20.0, "e2e_ms": 410.0}), encoding="utf-8")
    return result


def test_every_tool_has_a_sample_that_the_tests_of_all_tools_use():
    assert set(SAMPLES) == set(tools())


def test_a_file_in_the_folder_is_a_tool(made_up):
    assert set(tools()) == {*SAMPLES, "made-up"}


def test_a_new_tool_is_imported_and_named_by_its_version(made_up, project):
    out = project / "ground_truth" / "mine"
    assert main(["import", "made-up", str(made_up), "--out", str(out)]) == 0
    experiment = load_experiment(out)
    assert (experiment.tool, experiment.tool_version) == ("other", "made-up 1.2")
    assert experiment.load_points[0].measured["e2e_mean"].value == 410.0


def test_a_new_tool_is_recognised_by_its_marks_as_a_file_and_in_a_folder(made_up, capsys):
    for path in (made_up, made_up.parent):
        assert main(["inspect", str(path)]) == 0
        assert capsys.readouterr().out.startswith("out.json")


def test_the_help_and_every_message_name_a_new_tool(made_up, project, tmp_path, capsys):
    assert main(["import", "--help"]) == 0
    names = sorted([*SAMPLES, "made-up"])
    assert f"{{{','.join(names)}}}" in capsys.readouterr().out
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    assert main(["inspect", str(tmp_path / "x.json")]) == EXIT_FAILURE
    assert f"give results of {', '.join(names)}" in capsys.readouterr().err
    out = str(project / "ground_truth" / "mine")
    assert main(["import", "vllm-bench", str(made_up), "--out", out]) == EXIT_FAILURE
    assert "this is a file of made-up, not of vllm-bench; use: import made-up PATH" in capsys.readouterr().err


def test_a_file_of_one_tool_given_as_anothers_names_the_right_command(project, tmp_path, capsys):
    path, out = write_vllm(tmp_path / "in"), project / "ground_truth" / "mine"
    assert main(["import", "guidellm", str(path), "--out", str(out)]) == EXIT_FAILURE
    assert "this is a file of vllm-bench, not of guidellm; use: import vllm-bench PATH" in capsys.readouterr().err


@pytest.mark.parametrize("mark", ['frozenset({"tool"})', '{"tool": "made-up"}', '{"tool": "guidellm"}'])
def test_a_mark_that_is_a_common_word_hides_no_experiment(project, add_tool, capsys, mark):
    add_tool(MADE_UP.replace(MARK, mark))
    folder = project / "ground_truth" / "jan30-llama2-7b-tp1-chatsweep"
    shown = []
    for path in (folder, folder / "experiment.yaml"):
        assert main(["inspect", str(path)]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert shown[0].startswith("jan30-llama2-7b-tp1-chatsweep: ")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("x.json", '{"tool": "made-up"}', "made-up"),
        ("x.json", '{"a": [1], "tool": "made-up"}', "made-up"),
        ("x.json", '{"tool": "another"}', None),
        ("x.json", '{"a": {"tool": "made-up"}, "tool": ["made-up"]}', None),
        ("x.yaml", "a: 1\ntool: made-up\n", "made-up"),
        ("x.yaml", "tool: 'made-up'  # of ours\n", "made-up"),
        ("x.yaml", "tool: another\n", None),
        ("x.yaml", "a:\n  tool: made-up\n", None),
        ("x.csv", "tool,made-up\n", None),
    ],
)
def test_a_key_with_another_value_is_no_mark(tmp_path, add_tool, name, text, expected):
    add_tool(MADE_UP.replace(MARK, '{"tool": "made-up"}'))
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert tool_of(tmp_path / name) == expected
