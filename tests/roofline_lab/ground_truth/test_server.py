"""What a server's software says about its scheduler."""

from __future__ import annotations

import pytest

from roofline_lab.ground_truth.server import Server, ServerSettings, schedules_ahead, vllm_version

REQUIRED = {"token_budget": 2048, "prefix_caching": True, "client_offset_ms": 0.0}


def server(**settings) -> Server:
    return Server(known=ServerSettings(**REQUIRED, **settings))


@pytest.mark.parametrize(
    ("software", "version", "ahead"),
    [
        ("vLLM 0.15.1 (inference-sim fork with tracing)", (0, 15), True),
        ("vLLM v0.14.0", (0, 14), True),
        ("vLLM 1.0.2", (1, 0), True),
        ("vllm==0.13.2", (0, 13), False),
        ("vllm/vllm-openai:v0.11.0", (0, 11), False),
        ("vLLM 0.9", (0, 9), False),
        ("SGLang 0.15.1", None, False),
        ("vLLM nightly", None, False),
        ("0.15.1", None, False),
        (None, None, False),
    ],
)
def test_only_vllm_from_0_14_on_schedules_ahead_by_default(software, version, ahead):
    assert vllm_version(software) == version
    assert schedules_ahead(software) is ahead


def test_a_stated_setting_outweighs_the_version():
    assert server(software="vLLM 0.15.1", schedule_ahead=False).engine_settings["schedule_ahead"] is False
    assert server(software="vLLM 0.11.0", schedule_ahead=True).engine_settings["schedule_ahead"] is True
