"""The child's side of `child`: answers calls, each in a thread of its own, until the parent ends.

A call is `(name, method, arguments)` and is answered by `(VALUE, value)` for each value, then one of `(END, None)`,
`(ERROR, error)` and `(UNUSABLE, error)`, after which this process should be replaced.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from contextvars import ContextVar
from importlib.abc import MetaPathFinder
from multiprocessing.connection import Connection, Listener, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any

from ragdemo.errors import ModelError, UserError
from ragdemo.log import BoundedLog
from ragdemo.run.imports import cannot_load, is_failed_import, needs_new_process

VALUE, END, ERROR, UNUSABLE = "value", "end", "error", "unusable"
IMPORTING, READY = b"importing", b"ready"  # heartbeats; anything else is why this process cannot start

_caller: ContextVar[Connection | None] = ContextVar("caller", default=None)


def cancelled() -> bool:
    """Whether the caller of the method that runs in this thread has left; False outside of a call.

    For computations that yield nothing for long: between values it is noticed anyway.
    """
    connection = _caller.get()
    # a caller sends nothing after its call, so whatever can be read is its end
    return connection is not None and connection.poll()


def limit_reading(connection: Connection, seconds: float) -> None:
    """Let a read from `connection` raise `BlockingIOError` after so many seconds."""
    whole, rest = divmod(seconds, 1)
    with socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(whole), int(rest * 1e6)))


def serve() -> None:
    """Answer calls until the parent ends; its side of the control connection is this process's standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent, which takes this process along
    control = Connection(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr = BoundedLog(sys.stderr)  # type: ignore[assignment]
    address, key, factories, heartbeat, greeting = control.recv()
    try:
        listener = Listener(address, backlog=64)
    except OSError as error:
        control.send_bytes(str(error).encode())
        return
    calls = _Calls(_Objects(factories), key, greeting)
    pulse = _Pulse(control, heartbeat)
    sys.meta_path.insert(0, pulse)
    threading.Thread(target=_live, args=(pulse, calls, Path(address).parent), daemon=True).start()
    while True:
        try:
            threading.Thread(target=calls.answer, args=(listener.accept(),), daemon=True).start()
        except Exception:  # noqa: BLE001 (for want of threads or files: others' calls go on)
            time.sleep(0.05)


def _live(pulse: _Pulse, calls: _Calls, folder: Path) -> None:
    """End this process with its parent, or when it is to retire and the last call is answered."""
    # another child of the parent may have inherited its side of the connection, which then stays open
    parent = os.getppid()
    try:
        while os.getppid() == parent and not (pulse.is_retired and calls.running == 0):
            pulse.beat()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


class _Pulse(MetaPathFinder):
    """Sends the heartbeats, and at once when modules are imported: some stop every thread of the process for long."""

    def __init__(self, control: Connection, seconds: float) -> None:
        self._control = control
        self._seconds = seconds
        self._sending = threading.Lock()
        self._imported = 0.0
        self.is_retired = False

    def beat(self) -> None:
        """Send a heartbeat and wait until the next; raises `EOFError` or `OSError` if the parent has ended."""
        self._send(IMPORTING if time.monotonic() - self._imported < 2 * self._seconds else READY)
        if self._control.poll(self._seconds):
            self._control.recv_bytes()
            self.is_retired = True

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> None:
        """Notes that a module is looked for, and leaves finding it to others."""
        now = time.monotonic()
        was_quiet = now - self._imported > self._seconds
        self._imported = now
        if was_quiet:
            with suppress(OSError):
                self._send(IMPORTING)

    def _send(self, what: bytes) -> None:
        with self._sending:
            self._control.send_bytes(what)


class _Objects:
    """The objects of this process, each made when it is first asked for."""

    def __init__(self, factories: Mapping[str, bytes]) -> None:
        self._factories = factories
        self._made: dict[str, Any] = {}
        self._making = {name: threading.Lock() for name in factories}

    def __getitem__(self, name: str) -> Any:
        """Raises `ModelError` if the object cannot be made; the next call tries again."""
        with self._making[name]:
            if name not in self._made:
                try:
                    self._made[name] = pickle.loads(self._factories[name])()
                except (UserError, ModelError):
                    raise
                except Exception as error:
                    traceback.print_exc()
                    raise cannot_load(error) from error
            return self._made[name]


class _Calls:
    """The calls that are being answered."""

    def __init__(self, objects: _Objects, key: bytes, greeting: float) -> None:
        self._objects = objects
        self._key = key
        self._greeting = greeting
        self._counting = threading.Lock()
        self.running = 0

    def answer(self, connection: Connection) -> None:
        """Answer one caller; whoever is silent or does not know the key is left."""
        with connection:
            try:
                limit_reading(connection, self._greeting)
                deliver_challenge(connection, self._key)
                answer_challenge(connection, self._key)
            except Exception:  # noqa: BLE001 (rubbish may raise anything)
                return
            _caller.set(connection)
            self._count(1)
            try:
                with suppress(_CallerLeftError):
                    self._answer(connection)
            finally:
                self._count(-1)

    def _answer(self, connection: Connection) -> None:
        try:
            name, method, arguments = connection.recv()
            result = getattr(self._objects[name], method)(*arguments)
            if isinstance(result, Iterator):
                with closing(result) as values:  # type: ignore[type-var]
                    for value in values:
                        _send(connection, VALUE, value)
            else:
                _send(connection, VALUE, result)
        except _CallerLeftError:
            raise
        except Exception as error:  # noqa: BLE001 (it is raised in the parent)
            _send(connection, UNUSABLE if needs_new_process(error) else ERROR, _for_parent(error))
        else:
            _send(connection, END)

    def _count(self, change: int) -> None:
        with self._counting:
            self.running += change


class _CallerLeftError(Exception):
    """Nobody waits for this call any more."""


def _send(connection: Connection, what: str, value: Any = None) -> None:
    try:
        message = pickle.dumps((what, value))  # apart from sending: a picture's file may raise `OSError` too
    except Exception as error:
        traceback.print_exc()
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ModelError(
            f"{type(value).__name__} cannot be sent from the models' process ({cause}); let it hold plain values, "
            "pictures and arrays alone."
        ) from error
    try:
        connection.send_bytes(message)
    except OSError as error:
        raise _CallerLeftError from error


def _for_parent(error: Exception) -> Exception:
    """An error that surely can be pickled, after logging what nobody foresaw."""
    for known in (UserError, ModelError):
        if isinstance(error, known):
            return known(str(error))
    traceback.print_exception(error)
    if is_failed_import(error):
        return cannot_load(error)
    return RuntimeError(f"{type(error).__name__}: {error}")
