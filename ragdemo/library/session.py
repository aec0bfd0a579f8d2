"""A visitor's own library: made on the page, seen by nobody else, bounded, and gone with the visit.

It is an ordinary library in a folder of the session, and whatever is computed of it stays in there. Its rows replace
each other whole, so that a run that has opened it goes on with what it saw. Pictures come in groups with a name each.
"""

from __future__ import annotations

import json
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ragdemo.errors import UserError
from ragdemo.files import slug, write_atomically
from ragdemo.images import image_sha256
from ragdemo.library.ingest import MAX_CAPTION_CHARACTERS, caption_from_name, new_id, prepared
from ragdemo.library.metadata import line_of
from ragdemo.library.sources import ArchiveLimits, Entry, Skipped, Source, skipped_file, zip_source
from ragdemo.library.store import (
    FORMAT,
    LIBRARY_FILE,
    METADATA_FILE,
    Library,
    NewImage,
    open_library,
    row_of,
    webp,
)
from ragdemo.request import OWN_LIBRARY, folded
from ragdemo.sessions import SessionFolder, new_session_folder

MOST_PICTURES = 300
MOST_BYTES = 64_000_000
LONGEST_SIDE = 768
LIMITS = ArchiveLimits(members=5_000, unpacked=400_000_000, metadata=4_000_000)
MOST_SAID = 4_000  # characters that a picture's metadata may have: the page keeps them
UNNAMED = "pictures of yours"
_LONGEST_NAME = 80
_FULL = f"Your library is full: it takes {MOST_PICTURES} pictures and {MOST_BYTES // 10**6} MB. Remove some first."


@dataclass(frozen=True)
class Group:
    """Pictures that belong together."""

    name: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Taken:
    """What came of some files: the ids of new pictures, those that were there already, and what was skipped."""

    ids: tuple[str, ...] = ()
    known: int = 0
    skipped: tuple[Skipped, ...] = ()


@contextmanager
def uploaded(file: Path) -> Iterator[Source]:
    """The pictures of an upload: those of a zip archive, or the one file itself; raises `UserError` as `zip_source`."""
    if file.suffix.lower() == ".zip":
        with zip_source(file, LIMITS) as source:
            yield source
    else:
        yield Source(1, lambda: iter([Entry(file.name, "", lambda: file)]))


def open_own(folder: Path) -> Library:
    """The library of a session; raises `UserError`, which names no folder, if it is gone or damaged."""
    try:
        return open_library(folder)
    except UserError as error:
        raise UserError("Your library can no longer be read; add its pictures again.") from error


