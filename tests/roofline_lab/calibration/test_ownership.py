"""Every constant says what it belongs to and how far it may differ from owner to owner."""

from __future__ import annotations

import pytest

from roofline_lab.calibration.constants import CONSTANTS
from roofline_lab.calibration.ownership import OWNERSHIP, SORT_US_PER_KILOTOKEN


def test_every_constant_belongs_to_somebody_and_nothing_else_does():
    assert set(OWNERSHIP) == {one.name for one in CONSTANTS}


@pytest.mark.parametrize("one", CONSTANTS, ids=lambda one: one.name)
def test_no_fit_to_one_gpu_may_leave_what_any_gpu_server_or_site_has(one):
    row = OWNERSHIP[one.name]
    assert row.low <= one.low < one.high <= row.high
    assert 0 < row.spread < row.high - row.low
    assert not one.inverse or row.high == 1.0


def test_what_the_client_adds_belongs_to_the_site_and_nothing_of_a_step_does():
    assert {one.name for one in CONSTANTS if OWNERSHIP[one.name].owner == "site"} == {
        one.name for one in CONSTANTS if one.where == "client"
    }


def test_sorting_a_thousand_logits_costs_what_its_bytes_at_a_fifth_of_an_a100s_bandwidth_do():
    assert pytest.approx(200_000 / 400_000) == SORT_US_PER_KILOTOKEN
