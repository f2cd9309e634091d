"""A lab takes what it does not have from the package: which file wins, under which name, and that a run says so."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from roofline_lab import places, provenance
from roofline_lab.config import load_settings
from roofline_lab.files import digest_of_files, hash_list
from roofline_lab.ground_truth.catalog import Catalog
from roofline_lab.ground_truth.reading import words_of
from roofline_lab.jobs import findings
from roofline_lab.predict.choose import fitted_experiments, load_predictor
from simulator.errors import ConfigError
from simulator.steptime.named import ROOFLINE
from tests.paths import ROOT
from tests.roofline_lab.hypotheses.synthetic.toys import DISCUSSION, toy

MODEL = "configs/models/llama-2-7b-hf.json"
GPU = "configs/hardware/h100-sxm.yaml"


@pytest.fixture
def lab(tmp_path):
    """Return a lab that has nothing of its own."""
    root = tmp_path / "lab"
    root.mkdir()
    return root


def own(lab, name, change):
    """Write a shipped file into the lab, changed."""
    (lab / name).parent.mkdir(parents=True, exist_ok=True)
    (lab / name).write_text(change((ROOT / name).read_text(encoding="utf-8")), encoding="utf-8")


def half_the_layers(text):
    return json.dumps(json.loads(text) | {"num_hidden_layers": 16})


def test_what_a_lab_does_not_have_is_the_packages(lab):
    catalog, ours = Catalog(lab), Catalog(ROOT)
    assert catalog.model_ids == ours.model_ids
    assert catalog.hardware_ids == ours.hardware_ids
    assert load_settings(lab) == load_settings(ROOT)
    assert words_of(lab) == words_of(ROOT)


def test_a_labs_own_file_wins_and_the_others_stay(lab):
    own(lab, MODEL, half_the_layers)
    catalog = Catalog(lab)
    assert catalog.model("llama-2-7b-hf").num_hidden_layers == 16
    assert catalog.model("llama-2-70b-hf") == Catalog(ROOT).model("llama-2-70b-hf")
    assert catalog.model_file("llama-2-7b-hf") == lab / MODEL


def test_a_model_of_the_labs_own_stands_beside_those_that_are_shipped(lab):
    own(lab, MODEL, half_the_layers)
    (lab / MODEL).rename(lab / "configs/models/half.json")
    assert set(Catalog(lab).model_ids) == {*Catalog(ROOT).model_ids, "half"}


def test_a_labs_words_are_added_to_those_that_are_shipped(lab):
    (lab / "ground_truth").mkdir()
    words = {"families": {"Mine": "dense"}, "workloads": {"chat": "short"}}
    (lab / "ground_truth" / "vocabulary.yaml").write_text(yaml.safe_dump(words), encoding="utf-8")
    shipped = words_of(ROOT)
    found = words_of(lab)
    assert set(found.families) == {*shipped.families, "Mine"}
    assert set(found.workloads) == {*shipped.workloads, "chat"}


def test_shipped_calibrations_and_step_time_models_predict_in_a_lab_that_has_none(lab):
    for name in ("h100_vllm", ROOFLINE):
        assert load_predictor(lab, name).digest == load_predictor(ROOT, name).digest
    with pytest.raises(ConfigError, match="did you mean 'h100_vllm'"):
        load_predictor(lab, "h100_vlm")


def test_what_constants_were_fitted_to_is_known_where_those_measurements_are_not(lab):
    predictor = load_predictor(lab, ROOFLINE).predictor
    assert predictor.seen == fitted_experiments(ROOT, predictor.fitted)
    assert predictor.seen


def test_names_and_hashes_say_the_same_wherever_files_lie(lab):
    whole = shutil.copytree(ROOT / "configs", lab.parent / "whole" / "configs").parent
    files = (MODEL, GPU, "configs/kernels/h100/analytic.yaml", "configs/lab.yaml")
    of_package, of_lab, of_whole = (
        digest_of_files([places.place_of(root, name) for name in files], root) for root in (ROOT, lab, whole)
    )
    assert of_package == of_lab == of_whole
    assert str(ROOT) not in hash_list([places.place_of(lab, MODEL)], lab)
    assert provenance.code_hashes(lab) == provenance.code_hashes(ROOT)


def test_another_own_file_gives_another_hash_under_the_same_name(lab):
    shipped = hash_list([places.place_of(lab, MODEL)], lab)
    own(lab, MODEL, half_the_layers)
    mine = hash_list([places.place_of(lab, MODEL)], lab)
    assert mine.split() != shipped.split()
    assert mine.split()[1] == shipped.split()[1] == MODEL


def test_a_file_that_lies_nowhere_near_has_no_name(tmp_path, lab):
    with pytest.raises(ValueError, match="not in the subpath"):
        places.name_of(tmp_path / "elsewhere.yaml", lab)


def test_only_files_that_differ_from_shipped_ones_clash(lab):
    own(lab, MODEL, half_the_layers)
    own(lab, GPU, str)
    assert list(places.clashes(lab)) == [MODEL]
    assert list(places.clashes(ROOT)) == []


def test_a_run_says_which_own_file_stands_in_place_of_a_shipped_one(lab, monkeypatch, capsys):
    own(lab, MODEL, half_the_layers)
    folder = lab / "hypotheses" / toy()["id"]
    folder.mkdir(parents=True)
    (folder / "hypothesis.yaml").write_text(yaml.safe_dump(toy()), encoding="utf-8")
    (folder / "discussion.md").write_text(DISCUSSION, encoding="utf-8")
    monkeypatch.chdir(lab)
    findings.open_project(lab, alone=True)
    told = capsys.readouterr()
    assert f"{MODEL}: this lab's own, in place of the one that comes with the package" in told.out + told.err


def test_an_installed_package_has_its_files_inside(tmp_path, monkeypatch):
    package = tmp_path / "site" / "roofline_lab"
    (package / places.INSIDE).mkdir(parents=True)
    (package / "part").mkdir()
    (package / "part" / "module.py").touch()
    (tmp_path / "site" / "simulator").mkdir()
    monkeypatch.setattr(places, "PACKAGE", package)
    monkeypatch.setattr(places, "SHIPPED", package / places.INSIDE)
    monkeypatch.setattr(places, "TEMPLATES", package / places.INSIDE / "workflow" / "templates")
    lab = tmp_path / "lab"
    simulator, laboratory, templates = places.code_folders(lab)
    assert simulator == tmp_path / "site" / "simulator"
    assert laboratory == package
    assert templates.is_relative_to(package)
    assert places.name_of(package / "part" / "module.py", lab) == "workflow/roofline_lab/part/module.py"
    assert places.name_of(simulator / "engine.py", lab) == "simulator/engine.py"
