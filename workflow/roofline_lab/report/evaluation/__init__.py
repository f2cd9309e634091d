"""Pages of `roofline-lab evaluate`."""
