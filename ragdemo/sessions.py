"""Folders of visitors' sessions: what a visitor brings is theirs alone, and goes when their session does."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from functools import cache
from pathlib import Path

from ragdemo.errors import UserError
from ragdemo.files import cache_folder, remove_older

OWN_FOLDER = "own"  # below the cache's root
STATE_HOURS = 24  # that a visitor's pictures and last run are kept without a press


class SessionFolder:
    """The files of one session; a session that the page drops, without a word, takes them along."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._finalizer = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)

    def __deepcopy__(self, _memo: object) -> SessionFolder:
        return self  # Gradio copies a state's first value

    def delete(self) -> None:
        """Remove them."""
        self._finalizer()


def new_session_folder(place: Path | None = None) -> SessionFolder:
    """An empty folder that only this process's user can read, if need be below a `place`.

    Raises `UserError` if there is no room.
    """
    try:
        place = place or Path(_root().name)
        os.makedirs(place, mode=0o700, exist_ok=True)  # a cleaner of temporary files may have taken it
        return SessionFolder(Path(tempfile.mkdtemp(dir=place)))
    except OSError as error:
        raise UserError(
            f"The server has no room for pictures ({error.strerror}); try again later."
        ) from error


def remove_left() -> None:
    """Remove what the sessions of other servers have left: one that was killed cleans up no more."""
    remove_older(cache_folder(OWN_FOLDER), STATE_HOURS + 1, spared=Path(_root().name))


@cache
def _root() -> tempfile.TemporaryDirectory[str]:
    """The folder of all sessions, which ends with this process."""
    return tempfile.TemporaryDirectory(dir=cache_folder(OWN_FOLDER))
