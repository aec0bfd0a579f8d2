"""A library of reference images on disk: an ordinary imagefolder that any dataset loader opens.

    library.json       {"format": 1, "name", "version", "count", "made"?, "private"?}
    metadata.jsonl     one row an image: {"file_name", "text", "id", "sha256", "split"?, further columns}
    images/*           the files; `sha256` is of a file's bytes
    index/             vectors computed from them: see `ragdemo.library.vectors`

Opening a library loads no model and decodes no image. `write_library`, `ragdemo.library.building` and
`ragdemo.library.session` write libraries.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from ragdemo.errors import UserError
from ragdemo.files import shown_name, whole_folder
from ragdemo.images import read_image
from ragdemo.library.metadata import is_inside, is_text, line_of, parse_json, read_metadata, read_text
from ragdemo.profiles import ASSETS

FORMAT = 1
LIBRARY_FILE = "library.json"
METADATA_FILE = "metadata.jsonl"
REFERENCE_SPLIT = "eval"
SHIPPED = {"pocket": ASSETS / "pocket" / "library"}
COLUMNS = ("file_name", "text", "id", "sha256")


@dataclass(frozen=True)
class Row:
    """One image of a library; `extra` holds the columns beyond the four that every library has."""

    id: str
    file_name: str
    caption: str
    sha256: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def split(self) -> str | None:
        """The split that the image belongs to, `None` if it belongs to none."""
        return self.extra.get("split")


@dataclass(frozen=True)
class NewImage:
    """An image on its way into a library; `id` becomes its file's stem under `images/`."""

    id: str
    caption: str
    image: Image.Image
    extra: Mapping[str, Any] = field(default_factory=dict)


class Library:
    """Read-only view of a library folder."""

    def __init__(
        self,
        folder: Path,
        name: str,
        version: str,
        rows: tuple[Row, ...],
        is_private: bool = False,
        made: str = "",
    ) -> None:
        """What is computed of a private library stays in its folder, and goes with it.

        `made` is the hash of the build that it came from (`ragdemo.library.building.made_of`), empty if unknown.
        """
        self.folder = folder
        self.name = name
        self.version = version
        self.rows = rows
        self.is_private = is_private
        self.made = made
        self._by_id = {row.id: row for row in rows}

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._by_id

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 over (id, sha256, caption) of every row, whatever the order of the rows."""
        digest = hashlib.sha256()
        for row in sorted(self.rows, key=lambda row: row.id):
            digest.update(json.dumps([row.id, row.sha256, row.caption]).encode())
        return digest.hexdigest()

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, sorted; empty if the rows have none."""
        return tuple(sorted({row.split for row in self.rows if row.split is not None}))

    @property
    def searched_split(self) -> str | None:
        """The part that runs look into: what no training saw, if there is one; None for all of it."""
        return REFERENCE_SPLIT if REFERENCE_SPLIT in self.splits else None

    def row(self, image_id: str) -> Row:
        """The row of an id; raises `UserError` if there is none."""
        if image_id not in self._by_id:
            raise UserError(
                f"The library {self.name} has no image {image_id[:80]!r}; choose one that it lists."
            )
        return self._by_id[image_id]

    def caption(self, image_id: str) -> str:
        """The caption of an image."""
        return self.row(image_id).caption

    def path(self, image_id: str) -> Path:
        """The file of an image."""
        return self.folder / self.row(image_id).file_name

    def image(self, image_id: str) -> Image.Image:
        """The image as RGB; raises `UserError` if its file is missing or damaged."""
        try:
            return read_image(self.path(image_id))
        except UserError as error:
            name = shown_name(self.row(image_id).file_name)
            raise UserError(
                f"The library image {name} cannot be read; restore the library {self.name}."
            ) from error

    def rows_of(self, split: str | None = None) -> tuple[Row, ...]:
        """All rows, or those of one split; raises `UserError` if no row is in it."""
        if split is None:
            return self.rows
        if split not in self.splits:
            has = ", ".join(self.splits) or "no splits"
            raise UserError(f"The library {self.name} has no split {split!r}; it has {has}.")
        return tuple(row for row in self.rows if row.split == split)


