"""Pages of synthetic hypotheses."""
