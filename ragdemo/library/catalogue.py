"""The libraries that one process offers, by name: those shipped and those in the user's folder.

A page or an endpoint takes names only; the command line allows paths as well. Nothing here loads a model.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ragdemo.errors import UserError
from ragdemo.files import WORK_PREFIX, libraries_root
from ragdemo.library.contents import derived_paths
from ragdemo.library.metadata import is_text
from ragdemo.library.recent import Recent
from ragdemo.library.store import LIBRARY_FILE, METADATA_FILE, SHIPPED, Library, Row, open_library
from ragdemo.request import OWN_LIBRARY, shown

MAX_OPEN = 8
MAX_NAME_BYTES = 120


@dataclass(frozen=True)
class RowPage:
    """A slice of a library: `rows` of the `total` that pass the filter; `sizes` of the groups that they stand for."""

    rows: tuple[Row, ...]
    total: int
    sizes: tuple[int, ...] = ()


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
        if name == OWN_LIBRARY:
            raise UserError(
                "That library belonged to a visitor's session, and has ended with it; choose another."
            )
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

    def new_folder(self, name: str) -> Path:
        """The folder for a new library of a name; raises `UserError` if it cannot be one's name."""
        is_plain = is_text(name) and name.isprintable() and 0 < len(name.encode()) <= MAX_NAME_BYTES
        if not is_plain or name != name.strip() or name.startswith(".") or re.search(r"[/\\]", name):
            raise UserError(
                f"The name {shown(name)} cannot be a library's; choose a short one without slashes or a dot before it."
            )
        if name in SHIPPED or name == OWN_LIBRARY:
            raise UserError(f"The name {name!r} is the program's own; choose another.")
        return self._folder / name

    def remove(self, name: str) -> None:
        """Delete one of the user's libraries and what was computed of it; raises `UserError` if it cannot be."""
        folder = self.new_folder(name)
        if name not in self.names():
            raise UserError(f"There is no library {shown(name)}; choose one of {', '.join(self.names())}.")
        try:
            with suppress(UserError):  # a damaged one goes too
                for path in derived_paths(open_library(folder)):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            gone = folder.with_name(f"{WORK_PREFIX}{secrets.token_hex(8)}.tmp")
            os.replace(folder, gone)  # at once, whatever happens to the files
            shutil.rmtree(gone)
        except OSError as error:
            raise UserError(f"The library {name!r} cannot be removed ({error.strerror}).") from error

    def browse(self, name: str, kind: str | None = None, offset: int = 0, limit: int = 24) -> RowPage:
        """A slice of a library's rows, or of those whose column `kind` has the given value; needs no model."""
        return page_of(self.open(name), {} if kind is None else {"kind": kind}, offset, limit)

    def _is_library(self, entry: os.DirEntry[str]) -> bool:
        is_name = entry.name.isprintable() and entry.name not in SHIPPED and not entry.name.startswith(".")
        return is_name and os.path.isfile(os.path.join(entry.path, LIBRARY_FILE))


def page_of(
    library: Library,
    where: Mapping[str, str] | None = None,
    offset: int = 0,
    limit: int = 24,
    one_of_each: bool = False,
) -> RowPage:
    """A slice of a library's rows whose columns have the values `where`, or of the first rows of each group of them."""
    wanted = (where or {}).items()
    rows = [row for row in library.rows if wanted <= row.extra.items()]
    sizes = Counter(map(group_of, rows)) if one_of_each else {}
    if one_of_each:
        firsts: dict[str, Row] = {}
        for row in rows:
            firsts.setdefault(group_of(row), row)
        rows = list(firsts.values())
    start = max(offset, 0)
    shown = tuple(rows[start : start + max(limit, 0)])
    return RowPage(shown, len(rows), tuple(sizes[group_of(row)] for row in shown) if sizes else ())


def group_of(row: Row) -> str:
    """What a picture belongs to: its species, the group that a visitor put it in, or what its caption says."""
    return str(row.extra.get("species") or row.extra.get("group") or row.caption)


def _stamps(folder: Path) -> tuple[tuple[int, int] | None, ...]:
    """Size and modification time of the files that describe a library."""
    return tuple(_stamp(folder / name) for name in (LIBRARY_FILE, METADATA_FILE))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns
