"""Simulators of others: what they are asked, what they answer, and what becomes of an answer that is none."""
