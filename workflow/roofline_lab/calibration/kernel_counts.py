"""What a prediction owes to kernel counts that are set by hand: the same constants with more or fewer of them.

Contract: kernels of a layer beyond those of a dense BF16 one (`simulator/steptime/physics.py`) are read off
the server's code, not fitted. Launches are their number times `layer_us`, so that another number is priced by
another `layer_us` of this model alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from roofline_lab.calibration.constants import Values
from simulator.model import Model
from simulator.steptime.physics import DENSE_KERNELS, kernels_per_layer

# Variant -> share of the extra kernels that is counted.
EXTRA_KERNELS: Mapping[str, float] = {"half_the_extra_kernels": 0.5, "half_more_extra_kernels": 1.5}


def with_extra_kernels(values: Values, model: Model, share: float) -> dict[str, float]:
    """Return constants that price `model` as if `share` of its extra kernels were launched."""
    counted = kernels_per_layer(model)
    wanted = DENSE_KERNELS + share * (counted - DENSE_KERNELS)
    return {**values, "layer_us": values["layer_us"] * wanted / counted}
