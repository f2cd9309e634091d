"""Every command that the documentation shows does what the page says; slow ones are named and looked up at least."""

from __future__ import annotations

import gzip
import re
import shutil

import pytest

from roofline_lab.cli.main import main
from roofline_lab.cli.main import parser as laboratory
from simulator.cli.main import parser as simulator
from simulator.input_files import read_yaml
from tests.console import Command, Reader, Written, fits, steps
from tests.paths import ROOT
from tests.roofline_lab.builders import copy_project, example_lab
from tests.roofline_lab.importers import samples

PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
SHOWN = {page: steps((ROOT / page).read_text(encoding="utf-8")) for page in PAGES}

ALL_FINDINGS = "about all findings of the project, which is a minute's work; tests of the jobs run it on a small one"
ENVIRONMENT = "changes the environment of who runs it"
OWN_DATA = "needs measurements or a simulator of the reader's own"
REFERENCE = "needs reference data that the project does not contain (docs/reference-data.md)"
MINUTES = "takes minutes"
# Page -> commands that are not run, by their beginning, and why. Their targets and options have to exist all the same.
NOT_RUN = {
    "README.md": {
        "make": MINUTES,
        "source": ENVIRONMENT,
        "snakemake": ALL_FINDINGS,
        "roofline-lab lint": ALL_FINDINGS,
        "roofline-lab inspect": OWN_DATA,
        "roofline-lab new": OWN_DATA,
        "roofline-lab compare": "needs the history of a clone",
    },
    "docs/tutorial.md": {"make": ENVIRONMENT, "source": ENVIRONMENT},
    "docs/calibration.md": {
        "snakemake": MINUTES,
        "roofline-lab": OWN_DATA,
        "nvidia-smi": "needs the GPU",
        "python": "needs the GPU, or tables that were measured on one",
        "vllm": "needs a server",
    },
    "docs/capacity.md": {"roofline-lab capacity": "a search of some seconds; tests/roofline_lab/cli ask smaller ones"},
    "docs/comparing.md": {"roofline-lab": "needs the history of a clone, or a simulator of the reader's own"},
    "docs/ground-truth.md": {"roofline-lab": OWN_DATA},
    "docs/importing.md": {
        "roofline-lab import --from-csv": OWN_DATA,
        "roofline-lab inspect measured_runs.csv": OWN_DATA,
        "snakemake": "the tutorial runs the same",
    },
    "docs/labs.md": {"pip": ENVIRONMENT, "podman": ENVIRONMENT},
    "docs/running.md": {
        "pip": ENVIRONMENT,
        "eval": ENVIRONMENT,
    },
    "docs/simulator.md": {
        "echo": REFERENCE,
        "python -m simulator replay": REFERENCE,
        "python -m simulator audit": REFERENCE,
        "head": REFERENCE,
    },
    "docs/simulator-contract.md": {
        "roofline-lab": "a minute; tests/roofline_lab/predict/test_outside.py runs the page's program",
        "snakemake": "a minute; tests/roofline_lab/predict/test_outside.py runs the page's program",
    },
    "docs/site.md": {"make": "needs a browser"},
    "docs/clusters.md": {"": "needs a cluster"},
}
# Pages that are read in a clone; all others in the example lab, with one more run imported.
IN_A_CLONE = {"README.md", "docs/tutorial.md", "docs/calibration.md", "docs/capacity.md"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Return the example lab as the tutorial leaves it after its fifth step, and results of tools beside it."""
    folder = tmp_path_factory.mktemp("reader") / "lab"
    assert main(["init", str(folder)]) == 0
    example_lab(folder)
    words = ["vllm-bench", str(folder / "measured" / "made-up-mix"), "--hardware", "made-up-gpu"]
    assert main(["import", *words, "--root", str(folder), "--out", str(folder / "ground_truth" / "my-run")]) == 0
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Return what readers of a clone look into: the example, configurations, findings."""
    folder = copy_project(tmp_path_factory.mktemp("clone") / "clone", ("configs", "hypotheses", "ground_truth"))
    shutil.copytree(ROOT / "reports", folder / "reports")
    example_lab(folder / ".test")
    return folder


@pytest.fixture
def reader(request, page, lab, clone, tmp_path):
    """Return someone who opens a page and has what it takes for granted."""
    there = shutil.copytree(clone if page in IN_A_CLONE else lab, tmp_path / "here")
    if page == "docs/importing.md":
        samples.write_guidellm(there / "results")
        samples.write_vllm(there / "bench").rename(there / "result.json")
        samples.write_sglang(there / "sweep")
        samples.write_inference_perf(there / "run")
        with gzip.open(there / "trace.csv.gz", "wt") as trace:
            trace.write("arrival_us,prompt_tokens,output_tokens\n0,100,10\n500000,120,12\n")
    return Reader(there, tmp_path / "bin")


def not_run(page, command):
    """Return why a command is not run, None if it is."""
    return next((why for start, why in NOT_RUN.get(page, {}).items() if command.text.startswith(start)), None)


@pytest.mark.parametrize("page", [page for page in PAGES if SHOWN[page]])
def test_commands_of_a_page_do_what_it_shows(page, reader):
    wrong = []
    for step in SHOWN[page]:
        if isinstance(step, Written):
            (reader.folder / step.name).parent.mkdir(parents=True, exist_ok=True)
            (reader.folder / step.name).write_text(step.text, encoding="utf-8")
        elif not_run(page, step) is None:
            code, printed = reader.does(step)
            if not fits(step.shown, printed) if step.shown else code:
                wrong.append(f"{page}:{step.line}: $ {step.text}\n{printed}")
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize("page", NOT_RUN)
def test_commands_that_are_not_run_are_on_their_page_still(page):
    if not (ROOT / page).is_file():
        pytest.skip("the page is not there yet")
    texts = [step.text for step in SHOWN[page] if isinstance(step, Command)]
    assert [start for start in NOT_RUN[page] if not any(text.startswith(start) for text in texts)] == []


LISTED = [
    pytest.param(step, id=f"{page}:{step.line}")
    for page in PAGES
    for step in SHOWN[page]
    if isinstance(step, Command) and not_run(page, step) is not None
]


@pytest.mark.parametrize("command", LISTED)
def test_a_command_that_is_not_run_names_options_and_targets_that_exist(command):
    words = command.words
    if words[0] == "make":
        assert set(words[1 : words.index("&&") if "&&" in words else None]) <= make_targets()
    elif words[0] == "snakemake":
        named = [word for word in words[1:] if not word.startswith("-") and "=" not in word and "/" not in word]
        assert [word for word in named if word not in snakemake_targets() and not word.endswith(".zip")] == []
    elif words[0] == "roofline-lab" and "--help" not in words:
        assert laboratory(words[1:]).parse_args(words[1:]).command == words[1]
    elif words[:3] == ["python", "-m", "simulator"]:
        assert simulator().parse_args(words[3:]).command == words[3]


def make_targets():
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def snakemake_targets():
    rules = [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]
    names = {name for path in rules for name in re.findall(r"^ *rule (\w+):", path.read_text(), re.MULTILINE)}
    for path in (ROOT / "hypotheses").glob("*/hypothesis.yaml"):
        spec = read_yaml(path)
        names |= {spec["id"], *spec.get("aliases", ())}
    return names | {"h90_mine", "my_hypothesis", "my_claim"}


TYPED = re.compile(r"^\s*(?:\$ )?(?:roofline-lab|snakemake|make|pip|python -m (?:simulator|roofline_lab)) ")


@pytest.mark.parametrize("page", PAGES)
def test_commands_stand_in_console_blocks_alone(page):
    """What stands in a fence of another kind, or is indented, is run by nobody."""
    inside, found = "", []
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            inside = "" if inside else line[3:] or "none"
        elif TYPED.match(line) and inside not in ("console", "yaml", "text") and (inside or line.startswith("    ")):
            found.append(f"{number}: {line}")
    assert found == []


def test_what_a_page_shows_is_compared_line_by_line():
    assert fits(("one", "..."), "one\ntwo\nthree\n")
    assert fits(("...", "three"), "one\ntwo\nthree\n")
    assert fits(("a ... c",), "a b c\n")
    assert not fits(("one", "three"), "one\ntwo\nthree\n")
    assert not fits(("one",), "one\ntwo\n")


def test_files_and_commands_of_a_page_come_in_their_order():
    text = "```yaml\n# a.yaml: options\nkey: 1\n```\n\n```console\n$ one \\\n    more\nsaid\n$ two   # why\n```\n"
    written, one, two = steps(text)
    assert (written.name, written.text) == ("a.yaml", "# a.yaml: options\nkey: 1\n")
    assert (one.text, one.shown, one.line) == ("one more", ("said",), 7)
    assert two.words == ["two"]
