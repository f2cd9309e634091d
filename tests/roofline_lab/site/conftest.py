"""The site of a small laboratory: two hypotheses, one calibration, three experiments."""

from __future__ import annotations

import shutil

import pytest

from roofline_lab.project import load_project
from roofline_lab.site.build import build_site
from roofline_lab.site.libraries import MODULES
from tests.paths import ROOT
from tests.roofline_lab.builders import HYPOTHESIS, copy_project, edit_yaml
from tests.roofline_lab.snakemake_runs import EXPERIMENTS, SWEEP

SYNTHETIC = "h6_mfu_interpolation"
COPIED = ("configs", "docs", "README.md")
REPORTS = (f"{HYPOTHESIS}", SYNTHETIC, "calibration/h100_vllm", "trust", "errata.md", "README.md")
# HTML, markdown and Jinja, which all have to appear as they stand here.
NASTY = "<b>Bold</b> **stars** {{ 7 * 7 }} [link](http://example.org) <script>document.title='x'</script> `code`"


def small_lab(target):
    """Copy what a site is made from, of a few hypotheses and experiments; one title has marks of three languages."""
    copy_project(target, COPIED)
    for name in (HYPOTHESIS, SYNTHETIC):
        shutil.copytree(ROOT / "hypotheses" / name, target / "hypotheses" / name)
    for name in REPORTS:
        source, copied = ROOT / "reports" / name, target / "reports" / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copied)
        else:
            shutil.copy2(source, copied)
    for name in ("vocabulary.yaml", "sets.yaml", "experiment.schema.json"):
        (target / "ground_truth").mkdir(exist_ok=True)
        shutil.copy2(ROOT / "ground_truth" / name, target / "ground_truth" / name)
    for name in (*EXPERIMENTS, SWEEP):
        shutil.copytree(ROOT / "ground_truth" / name, target / "ground_truth" / name)
    edit_yaml(target / "ground_truth" / "sets.yaml", _keep_few)
    edit_yaml(target / "hypotheses" / SYNTHETIC / "hypothesis.yaml", _with_nasty_title)
    return target


def _keep_few(sets):
    kept = {"synchronous_13": list(EXPERIMENTS), "load_points_of_dense_models": [SWEEP]}
    sets["sets"] = {name: {**sets["sets"][name], "experiments": experiments} for name, experiments in kept.items()}


def _with_nasty_title(spec):
    spec["title"] = NASTY


def needs_libraries():
    """Skip a test where the site's libraries are not installed, saying how to get them."""
    for module, name in MODULES.items():
        pytest.importorskip(module, reason=f"{name} is not installed: pip install 'roofline-lab[site]'")


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory):
    """Return the small laboratory; read only."""
    return small_lab(tmp_path_factory.mktemp("site") / "lab")


@pytest.fixture(scope="session")
def small_project(lab_folder):
    """Return the small laboratory, loaded."""
    return load_project(lab_folder)


@pytest.fixture(scope="session")
def site(small_project, lab_folder):
    """Return the folder of the site of the small laboratory."""
    needs_libraries()
    return build_site(small_project, lab_folder / "site").folder
