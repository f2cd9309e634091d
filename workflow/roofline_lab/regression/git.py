"""Reading files of a revision through git's own commands, without touching index or work tree.

A `Repository` is named by any folder inside it; paths are relative to that folder. Every failure is a `ConfigError`
that says what to do: no git, no repository, unknown revision, shallow clone, an object that is not there.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from simulator.errors import ConfigError
from simulator.validation import suggest

SHORT_HASH = 9
REGULAR_FILE_MODES = ("100644", "100755")


class Repository:
    """The git repository around a folder.

    Raises
    ------
    ConfigError
        If git is missing or the folder is in no repository.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        done = self._run("rev-parse", "--git-dir")
        if done.returncode != 0:
            raise ConfigError(
                f"{folder.resolve()}: revisions cannot be read here ({_reason(done)}); run this in a clone of the "
                "project, or give two folders with reports"
            )

    def resolve(self, revision: str) -> str:
        """Return the commit a revision names.

        Raises
        ------
        ConfigError
            If it names none, with the branches and tags that resemble it.
        """
        commit = self.commit(revision)
        if commit is None:
            raise ConfigError(f"'{revision}': {self._why_unknown(revision)}")
        return commit

    def commit(self, revision: str) -> str | None:
        """Return the commit a revision names, or None."""
        # A leading dash would be an option; control characters cannot be part of a revision.
        if not revision or revision.startswith("-") or not revision.isprintable():
            return None
        done = self._run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def files(self, commit: str, folders: tuple[str, ...], wanted: Callable[[str], bool]) -> dict[str, bytes]:
        """Return the content of every wanted file below some folders, by path.

        Raises
        ------
        ConfigError
            If an object is missing or damaged.
        """
        listed = self._run("ls-tree", "-r", "-z", commit, "--", *folders)
        if listed.returncode != 0:
            raise ConfigError(f"{commit[:SHORT_HASH]}: git cannot list its files ({_reason(listed)}); try `git fsck`")
        entries = [(path, name) for path, name in _blobs(listed.stdout) if wanted(path)]
        request = "".join(f"{name}\n" for _, name in entries).encode()
        done = self._run("cat-file", "--batch", text=request)
        contents = list(_batch(done.stdout))
        for (path, _), content in zip(entries, [*contents, *[None] * (len(entries) - len(contents))], strict=True):
            if content is None:
                raise ConfigError(
                    f"{commit[:SHORT_HASH]}:{path}: its content is not in this clone ({_reason(done)}); "
                    "fetch it (`git fetch --refetch`) or clone again"
                )
        return {path: content for (path, _), content in zip(entries, contents, strict=True) if content is not None}

    def _why_unknown(self, revision: str) -> str:
        if self._run("rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
            return (
                "is not in this clone, which is shallow: older commits were never fetched; run `git fetch --unshallow` "
                "(or `fetch-depth: 0` in the checkout step), then try again"
            )
        names = self._run("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
        known = names.stdout.decode(errors="replace").split()
        found = self._run("rev-parse", "--verify", revision if not revision.startswith("-") else "")
        if b"ambiguous" in found.stderr:
            return "is the beginning of several hashes; give more digits"
        if not known:
            return "is no revision: the repository has no commit yet"
        return (
            f"is neither a folder nor a revision of this repository; {suggest(revision, known)}; or a hash, HEAD~3, ..."
        )

    def _run(self, *arguments: str, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
        try:
            return subprocess.run(
                ["git", *arguments],
                cwd=self._folder,
                input=text,
                capture_output=True,
                env=environment,
                check=False,
            )
        except FileNotFoundError:
            if not self._folder.is_dir():
                raise ConfigError(f"{self._folder}: there is no such folder") from None
            raise ConfigError(
                "git: not found; install it, or give two folders with reports instead of revisions"
            ) from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"git: cannot be run in {self._folder}: {error}") from None


def _blobs(listing: bytes) -> Iterator[tuple[str, str]]:
    """Yield path and object name of every regular file of `git ls-tree -z`."""
    for entry in filter(None, listing.split(b"\0")):
        head, _, path = entry.partition(b"\t")
        mode, _, name = head.decode().split()
        if mode in REGULAR_FILE_MODES:
            yield path.decode(errors="replace"), name


def _batch(stream: bytes) -> Iterator[bytes | None]:
    """Yield the contents in an answer of `git cat-file --batch`, None for an object that is missing."""
    start = 0
    while start < len(stream):
        end = stream.index(b"\n", start)
        head = stream[start:end].split()
        if head[-1] == b"missing":
            yield None
            start = end + 1
            continue
        size = int(head[-1])
        yield stream[end + 1 : end + 1 + size]
        start = end + 1 + size + 1


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the first line git wrote to standard error, without its prefix."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[0].removeprefix("fatal: ").removeprefix("error: ") if lines else f"exit code {done.returncode}"
