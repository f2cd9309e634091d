"""Answers to what a server can take: the highest load that meets limits on latencies, with how sure that is.

A question is a file of the keys of `simulator run` with limits in place of a load; what it lists in place of one value
is tried one after the other. Answers rest on the same simulation and the same intervals as `simulator run`.
"""
