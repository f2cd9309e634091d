"""Tests of how far a prediction may be trusted."""
