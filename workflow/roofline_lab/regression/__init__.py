"""Before and after: what became of errors and verdicts between two states of `reports/`.

`git` and `sources` read a revision or a folder; `numbers`, `findings` and `measurements` understand what they read,
put together by `reading`; `noise` and `difference` compare; `comment` writes markdown. Nothing here writes a file or
touches a work tree. (Whether a committed report still comes out is another question: `roofline_lab.regression.check`.)
"""
