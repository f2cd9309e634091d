"""Everything that makes the site: which pages there are, what each shows, and the folder they are written to.

Contract: reads what is committed (`reports/`, `ground_truth/`, `docs/`, the tables of held-out predictions beside the
calibrations) and simulates nothing. The folder is complete or absent: it is made beside its place and moved there.
"""

from __future__ import annotations

import gc
import posixpath
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.names import readable_names
from roofline_lab.hypotheses.verdict import VERDICT_FILE, Conclusion, read_conclusions
from roofline_lab.places import TEMPLATES
from roofline_lab.project import Project
from roofline_lab.report.trust import held_out_files
from roofline_lab.site import front, measurements, numbers
from roofline_lab.site.frame import framed
from roofline_lab.site.libraries import library_files, require_libraries
from roofline_lab.site.markdown import rendered
from roofline_lab.site.pages import NAVIGATION, Page, relative
from roofline_lab.site.row_links import Row, RowFinder, read_rows
from roofline_lab.site.tables import Table, pushed
from roofline_lab.trust.held_out import HeldOut, read_held_out
from roofline_lab.vocabulary import SIDES
from simulator.input_files import read_text, read_yaml

SITE = Path("site")
STATIC = "_static"
OWN_FILES = ("site.css", "site.js", "theme.js")
PARTIAL = ".partial"
NUMBERS_FILE = "numbers.csv"
FINDINGS = "FINDINGS.md"
# Group of the navigation -> where its markdown lies; the first that fits counts.
GROUPS: Mapping[str, str] = {
    "reports/calibration/": "Calibration",
    "reports/trust/": "Trust",
    "reports/replay/": "Replay",
    "reports/simulators/": "Simulators",
    "reports/questions/": "Capacity",
    "reports/errata.md": "Errata",
    "reports/": "Findings",
}
DOCUMENTATION = "Documentation"
# Words of a page that the search keeps, in characters: tables of numbers are found by their headings.
SEARCHED = 4000


@dataclass(frozen=True, slots=True)
class Built:
    """What was written: where, how many pages, and how large it is."""

    folder: Path
    pages: int
    size_bytes: int


def build_site(project: Project, folder: Path) -> Built:
    """Write the site, replacing an earlier one.

    Raises
    ------
    ConfigError
        If a library is missing, or something that is committed cannot be read.
    """
    require_libraries()
    files = site_files(project)
    _write(folder, files)
    pages = sum(name.endswith(".html") for name in files)
    return Built(folder, pages, sum(len(content) for content in files.values()))


