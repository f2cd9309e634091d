"""Tests of synthetic hypotheses."""
