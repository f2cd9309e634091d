"""Checking published findings against their own tables.

Contract: `evaluate_documents` reads every `published/claims.yaml`, recomputes the derived cells of its tables and
judges each of its claims; `errata_page` writes the outcome as markdown. Nothing here knows the right answer: a
claim says what a page says, the tables decide. Every printed number is the interval its digits admit.
"""
