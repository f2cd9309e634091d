"""`audit`: recompute a folder of kernel tables and say which rows not to trust."""

from __future__ import annotations

import sys
from argparse import Namespace

from simulator.cli.files import checked_path
from simulator.kernels.audit import audit_tables, render


def command(arguments: Namespace) -> int:
    """Audit, print."""
    report = audit_tables(checked_path(arguments.tables, "TABLES"), arguments.gpu)
    sys.stdout.write(render(report, "json" if arguments.json else "text"))
    return 0
