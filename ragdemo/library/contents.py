"""Where derived files live, how they are written, and what a library's images hold right now."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from ragdemo.library.store import Library, file_sha256


def cache_root() -> Path:
    """The folder of everything that can be made again: `$RAGDEMO_CACHE`, by default `~/.cache/ragdemo`."""
    return Path(os.environ.get("RAGDEMO_CACHE") or Path.home() / ".cache" / "ragdemo")


def cache_name(library: Library) -> str:
    """A file name for what belongs to this library in this place."""
    place = hashlib.sha256(str(library.folder.resolve()).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', library.name)[:40]}-{place[:12]}"


def content_hashes(library: Library) -> dict[str, str | None]:
    """Hex sha256 of every image file as it is now, by id in the library's order; `None` where it cannot be read.

    Only files whose size or time changed since the last call are read again.
    """
    cache = cache_root() / "contents" / f"{cache_name(library)}.json"
    before = _read_stamps(cache)
    now: dict[str, list[str | int]] = {}
    hashes: dict[str, str | None] = {}
    for row in library.rows:
        hashes[row.id] = _current_hash(library.folder / row.file_name, row.file_name, before, now)
    if now != before:
        with contextlib.suppress(OSError):  # the stamps only save time; a read-only disk works without them
            write_atomically(cache, lambda path: path.write_text(json.dumps(now), encoding="utf-8"))
    return hashes


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent)
    os.close(handle)
    try:
        write(Path(name))
        Path(name).chmod(0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _read_stamps(cache: Path) -> dict[str, list[str | int]]:
    try:
        stamps = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
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
    if known and known[:2] == [stamp.st_size, stamp.st_mtime_ns]:
        digest = str(known[2])
    else:
        digest = file_sha256(path)
    if digest is not None:
        now[file_name] = [stamp.st_size, stamp.st_mtime_ns, digest]
    return digest
