"""`python -m simulator`: see `simulator.cli`."""

from __future__ import annotations

import gc
import os
import sys

# One short-lived process: what a command makes it needs until its end or drops without a cycle, and it multiplies no
# matrices. Looking for cycles and starting numpy's threads would cost a fifth of a small run.
gc.disable()
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from simulator.cli.main import main  # noqa: E402

if __name__ == "__main__":
    code = main()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    # The system takes the memory back whole; Python would free it object by object.
    os._exit(code)
