"""`python -m tests.mutations`: how every reader answers to many damaged inputs."""

from __future__ import annotations

import argparse
import fnmatch
import sys
import tempfile
from pathlib import Path

from tests.mutations.readers import readers
from tests.mutations.trying import ACCEPTED, FINE, OUTCOMES, attempt, damaged, try_all


def main() -> int:
    """Print one line per reader and every kind that is not fine; return 1 if there is any."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--count", type=int, default=3000, help="mutations per reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first one, to go on where a run ended")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="readers whose name matches")
    parser.add_argument("--show", type=int, metavar="NUMBER", help="print this one mutation and its outcome instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        chosen = [one for one in readers(Path(folder)) if fnmatch.fnmatch(one.name, arguments.only)]
        for reader in chosen:
            outcome = attempt(reader, reader.file.read_bytes())
            if reader.is_sound and outcome[0] != ACCEPTED:
                sys.stdout.write(f"not sound: {reader.name}: {outcome}\n")
        if arguments.show is not None:
            for reader in chosen:
                content = damaged(reader, arguments.show, reader.file.read_bytes())
                sys.stdout.write(f"{reader.name}\n{content[:3000].decode(errors='replace')}\n")
                sys.stdout.write(f"{attempt(reader, content)}\n")
            return 0
        return report(chosen, range(arguments.first, arguments.first + arguments.count))


def report(chosen: list, numbers: range) -> int:
    """Try and print."""
    sys.stdout.write(f"| reader | {' | '.join(OUTCOMES)} | slowest |\n|---|{'--:|' * (len(OUTCOMES) + 1)}\n")
    wrong = 0
    for tried in try_all(chosen, numbers):
        cells = [str(tried.counts[outcome]) for outcome in OUTCOMES]
        sys.stdout.write(f"| {tried.reader} | {' | '.join(cells)} | {tried.slowest_s:.1f} s |\n")
        for (outcome, said), numbers in tried.kinds.items():
            sys.stdout.write(f"  {outcome} {len(numbers)}x (first {numbers[0]}): {said}\n")
        sys.stdout.flush()
        wrong += sum(tried.counts[outcome] for outcome in OUTCOMES if outcome not in FINE)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
