"""Calibrating the physical step-time model: constants from measured means, and how far to trust them."""
