"""What may be asked for by name: findings, by id or alias, and the rules of the workflow."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from roofline_lab.hypotheses.spec import Claim
from roofline_lab.jobs.drafts import left_out_told
from roofline_lab.jobs.paths import PAGE, PAGES, names, pages
from roofline_lab.project import Project
from simulator.errors import ConfigError

# What `snakemake --report` shows of a finding, each with the caption of its name in workflow/report/.
SHOWN: Mapping[str, str] = {PAGE: "page", ".md": "details", ".png": "figure", ".svg": "figure", ".csv": "table"}
# Similarity from which a word counts as misspelt.
MISSPELT = 0.6
# Suggestions made for one word.
SUGGESTED = 3
# Where a Snakefile begins another rule.
OTHER_RULES = re.compile(r"^\s*(rule|checkpoint|include)\b", re.MULTILINE)
# An alias that is no such word (it has a blank, say) cannot be a target.
WORD = re.compile(r"[A-Za-z][\w-]*")


def aliases(project: Project) -> dict[str, str]:
    """Return the hypothesis behind every alias that can be asked for."""
    claims: Mapping[str, Claim] = {**project.hypotheses, **project.synthetic}
    return {alias: name for name in names(project) for alias in claims[name].aliases if WORD.fullmatch(alias)}


def has_rules(snakefile: Path) -> bool:
    """Return whether a Snakefile that takes these rules as a module has others too, which are not known to them."""
    return OTHER_RULES.search(snakefile.read_text(encoding="utf-8")) is not None


def shown_as(path: str) -> str | None:
    """Return what a file of a report is in `snakemake --report`: page, details, figure, table; None if not shown."""
    return SHOWN.get(Path(path).name) or SHOWN.get(Path(path).suffix)


def refuse_unknown(project: Project, words: Iterable[str], rules: Iterable[str]) -> None:
    """Refuse a word that is neither a rule nor a file, before anything runs.

    Snakemake itself only says that no rule produces it.

    Parameters
    ----------
    words
        Targets, and the rules that options name.
    rules
        All rules of the workflow.

    Raises
    ------
    ConfigError
        Naming the targets that were probably meant.
    """
    known = set(rules)
    for word in sorted(words):
        if word in project.left_out:
            raise ConfigError(project.left_out[word])
        if project.left_out and word in ("check", *PAGES):
            raise ConfigError(f"'{word}' is about all findings, and some cannot be made: {left_out_told(project)}")
        if project.tables_folder is not None and word in ("check", *PAGES, *_measured(project)):
            raise ConfigError(
                f"'{word}' cannot be run with measured kernel tables: reports/ and measured experiments always use the "
                "kernels the project ships; leave --config kernels=... away"
            )
        if word not in known and "/" not in word and not (project.root / word).is_file():
            meant = " or ".join(f"'{name}'" for name in suggestions(project, word, known))
            if meant:
                raise ConfigError(f"unknown target '{word}'; did you mean {meant}? {_allowed(project)}")
            raise ConfigError(f"unknown target '{word}'; {_allowed(project)}")


def suggestions(project: Project, word: str, rules: Iterable[str]) -> list[str]:
    """Return what was probably meant: the findings that begin with a word, else the names most like it."""
    lowered = word.lower()
    found = [name for alias, name in aliases(project).items() if alias.lower() == lowered]
    found += [name for name in names(project) if re.match(rf"{re.escape(lowered)}(?![a-z0-9])", name)]
    if not found:
        near = difflib.get_close_matches(word, [*names(project), *_common(project)], n=1, cutoff=MISSPELT)
        found = near or difflib.get_close_matches(word, sorted(rules), n=1, cutoff=MISSPELT)
    return list(dict.fromkeys(found))[:SUGGESTED]


def _common(project: Project) -> tuple[str, ...]:
    """Return what people ask for beside findings; every other rule is a step on the way to one of these."""
    return ("all", "check", *pages(project), "site", "trust", "calibrate")


def _allowed(project: Project) -> str:
    common = ", ".join(_common(project))
    return f"allowed: {common}, and every finding by id or alias (`roofline-lab list` shows them)"


def _measured(project: Project) -> set[str]:
    """Return what hypotheses about measurements are called."""
    return {name for spec in project.hypotheses.values() for name in (spec.id, *spec.aliases)}
