"""The command line: reads arguments and files, calls the library, writes JSON or CSV.

Contract: results go to standard output, everything said to a person to standard error. Exit code 0 is
success, 2 an expected failure with one message, 130 an interruption, 141 a reader that went away. A
bug keeps its traceback.
"""
