"""Residual analysis."""
