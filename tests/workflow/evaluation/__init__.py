"""Tests of `python -m workflow evaluate`."""
