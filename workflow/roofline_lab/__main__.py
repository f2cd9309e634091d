# PYTHON_ARGCOMPLETE_OK
"""`python -m roofline_lab`, the same as `roofline-lab`: see `roofline_lab.cli`."""

from __future__ import annotations

import sys

from roofline_lab.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
