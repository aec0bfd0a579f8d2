"""A folder of a person's images becomes a library: turned upright, checked, deduplicated, captioned.

Captions come from `metadata.jsonl` (imagefolder: `file_name` with `text` or `caption`, and any further columns), else
from a `.txt` file of the same stem, else from the file's name, or from its folder's if the name has no words.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ragdemo.errors import UserError
from ragdemo.files import shown_name
from ragdemo.images import SUFFIXES, image_sha256, read_image
from ragdemo.library.store import (
    METADATA_FILE,
    Library,
    NewImage,
    is_inside,
    is_text,
    read_metadata,
    write_library,
)

MIN_SIDE = 16
MAX_SIDE = 1024
MAX_CAPTION_CHARACTERS = 1000
MAX_SIDECAR_BYTES = 100_000
MAX_ID_BYTES = 160  # a file name has 255 at most
CAPTION_KEYS = ("text", "caption")


@dataclass(frozen=True)
class Skipped:
    """A file that is not in the library, relative to the source folder, and why not."""

    file_name: str
    reason: str


@dataclass(frozen=True)
class Duplicate:
    """A file with the same upright pixels as another one, which is in the library under `id`."""

    file_name: str
    id: str


@dataclass(frozen=True)
class Ingested:
    """The new library and every file that it does not contain."""

    library: Library
    skipped: tuple[Skipped, ...]
    duplicates: tuple[Duplicate, ...]


@dataclass
class _Collector:
    """What is known of the source, and what accumulates while its files are read."""

    source: Path
    metadata: dict[str, dict[str, Any]]
    ids: set[str] = field(default_factory=set)
    by_pixels: dict[str, str] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)

    def relative(self, path: Path) -> str:
        """A file's name relative to the source folder."""
        return path.relative_to(self.source).as_posix()

    def skip(self, path: Path, reason: str) -> None:
        """List a file that the library will not contain."""
        name = self.relative(path)
        self.skipped.append(Skipped(name if is_text(name) else ascii(name)[1:-1], reason))


def ingest(source: Path, target: Path, name: str | None = None, *, max_side: int = MAX_SIDE) -> Ingested:
    """Make the library `target` of all images under `source`; longer sides are shrunk to `max_side` pixels.

    Files that cannot be used are listed in the result, not fatal. Images are encoded anew, so camera metadata (a place,
    a person) stays behind. Raises `UserError` if `source` is not a folder or contains no readable image, if its
    `metadata.jsonl` is malformed, or if `target` is not empty or cannot be written.
    """
    if not os.path.isdir(source):  # `Path.is_dir` raises if the name is too long
        raise UserError(f"{source} is not a folder; name one that contains images.")
    collector = _Collector(source, _source_metadata(source))
    files = _image_files(collector)
    _list_absent(collector, files)
    library = write_library(target, name or target.name, _stream(collector, files, max_side))
    return Ingested(library, tuple(collector.skipped), tuple(collector.duplicates))


def caption_from_name(file_name: str) -> str:
    """Words of a file's name without counters, of its folder's name if it has none.

    "red_car-01.jpg" gives "red car", "quixel butterfly/0001.png" gives "quixel butterfly".
    """
    path = Path(file_name)
    for part in (path.stem, path.parent.name):
        words = re.sub(r"[\W_]+", " ", part).strip()
        words = re.sub(r"( \d+)+$", "", words)
        if re.search(r"[^\W\d]", words):
            return words
    return path.stem


def _image_files(collector: _Collector) -> list[Path]:
    """All files with an image's suffix, sorted; a folder that cannot be read is listed as skipped."""

    def skip(error: OSError) -> None:
        collector.skip(Path(error.filename), f"The folder cannot be read ({error.strerror}).")

    paths = [
        Path(folder, name) for folder, _, names in os.walk(collector.source, onerror=skip) for name in names
    ]
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES)


def _stream(collector: _Collector, files: list[Path], max_side: int) -> Iterator[NewImage]:
    for path in files:
        try:
            new = _new_image(collector, path, max_side)
        except UserError as error:
            collector.skip(path, str(error))
            continue
        if new is not None:
            yield new


