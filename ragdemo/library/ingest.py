"""A person's pictures become a library: turned upright, checked, deduplicated, captioned.

Captions come from `metadata.jsonl` (imagefolder: `file_name` with `text` or `caption`, and any further columns), else
from a `.txt` file of the same stem, else from the file's name, or from its folder's if the name has no words.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from ragdemo.errors import UserError
from ragdemo.files import shown_name
from ragdemo.images import image_sha256, read_image
from ragdemo.library.building import Building, Decided, made_of
from ragdemo.library.metadata import is_text
from ragdemo.library.sources import Entry, Skipped, Source, folder_source, skipped_file, zip_source
from ragdemo.library.store import FORMAT, METADATA_FILE, Library, row_of, webp
from ragdemo.library.tables import is_table, table_source

MIN_SIDE = 16
MAX_SIDE = 1024
MAX_CAPTION_CHARACTERS = 1000
MAX_ID_BYTES = 160  # a file name has 255 at most
CAPTION_KEYS = ("text", "caption")
BATCH = 64


@dataclass(frozen=True)
class Duplicate:
    """A file with the same upright pixels as another one, which is in the library under `id`."""

    file_name: str
    id: str


@dataclass(frozen=True)
class Ingested:
    """The new library and every file of its source that it does not contain."""

    library: Library
    skipped: tuple[Skipped, ...]
    duplicates: tuple[Duplicate, ...]


@dataclass(frozen=True)
class Prepared:
    """A picture that is ready for a library: its file, the hash of its pixels, and what is said of it."""

    entry: Entry
    caption: str
    extra: Mapping[str, Any]
    pixels: str
    data: bytes


def ingest(
    source: Path,
    target: Path,
    name: str | None = None,
    *,
    max_side: int = MAX_SIDE,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Ingested:
    """Make the library `target` of a folder, a zip archive or a table; longer sides are shrunk to `max_side` pixels.

    `progress` is told how many of how many entries are decided, at once and after each batch. A build that was broken
    off goes on where it was. Files that cannot be used are listed in the result, not fatal. Images are encoded anew, so
    camera metadata (a place, a person) stays behind. Raises `UserError` if the source is none or contains no readable
    image, if its `metadata.jsonl` is malformed, or if `target` is not empty or cannot be written.
    """
    mark = _mark(source, max_side)
    with open_source(source) as opened, Building(target, name or target.name, mark) as building:
        building.keep_first(_still_true(building.decided, opened.entries()))
        register = _Register(building.decided)
        progress(len(building.decided), opened.count)
        undecided = islice(opened.entries(), len(building.decided), None)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            while batch := list(islice(undecided, BATCH)):
                made = pool.map(lambda entry: _prepared_or_reason(entry, max_side), batch)
                pairs = [register.decide(entry, one) for entry, one in zip(batch, made, strict=True)]
                building.add([decided for decided, _ in pairs], _files(pairs))
                progress(len(building.decided), opened.count)
        found = [skipped_file(one.name, one.reason) for one in building.decided if one.reason]
        skipped = (*opened.skipped, *found)
        same = tuple(Duplicate(one.name, one.same_as) for one in building.decided if one.same_as)
        return Ingested(building.finish(_report(skipped, same)), skipped, same)


def made_from(library: Library, source: Path, name: str, max_side: int = MAX_SIDE) -> bool:
    """Whether a finished library came from such a call of `ingest`."""
    return library.made == made_of({"format": FORMAT, "name": name, **_mark(source, max_side)})


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """The entries of a folder, an archive or a table; raises `UserError` if it is none of them or damaged."""
    if is_table(path):
        yield table_source(path)
    elif os.path.isdir(path):  # `Path.is_dir` raises if the name is too long
        yield folder_source(path)
    elif os.path.isfile(path) and path.suffix.lower() == ".zip":
        with zip_source(path) as source:
            yield source
    else:
        raise UserError(
            f"{path} is not a folder, a zip archive or a table of images; name one that contains images."
        )


def prepared(entry: Entry, max_side: int = MAX_SIDE) -> Prepared:
    """An entry's picture as a library keeps it; raises `UserError` if it cannot be used."""
    if not is_text(entry.name):
        raise UserError(f"The name {shown_name(entry.name)} is not valid UTF-8; rename the file.")
    extra = {"file": entry.name} | {k: v for k, v in entry.data.items() if k not in CAPTION_KEYS}
    _check_extra(extra)
    caption = _caption(entry)
    image = read_image(entry.read(), entry.name, longest_side=max_side, shortest_side=MIN_SIDE)
    return Prepared(entry, caption, extra, image_sha256(image), webp(image))


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


