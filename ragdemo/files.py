"""Where this program keeps files, what they are called, and writing them whole or not at all."""

from __future__ import annotations

import atexit
import errno
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ragdemo.errors import UserError

WORK_PREFIX = ".ragdemo-"  # short: the target's own name may be as long as the file system allows
LONGEST_SHOWN_NAME = 80
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DISK_ERRORS = NO_SPACE | {errno.EROFS, errno.EIO, errno.ESTALE, errno.ENAMETOOLONG}


def cache_root() -> Path:
    """The folder of everything that can be made again: `$RAGDEMO_CACHE`, by default `~/.cache/ragdemo`."""
    return _own_folder("RAGDEMO_CACHE", Path(".cache") / "ragdemo")


def cache_folder(name: str) -> Path:
    """A folder below the cache's root that can be written, or else one of this process among the temporary files."""
    folder = cache_root() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return _temporary_folder(name)


@cache
def _temporary_folder(name: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"ragdemo-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def libraries_root() -> Path:
    """The folder of the user's libraries: `$RAGDEMO_LIBRARIES`, by default `~/.local/share/ragdemo/libraries`."""
    return _own_folder("RAGDEMO_LIBRARIES", Path(".local") / "share" / "ragdemo" / "libraries")


def shown_name(path: str | Path) -> str:
    """A file's name as a message may show it: printable, at most 80 characters, and without its folder."""
    name = _printable(Path(path).name)
    return name if len(name) <= LONGEST_SHOWN_NAME else f"{name[: LONGEST_SHOWN_NAME - 1]}…"


def without_folders(text: str) -> str:
    """A message as visitors may read it: of every absolute path the last name alone."""
    return re.sub(r"(?<![\w./:~])/(?:[^\s/'\":,;()]+/)+", "", text)


def slug(text: str) -> str:
    """A file's name for a text, of plain letters and digits, at most 60."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "picture"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary one beside it; its folder is made.

    Raises `UserError` if it cannot be written; an earlier file of that name is then still there.
    """
    work = None
    with exit_on_signal():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, work = tempfile.mkstemp(prefix=WORK_PREFIX, suffix=".tmp", dir=path.parent)
            with open(handle, "wb") as file:
                file.write(data)
            os.chmod(work, 0o644)
            os.replace(work, path)
        except (OSError, ValueError) as error:  # ValueError: a null byte in the path
            raise _unwritable(f"file {shown_name(path)}", error) from error
        finally:
            if work is not None:
                Path(work).unlink(missing_ok=True)


def remove_older(folder: Path, hours: float, spared: Path | None = None) -> None:
    """Remove the files below a folder that nobody has written for some hours, and folders that are empty then.

    The folder `spared` in it is left alone.
    """
    oldest = time.time() - 3600 * hours
    for place, _, names in os.walk(folder, topdown=False):
        if spared is not None and Path(place).is_relative_to(spared):
            continue
        for path in (Path(place, name) for name in names):
            with suppress(OSError):  # another process cleans too
                if path.lstat().st_mtime < oldest:
                    path.unlink()
        with suppress(OSError):
            if Path(place) != folder and Path(place).stat().st_mtime < oldest:
                Path(place).rmdir()


@contextmanager
def whole_folder(target: Path, *, replaces: Collection[str] = ()) -> Iterator[Path]:
    """A work folder beside `target`; its files move to `target` if the block succeeds and vanish if it does not.

    A `target` that exists keeps its other files, except those named in `replaces`. Raises `UserError` at once if
    `target` is a file or cannot be written, and at the end if the disk was full or the work folder was removed.
    """
    with exit_on_signal():
        work = _work_folder(target)
        moving = False
        try:
            yield work
            moving = True
            _move(work, target, replaces)
        except OSError as error:
            if moving or error.errno in _DISK_ERRORS or not work.is_dir():
                raise _unwritable(f"output folder {target}", error) from error
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _work_folder(target: Path) -> Path:
    try:
        if b"\0" in os.fsencode(target):
            raise ValueError("its name contains a null byte")
        if target.exists() and not target.is_dir():
            raise UserError(f"The output {target} is a file; choose a folder.")
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, suffix=".tmp", dir=target.parent))
        if target.exists() and not os.access(target, os.W_OK):
            work.rmdir()
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise _unwritable(f"output folder {target}", error) from error
    return work


def _move(work: Path, target: Path, replaces: Collection[str]) -> None:
    work.chmod(0o755)
    try:
        os.replace(work, target)  # at once, if there is no such folder or it is empty
        return
    except OSError:
        if not target.is_dir():
            raise
    for name in {*replaces, *(item.name for item in work.iterdir())}:
        _remove(target / name)
    for item in work.iterdir():
        os.replace(item, target / item.name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _unwritable(what: str, error: OSError | ValueError) -> UserError:
    is_full = isinstance(error, OSError) and error.errno in NO_SPACE
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    remedy = "free some space or choose another" if is_full else "choose another"
    return UserError(f"The {_printable(what)} cannot be written ({_printable(reason)}); {remedy}.")


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _own_folder(variable: str, default: Path) -> Path:
    if given := os.environ.get(variable):
        return Path(given)
    try:
        return Path.home() / default
    except RuntimeError:  # a user without a home, as containers have them
        return Path(tempfile.gettempdir()) / f"ragdemo-{os.getuid()}" / default


@contextmanager
def exit_on_signal() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program by `SystemExit`, so that `finally` blocks remove what is unfinished.

    Only in the main thread, and only if the program has no handler of its own.
    """
    replaced: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                replaced[number] = signal.signal(number, _exit)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