def _new_image(collector: _Collector, path: Path, max_side: int) -> NewImage | None:
    """The image of a file, `None` if another file has the same pixels; raises `UserError` if it cannot be used."""
    file_name = collector.relative(path)
    if not is_text(file_name):
        raise UserError(f"The name {shown_name(path)} is not valid UTF-8; rename the file.")
    data = collector.metadata.get(file_name, {})
    extra = {"source": file_name} | {key: value for key, value in data.items() if key not in CAPTION_KEYS}
    _check_extra(extra)
    caption = _caption(path, file_name, data)
    image = read_image(path, longest_side=max_side, shortest_side=MIN_SIDE)
    pixels = image_sha256(image)
    if pixels in collector.by_pixels:
        collector.duplicates.append(Duplicate(file_name, collector.by_pixels[pixels]))
        return None
    image_id = _new_id(data.get("id"), file_name, collector.ids)
    collector.by_pixels[pixels] = image_id
    return NewImage(image_id, caption, image, extra)


def _check_extra(extra: dict[str, Any]) -> None:
    if not is_text(extra.get("split") or ""):
        raise UserError(f"{METADATA_FILE} gives it a split that is not a text; correct it.")
    try:
        writable = is_text(json.dumps(extra, ensure_ascii=False))
    except RecursionError:
        writable = False
    if not writable:
        raise UserError(f"{METADATA_FILE} gives it values that cannot be written again; correct them.")


def _source_metadata(source: Path) -> dict[str, dict[str, Any]]:
    """Rows of a source's `metadata.jsonl` by file name; empty if there is no such file."""
    path = source / METADATA_FILE
    if not path.is_file():
        return {}
    rows = {}
    for number, data in read_metadata(path):
        file_name = data.get("file_name")
        if not isinstance(file_name, str) or not is_inside(file_name):
            raise UserError(f"Line {number} of {path} has no valid file_name; name a file inside the folder.")
        rows[Path(file_name).as_posix()] = data
    return rows


def _list_absent(collector: _Collector, files: list[Path]) -> None:
    for file_name in sorted(set(collector.metadata) - set(map(collector.relative, files))):
        collector.skip(collector.source / file_name, f"{METADATA_FILE} names it, but there is no such image.")


def _caption(path: Path, file_name: str, data: dict[str, Any]) -> str:
    for key in CAPTION_KEYS:
        if isinstance(data.get(key), str) and data[key].strip():
            return _one_line(data[key])
    return _one_line(_sidecar_text(path.with_suffix(".txt"))) or caption_from_name(file_name)


def _sidecar_text(path: Path) -> str:
    """The beginning of a caption file, empty if there is none; UTF-8, or UTF-16 if it begins with that mark."""
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIDECAR_BYTES)
    except OSError as error:
        raise UserError(
            f"Its caption file {shown_name(path)} cannot be read ({error.strerror}); correct or remove it."
        ) from error
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig", errors="replace")


def _one_line(text: str) -> str:
    """A caption's text in one line, without what no one can see or UTF-8 encode."""
    line = " ".join(text.split())
    return "".join(c for c in line if unicodedata.category(c) not in ("Cc", "Cs"))[:MAX_CAPTION_CHARACTERS]


def _new_id(wanted: object, file_name: str, taken: set[str]) -> str:
    """An id that can be a file's name and is not taken, in any case of its letters; it is added to `taken`."""
    stem = wanted if isinstance(wanted, str) and wanted else Path(file_name).with_suffix("").as_posix()
    words = unicodedata.normalize("NFC", re.sub(r"[^\w-]+", "-", stem).strip("-")[:80])
    base = words.encode()[:MAX_ID_BYTES].decode(errors="ignore") or "image"
    image_id, count = base, 1
    while image_id.casefold() in taken:
        count += 1
        image_id = f"{base}-{count}"
    taken.add(image_id.casefold())
    return image_id
