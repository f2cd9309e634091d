"""A stranger's model that attends to a part of its context: read, and announced however its file writes it."""

from __future__ import annotations

import pytest

from simulator.model import model_from_config
from simulator.model_files import translated
from tests.roofline_lab.predict.strangers import STRANGE_MODEL


@pytest.mark.parametrize(
    ("changes", "announced"),
    [
        ({"sliding_window": 4096, "layer_types": ["sliding_attention", "full_attention"]}, False),
        ({"sliding_window": 4096, "layer_types": ["chunked_attention", "full_attention"]}, True),
        ({"sliding_window": 4096, "layer_types": ["full_attention"]}, False),
        ({"attention_chunk_size": 4096}, True),
        ({"sliding_window": 4096}, True),
    ],
)
def test_attention_to_a_part_of_the_context_that_is_not_modelled_reaches_the_reader(changes, announced):
    model = model_from_config(translated(STRANGE_MODEL | changes, name="m", source="m.json"), source="m.json")
    assert any("sliding_window 4096 is not modelled" in warning for warning in model.warnings) is announced
    assert model.left_out == ()
