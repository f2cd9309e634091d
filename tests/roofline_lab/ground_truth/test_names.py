"""What readers call experiments: model, TP and workload, and never two of them the same."""

from __future__ import annotations

import pytest
import yaml

from roofline_lab.ground_truth.names import readable_names, short_gpu_names
from roofline_lab.ground_truth.reading import load_set
from roofline_lab.site.measurements import all_experiments
from tests.paths import ROOT

SETS = yaml.safe_load((ROOT / "ground_truth" / "sets.yaml").read_text(encoding="utf-8"))["sets"]


@pytest.fixture(scope="module")
def experiments():
    return all_experiments(ROOT)


def test_no_two_experiments_have_the_same_name(experiments):
    names = readable_names(experiments)
    assert len(set(names.values())) == len(experiments)


@pytest.mark.parametrize("name", SETS)
def test_no_two_experiments_of_a_set_have_the_same_name(name):
    chosen = load_set(ROOT, name)
    assert len(set(readable_names(chosen).values())) == len(chosen)


def test_a_name_is_model_tp_and_workload():
    names = readable_names(load_set(ROOT, "synchronous_13"))
    assert names["jan30-llama2-7b-tp1-chatsweep"] == "Llama2-7B TP1 chatsweep"


def test_the_gpu_stands_in_a_name_where_there_are_several(experiments):
    assert readable_names(experiments)["jan30-llama2-7b-tp1-chatsweep"] == "Llama2-7B H100 TP1 chatsweep"


def test_what_is_alike_is_told_apart_by_what_differs(experiments):
    first = next(each for each in experiments if each.id == "jan30-llama2-7b-tp1-chatsweep")
    later = first.model_copy(update={"id": "later", "date": first.date.replace(year=2030)})
    copy = first.model_copy(update={"id": "copy"})
    names = readable_names([first, later, copy])
    assert names["later"] == f"Llama2-7B TP1 chatsweep ({later.date})"
    assert names["copy"] == f"Llama2-7B TP1 chatsweep ({first.date}) (copy)"


def test_a_gpu_has_its_short_name_unless_another_one_would_have_it_too():
    assert short_gpu_names(["h100-sxm", "l40s"]) == {"h100-sxm": "H100", "l40s": "L40S"}
    assert short_gpu_names(["a100-sxm", "a100-pcie"]) == {"a100-sxm": "a100-sxm", "a100-pcie": "a100-pcie"}
