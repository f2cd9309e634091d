"""What an importer uses it also checks: a number that no measurement can give is refused, never passed over."""

from __future__ import annotations

import copy
import json

import pytest

from roofline_lab.importers.tools import read_results
from simulator.errors import ConfigError
from tests.mutations.mutants import places
from tests.roofline_lab.importers.samples import SAMPLES
from tests.roofline_lab.importers.test_garbage import with_document

# Numbers of samples that are no quantity: what a negative value of them means is the tool's own affair.
NO_QUANTITIES = ("seed", "index", "timestamp", "start_time", "end_time", "start", "end", "max-model-len", "version")
DOCUMENTS = sorted(tool for tool, sample in SAMPLES.items() if isinstance(sample.document, dict))


def numbers(document):
    """Return one place of every number, lists counted once."""
    found = {}
    for place in places(document):
        value = document
        for key in place:
            value = value[key]
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            found.setdefault(tuple("*" if isinstance(key, int) else key for key in place), place)
    return found


def changed(document, place, change):
    content = copy.deepcopy(document)
    parent = content
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = change(parent[place[-1]])
    return content


def outcome(tool, folder, file, document):
    """Return what is read, or None where it is refused."""
    file.write_text(json.dumps(document) + "\n", encoding="utf-8")
    try:
        return read_results(tool, folder).experiment.model_dump()
    except ConfigError:
        return None


@pytest.mark.parametrize("tool", DOCUMENTS)
def test_a_number_that_matters_may_not_be_negative(tool, tmp_path):
    sample, folder = SAMPLES[tool], with_document(tmp_path, tool)
    file = folder / sample.file
    sound = outcome(tool, folder, file, sample.document)
    assert sound is not None
    passed_over = []
    for name, place in numbers(sample.document).items():
        if any(word in str(part) for part in name for word in NO_QUANTITIES):
            continue
        if outcome(tool, folder, file, changed(sample.document, place, lambda value: value * 1.5)) == sound:
            continue
        if outcome(tool, folder, file, changed(sample.document, place, lambda value: -value)) is not None:
            passed_over.append(".".join(map(str, name)))
    assert passed_over == []