class SessionLibrary:
    """The library of one visitor; threads may share it."""

    def __init__(self) -> None:
        self._changing = threading.RLock()
        self._folder: SessionFolder | None = None
        self._packed: SessionFolder | None = None
        self._rows: list[dict[str, Any]] = []
        self._pixels: dict[str, str] = {}  # of every picture, by the hash of its pixels
        self._bytes: dict[str, int] = {}

    def __deepcopy__(self, _memo: object) -> SessionLibrary:
        return SessionLibrary()  # Gradio gives each visitor a copy of a state's first value

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def folder(self) -> Path | None:
        """Where the library is, None while it is empty."""
        return self._folder.path if self._folder and self._rows else None

    @property
    def library(self) -> Library:
        """The library as it is now; raises `UserError` while it is empty."""
        if self.folder is None:
            raise UserError("Your library is empty; add pictures to it, or invent something.")
        return open_own(self.folder)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups, the newest first."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in reversed(self._rows):
            found.setdefault(row["group"], []).append(row)
        return tuple(Group(name, tuple(row["id"] for row in reversed(rows))) for name, rows in found.items())

    def take(self, entry: Entry, group: str = "") -> Taken:
        """Add one picture file to a group; raises `UserError` if the library is full.

        Without a group it is that of the folder that the file lies in, else one for all that has no name.
        """
        try:
            made = prepared(entry, LONGEST_SIDE)
            _check_said(made.extra)
        except UserError as error:
            return Taken(skipped=(skipped_file(entry.name, str(error)),))
        folder = PurePosixPath(entry.name).parent.name
        named = folded(group, "name")[:_LONGEST_NAME] if group.strip() else ""
        words = named or (caption_from_name(folder) if folder else "") or UNNAMED
        caption = named or made.caption
        with self._changing:
            if made.pixels in self._pixels:
                return Taken(known=1)
            self._check_room(len(made.data))
            taken = {str(row["id"]).casefold() for row in self._rows}
            image_id = new_id(None, entry.name, taken)
            row = row_of(image_id, caption, made.data, {**made.extra, "group": words})
            self._keep([row], {image_id: (made.pixels, made.data)})
            return Taken((image_id,))

    def add_drawn(self, images: Sequence[NewImage], group: str) -> None:
        """Add drawn pictures as a group, in the place of one of its name; raises `UserError` if there is no room."""
        made = [(image, image_sha256(image.image), webp(image.image)) for image in images]
        with self._changing:
            self.remove(group)
            self._check_room(sum(len(data) for _, _, data in made), len(images))
            taken = {str(row["id"]).casefold() for row in self._rows}
            rows, files = [], {}
            for image, pixels, data in made:
                image_id = new_id(image.id, image.id, taken)
                rows.append(row_of(image_id, image.caption, data, {**image.extra, "group": group}))
                files[image_id] = (pixels, data)
            self._keep(rows, files)

    def rename(self, group: str, name: str) -> None:
        """Give a group another name, also in its captions; raises `UserError` if that is none."""
        new = folded(name, "name")[:_LONGEST_NAME]
        with self._changing:
            for row in self._rows:
                if row["group"] == group:
                    row |= {"group": new, "text": _renamed(row["text"], group, new)}
            if self._rows:
                self._write()

    def remove(self, group: str) -> None:
        """Remove a group with its pictures."""
        with self._changing:
            gone = [row for row in self._rows if row["group"] == group]
            self._rows = [row for row in self._rows if row["group"] != group]
            if gone:
                self._write()
            for row in gone:
                self._forget(row)

    def packed(self, place: Path) -> Path:
        """A zip archive below `place` of the library as a folder that `library build` reads.

        It goes with the next one, with the next change, and with the library. Raises `UserError` while the library is
        empty, and if there is no room.
        """
        with self._changing:
            library = self.library
            self._packed = new_session_folder(place)
            path = self._packed.path / f"{slug(self.groups[0].name)}-library.zip"
            try:
                with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # they are compressed already
                    archive.writestr(METADATA_FILE, "".join(map(line_of, self._rows)))
                    for row in self._rows:
                        archive.write(library.folder / row["file_name"], row["file_name"])
            except OSError as error:
                self._packed = None
                raise UserError(
                    f"The library cannot be packed ({error.strerror}); try again later."
                ) from error
            return path

    def delete(self) -> None:
        """Remove everything."""
        with self._changing:
            self._rows, self._pixels, self._bytes = [], {}, {}
            if self._folder:
                self._folder.delete()
            self._folder = self._packed = None

    def _check_room(self, size: int, count: int = 1) -> None:
        if len(self._rows) + count > MOST_PICTURES or sum(self._bytes.values()) + size > MOST_BYTES:
            raise UserError(_FULL)

    def _keep(self, rows: Sequence[dict[str, Any]], files: Mapping[str, tuple[str, bytes]]) -> None:
        """Write files first, then the rows that name them."""
        if self._folder is None:
            self._folder = new_session_folder()
            header = {"format": FORMAT, "name": OWN_LIBRARY, "version": "1", "private": True}
            write_atomically(self._folder.path / LIBRARY_FILE, json.dumps(header).encode())
        for row in rows:
            pixels, data = files[row["id"]]
            write_atomically(self._folder.path / row["file_name"], data)
            self._pixels[pixels] = row["id"]
            self._bytes[row["id"]] = len(data)
        self._rows += rows
        self._write()

    def _write(self) -> None:
        assert self._folder is not None, "rows have a folder"
        self._packed = None  # it is out of date
        text = "".join(map(line_of, self._rows))
        write_atomically(self._folder.path / METADATA_FILE, text.encode())

    def _forget(self, row: Mapping[str, Any]) -> None:
        assert self._folder is not None, "rows have a folder"
        (self._folder.path / row["file_name"]).unlink(missing_ok=True)
        self._bytes.pop(row["id"], None)
        self._pixels = {pixels: one for pixels, one in self._pixels.items() if one != row["id"]}


def _renamed(caption: str, old: str, new: str) -> str:
    """A caption with a group's new name: in the place of the old one, or as the whole of it."""
    pattern = re.compile(rf"(?<!\w){re.escape(old)}(?!\w)", re.IGNORECASE)
    return pattern.sub(lambda _: new, caption)[:MAX_CAPTION_CHARACTERS] if pattern.search(caption) else new


def _check_said(extra: Mapping[str, Any]) -> None:
    if len(json.dumps(extra)) > MOST_SAID:
        raise UserError(f"{METADATA_FILE} says over {MOST_SAID:,} characters of it; shorten that.")
