"""What a library can be made of: a folder of pictures or a zip archive of one, as a sequence of entries.

Nothing of an archive is ever unpacked to a disk: its members are read one at a time, within limits that hold before a
byte is unpacked. Tables of pictures are in `ragdemo.library.tables`.
"""

from __future__ import annotations

import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ragdemo.errors import UserError
from ragdemo.files import shown_name
from ragdemo.images import MAX_BYTES, SUFFIXES
from ragdemo.library.metadata import is_inside, is_text, metadata_rows, read_metadata
from ragdemo.library.store import METADATA_FILE

MAX_SIDECAR_BYTES = 100_000
MOST_EXPANSION = 200  # a picture hardly shrinks in an archive; more than this is made to fill a memory
SMALL_BYTES = 10_000_000  # what may expand as it likes
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1
_CANNOT_UNPACK = (
    zipfile.BadZipFile,
    OSError,
    ValueError,
    NotImplementedError,
    EOFError,
    IndexError,
    MemoryError,
    RuntimeError,
    lzma.LZMAError,
    struct.error,
    zlib.error,
)

Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Skipped:
    """A file that is not in the library, relative to its source, and why not."""

    file_name: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """One picture of a source: its name there, and a stamp that changes with its content.

    `read` gives the picture's file or bytes, `sidecar` the beginning of its caption file, empty if there is none; both
    raise `UserError`. `data` is what the source's metadata say of it.
    """

    name: str
    stamp: str
    read: Callable[[], Path | bytes]
    data: Mapping[str, Any] = field(default_factory=dict)
    sidecar: Callable[[], bytes] = bytes


@dataclass(frozen=True)
class Source:
    """The entries of a source in an order that is always the same, how many there are, and what is no entry."""

    count: int
    entries: Callable[[], Iterator[Entry]]
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class ArchiveLimits:
    """How many members an archive may have, and how many bytes its pictures and its metadata, once unpacked."""

    members: int = 500_000
    unpacked: int = 200_000_000_000
    metadata: int = 256_000_000


def folder_source(folder: Path) -> Source:
    """All pictures below a folder; raises `UserError` if its `metadata.jsonl` is malformed."""
    rows = _checked(read_metadata(folder / METADATA_FILE), folder / METADATA_FILE)
    skipped: list[Skipped] = []

    def skip(error: OSError) -> None:
        skipped.append(
            skipped_file(
                _relative(Path(error.filename), folder), f"The folder cannot be read ({error.strerror})."
            )
        )

    found = [Path(place, name) for place, _, names in os.walk(folder, onerror=skip) for name in names]
    files = sorted(path for path in found if path.suffix.lower() in SUFFIXES)
    names = [_relative(path, folder) for path in files]
    skipped += _absent(rows, names)

    def entries() -> Iterator[Entry]:
        for path, name in zip(files, names, strict=True):
            caption = path.with_suffix(".txt")
            stamp = f"{_stamp(path)} {_stamp(caption)}"
            yield Entry(name, stamp, partial(Path, path), rows.get(name, {}), partial(_beginning, caption))

    return Source(len(files), entries, tuple(skipped))


@contextmanager
def zip_source(file: Path, limits: ArchiveLimits = ArchiveLimits()) -> Iterator[Source]:
    """All pictures of a zip archive, which is open meanwhile; raises `UserError` if it cannot be used as a whole."""
    label = shown_name(file)
    try:
        archive = zipfile.ZipFile(file)
    except UnicodeError as error:
        raise UserError(
            f"The archive {label} has names that are no UTF-8, though it says so; pack it again."
        ) from error
    except _CANNOT_UNPACK as error:
        raise UserError(f"The archive {label} cannot be read; pack it again as a zip file.") from error
    with archive:
        yield _Archive(archive, label, limits).source()


