"""A few damaged inputs for every reader; `python -m tests.mutations` tries thousands."""

from __future__ import annotations

import pytest

from roofline_lab.importers.tools import tools
from tests.mutations.readers import discovered, readers
from tests.mutations.trying import ACCEPTED, attempt, try_here
from tests.roofline_lab.importers.samples import SAMPLES

# Mutations per reader: of one that loads a project or judges an experiment, and of any other.
SLOW, QUICK = 1, 2


@pytest.fixture(scope="module")
def every_reader(tmp_path_factory):
    return readers(tmp_path_factory.mktemp("mutations"))


def test_every_tool_has_a_sample_that_can_be_damaged():
    assert set(SAMPLES) == set(tools())


def test_readers_are_found_by_their_names():
    assert {"read_yaml", "read_json", "load_model", "load_hardware", "read"} <= {one.__name__ for one in discovered()}


def test_a_damaged_input_ends_in_a_result_or_in_one_message(every_reader):
    tried = [try_here(one, range(SLOW if one.is_slow else QUICK)) for one in every_reader]
    assert {one.reader: one.kinds for one in tried if one.kinds} == {}


def test_an_undamaged_input_is_accepted(every_reader):
    quick = [one for one in every_reader if one.is_sound and not one.is_slow]
    assert [one.name for one in quick if attempt(one, one.file.read_bytes())[0] != ACCEPTED] == []
