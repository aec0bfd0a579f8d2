"""What lives in a child process while tests call it."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator

from ragdemo.errors import UserError
from ragdemo.run.child_server import cancelled


class Counter:
    """Lives in the child."""

    def __init__(self) -> None:
        self._closed: list[int] = []  # the last number of each count that was left

    def pid(self) -> int:
        return os.getpid()

    def count(self, seconds: float) -> Iterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
                time.sleep(seconds)
        finally:
            self._closed.append(number)

    def think(self, seconds: float) -> Iterator[str]:
        """Computes for long without a value, and looks up now and then."""
        yield "thinking"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not cancelled():
            time.sleep(0.02)
        self._closed.append(-1 if cancelled() else -2)
        yield "thought"

    def closed(self) -> list[int]:
        return self._closed

    def refuse(self, value: str) -> None:
        raise UserError(f"{value!r} is refused; choose another.")

    def fail(self) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    def print_and_read(self) -> str:
        print("models print what they like")
        return sys.stdin.read()

    def say(self, lines: int) -> None:
        for _ in range(lines):
            print("x" * 1000)
            print("y" * 1000, file=sys.stderr)

    def freeze(self, seconds: float) -> str:
        """Let no other Python thread of this process run, as a native library may."""
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
        return "thawed"

    def unsendable(self) -> Iterator[object]:
        try:
            yield 0
            yield StaysHere()
        finally:
            self._closed.append(-3)

    def load(self, module: str) -> str:
        return __import__(module).__name__


class BreaksOnArrival:
    def __reduce__(self) -> tuple:
        return (exec, ("raise ZeroDivisionError('on arrival')",))


class StaysHere:
    """As a picture whose file is read only when its pixels are asked for."""

    def __reduce__(self) -> str:
        raise OSError("the file is closed")


def make_from(module: str) -> object:
    """A factory whose import may fail."""
    return __import__(module).Made()
