"""The experiment standards as checks: `roofline-lab lint`.

Contract: `lint.run` evaluates every rule a machine can check on every hypothesis (and, once, on the
source code) and returns one `Result` each. A breach names rule, hypothesis, file and key, and says what
to do; a note says what a rule asks for and nobody has stated. Rules follow the ED, RCV and R lists of the
upstream experiment standards.
"""
