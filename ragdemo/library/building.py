"""A library in the making: a folder beside its target; a build that broke off leaves it, and the next goes on there.

    build.json       what is made, and from what; another source begins anew
    journal.jsonl    what became of each entry of the source, in its order, one line an entry
    images/*         the files of the rows in the journal

The journal grows by whole batches, after the files that it names: a build that is killed at any moment loses the batch
it was at, and no more. The target appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ragdemo.errors import UserError
from ragdemo.files import write_atomically
from ragdemo.library.metadata import is_text, line_of
from ragdemo.library.store import (
    FORMAT,
    LIBRARY_FILE,
    METADATA_FILE,
    Library,
    open_library,
)

MARK_FILE, JOURNAL_FILE, LOCK_FILE = "build.json", "journal.jsonl", "lock"
REPORT_FILE = "left_out.jsonl"
"""In a finished library: each file of the source that it does not contain, and why."""


@dataclass(frozen=True)
class Decided:
    """What became of an entry: its `row`, or why it was left out, or the id of the image that has the same `pixels`."""

    name: str
    stamp: str
    row: Mapping[str, Any] = field(default_factory=dict)
    pixels: str = ""
    reason: str = ""
    same_as: str = ""


class Building:
    """The folder of a build, for one process at a time; a context that keeps what is decided however it ends."""

    def __init__(self, target: Path, name: str, mark: Mapping[str, Any]) -> None:
        """`mark` says what is made from what. Raises `UserError` if the target is taken or cannot be written."""
        if not is_text(name):
            raise UserError(f"The name {name!r} is not valid UTF-8; choose another one for the library.")
        self._target, self._name = target, name
        self._mark = {"format": FORMAT, "name": name, **mark}
        self.folder = target.parent / f".{target.name}.building"
        self.decided: list[Decided] = []

    def __enter__(self) -> Building:
        try:
            if self._target.exists() and (not self._target.is_dir() or any(self._target.iterdir())):
                raise UserError(
                    f"The folder {self._target} is not empty; choose another one for the library {self._name!r}."
                )
            (self.folder / "images").mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / LOCK_FILE).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"The library {self._name!r} is being built already; wait for that.") from error
        except (OSError, ValueError) as error:  # ValueError: a null byte in the path
            raise _unwritable(self._target, error) from error
        self.decided = self._read_journal()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._lock.close()
        if kind is not None and issubclass(kind, OSError):
            raise _unwritable(self._target, error) from error  # type: ignore[arg-type]

    def keep_first(self, count: int) -> None:
        """Forget what was decided after the first entries, as the source has changed from there on."""
        if count < len(self.decided):
            self.decided = self.decided[:count]
            write_atomically(self.folder / JOURNAL_FILE, b"".join(map(_journal_line, self.decided)))

    def add(self, decided: Sequence[Decided], files: Mapping[str, bytes]) -> None:
        """Keep a batch of decisions and the image files, by the names in their rows."""
        for name, data in files.items():
            (self.folder / name).write_bytes(data)
        with (self.folder / JOURNAL_FILE).open("ab") as journal:
            journal.write(b"".join(map(_journal_line, decided)))
            _flush(journal)
        self.decided += decided

    def finish(self, report: Iterable[Mapping[str, str]] = ()) -> Library:
        """The library of all rows, with a report on what it leaves out; raises `UserError` if there is no row."""
        rows = [one.row for one in self.decided if one.row]
        if not rows:
            self.discard()
            raise UserError(
                f"There is no image for the library {self._name!r}; name at least one readable file."
            )
        header = {
            "format": FORMAT,
            "name": self._name,
            "version": "1",
            "count": len(rows),
            "made": made_of(self._mark),
        }
        self._write(METADATA_FILE, "".join(map(line_of, rows)))
        self._write(REPORT_FILE, "".join(map(line_of, report)))
        self._write(LIBRARY_FILE, json.dumps(header, indent=2) + "\n")
        self._remove_stray({str(row["file_name"]) for row in rows})
        for name in (JOURNAL_FILE, MARK_FILE, LOCK_FILE):
            (self.folder / name).unlink(missing_ok=True)
        self.folder.chmod(0o755)
        os.replace(self.folder, self._target)
        return open_library(self._target)

    def discard(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read_journal(self) -> list[Decided]:
        """What an earlier build of the same has decided; another one's files are removed."""
        mark = self.folder / MARK_FILE
        if _read(mark) != json.dumps(self._mark):
            shutil.rmtree(self.folder / "images")
            (self.folder / "images").mkdir()
            (self.folder / JOURNAL_FILE).unlink(missing_ok=True)
            write_atomically(mark, json.dumps(self._mark).encode())
        decided = []
        lines = _read(self.folder / JOURNAL_FILE).split("\n")
        for line in lines[:-1]:  # what follows the last line's end was torn off
            try:
                one = Decided(**json.loads(line))
            except (ValueError, TypeError):
                break
            if one.row and not (self.folder / str(one.row["file_name"])).is_file():
                break
            decided.append(one)
        if len(decided) < len(lines) - 1 or lines[-1]:
            write_atomically(self.folder / JOURNAL_FILE, b"".join(map(_journal_line, decided)))
        return decided

    def _remove_stray(self, named: set[str]) -> None:
        """Remove the files of a batch that was broken off and then decided otherwise."""
        for entry in os.scandir(self.folder / "images"):
            if f"images/{entry.name}" not in named:
                os.unlink(entry.path)

    def _write(self, name: str, text: str) -> None:
        with (self.folder / name).open("wb") as file:
            file.write(text.encode())
            _flush(file)


def made_of(mark: Mapping[str, Any]) -> str:
    """A hash by which a finished library knows the build that it came from, without telling anybody's folders."""
    return hashlib.sha256(json.dumps(mark).encode()).hexdigest()[:16]


def _journal_line(decided: Decided) -> bytes:
    return (json.dumps(asdict(decided)) + "\n").encode()


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _unwritable(target: Path, error: OSError | ValueError) -> UserError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    name = ascii(str(target))[1:-1]
    return UserError(
        f"The library's folder {name[:300]} cannot be written ({reason}); choose another, or free some space."
    )
