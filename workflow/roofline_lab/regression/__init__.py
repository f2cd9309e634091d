"""Check and compare: what differs between two states of `reports/`, as one diff of two tables.

`sources` gives the files of a side (a folder or a revision), `reading` turns them into tables, `difference` holds two
of them side by side. `check` asks whether a committed report still comes out, within tolerances; `noise` and `comment`
make of the same differences what a reader of a pull request wants to know. Nothing here writes a file or touches a
work tree.
"""
