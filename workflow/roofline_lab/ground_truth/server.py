"""Settings of a measured server: what was published, and what is assumed because it was not."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import StringConstraints, model_validator

from simulator.parallelism import Parallelism
from simulator.validation import Count, Efficiency, NonNegative, NonNegativeInt, StrictModel

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

# Settings without which an experiment cannot be simulated and compared; each is given exactly once.
REQUIRED = ("token_budget", "prefix_caching", "client_offset_ms")

# Settings that are options of the simulated engine, under the same name.
ENGINE_SETTINGS = (
    *("token_budget", "max_running", "block_tokens", "kv_blocks", "prefix_caching", "schedule_ahead"),
    "attention_data_parallel",
)

# vLLM schedules asynchronously by default from this version on (its release notes of 0.14.0).
SCHEDULES_AHEAD_FROM = (0, 14)
# As people write it: vLLM 0.15.1, vLLM v0.11.0, vllm==0.14.0, vllm/vllm-openai:v0.9.2.
_VLLM_VERSION = re.compile(r"\bvllm(?:-openai)?[\s/=:@-]*v?(\d{1,6})\.(\d{1,6})", re.IGNORECASE)


def vllm_version(software: str | None) -> tuple[int, int] | None:
    """Return the version of vLLM that a description of a serving software names, if it names one."""
    found = _VLLM_VERSION.search(software or "")
    return (int(found[1]), int(found[2])) if found else None


def schedules_ahead(software: str | None) -> bool:
    """Say whether a serving software composes the next step while one runs; unknown software does not."""
    version = vllm_version(software)
    return version is not None and version >= SCHEDULES_AHEAD_FROM


class ServerSettings(StrictModel):
    """Settings of the measured server; None where not stated.

    Attributes
    ----------
    token_budget
        Most tokens of one engine step (`max_num_batched_tokens`).
    prefix_caching
        Whether the server reused computed prefixes.
    client_offset_ms
        Time between client and engine that the client's TTFT and E2E contain.
    max_running
        Most requests in one batch (`max_num_seqs`).
    block_tokens, kv_blocks
        Tokens per KV block, and KV blocks on the GPUs of the instance.
    cpu_kv_blocks
        KV blocks in host memory; 0 without offloading. Not simulated.
    max_model_len_tokens
        Longest prompt plus answer. Not simulated.
    gpu_memory_utilization
        Share of each GPU's memory the server may use.
    kv_cache_dtype
        Of keys and values in the cache (`auto`: that of the model).
    chunked_prefill
        Whether a prompt may be computed in several steps. Not simulated: it always may.
    schedule_ahead
        Whether the server composes the next step while one runs; where not stated, the software's default.
    cuda_graph_mode, cuda_graph_tokens
        Which steps replay CUDA graphs (vLLM's `cudagraph_mode`), and the largest batch one is captured for, in tokens;
        where not stated, the software's defaults. Not simulated.
    expert_parallel
        Whether every GPU holds whole experts (`--enable-expert-parallel`); where not stated, a slice of each.
    attention_data_parallel
        Groups of `tensor_parallel` GPUs with requests of their own, of a model with experts (`--data-parallel-size`);
        1 where not stated. Limits of requests, tokens and KV blocks are those of one group.
    software
        Serving software with its version.
    """

    token_budget: Count | None = None
    prefix_caching: bool | None = None
    client_offset_ms: NonNegative | None = None
    max_running: Count | None = None
    block_tokens: Count | None = None
    kv_blocks: Count | None = None
    cpu_kv_blocks: NonNegativeInt | None = None
    max_model_len_tokens: Count | None = None
    gpu_memory_utilization: Efficiency | None = None
    kv_cache_dtype: Text | None = None
    chunked_prefill: bool | None = None
    schedule_ahead: bool | None = None
    cuda_graph_mode: Text | None = None
    cuda_graph_tokens: Count | None = None
    expert_parallel: bool | None = None
    attention_data_parallel: Count | None = None
    software: Text | None = None


class Server(StrictModel):
    """What is known of the server, and what is assumed because it was not published."""

    known: ServerSettings = ServerSettings()
    assumed: ServerSettings = ServerSettings()
    note: Text | None = None

    @property
    def settings(self) -> ServerSettings:
        """Known and assumed settings together; no required one is None."""
        return self.assumed.model_copy(update=self.known.model_dump(exclude_none=True))

    def parallelism(self, tensor_parallel: int) -> Parallelism:
        """Return how the server spreads its model over its GPUs."""
        settings = self.settings
        return Parallelism(tensor_parallel, settings.attention_data_parallel or 1, bool(settings.expert_parallel))

    @property
    def engine_settings(self) -> dict[str, Any]:
        """The settings an engine takes, by option name; only those that are stated or follow from the software."""
        settings = self.settings
        stated = settings.model_dump(include=set(ENGINE_SETTINGS), exclude_none=True)
        default = {"schedule_ahead": True} if schedules_ahead(settings.software) else {}
        return {**default, **stated}

    @model_validator(mode="after")
    def _each_setting_once(self) -> Self:
        for name in ServerSettings.model_fields:
            given = [getattr(part, name) is not None for part in (self.known, self.assumed)]
            if given == [True, True]:
                raise ValueError(f"{name} is given as known and as assumed; keep one")
            if given == [False, False] and name in REQUIRED:
                raise ValueError(f"{name} is given neither as known nor as assumed; give one")
        return self
