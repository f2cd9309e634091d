"""Pages made from code are as the code is, and what they say of an option is what it does."""

from __future__ import annotations

import re

import pytest

from roofline_lab.manual import DOCS, meanings, pages
from simulator import build_step_time, load_hardware, load_model, parse_options
from simulator.hardware import with_sustained
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.named import guide
from simulator.steptime.v1_parameters import V1Parameters
from simulator.validation import StrictModel
from tests.paths import ROOT

AGAIN = "write it again: python -m roofline_lab.manual"
GPU = ROOT / "configs" / "hardware" / "h100-sxm.yaml"
MODEL = load_model(ROOT / "configs" / "models" / "llama-2-70b-hf.json")
# Alone and together, small and large, so that every parameter acts on one of them.
BATCHES = [
    Batch(prefill=((0, 4096),)),
    Batch(prefill=((4096, 1),)),
    Batch(prefill=((0, 16),)),
    Batch(decode=(64,) * 512),
    Batch(decode=(1024,)),
    Batch(prefill=((0, 512),), decode=(1024,) * 16),
]
EFFECT = re.compile(
    r"(Higher|Lower)(?: it by [\d to]+ %)?(?::| where) .*?(faster|slower|later|cheaper|gains more|too fast)"
)


@pytest.fixture(scope="module")
def made():
    return pages(ROOT)


@pytest.mark.parametrize("name", ["options.md", "files.md", "commands.md"])
def test_a_committed_page_is_what_the_code_says(name, made):
    assert (ROOT / DOCS / name).read_text(encoding="utf-8") == made[name], AGAIN


def rows(text):
    """Yield the cells of every row of the tables of options, whose last column is the effect."""
    columns = 0
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0] == "key":
            columns = len(cells)
        elif cells and cells[0] in ("form", "---"):
            columns = columns if cells[0] == "---" else 0
        elif len(cells) == columns and columns:
            yield cells


def test_every_option_of_a_simulation_has_values_a_default_and_an_effect(made):
    found = list(rows(made["options.md"]))
    assert len(found) > 100
    assert [cells[0] for cells in found if not (cells[1] and cells[2] and cells[-1])] == []


def step_us(batch, tp, **changes):
    options = guide(with_sustained(load_hardware(GPU), GPU))
    options["parameters"] |= changes
    model = build_step_time(parse_options(options, source="test"), MODEL, load_hardware(GPU), tp)
    return model.step_time_us(BatchSums.of(batch))


@pytest.mark.parametrize("name", V1Parameters.model_fields)
def test_a_parameter_of_the_guide_acts_as_the_page_says(name):
    direction, effect = EFFECT.search(meanings(V1Parameters)[name]).groups()
    alias = V1Parameters.model_fields[name].alias
    stated = guide(with_sustained(load_hardware(GPU), GPU))["parameters"][alias]
    factor = 1.2 if direction == "Higher" else 0.8
    changes = [
        step_us(batch, tp, **{alias: stated * factor}) - step_us(batch, tp) for batch in BATCHES for tp in (1, 4)
    ]
    slower = effect in ("slower", "later", "too fast")
    assert any(changes)
    assert all(change >= 0 if slower else change <= 0 for change in changes)


class Told(StrictModel):
    """Something.

    Attributes
    ----------
    first, second
        What both do; None: nothing,
        in two lines.
    """

    first: int
    second: int
    third: int


class Inherited(Told):
    """Something more.

    Attributes
    ----------
    third
        What it does.

    Raises
    ------
    ValueError
        Never.
    """


def test_meanings_are_those_of_the_docstrings_of_a_record_and_its_bases():
    both = "What both do; absent: nothing, in two lines."
    assert meanings(Told) == {"first": both, "second": both}
    assert meanings(Inherited) == {"first": both, "second": both, "third": "What it does."}