def new_id(wanted: object, file_name: str, taken: set[str]) -> str:
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


class _Register:
    """The ids and the pixels that a library has already."""

    def __init__(self, decided: Sequence[Decided]) -> None:
        rows = [one for one in decided if one.row]
        self._ids = {str(one.row["id"]).casefold() for one in rows}
        self._by_pixels = {one.pixels: str(one.row["id"]) for one in rows}

    def decide(self, entry: Entry, made: Prepared | str) -> tuple[Decided, bytes]:
        """What becomes of an entry, and its file if it comes into the library; `made` may be why it does not."""
        stamp = _stamp(entry)
        if isinstance(made, str):
            return Decided(entry.name, stamp, reason=made), b""
        if made.pixels in self._by_pixels:
            return Decided(entry.name, stamp, same_as=self._by_pixels[made.pixels]), b""
        image_id = new_id(entry.data.get("id"), entry.name, self._ids)
        self._by_pixels[made.pixels] = image_id
        row = row_of(image_id, made.caption, made.data, made.extra)
        return Decided(entry.name, stamp, row, made.pixels), made.data


def _mark(source: Path, max_side: int) -> dict[str, Any]:
    return {"source": ascii(os.path.abspath(source)), "max_side": max_side}


def _stamp(entry: Entry) -> str:
    """Changes with the entry's file and with what is said of it."""
    return f"{entry.stamp} {json.dumps(entry.data, sort_keys=True, default=str)}"


def _still_true(decided: Sequence[Decided], entries: Iterator[Entry]) -> int:
    """How many of the first decisions are about what the source still begins with."""
    pairs = zip(decided, entries, strict=False)
    same = takewhile(lambda pair: (pair[0].name, pair[0].stamp) == (pair[1].name, _stamp(pair[1])), pairs)
    return sum(1 for _ in same)


def _prepared_or_reason(entry: Entry, max_side: int) -> Prepared | str:
    try:
        return prepared(entry, max_side)
    except UserError as error:
        return str(error)


def _report(skipped: Sequence[Skipped], same: Sequence[Duplicate]) -> list[dict[str, str]]:
    """What a library keeps of the files that it left out."""
    report = [{"file": one.file_name, "reason": one.reason} for one in skipped]
    return report + [{"file": one.file_name, "same_as": one.id} for one in same]


def _files(pairs: Sequence[tuple[Decided, bytes]]) -> dict[str, bytes]:
    return {str(decided.row["file_name"]): data for decided, data in pairs if decided.row}


def _check_extra(extra: dict[str, Any]) -> None:
    if extra.get("split") is not None and not is_text(extra["split"]):
        raise UserError(f"{METADATA_FILE} gives it a split that is not a text; correct it.")
    try:
        writable = is_text(json.dumps(extra, ensure_ascii=False))
    except RecursionError:
        writable = False
    if not writable:
        raise UserError(f"{METADATA_FILE} gives it values that cannot be written again; correct them.")


def _caption(entry: Entry) -> str:
    for key in CAPTION_KEYS:
        if isinstance(entry.data.get(key), str) and entry.data[key].strip():
            return one_line(entry.data[key])
    return one_line(_sidecar_text(entry.sidecar())) or caption_from_name(entry.name)


def _sidecar_text(data: bytes) -> str:
    """A caption file's text: UTF-8, or UTF-16 if it begins with that mark."""
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig", errors="replace")


def one_line(text: str) -> str:
    """A caption's text in one line, without what no one can see or UTF-8 encode."""
    line = " ".join(text.split())
    return "".join(c for c in line if unicodedata.category(c) not in ("Cc", "Cs"))[:MAX_CAPTION_CHARACTERS]
