"""Made-up residuals: load points of a few model families, with errors that a known term causes."""

from __future__ import annotations

import dataclasses

from roofline_lab.residuals.record import Figure, Residual
from roofline_lab.residuals.terms import BY_NAME

# (family, layers, TP, vocabulary, hidden size, weight bytes of all layers, prompt tokens, batch, requests/s)
POINTS = (
    ("Small", 32, 1, 32_000, 4096, 13e9, 350, 1.0, 0.5),
    ("Small", 32, 2, 32_000, 4096, 13e9, 2000, 5.0, 2.0),
    ("Small", 32, 4, 32_000, 4096, 13e9, 800, 20.0, 8.0),
    ("Wide", 28, 1, 152_000, 3584, 14e9, 4000, 3.0, 1.0),
    ("Wide", 28, 2, 152_000, 3584, 14e9, 500, 12.0, 5.0),
    ("Middle", 40, 1, 152_000, 5120, 28e9, 1200, 2.0, 0.7),
    ("Middle", 40, 2, 152_000, 5120, 28e9, 2400, 9.0, 3.0),
    ("Deep", 80, 4, 32_000, 8192, 137e9, 600, 4.0, 1.5),
    ("Deep", 80, 8, 32_000, 8192, 137e9, 3000, 15.0, 6.0),
    ("Code", 48, 2, 32_000, 8192, 67e9, 1800, 7.0, 2.5),
    ("Code", 48, 4, 32_000, 8192, 67e9, 900, 2.5, 0.9),
)


def residual(index=0, **changes):
    """Return one load point that is predicted exactly."""
    family, layers, tp, vocabulary, hidden, weights, prompt, batch, rate = POINTS[index]
    ttft, itl, tokens = 5.0 + prompt / 50, weights / tp / 3e9 + batch / 10, 200.0
    one = Residual(
        experiment=f"experiment-{index:02d}",
        load_point="constant",
        family=family,
        model=family.lower(),
        hardware="gpu",
        tensor_parallel=tp,
        layers=layers,
        hidden_size=hidden,
        vocab_size=vocabulary,
        activation_bytes=2,
        layer_weight_bytes=weights / tp,
        head_weight_bytes=2 * vocabulary * hidden / tp,
        kv_bytes_per_token=4 * layers * 1024 / tp,
        flops_per_token=weights / tp,
        routed=False,
        peak_bandwidth=3.35e12,
        peak_flops=989e12,
        link_bandwidth=450e9,
        prompt_tokens=float(prompt),
        computed_tokens=prompt * (0.5 if index % 2 else 0.9),
        output_tokens=tokens,
        batch=batch,
        kv_tokens=batch * (prompt + tokens / 2),
        prefills_per_gap=0.005 * batch * (1 + index % 3),
        prefill_tokens_per_gap=0.005 * batch * (1 + index % 3) * prompt * (0.5 if index % 2 else 0.9),
        decodes_beside_prefill=batch - 1,
        prefill_steps=1.0 + prompt // 2048,
        mixed_share=0.01 * batch,
        queue_ms=0.2 * batch * (1 + index % 4),
        rate_per_s=rate,
        ttft=Figure(ttft, ttft),
        itl=Figure(itl, itl),
        e2e=Figure(ttft + (tokens - 1) * itl, ttft + (tokens - 1) * itl),
        # The model spends nothing that it is not said to: every rate as at its peak, the LM head left out.
        priced={"weights": 1.25, "kv_bytes": 1.25, "prefill_flops": 1.5, "all_reduce_bytes": 1.25, "lm_head": 0.0},
    )
    return dataclasses.replace(one, **changes)


def exact(count=11):
    """Return load points that are all predicted exactly."""
    return [residual(index) for index in range(count)]


def with_missing(term, constant, residuals=None, noise_pct=()):
    """Return load points whose measured means contain `constant` of a term that the prediction lacks.

    `noise_pct` is added to the measured means, one value per load point, repeated.
    """
    found = []
    for index, one in enumerate(residuals if residuals is not None else exact()):
        noise = 1.0 + (noise_pct[index % len(noise_pct)] / 100.0 if noise_pct else 0.0)
        figures = {}
        for metric in ("ttft", "itl", "e2e"):
            column = BY_NAME[term].column_ms(one, metric) if isinstance(term, str) else term.column_ms(one, metric)
            predicted = one.figure(metric).predicted_ms
            figures[metric] = Figure((predicted + constant * column) * noise, predicted)
        found.append(dataclasses.replace(one, **figures))
    return found


def unscored(one, reason, metrics=("ttft", "itl", "e2e")):
    """Return a load point whose figures have no number for a reason."""
    return dataclasses.replace(
        one, **{metric: Figure(one.figure(metric).measured_ms, None, reason) for metric in metrics}
    )
