"""A log that strangers cannot fill a disk with: so much a minute, and a line about what is left out."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TextIO

MOST_A_MINUTE = 100_000  # characters
LONGEST = 5_000  # characters of one piece, such as a traceback's line


class BoundedLog:
    """A text stream in the place of standard error, as Gradio writes a traceback for many a wrong call."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._writing = threading.Lock()
        self._since, self._written, self._left_out = time.monotonic(), 0, 0

    def write(self, text: str) -> int:
        """Write a piece, the beginning of a long one, or nothing if the minute's share is used up."""
        shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} … and {len(text) - LONGEST:,} more\n"
        with self._writing:
            if time.monotonic() - self._since > 60:
                self._begin_minute()
            if self._written + len(shown) > MOST_A_MINUTE:
                self._left_out += len(text)
            else:
                self._written += len(shown)
                with suppress(OSError):  # on a full disk the program goes on
                    self._stream.write(shown)
        return len(text)

    def flush(self) -> None:
        """See `TextIO.flush`."""
        with suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        """See `TextIO.isatty`."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """See `TextIO.fileno`."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """See `TextIO.encoding`."""
        return self._stream.encoding

    def _begin_minute(self) -> None:
        if self._left_out:
            with suppress(OSError):
                self._stream.write(f"ragdemo: {self._left_out:,} characters of log were left out.\n")
        self._since, self._written, self._left_out = time.monotonic(), 0, 0
