"""Tests of the step-time models."""
