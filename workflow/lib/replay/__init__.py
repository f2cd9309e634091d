"""Recorded request traces, replayed request by request and compared with what was measured.

`trace` reads one file, `recording` matches it with its experiment, `option_sets` says which step times are tried,
`score` replays and compares, `numbers`, `drawings` and `page` show it, `committed` guards the committed page.
"""
