"""Predictions of load points: whatever answers them, as rows."""
