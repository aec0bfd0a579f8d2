"""What the image files of a library contain now, and what derived files of that library are called."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path

from ragdemo.errors import UserError
from ragdemo.files import cache_root, write_atomically
from ragdemo.library.store import Library, file_sha256


def cache_name(library: Library) -> str:
    """A file name for what is derived from this library in this folder."""
    place = hashlib.sha256(os.fsencode(library.folder.resolve())).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', library.name)[:40]}-{place[:12]}"


def derived_root(library: Library) -> Path:
    """Where this machine keeps what is computed of a library: a private one's stays in its folder and goes with it."""
    return library.folder / ".derived" if library.is_private else cache_root()


def derived_paths(library: Library) -> list[Path]:
    """Files and folders of this machine's cache that were computed of a library."""
    name = cache_name(library)
    found = [
        derived_root(library) / "contents" / f"{name}.json",
        *derived_root(library).glob(f"index/{name}-*"),
    ]
    return [path for path in found if path.exists()]


def content_hashes(library: Library) -> dict[str, str | None]:
    """Hex sha256 of every image file as it is now, by id in the library's order; `None` if it cannot be read.

    Only files whose size or modification time changed since the last call are read again.
    """
    cache = derived_root(library) / "contents" / f"{cache_name(library)}.json"
    before = _read_stamps(cache)
    now: dict[str, list[str | int]] = {}
    hashes: dict[str, str | None] = {}
    for row in library.rows:
        hashes[row.id] = _current_hash(library.folder / row.file_name, row.file_name, before, now)
    if now != before:
        with contextlib.suppress(UserError):  # the stamps only save time; a read-only disk works without them
            write_atomically(cache, json.dumps(now).encode())
    return hashes


def _read_stamps(cache: Path) -> dict[str, list[str | int]]:
    try:
        stamps = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def _current_hash(
    path: Path, file_name: str, before: dict[str, list[str | int]], now: dict[str, list[str | int]]
) -> str | None:
    try:
        stamp = path.stat()
    except OSError:
        return None
    known = before.get(file_name)
    digest: str | None
    if isinstance(known, list) and len(known) == 3 and known[:2] == [stamp.st_size, stamp.st_mtime_ns]:
        digest = str(known[2])
    else:
        digest = file_sha256(path)
    if digest is not None:
        now[file_name] = [stamp.st_size, stamp.st_mtime_ns, digest]
    return digest
