"""The experiment standards as checks: `roofline-lab lint`.

Contract: `lint.run` evaluates every rule a machine can check on every hypothesis (and, once, on what all of them rest
on: measurements, published errors, documents) and returns one `Result` each. A breach names rule, hypothesis, file and
key, and says what to do; a note says what a rule asks for and nobody has stated. Rules follow the ED, RCV and R lists
of the upstream experiment standards. Those of the R list about our own sources are held by `tests/test_sources.py`.
"""
