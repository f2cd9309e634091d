"""Tests of recorded request traces and their replay."""
