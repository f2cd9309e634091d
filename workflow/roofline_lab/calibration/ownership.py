"""What every constant belongs to, and how far it may differ where nobody calibrated it.

Contract: `OWNERSHIP` has one row per constant of `constants.CONSTANTS`. A constant belongs to the *GPU* (its kernels
and links), to the *server* (software and the host it runs on) or to the *site* (the measuring client and its way to
the server). `spread` says how far the value of another GPU, server or site lies from the one that is known, as a
standard deviation; `low` and `high` are what no GPU, server or site leaves. None of it rests on the runs that are
carried over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Owner = Literal["GPU", "server", "site"]


@dataclass(frozen=True, slots=True)
class Ownership:
    """One row, in the unit of the constant.

    Attributes
    ----------
    spread
        Standard deviation between two owners.
    low, high
        Range over all owners.
    """

    owner: Owner
    spread: float
    low: float
    high: float
    source: str


# Bytes that cutting off unlikely tokens moves per vocabulary entry and request: a sort of 4-byte keys with 8-byte
# indices in four passes reads and writes 96; softmax, prefix sum, masks, scatter and the final draw another 100.
# Source: vLLM 0.15, `apply_top_k_top_p`, which sorts the whole vocabulary unless FlashInfer is asked for.
SAMPLING_BYTES_PER_ENTRY = 200
# us per 1000 entries, where that runs at a fifth of the 2 TB/s of an A100, as sorts of a few million pairs do.
SORT_US_PER_KILOTOKEN = 1000 * SAMPLING_BYTES_PER_ENTRY / (0.2 * 2.0e6)

OWNERSHIP: Mapping[str, Ownership] = {
    "weight_bandwidth_efficiency": Ownership(
        *("GPU", 0.06, 0.5, 1.0), "copies reach 0.75 to 0.95 of peak, by kind of memory and whether ECC takes its share"
    ),
    "kv_bandwidth_efficiency": Ownership(
        *("GPU", 0.15, 0.3, 1.0), "another attention kernel: FlashAttention 3 runs on Hopper alone"
    ),
    "gemm_efficiency": Ownership(*("GPU", 0.12, 0.3, 1.0), "GEMMs at the power limit: 0.4 to 0.8 of peak by GPU"),
    "layer_us": Ownership(*("GPU", 15.0, 0.0, 150.0), "ten kernels of 3 to 6 us by clock and driver"),
    "all_reduce_us": Ownership(*("GPU", 30.0, 0.0, 200.0), "NVLink 5 to 30 us, PCIe 50 to 100 us"),
    "link_efficiency": Ownership(*("GPU", 0.2, 0.05, 1.0), "collectives of megabytes reach 0.3 to 0.8 of the link"),
    "sampling_us_per_kilotoken": Ownership(
        *("GPU", 3.0, 0.0, 30.0), "a few passes of one thread block over 1000 logits, by clock"
    ),
    "sampling_us_per_kilotoken_request": Ownership(
        *("GPU", SORT_US_PER_KILOTOKEN, 0.0, 3.0),
        "a sort of 1000 logits, at a fifth of bandwidth",
    ),
    "host_step_us": Ownership(*("server", 300.0, 0.0, 5000.0), "another processor, another version"),
    "request_us": Ownership(*("server", 10.0, 0.0, 300.0), "bookkeeping by another processor"),
    "guidellm_request_us": Ownership(*("site", 3000.0, 0.0, 50_000.0), "another client machine and network"),
    "inference_perf_request_us": Ownership(*("site", 3000.0, 0.0, 50_000.0), "another client machine and network"),
    "client_us_per_prompt_token": Ownership(*("site", 3.0, 0.0, 50.0), "another tokenizer's processor"),
}
