"""`python -m workflow`: see `workflow.lib.commands`."""

from __future__ import annotations

import sys

from workflow.lib.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
