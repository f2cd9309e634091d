"""Tests of the calibration of the physical model."""
