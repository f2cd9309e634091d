"""Hypotheses as authors write them, and what follows from their criteria."""
