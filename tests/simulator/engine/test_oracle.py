"""The engine's scheduling against recorded runs of the upstream simulator.

Step times come from the record itself (or from the linear formula), so these tests judge the engine
alone: which requests are in which step, when it starts, how many KV blocks are used, and what each
client sees.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.engine.records import RunResult
from tests.oracle import EXACT, EXACT_WITH_OVERLAP, LINEAR, LinearStepTime, OracleCase, RecordedStepTime, load_case


def replay(case: OracleCase, options: EngineOptions) -> RunResult:
    step_time = LinearStepTime(case) if case.name in LINEAR else RecordedStepTime(case.steps)
    return run(case.requests, step_time, options, record_steps=True)


def assert_same(case: OracleCase, result: RunResult) -> None:
    for step, recorded in zip(result.steps, case.steps, strict=False):
        assert step == recorded
    assert len(result.steps) == len(case.steps)
    assert {request.id: case.observed(request) for request in result.requests} == case.expected


@pytest.mark.parametrize("name", EXACT)
def test_a_correct_engine_repeats_the_recorded_run_step_by_step(name: str, shared_dir: Path) -> None:
    case = load_case(shared_dir / "oracle" / "engine" / name)
    assert_same(case, replay(case, case.options))


@pytest.mark.parametrize("name", EXACT_WITH_OVERLAP)
def test_overlapping_idle_steps_repeat_the_recorded_run_step_by_step(name: str, shared_dir: Path) -> None:
    case = load_case(shared_dir / "oracle" / "engine" / name)
    assert_same(case, replay(case, case.with_overlap()))


@pytest.mark.parametrize("name", EXACT)
def test_overlapping_idle_steps_make_no_difference_where_no_request_arrives_in_one(name: str, shared_dir: Path) -> None:
    case = load_case(shared_dir / "oracle" / "engine" / name)
    assert replay(case, case.with_overlap()) == replay(case, case.options)
