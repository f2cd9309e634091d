"""Mutations of sound inputs for every reader: what a stranger brings ends in a result or in one message.

`python -m tests.mutations --count 3000` tries that many per reader and prints one line for each; the suite tries a few
(`tests/test_mutations.py`). Everything is drawn from one seed, so that a number names a mutation for ever.
"""
