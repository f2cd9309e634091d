"""A hypothesis file that is wrong is refused as a whole, in words its author can act on."""

from __future__ import annotations

import copy
import shutil

import pytest
import yaml

from roofline_lab.hypotheses.spec import load_hypothesis
from roofline_lab.project import load_project
from simulator.errors import ConfigError, RooflineLabError
from tests.roofline_lab.builders import HYPOTHESIS, ROOT

SOURCE = f"hypotheses/{HYPOTHESIS}/hypothesis.yaml"


def first_criterion(spec):
    return spec["criteria"][0]


def test_the_hypothesis_as_committed_is_accepted():
    spec = load_hypothesis(ROOT / SOURCE, ROOT)
    assert spec.id == HYPOTHESIS
    assert spec.reference_arm == "baseline"
    assert [criterion.id for criterion in spec.judged] == ["tpot_improves", "chat_more_than_code", "tp_scaling"]


def test_a_misspelt_key_is_refused_and_the_nearest_one_suggested(project):
    message = project.refusal(lambda spec: spec.update(metrcis=spec.pop("metrics")))
    assert message.startswith(SOURCE)
    assert "metrcis: unknown key; did you mean 'metrics'?" in message


def test_a_misspelt_key_inside_a_criterion_suggests_a_key_of_that_kind(project):
    message = project.refusal(lambda spec: first_criterion(spec).update(at_least=first_criterion(spec)["at_least_pp"]))
    assert "at_least: unknown key; did you mean 'at_least_pp'?" in message
    assert "more_than_pp" not in message


def test_every_problem_of_a_file_is_reported_at_once(project):
    def change(spec):
        spec.update(tier=7, family="structural-modle", claim="")
        del spec["title"]
        first_criterion(spec)["at_least_pp"] = "three"

    message = project.refusal(change)
    assert "5 problems" in message
    for key in ("tier:", "family:", "claim:", "title: missing", "at_least_pp"):
        assert key in message


def test_an_empty_list_of_criteria_is_refused(project):
    assert "criteria: " in project.refusal(lambda spec: spec.update(criteria=[]))


def test_a_wrong_word_of_a_closed_vocabulary_lists_the_allowed_ones(project):
    message = project.refusal(lambda spec: spec.update(vvuq="validate"))
    assert "vvuq: " in message
    for word in ("verification", "validation", "uq", "'validate'"):
        assert word in message


def test_an_unknown_kind_of_criterion_lists_the_known_ones(project):
    message = project.refusal(lambda spec: first_criterion(spec).update(kind="improvment"))
    for word in ("improvement", "improvement_order", "trend"):
        assert word in message


@pytest.mark.parametrize("section", ["criteria", "controls"])
def test_an_arm_no_one_defined_is_refused_wherever_it_is_judged(project, section):
    message = project.refusal(lambda spec: spec[section][0].update(of="treatmnt"))
    assert "unknown arm 'treatmnt'; did you mean 'treatment'?" in message


def test_a_criterion_on_a_metric_that_is_not_listed_is_refused(project):
    message = project.refusal(lambda spec: spec.update(metrics=["ttft_mean"]))
    assert "criteria.tpot_improves.metric: 'tpot_mean' is not in metrics" in message


def test_two_criteria_of_one_name_are_refused_across_criteria_and_controls(project):
    message = project.refusal(lambda spec: spec["controls"][0].update(id="tpot_improves"))
    assert "id 'tpot_improves' is used twice" in message


@pytest.mark.parametrize("key", ["methods", "metrics"])
def test_an_entry_given_twice_is_refused(project, key):
    message = project.refusal(lambda spec: spec[key].append(spec[key][0]))
    assert f"{key}: an entry is given twice" in message


def test_an_id_other_than_the_folder_is_refused(project):
    message = project.refusal(lambda spec: spec.update(id="h1_bandwidth"))
    assert f"id: must be the folder's name '{HYPOTHESIS}' (got 'h1_bandwidth')" in message


def test_a_copied_folder_with_the_id_of_the_original_is_refused(project):
    twin = project.spec.parent.with_name("h1_copy")
    shutil.copytree(project.spec.parent, twin)
    assert "hypotheses/h1_copy/hypothesis.yaml: id: must be the folder's name 'h1_copy'" in project.refusal()


@pytest.mark.parametrize("value", [5, "fast", ["token_budget"]])
@pytest.mark.parametrize("place", ["base", "treatment"])
def test_engine_options_that_are_no_mapping_are_refused(project, place, value):
    def change(spec):
        (spec["base"] if place == "base" else spec["arms"]["treatment"])["engine"] = value

    message = project.refusal(change)
    assert SOURCE in message
    assert "engine" in message


@pytest.mark.parametrize("name", ["Baseline", "two words", "2nd", "../up", ""])
def test_an_arm_whose_name_cannot_be_a_folder_is_refused(project, name):
    assert "arms." in project.refusal(lambda spec: spec["arms"].update({name: {}}))


def test_a_key_given_twice_in_the_file_is_refused_with_its_line(project):
    text = project.spec.read_text(encoding="utf-8")
    project.spec.write_text(text + "\ntitle: again\n", encoding="utf-8")
    message = project.refusal()
    assert "key 'title' is given twice" in message
    assert f"hypothesis.yaml:{text.count(chr(10)) + 2}: " in message


@pytest.mark.parametrize("content", ["", "- a list", "just text", "id: [unclosed", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(project, content):
    project.spec.write_text(content, encoding="utf-8")
    assert "hypothesis.yaml" in project.refusal()


WEIRD = (None, [], {"": None}, "nonsense", -1, float("nan"))


def _leaves(node, path=()):
    """Yield the path of every value of a YAML document, inner ones included."""
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from _leaves(child, (*path, key))


def _replaced(document, path, value):
    if not path:
        return value
    changed = copy.deepcopy(document)
    node = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return changed


def _refusal(root):
    try:
        load_project(root)
    except RooflineLabError as error:
        return str(error)
    return None


@pytest.mark.parametrize("value", WEIRD, ids=repr)
def test_no_value_anywhere_in_a_hypothesis_makes_the_laboratory_crash(project, value):
    """Whatever is wrong is an expected error with the file's name, never another exception."""
    document = yaml.safe_load(project.spec.read_text(encoding="utf-8"))
    for folder in (project.root / "hypotheses").iterdir():
        # The others would only be read again for every value.
        if folder.name not in (HYPOTHESIS, *document.get("references", ())):
            shutil.rmtree(folder)
    sections = ("findings", "evidence", "not_tested")
    paths = [path for path in _leaves(document) if not path or path[0] not in sections or len(path) < 3]
    refused = 0
    for path in paths:
        project.spec.write_text(yaml.safe_dump(_replaced(document, path, value)), encoding="utf-8")
        message = _refusal(project.root)
        refused += message is not None
        assert message is None or HYPOTHESIS in message, path
    assert refused > len(paths) / 2


def test_the_refusal_of_a_file_that_cannot_be_read_names_it(project):
    project.spec.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match=r"hypothesis\.yaml"):
        project.load()
