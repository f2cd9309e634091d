"""The page on trust, for which deployments the numbers of each calibration hold, and intervals for the simulator.

Contract: `files_of` and `tables_of` are pure text from the tables of held-out predictions beside the calibrations. The
same tables give the same bytes, so `judge` compares what is committed with what is made anew: stale and edited files
are both found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from roofline_lab.calibration.plan import FOLDER as CALIBRATIONS
from roofline_lab.calibration.record import load_calibration
from roofline_lab.files import csv_text, write_report
from roofline_lab.predict.sites import client_nowhere
from roofline_lab.rendering import render
from roofline_lab.report import trust_tables
from roofline_lab.report.plots import EDGE, FILLS, document, line, text
from roofline_lab.report.recorded import Fault
from roofline_lab.scoring.numbers import NUMBER_COLUMNS
from roofline_lab.trust import ENDING
from roofline_lab.trust.coverage import HeldOutHit, held_out_hits
from roofline_lab.trust.held_out import read_held_out
from roofline_lab.trust.intervals import Validation, validation_of
from roofline_lab.trust.table import interval_table, table_text
from simulator.errors import ConfigError
from simulator.steptime.fleet import is_fleet, load_fleet
from simulator.trust.distance import KIND_WORDS, Cell, Word, reach_of_cell
from simulator.trust.intervals import FOLDER as INTERVALS
from simulator.trust.intervals import INTER_TOKEN, Band
from simulator.validation import read_yaml

FOLDER = Path("reports/trust")
TABLES = CALIBRATIONS / INTERVALS
PAGE, NUMBERS = "TRUST.md", "numbers.csv"
AGAIN = "`snakemake trust` makes it again"
# Stands for every GPU, or every precision, that was never fitted to.
ANY_OTHER = "any other"
Files = Mapping[str, str]


class Trusted(NamedTuple):
    """One calibration on the page."""

    title: str
    validation: Validation
    hits: tuple[HeldOutHit, ...]
    figure: str


def held_out_files(root: Path) -> list[Path]:
    """Return the tables of held-out predictions there are."""
    return sorted((root / CALIBRATIONS).glob(f"*{ENDING}"))


def files_of(root: Path) -> dict[str, str]:
    """Return every file of the page by name, the page last.

    Raises
    ------
    ConfigError
        If a table or the calibration it lies beside cannot be read.
    """
    found = sorted(map(_trusted, held_out_files(root)), key=_rests_on_most)
    figures = {one.figure: deployment_map(one.validation) for one in found}
    lines = [each for one in found for each in trust_tables.number_lines(one.validation, one.hits)]
    page = render("trust.md.j2", {"calibrations": found, "tables": trust_tables})
    return {**figures, NUMBERS: csv_text(NUMBER_COLUMNS, sorted(lines)), PAGE: page}


def tables_of(root: Path) -> dict[str, str]:
    """Return the file of intervals of every calibration by name; see `files_of`."""
    found = {path.name.removesuffix(ENDING): path for path in held_out_files(root)}
    return {f"{name}.yaml": _table(root / CALIBRATIONS / f"{name}.yaml", path) for name, path in found.items()}


def _table(calibration: Path, held_out: Path) -> str:
    described = load_fleet(calibration) if is_fleet(calibration) else load_calibration(calibration)
    validation = validation_of(calibration.stem, read_held_out(held_out))
    return table_text(interval_table(validation, client_nowhere(described)))


def _rests_on_most(one: Trusted) -> tuple[int, str]:
    return (-len({cell.deployment for cell in one.validation.seen.cells}), one.figure)


def _trusted(path: Path) -> Trusted:
    name = path.name.removesuffix(ENDING)
    validation = validation_of(name, read_held_out(path))
    # Only the title is asked for, whatever kind of calibration it is.
    described = read_yaml(path.with_name(f"{name}.yaml"))
    title = str(described.get("title", name)) if isinstance(described, Mapping) else name
    return Trusted(title, validation, held_out_hits(validation), f"{name}.svg")


def publish(root: Path) -> None:
    """Write page and tables anew; what an earlier run left behind goes.

    Raises
    ------
    ConfigError
        If no calibration of the project keeps held-out predictions, or a table of them cannot be read.
    """
    if not held_out_files(root):
        raise ConfigError(
            f"{CALIBRATIONS.as_posix()}/: no *{ENDING}, so nothing says how far a calibration may be trusted; "
            "`snakemake calibrate` makes one for every plan"
        )
    for folder, files in ((TABLES, tables_of(root)), (FOLDER, files_of(root))):
        write_report(root / folder, files, sorted(_names_in(root / folder)))


def judge(root: Path) -> tuple[str, list[Fault]]:
    """Return one sentence about the committed page and tables, and what is wrong with them: file, where, what.

    Raises
    ------
    ConfigError
        If a table of held-out predictions cannot be read.
    """
    if not (root / FOLDER).is_dir():
        return f"check trust: no page on trust is committed; {AGAIN}", []
    faults = [*_faults(root, FOLDER, files_of(root)), *_faults(root, TABLES, tables_of(root))]
    return f"check trust: the committed page {'differs' if faults else 'comes out again'}", faults


def _faults(root: Path, folder: Path, files: Files) -> Iterator[Fault]:
    there = _names_in(root / folder)
    for name in sorted(there | files.keys()):
        place = (f"{folder.as_posix()}/{name}", "file")
        if name not in there:
            yield (*place, f"is missing; {AGAIN}")
        elif name not in files:
            yield (*place, "belongs to no calibration; delete it")
        elif (root / folder / name).read_text(encoding="utf-8", errors="replace") != files[name]:
            yield (*place, f"is not what the held-out predictions give now; {AGAIN}")


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


# Points (1/72 inch).
LEFT, TOP, WIDTH, HEIGHT, MARGIN = 170.0, 24.0, 84.0, 18.0, 12.0
SMALL = 8
WORD_FILLS = {Word.INSIDE: FILLS[2], Word.NEAR: FILLS[5], Word.OUTSIDE: FILLS[0]}


def deployment_map(validation: Validation) -> str:
    """Draw every kind and precision on every GPU: its word as filling, in it the interval of the time between tokens.

    Inside as of the models that were measured, elsewhere as of any; at a load, lengths and a site that were.
    """
    hardware, precisions = (_fitted(validation, key) for key in ("hardware", "precision"))
    rows = [(kind, precision) for kind in KIND_WORDS for precision in precisions]
    lines = [
        text(LEFT + (place + 0.5) * WIDTH, TOP - 8, name, "middle", SMALL + 1) for place, name in enumerate(hardware)
    ]
    for row, (kind, precision) in enumerate(rows):
        top = TOP + row * HEIGHT
        lines.append(text(LEFT - 6, top + HEIGHT / 2 + 3, f"{KIND_WORDS[kind]}, {precision}", "end"))
        for column, gpu in enumerate(hardware):
            lines += _box(validation, Cell("", kind, gpu, precision), LEFT + column * WIDTH, top)
    right, bottom = LEFT + len(hardware) * WIDTH, TOP + len(rows) * HEIGHT
    kinds = range(0, len(rows) + 1, len(precisions))
    lines += [line(LEFT, TOP + row * HEIGHT, right, TOP + row * HEIGHT, EDGE, 1.0) for row in kinds]
    return document(right + MARGIN, bottom + 34, [*lines, *_legend(bottom + 12)])


def _fitted(validation: Validation, key: str) -> list[str]:
    return [*sorted({getattr(cell, key) for cell in validation.seen.cells}), ANY_OTHER]


def _box(validation: Validation, cell: Cell, left: float, top: float) -> Iterator[str]:
    word = reach_of_cell(cell, validation.seen.cells)[0].word
    fitted = sorted(each for each in validation.seen.cells if each.deployment == cell.deployment)
    band = validation.band_of_deployment(INTER_TOKEN, fitted or [cell])
    words = f"{trust_tables.ends(band)} %" if isinstance(band, Band) else "?"
    yield _filled(left, top, WIDTH, word)
    yield text(left + WIDTH / 2, top + HEIGHT / 2 + 3, words, "middle", SMALL)


def _legend(top: float) -> Iterator[str]:
    for place, word in enumerate(Word):
        left = MARGIN + place * WIDTH
        yield _filled(left, top, 20.0, word)
        yield text(left + 26, top + HEIGHT / 2 + 3, word, "start", SMALL)


def _filled(left: float, top: float, width: float, word: Word) -> str:
    shape = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{HEIGHT:.1f}"'
    return f'<rect {shape} fill="{WORD_FILLS[word]}" stroke="{EDGE}" stroke-width="0.4"/>'
