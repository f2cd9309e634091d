"""The columns of a request trace, which its reader knows and a page of help lists."""

from __future__ import annotations

from collections.abc import Mapping

# Column -> what it holds. Arrivals count from any start and run through all stages of a file.
TRACE_COLUMNS: Mapping[str, str] = {
    "index": "name of the request, unique in its stage",
    "stage": "number of the load point, from 0 in the order they were run",
    "arrival_time_us": "when it was sent, whole microseconds",
    "input_tokens": "prompt length, shared prefix included",
    "output_tokens_true": "tokens really generated",
    "ttft_ms": "measured time to first token, milliseconds",
    "e2e_ms": "measured time to the last token, milliseconds",
}
# Columns that may be there; all but `has_error` are left alone.
FURTHER_COLUMNS: Mapping[str, str] = {
    "has_error": "1 where the request failed, else 0",
    "output_tokens_client_retokenized": "tokens the client counted in the text",
    "queue_ms": "time in the waiting queue, milliseconds",
    "prefill_ms": "first scheduled to first token, milliseconds",
    "decode_ms": "first to last token, milliseconds",
}