def site_files(project: Project) -> dict[str, bytes]:
    """Return every file of the site by its path."""
    with _collector_at_rest():
        return _Builder(project).files()


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Look for no circles of objects: a page has tens of thousands of tokens and none, and a third is saved."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=PARTIAL))
    try:
        for name, content in files.items():
            (making / name).parent.mkdir(parents=True, exist_ok=True)
            (making / name).write_bytes(content)
        making.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        making.rename(folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise


class _Builder:
    """One build: what was read, and the files found so far."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.root = project.root
        self.copied: set[str] = set()
        self._finders: dict[str, RowFinder] = {}

    def files(self) -> dict[str, bytes]:
        """Return every file of the site by its path."""
        pages = list(self._pages())
        navigation = _navigation([page for page, _ in pages])
        found: dict[str, bytes] = {}
        for page, table in pages:
            if table is not None:
                script = page.path.removesuffix(".html") + ".js"
                found[script] = table.script().encode()
                page = replace(page, context={**page.context, "script": posixpath.basename(script)})
            found[page.path] = framed(page, navigation).encode()
        found["search-data.js"] = pushed(list(_searched([page for page, _ in pages]))).encode()
        for name in sorted(self.copied):
            found[name] = (self.root / name).read_bytes()
        own = {name: (TEMPLATES / "site" / name).read_bytes() for name in OWN_FILES}
        return found | {f"{STATIC}/{name}": content for name, content in {**library_files(), **own}.items()}

    # --- what is read ----------------------------------------------------------------------------------

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        return {each.id: each for each in measurements.all_experiments(self.root)}

    @cached_property
    def markdown(self) -> dict[str, str]:
        """Page of the site by the markdown file it is made from."""
        patterns = ("*.md", "docs/**/*.md", "reports/**/*.md")
        paths = sorted({path for pattern in patterns for path in self.root.glob(pattern)})
        names = [path.relative_to(self.root).as_posix() for path in paths]
        return {name: name.removesuffix(".md") + ".html" for name in names}

    @cached_property
    def numbers(self) -> dict[str, tuple[Row, ...]]:
        """Rows of `numbers.csv` by the folder of the report."""
        found = {}
        for path in sorted(self.root.glob(f"reports/**/{NUMBERS_FILE}")):
            name = path.relative_to(self.root).as_posix()
            found[posixpath.dirname(name)] = read_rows(path.read_bytes(), name)
        return found

    @cached_property
    def verdicts(self) -> dict[str, tuple[Conclusion, ...]]:
        """What each method of a hypothesis concludes, of those that have a report; the one that decides last."""
        found = {}
        for name in self.project.names:
            path = self.root / "reports" / name / VERDICT_FILE
            if path.is_file() and (path.parent / FINDINGS).is_file():
                found[name] = read_conclusions(path.read_bytes(), f"reports/{name}/{VERDICT_FILE}")
        return found

    @cached_property
    def held_out(self) -> dict[str, tuple[HeldOut, ...]]:
        """Held-out predictions by calibration."""
        return {path.name.partition(".")[0]: read_held_out(path) for path in held_out_files(self.root)}

    # --- pages -----------------------------------------------------------------------------------------

    def _pages(self) -> Iterator[tuple[Page, Table | None]]:
        yield self._front(), front.status_table(self.project, self.verdicts)
        for name in self.markdown:
            yield self._markdown_page(name), None
        for folder in self.numbers:
            yield from self._number_pages(folder)
        yield from self._calibration_pages()
        yield from measurements.pages(tuple(self.experiments.values()))
        yield Page("search.html", "Search", "", "search.html"), None

    def _front(self) -> Page:
        standings = self._standings()
        best = front.best_of(standings)
        chained = front.chain(
            self.project,
            self.verdicts,
            {name: self.numbers.get(f"reports/{name}", ()) for name in self.project.names},
            (best.name, self.held_out[best.name]) if best else None,
        )
        context = {
            "best": best,
            "standings": standings,
            "chain": chained,
            "widest": max((error for step in chained for error in step.errors if error), default=1.0),
            "counts": front.status_counts(self.project, self.verdicts),
            "hypotheses": len(self.project.names),
            "experiments": len(self.experiments),
            "points": sum(len(each.load_points) for each in self.experiments.values()),
            "pages": set(self.markdown.values()),
        }
        return Page("index.html", "Roofline Lab", "Overview", "front.html", context)

    def _standings(self) -> list[front.Standing]:
        trust = self.numbers.get("reports/trust", ())
        settings = self.project.settings
        return [
            front.standing(name, self._title_of_calibration(name), rows, trust, settings)
            for name, rows in self.held_out.items()
        ]

    def _title_of_calibration(self, name: str) -> str:
        described = read_yaml(self.root / "configs" / "calibration" / f"{name}.yaml")
        return str(described.get("title", name)) if isinstance(described, Mapping) else name

    def _markdown_page(self, name: str) -> Page:
        path, folder = self.markdown[name], posixpath.dirname(name)
        find = self._finder(folder)
        text = rendered(read_text(self.root / name), lambda target: self._link(target, name), find)
        hypothesis = posixpath.basename(folder)
        title = text.title or posixpath.basename(name)
        if hypothesis in self.project.names:  # as its author wrote it, whatever marks it holds
            more = "" if posixpath.basename(name) == FINDINGS else f": {_view(name).lower()}"
            title = front.named(self.project, hypothesis) + more
        group = next((group for start, group in GROUPS.items() if name.startswith(start)), DOCUMENTATION)
        context = {"body": text.body, "source": name, "numbered": find is not None}
        return Page(path, title, group, "page.html", context, text.sections, self._tabs(folder))

    def _finder(self, folder: str) -> RowFinder | None:
        """Return what finds the rows of a report's numbers, None for a page without a `numbers.csv` beside it."""
        if folder in self.numbers and folder not in self._finders:
            self._finders[folder] = RowFinder(self.numbers[folder], _rows_target, self._names(self.numbers[folder]))
        return self._finders.get(folder)

    def _names(self, rows: Sequence[Row]) -> Mapping[str, str]:
        """Return what the pages of a report call its experiments, and the sides of a split."""
        own = {row.key for row in rows} & set(self.experiments)
        return {**readable_names(self.experiments[key] for key in own), **SIDES}

    def _link(self, target: str, source: str) -> str | None:
        """Return where a link of a markdown page leads in the site, None if its target is not in it."""
        if "://" in target or target.startswith(("#", "mailto:")):
            return target
        path, mark, anchor = target.partition("#")
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        page = self.markdown.get(there)
        if posixpath.basename(there) == NUMBERS_FILE and posixpath.dirname(there) in self.numbers:
            page = f"{posixpath.dirname(there)}/numbers.html"
        elif page is None and there.startswith("reports/") and (self.root / there).is_file():
            self.copied.add(there)
            page = there
        return relative(page + mark + anchor, self.markdown[source]) if page else None

    def _tabs(self, folder: str) -> dict[str, str]:
        """Return the pages of one report: its markdown, its plots and its numbers."""
        if not folder.startswith("reports/"):
            return {}
        own = [name for name in self.markdown if posixpath.dirname(name) == folder]
        tabs = {_view(name): self.markdown[name] for name in sorted(own, key=_order)}
        if folder in self._comparisons or posixpath.basename(folder) in self.held_out:
            tabs["Plots"] = f"{folder}/explore.html"
        if folder in self.numbers:
            tabs["Numbers"] = f"{folder}/numbers.html"
        return tabs if len(tabs) > 1 else {}

    @cached_property
    def _comparisons(self) -> dict[str, Table]:
        tables = {
            folder: numbers.comparison_table(
                rows, self.experiments, f"{folder}/explore.html", self._deciding_method(folder)
            )
            for folder, rows in self.numbers.items()
        }
        return {folder: table for folder, table in tables.items() if table is not None}

    def _deciding_method(self, folder: str) -> str:
        """Return the last of the methods that decide a hypothesis, empty for another report."""
        methods = self.verdicts.get(posixpath.basename(folder), ())
        return methods[-1].method if methods else ""

    def _number_pages(self, folder: str) -> Iterator[tuple[Page, Table]]:
        name = posixpath.basename(folder)
        group = next(group for start, group in GROUPS.items() if f"{folder}/".startswith(start))
        title = front.named(self.project, name) if name in self.project.names else name.capitalize()
        tabs = self._tabs(folder)
        told = {"introduction": f"Every row of reports/{name}/{NUMBERS_FILE}, as it is committed."}
        page = Page(f"{folder}/numbers.html", f"{title}: numbers", group, "table.html", told, tabs=tabs)
        yield page, numbers.numbers_table(self.numbers[folder])
        if folder in self._comparisons:
            told = {"introduction": "Measured and predicted means. Each value leads to its row of numbers.csv."}
            page = Page(f"{folder}/explore.html", f"{title}: plots", group, "table.html", told, tabs=tabs)
            yield page, self._comparisons[folder]

    def _calibration_pages(self) -> Iterator[tuple[Page, Table | None]]:
        for name, rows in self.held_out.items():
            path = f"reports/calibration/{name}/explore.html"
            told = {"introduction": "Predictions of constants that were fitted without what they predict."}
            title = f"{self._title_of_calibration(name)}: held-out predictions"
            page = Page(path, title, "Calibration", "table.html", told, tabs=self._tabs(posixpath.dirname(path)))
            yield page, numbers.held_out_table(rows, self.experiments, path)
        context = {"standings": self._standings(), "links": self._linked_pages("Calibration")}
        if any(context.values()):
            yield Page("calibration.html", "Calibrations", "Calibration", "calibrations.html", context), None

    def _linked_pages(self, group: str) -> list[tuple[str, str]]:
        """Return title and path of the markdown pages of a group."""
        names = [
            name
            for name in self.markdown
            if next((each for start, each in GROUPS.items() if name.startswith(start)), DOCUMENTATION) == group
        ]
        return [(_first_heading(read_text(self.root / name)) or name, self.markdown[name]) for name in names]


def _first_heading(text: str) -> str:
    line = next((line for line in text.splitlines() if line.startswith("# ")), "")
    return line.removeprefix("# ").replace("`", "")


def _view(name: str) -> str:
    """Return what the tab of a page of markdown is called."""
    return posixpath.basename(name).removesuffix(".md").replace("_", " ").capitalize()


def _order(name: str) -> tuple[bool, str]:
    """Sort the page of findings first."""
    return (posixpath.basename(name) != FINDINGS, name)


def _rows_target(lines: Sequence[int]) -> str:
    return f"numbers.html#row={','.join(map(str, lines))}"


def _navigation(pages: Sequence[Page]) -> dict[str, str]:
    """Return the entries of the navigation with the page each leads to: the usual one, else the first of its group."""
    paths = {page.path for page in pages}
    found = {}
    for group, usual in NAVIGATION.items():
        own = [page.path for page in pages if page.group == group]
        if usual in paths or own:
            found[group] = usual if usual in paths else own[0]
    return found


def _searched(pages: Sequence[Page]) -> Iterator[dict[str, str]]:
    """Yield what the search knows: every section of every page."""
    for page in pages:
        for section in page.sections:
            anchor = f"#{section.anchor}" if section.anchor and section.level > 1 else ""
            yield {
                "path": page.path + anchor,
                "title": page.title,
                "heading": section.heading if section.level > 1 else "",
                "text": section.text[:SEARCHED],
                "name": page.title if section.level == 1 else "",
            }