@dataclass(frozen=True)
class _Archive:
    """An open archive; names are those of its members, with slashes, in UTF-8 where they can be."""

    file: zipfile.ZipFile
    label: str
    limits: ArchiveLimits

    def source(self) -> Source:
        """Its pictures; whatever is hostile about a single one is listed."""
        infos = self.file.infolist()
        if len(infos) > self.limits.members:
            raise UserError(
                f"The archive {self.label} has {len(infos):,} members; pack {self.limits.members:,} or fewer."
            )
        members = {_member_name(info): info for info in infos if not info.is_dir()}
        rows, skipped, good = self._rows(members), [], []
        for name in sorted(members):
            if _is_picture(name):
                reason = _refusal(name, members[name])
                good += [] if reason else [name]
                skipped += [skipped_file(name, reason)] if reason else []
        self._check_size([members[name] for name in good])
        skipped += _absent(rows, [*good, *(one.file_name for one in skipped)])
        return Source(len(good), lambda: self._entries(good, members, rows), tuple(skipped))

    def _entries(
        self, names: list[str], members: Mapping[str, zipfile.ZipInfo], rows: Rows
    ) -> Iterator[Entry]:
        for name in names:
            info, caption = members[name], members.get(str(PurePosixPath(name).with_suffix(".txt")))
            stamp = f"{info.CRC:08x} {info.file_size} {caption.CRC if caption else ''}"
            sidecar = bytes if caption is None else partial(self._unpacked, caption, MAX_SIDECAR_BYTES)
            yield Entry(name, stamp, partial(self._unpacked, info, MAX_BYTES), rows.get(name, {}), sidecar)

    def _rows(self, members: Mapping[str, zipfile.ZipInfo]) -> Rows:
        """Rows of the `metadata.jsonl` that is nearest to the top, by the names of the members they are about."""
        files = [name for name in members if PurePosixPath(name).name == METADATA_FILE and is_inside(name)]
        if not files:
            return {}
        nearest = min(files, key=lambda name: (name.count("/"), name))
        info = members[nearest]
        most = self.limits.metadata
        if info.file_size > most:
            raise UserError(f"{nearest} in {self.label} has over {most // 10**6} MB; shorten it.")
        text = self._unpacked(info, most).decode("utf-8-sig", errors="surrogateescape")
        top = PurePosixPath(nearest).parent
        return {str(top / name): row for name, row in _checked(metadata_rows(text, nearest), nearest).items()}

    def _check_size(self, infos: list[zipfile.ZipInfo]) -> None:
        total = sum(info.file_size for info in infos)
        if total > self.limits.unpacked:
            raise UserError(
                f"The pictures of {self.label} have {total / 1e6:,.0f} MB once they are unpacked; pack "
                f"{self.limits.unpacked / 1e6:,.0f} MB or less."
            )

    def _unpacked(self, info: zipfile.ZipInfo, most: int) -> bytes:
        """At most `most` bytes of a member."""
        try:
            with self.file.open(info) as member:
                return member.read(most)
        except _CANNOT_UNPACK as error:
            name = shown_name(_member_name(info))
            raise UserError(f"{name} cannot be unpacked; pack the archive again.") from error


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    is_fork = path.name.startswith("._") or "__MACOSX" in path.parts  # what a Mac packs beside each file
    return path.suffix.lower() in SUFFIXES and not is_fork


def _refusal(name: str, info: zipfile.ZipInfo) -> str:
    """Why a member is left where it is; empty if nothing speaks against it."""
    if not is_inside(name):
        return "Its name leads out of the archive; rename it."
    if stat.S_ISLNK(info.external_attr >> 16):
        return "It is a link; pack the picture itself."
    if info.flag_bits & _ENCRYPTED:
        return "It is encrypted; pack it without a password."
    if info.file_size > MAX_BYTES:
        return f"It has over {MAX_BYTES // 1_000_000} MB; make it smaller."
    if info.file_size > max(SMALL_BYTES, MOST_EXPANSION * info.compress_size):
        return f"It unpacks to more than {MOST_EXPANSION} times its size; no picture does."
    return ""


def _member_name(info: zipfile.ZipInfo) -> str:
    """A member's name; without the mark for UTF-8 it is that all the same if it can be, else what zip says."""
    name = info.filename
    if not info.flag_bits & _UTF8_NAME:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _checked(numbered: Iterator[tuple[int, dict[str, Any]]], place: str | Path) -> Rows:
    """Metadata rows by file name; raises `UserError` on a line that names no file inside."""
    rows: Rows = {}
    for number, data in numbered:
        name = data.get("file_name")
        if not isinstance(name, str) or not is_inside(name):
            raise UserError(
                f"Line {number} of {place} has no valid file_name; name a file inside the folder."
            )
        rows[PurePosixPath(name).as_posix()] = data
    return rows


def _absent(rows: Rows, names: list[str]) -> list[Skipped]:
    gone = sorted(set(rows) - set(names))
    return [skipped_file(name, f"{METADATA_FILE} names it, but there is no such image.") for name in gone]


def skipped_file(name: str, reason: str) -> Skipped:
    """A file that is left out; a name that is no text is written in ASCII."""
    return Skipped(name if is_text(name) else ascii(name)[1:-1], reason)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def _beginning(path: Path) -> bytes:
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(MAX_SIDECAR_BYTES)
    except OSError as error:
        raise UserError(
            f"Its caption file {shown_name(path)} cannot be read ({error.strerror}); correct or remove it."
        ) from error
