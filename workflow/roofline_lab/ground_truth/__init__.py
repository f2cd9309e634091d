"""Measured experiments: what ran, what was sent, what was measured, and who says so."""
