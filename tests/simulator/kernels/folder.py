"""Builds small table folders for tests."""

from __future__ import annotations

from pathlib import Path

GEMM_HEADER = "m,k,n,latency_us,mfu"
PREFILL_HEADER = "dtype,seq_len,latency_us,mfu"
DECODE_HEADER = "dtype,kv_dtype,batch_size,kv_len,latency_us,mfu"

GEMM = f"{GEMM_HEADER}\n8,100,200,10.0,0.010\n16,100,200,10.0,0.020\n8,300,400,20.0,0.030\n32,300,400,20.0,0.090\n"
PREFILL = f"{PREFILL_HEADER}\nbf16,1000,40.0,0.2\nbf16,2000,100.0,0.4\n"
DECODE = (
    f"{DECODE_HEADER}\nbf16,bf16,1,1000,38.0,0.0\nbf16,bf16,1,2000,24.0,0.002\n"
    "bf16,bf16,5,1000,24.0,0.004\nbf16,bf16,5,2000,48.0,0.008\nbf16,bf16,9,1000,50.0,0.010\n"
)


def write_folder(root: Path, files: dict[str, str] | None = None) -> Path:
    """Write a complete small folder, with `files` replaced or added."""
    content = {
        "gemm/toy/data.csv": GEMM,
        "mha/prefill/toy/8-2-64.csv": PREFILL,
        "mha/decode/toy/8-2-64-tp1.csv": DECODE,
        "mha/decode/toy/8-2-64-tp4.csv": DECODE,
        **(files or {}),
    }
    for name, text in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return root
