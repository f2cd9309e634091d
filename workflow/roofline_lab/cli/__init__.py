"""The laboratory's command line, `roofline-lab`: one module per command.

Contract: each module has `add_<name>_command(subparsers)`, which adds the command and sets `run`, a
function from parsed arguments to an exit code. It imports at its top what `--help` needs, and in its
functions what running needs, so that help and wrong arguments are answered at once. `main` turns expected
failures into one message.
Exit codes: 0 all is well, 1 something was found (breaches), 2 an expected failure, 130 interrupted.
"""
