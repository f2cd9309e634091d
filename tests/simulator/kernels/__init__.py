"""Tests of the GPU kernel library."""
