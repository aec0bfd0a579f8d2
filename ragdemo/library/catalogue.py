"""The libraries that one process offers, by name: those shipped and those in the user's folder.

A page or an endpoint takes names only; the command line allows paths as well. Nothing here loads a model.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ragdemo.errors import UserError
from ragdemo.files import libraries_root
from ragdemo.library.recent import Recent
from ragdemo.library.store import LIBRARY_FILE, METADATA_FILE, SHIPPED, Library, Row, open_library
from ragdemo.request import shown

MAX_OPEN = 8


@dataclass(frozen=True)
class RowPage:
    """A slice of a library: `rows` of the `total` that pass the filter."""

    rows: tuple[Row, ...]
    total: int


class Catalogue:
    """Opens libraries when they are first asked for and keeps the most recently used ones; threads may share it."""

    def __init__(
        self, folder: Path | None = None, *, allow_paths: bool = False, limit: int = MAX_OPEN
    ) -> None:
        """`folder` contains the user's libraries, each a folder of its name; by default `libraries_root()`."""
        self._folder = folder or libraries_root()
        self._allow_paths = allow_paths
        self._open: Recent[tuple[object, ...], Library] = Recent(limit)

    def names(self) -> tuple[str, ...]:
        """The names of all libraries: shipped ones first, then the user's, sorted."""
        try:
            own = sorted(entry.name for entry in os.scandir(self._folder) if self._is_library(entry))
        except OSError:  # most people have no libraries of their own
            own = []
        return (*SHIPPED, *own)

    def folder(self, name: str) -> Path:
        """The folder of a library; raises `UserError` if no library has the name, unless paths are allowed."""
        if isinstance(name, str) and name in SHIPPED:
            return SHIPPED[name]
        if name in self.names():
            return self._folder / name
        if self._allow_paths:
            return Path(name)
        raise UserError(f"There is no library {shown(name)}; choose one of {', '.join(self.names())}.")

    def open(self, name: str) -> Library:
        """The library of a name, opened again if its files have changed; raises `UserError` as `folder` does.

        It is also raised if the library is damaged; the message names no folder unless paths are allowed.
        """
        folder = self.folder(name)
        try:
            return self._open.get((folder, *_stamps(folder)), lambda: open_library(folder))
        except UserError as error:
            if self._allow_paths:
                raise
            raise UserError(f"The library {name!r} is damaged; restore or rebuild it.") from error

    def browse(self, name: str, kind: str | None = None, offset: int = 0, limit: int = 24) -> RowPage:
        """A slice of a library's rows, or of those whose column `kind` has the given value; needs no model."""
        rows = [row for row in self.open(name).rows if kind is None or row.extra.get("kind") == kind]
        start = max(offset, 0)
        return RowPage(tuple(rows[start : start + max(limit, 0)]), len(rows))

    def _is_library(self, entry: os.DirEntry[str]) -> bool:
        is_name = entry.name.isprintable() and entry.name not in SHIPPED and not entry.name.startswith(".")
        return is_name and os.path.isfile(os.path.join(entry.path, LIBRARY_FILE))


def _stamps(folder: Path) -> tuple[tuple[int, int] | None, ...]:
    """Size and modification time of the files that describe a library."""
    return tuple(_stamp(folder / name) for name in (LIBRARY_FILE, METADATA_FILE))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns
