"""How the command line begins: help comes without loading what it does not need, findings are listed."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from types import SimpleNamespace

import pytest

from roofline_lab.cli import main as entry
from roofline_lab.cli.main import COMMANDS, main
from roofline_lab.cli.tool_names import tool_names
from roofline_lab.formatting import columns
from roofline_lab.importers.tools import tools
from tests.paths import ROOT

HEAVY = {"jinja2", "matplotlib", "numpy", "pandas", "pydantic", "scipy", "snakemake"}
LOADED_BY_HELP = """
import contextlib, io, json, sys
from roofline_lab.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    codes = [main([*words, "--help"]) for words in json.loads(sys.argv[1])]
print(json.dumps([codes, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def outcome(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def project(tmp_path):
    """Return a project of three findings: one judged, one not run yet, and a draft that is no YAML."""
    for name, text in {
        "h10_later": "title: Later\naliases: [H10, late]\n",
        "h2_first": "title: A first claim\n",
        "h3_draft": "title: [\n",
    }.items():
        folder = tmp_path / "hypotheses" / name
        folder.mkdir(parents=True)
        (folder / "hypothesis.yaml").write_text(text, encoding="utf-8")
    report = tmp_path / "reports" / "h10_later"
    report.mkdir(parents=True)
    verdict = {"methods": [{"status": "Refuted"}, {"status": "Confirmed"}]}
    (report / "verdict.json").write_text(json.dumps(verdict), encoding="utf-8")
    return tmp_path


def test_no_page_of_help_loads_what_computes_or_draws():
    words = [[], *([name] for name in COMMANDS)]
    text = [sys.executable, "-c", LOADED_BY_HELP, json.dumps(words)]
    done = subprocess.run(text, cwd=ROOT / "workflow", capture_output=True, text=True, check=True)
    codes, loaded = json.loads(done.stdout)
    assert codes == [0] * len(words)
    assert HEAVY & set(loaded) == set()


def test_help_names_every_tool_that_can_be_imported():
    assert tool_names() == tuple(tools())


def test_the_version_is_that_of_the_project(capsys):
    expected = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert outcome(capsys, "--version") == (0, f"roofline-lab {expected}\n", "")


def test_findings_are_listed_in_their_order_with_what_the_last_method_concludes(capsys, project):
    code, out, _ = outcome(capsys, "list", "--root", project)
    assert code == 0
    assert [line.split("  ")[0] for line in out.splitlines()] == ["Finding", "h2_first", "h3_draft", "h10_later"]
    assert "h10_later  H10, late  Confirmed       Later" in out
    assert "not run yet     A first claim" in out
    assert "cannot be read" in out


def test_words_choose_the_findings_that_hold_them_all(capsys, project):
    _, out, _ = outcome(capsys, "list", "FIRST", "claim", "--root", project)
    assert [line.split()[0] for line in out.splitlines()] == ["Finding", "h2_first"]
    code, _, err = outcome(capsys, "list", "nowhere", "--root", project)
    assert code == 2
    assert err == "error: no finding holds 'nowhere'; `roofline-lab list` shows all of them\n"


def test_a_folder_without_findings_is_refused(capsys, tmp_path):
    code, _, err = outcome(capsys, "list", "--root", tmp_path)
    assert code == 2
    assert "no */hypothesis.yaml found" in err


def test_columns_are_as_wide_as_their_widest_cell():
    assert columns([["a", "bb"], ["ccc", "d"]]) == "a    bb\nccc  d"


def test_a_shell_that_completes_is_answered_by_argcomplete(monkeypatch):
    asked = []
    monkeypatch.setenv(entry.COMPLETES, "1")
    monkeypatch.setitem(sys.modules, "argcomplete", SimpleNamespace(autocomplete=asked.append))
    main(["--version"])
    assert [parser.prog for parser in asked] == ["roofline-lab"]


def test_without_argcomplete_a_shell_is_told_nothing(monkeypatch, capsys):
    monkeypatch.setenv(entry.COMPLETES, "1")
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    assert outcome(capsys, "--version") == (2, "", "")
