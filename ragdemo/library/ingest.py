"""A folder of a person's images becomes a library: turned upright, checked, deduplicated, captioned.

Captions come from `metadata.jsonl` (imagefolder: `file_name` with `text` or `caption`, and any further columns), else
from a `.txt` of the same stem, else from the file's name, or its folder's where the name holds no words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from ragdemo.library.store import METADATA_FILE, Library, NewImage, is_inside, read_metadata, write_library
from ragdemo.types import UserError

SUFFIXES = frozenset(".avif .bmp .gif .jpeg .jpg .png .ppm .tif .tiff .webp".split())
MIN_SIDE = 16
MAX_SIDE = 1024
MAX_PIXELS = 64_000_000  # a small file may unpack to more than memory holds
MAX_CAPTION_CHARACTERS = 1000
CAPTION_KEYS = ("text", "caption")


@dataclass(frozen=True)
class Skipped:
    """A file that is not in the library, relative to the source folder, and why not."""

    file_name: str
    reason: str


@dataclass(frozen=True)
class Duplicate:
    """A file whose upright pixels another file, which is in the library under `id`, has as well."""

    file_name: str
    id: str


@dataclass(frozen=True)
class Ingested:
    """The library that was made and every file that it does not hold."""

    library: Library
    skipped: tuple[Skipped, ...]
    duplicates: tuple[Duplicate, ...]


@dataclass
class _Collector:
    """What accumulates while files stream into the library."""

    source: Path
    metadata: dict[str, dict[str, Any]]
    ids: set[str] = field(default_factory=set)
    by_pixels: dict[str, str] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)


def ingest(source: Path, target: Path, name: str | None = None, *, max_side: int = MAX_SIDE) -> Ingested:
    """Make the library `target` of all images under `source`; longer sides are shrunk to `max_side` pixels.

    Unreadable files are listed in the result, not fatal. Images are written anew, so camera metadata (a place, a
    person) stays behind. Raises `UserError` where `source` is no folder or holds no readable image, where its
    `metadata.jsonl` is malformed, or where `target` is not empty.
    """
    if not source.is_dir():
        raise UserError(f"{source} is no folder; name one that holds images.")
    collector = _Collector(source, _source_metadata(source))
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    _list_absent(collector, files)
    library = write_library(target, name or target.name, _stream(collector, files, max_side))
    return Ingested(library, tuple(collector.skipped), tuple(collector.duplicates))


def load_upright(path: Path, max_side: int = MAX_SIDE) -> Image.Image:
    """An image file as RGB, turned as its EXIF says, on white where transparent, at most `max_side` pixels a side.

    Raises `UserError` where it is no image, is damaged, or has fewer than 16 pixels a side or too many in all.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it has over {MAX_PIXELS:,} pixels")
            upright = ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path.name} is no readable image ({error}); choose another file.") from error
    if min(upright.size) < MIN_SIDE:
        raise UserError(
            f"{path.name} has only {upright.width}×{upright.height} pixels; choose a larger image."
        )
    rgb = _on_white(upright)
    rgb.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return rgb


def caption_from_name(file_name: str) -> str:
    """Words of a file's name without counters, of its folder's name where it holds none.

    "red_car-01.jpg" gives "red car", "quixel butterfly/0001.png" gives "quixel butterfly".
    """
    path = Path(file_name)
    for part in (path.stem, path.parent.name):
        words = re.sub(r"[\W_]+", " ", part).strip()
        words = re.sub(r"( \d+)+$", "", words)
        if re.search(r"[^\W\d]", words):
            return words
    return path.stem


def _stream(collector: _Collector, files: list[Path], max_side: int) -> Iterator[NewImage]:
    for path in files:
        file_name = path.relative_to(collector.source).as_posix()
        try:
            image = load_upright(path, max_side)
        except UserError as error:
            collector.skipped.append(Skipped(file_name, str(error)))
            continue
        pixels = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
        if pixels in collector.by_pixels:
            collector.duplicates.append(Duplicate(file_name, collector.by_pixels[pixels]))
            continue
        data = collector.metadata.get(file_name, {})
        image_id = _new_id(data.get("id"), file_name, collector.ids)
        collector.by_pixels[pixels] = image_id
        extra = {key: value for key, value in data.items() if key not in CAPTION_KEYS}
        yield NewImage(image_id, _caption(path, file_name, data), image, {"source": file_name} | extra)


def _source_metadata(source: Path) -> dict[str, dict[str, Any]]:
    """Rows of a source's `metadata.jsonl` by file name; empty where there is no such file."""
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
    present = {path.relative_to(collector.source).as_posix() for path in files}
    for file_name in sorted(set(collector.metadata) - present):
        collector.skipped.append(Skipped(file_name, f"{METADATA_FILE} names it, but there is no such image."))


def _caption(path: Path, file_name: str, data: dict[str, Any]) -> str:
    for key in CAPTION_KEYS:
        if isinstance(data.get(key), str) and data[key].strip():
            return _one_line(data[key])
    sidecar = path.with_suffix(".txt")
    text = sidecar.read_text(encoding="utf-8", errors="replace") if sidecar.is_file() else ""
    return _one_line(text) or caption_from_name(file_name)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:MAX_CAPTION_CHARACTERS]


def _new_id(wanted: object, file_name: str, taken: set[str]) -> str:
    """An id that can be a file's name and is not taken; it is added to `taken`."""
    stem = wanted if isinstance(wanted, str) and wanted else Path(file_name).with_suffix("").as_posix()
    base = re.sub(r"[^\w-]+", "-", stem).strip("-")[:80] or "image"
    image_id, count = base, 1
    while image_id in taken:
        count += 1
        image_id = f"{base}-{count}"
    taken.add(image_id)
    return image_id


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")