def open_library(name: str | Path) -> Library:
    """A library by its shipped name ("pocket") or its folder; raises `UserError` if it is missing or damaged.

    A name that a person gives to a page or an endpoint goes through `ragdemo.library.catalogue` instead.
    """
    folder = SHIPPED.get(str(name), Path(name))
    header = _read_header(folder)
    rows = tuple(_read_rows(folder))
    if header.get("format") != FORMAT:
        raise UserError(
            f"The library {folder} has format {header.get('format')!r}, not {FORMAT}; build it again."
        )
    is_private = header.get("private") is True
    if len(rows) != header.get("count") and not is_private:  # that of a session changes while it is read
        raise UserError(
            f"The library {folder} lists {len(rows)} images instead of {header.get('count')}; restore or rebuild it."
        )
    ids = {row.id for row in rows}
    if len(ids) != len(rows):
        raise UserError(f"The library {folder} gives {len(rows) - len(ids)} ids twice; rebuild it.")
    name, version = str(header.get("name", folder.name)), str(header.get("version", "1"))
    return Library(folder, name, version, rows, is_private, str(header.get("made", "")))


def write_library(folder: Path, name: str, images: Iterable[NewImage], *, quality: int = 90) -> Library:
    """Write images as WebP files with their metadata and open the result.

    The folder appears whole or not at all. Raises `UserError` if it is not empty or cannot be written, if two images
    share an id, or if there is no image.
    """
    if not is_text(name):
        raise UserError(f"The name {name!r} is not valid UTF-8; choose another one for the library.")
    with whole_folder(folder) as work:
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"The folder {folder} is not empty; choose another one for the library {name!r}.")
        count = _write_rows(work, images, quality)
        if not count:
            raise UserError(f"There is no image for the library {name!r}; name at least one readable file.")
        header = {"format": FORMAT, "name": name, "version": "1", "count": count}
        (work / LIBRARY_FILE).write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")
    return open_library(folder)


def webp(image: Image.Image, quality: int = 90, effort: int = 4) -> bytes:
    """An image's file as libraries keep it; `effort` is WebP's method, 0 to 6."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="WEBP", quality=quality, method=effort)
    return buffer.getvalue()


def row_of(image_id: str, caption: str, data: bytes, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The row of an image whose file has the given bytes."""
    digest = hashlib.sha256(data).hexdigest()
    row = {"file_name": f"images/{image_id}.webp", "text": caption, "id": image_id, "sha256": digest}
    return row | {key: value for key, value in extra.items() if key not in COLUMNS}


def file_sha256(path: Path) -> str | None:
    """Hex sha256 of a file's bytes, `None` if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / LIBRARY_FILE
    if not _is_file(path):
        raise UserError(
            f"There is no library in {folder} ({LIBRARY_FILE} is missing); choose another, or restore the shipped "
            "one (RAGDEMO_ASSETS names its place)."
        )
    header = parse_json(read_text(path))
    if not isinstance(header, dict) or not is_text(header.get("name", "")):
        raise UserError(f"{path} is damaged; restore or rebuild the library.")
    return header


def _read_rows(folder: Path) -> Iterator[Row]:
    path = folder / METADATA_FILE
    if not path.is_file():
        raise UserError(f"The library {folder} lacks {METADATA_FILE}; restore or rebuild it.")
    for number, data in read_metadata(path):
        wrong = [column for column in COLUMNS if not is_text(data.get(column))]
        if not wrong and not is_inside(data["file_name"]):
            wrong = ["file_name"]
        if data.get("split") is not None and not is_text(data["split"]):
            wrong.append("split")
        if wrong:
            raise UserError(
                f"Line {number} of {path} has no valid {', '.join(wrong)}; restore or rebuild the library."
            )
        extra = {key: value for key, value in data.items() if key not in COLUMNS}
        yield Row(data["id"], data["file_name"], data["text"], data["sha256"], extra)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, a null byte
        return False


def _write_rows(folder: Path, images: Iterable[NewImage], quality: int) -> int:
    (folder / "images").mkdir()
    seen: set[str] = set()
    with (folder / METADATA_FILE).open("w", encoding="utf-8") as metadata:
        for new in images:
            if new.id in seen or not is_inside(new.id) or "/" in new.id:
                raise UserError(f"The image id {new.id!r} is given twice or is no file name; choose another.")
            seen.add(new.id)
            data = webp(new.image, quality, effort=6)
            row = row_of(new.id, new.caption, data, new.extra)
            (folder / row["file_name"]).write_bytes(data)
            metadata.write(line_of(row))
    return len(seen)
