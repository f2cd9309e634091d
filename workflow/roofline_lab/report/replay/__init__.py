"""Pages of `roofline-lab replay`."""
