"""Tests of the serving engine."""
