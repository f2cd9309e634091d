"""Errors of predictions, their means and how sure one can be of them."""
