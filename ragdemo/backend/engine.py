"""A process of its own for what computes: objects are built there, and their methods called from here.

Python lets one thread of a process run at a time. Beside a web server, whose threads wake a thousand times a second, a
run took a fifth longer than alone; and importing the models holds up every page.
"""

from __future__ import annotations

import os
import pickle
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from ragdemo.backend.base import BackendError
from ragdemo.types import UserError

ENDED = "The models' process ended, perhaps for want of memory; run it again, which starts it anew."
_VALUE, _ERROR, _END = "value", "error", "end"
_CODE = "import sys; sys.path[:] = {path!r}; from ragdemo.backend.engine import serve; serve()"


class EngineProcess:
    """Calls methods of objects that live in another process, which starts with the first call and again if it dies.

    The process ends with this one, however this one ends.
    """

    def __init__(self, **factories: Callable[[], Any]) -> None:
        """`factories` make the objects, each at the first call of one of its methods; they must be picklable."""
        self._factories = factories
        self._starting = threading.Lock()
        self._key = secrets.token_bytes(32)
        self._process: subprocess.Popen[bytes] | None = None
        self._address: Future[Any] = Future()

    @property
    def pid(self) -> int | None:
        """The process's number, None before its first start."""
        return self._process.pid if self._process else None

    @property
    def has_ended(self) -> bool:
        """Whether the process was started and runs no more."""
        return self._process is not None and self._process.poll() is not None

    @property
    def is_listening(self) -> bool:
        """Whether a call would be heard at once."""
        return self._address.done() and not self.has_ended

    def start(self) -> None:
        """Start the process where none runs; answers at once."""
        with self._starting:
            if self._process is not None and not self.has_ended:
                return
            said = pickle.dumps((self._key, self._factories))
            self._address = Future()
            code = _CODE.format(path=sys.path)
            self._process = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            listening = partial(_introduce, self._process, said, self._address)
            threading.Thread(target=listening, name="engine", daemon=True).start()

    def call(self, name: str, method: str, *arguments: Any) -> Any:
        """What a method returns, or raises: `UserError` and `BackendError` as they are."""
        with closing(self.iterate(name, method, *arguments)) as values:
            return next(values)

    def iterate(self, name: str, method: str, *arguments: Any) -> Iterator[Any]:
        """What a generator yields, as it comes; closing this one closes it after the value at hand.

        Raises `BackendError` where the process ends meanwhile.
        """
        self.start()
        process = self._process
        try:
            with Client(self._address.result(), authkey=self._key) as connection:
                connection.send((name, method, arguments))
                while (message := connection.recv())[0] != _END:
                    if message[0] == _ERROR:
                        raise message[1]
                    yield message[1]
        except (EOFError, OSError, AuthenticationError) as error:
            if process is not None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(1)  # so that the next call finds it ended
            raise BackendError(ENDED) from error

    def stop(self) -> None:
        """End the process, if there is one."""
        with self._starting:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
                self._process.wait()


def _introduce(process: subprocess.Popen[bytes], said: bytes, address: Future[Any]) -> None:
    """Tell the process what it needs, and hear where it listens; one that cannot say it is ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(said)
        process.stdin.flush()  # and left open: its end tells the process that this one has ended
        address.set_result(pickle.load(process.stdout))
    except Exception as error:  # noqa: BLE001 (whatever it is, callers wait for the address)
        process.kill()
        address.set_exception(ConnectionError(f"the process ended before it listened ({error})"))


def serve() -> None:
    """The other side: answer calls until the process that started this one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C means the page, which takes this process along
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what models print is no answer
    key, factories = pickle.load(sys.stdin.buffer)
    objects = _Objects(factories)
    with Listener(authkey=key, backlog=64) as listener:
        with answer:
            pickle.dump(listener.address, answer)
        threading.Thread(target=_end_with_parent, args=(listener,), daemon=True).start()
        while True:
            try:
                connection = listener.accept()
                threading.Thread(target=_answer, args=(connection, objects), daemon=True).start()
            except Exception:  # noqa: BLE001 (one caller who fails to greet must not end the others' runs)
                time.sleep(0.05)


class _Objects:
    """The objects of this process, each made when it is first asked for."""

    def __init__(self, factories: Mapping[str, Callable[[], Any]]) -> None:
        self._factories = factories
        self._made: dict[str, Any] = {}
        self._making = threading.Lock()

    def __getitem__(self, name: str) -> Any:
        with self._making:
            if name not in self._made:
                self._made[name] = self._factories[name]()
            return self._made[name]


def _end_with_parent(listener: Listener) -> None:
    sys.stdin.buffer.read()
    if os.name == "posix":
        # the socket lies in a folder of its own
        shutil.rmtree(os.path.dirname(listener.address), ignore_errors=True)
    os._exit(0)


def _answer(connection: Connection, objects: _Objects) -> None:
    """One call: its values, then its end or its error; a caller who has left ends it at its next value."""
    with connection, suppress(_CallerLeftError):
        try:
            name, method, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            result = getattr(objects[name], method)(*arguments)
            if isinstance(result, Iterator):
                with closing(result) as values:  # type: ignore[type-var]
                    for value in values:
                        _send(connection, _VALUE, value)
            else:
                _send(connection, _VALUE, result)
        except _CallerLeftError:
            raise
        except (UserError, BackendError) as error:
            _send(connection, _ERROR, error)
        except Exception as error:  # noqa: BLE001 (it is logged here and raised there)
            traceback.print_exc()
            _send(connection, _ERROR, RuntimeError(f"{type(error).__name__}: {error}"))
        else:
            _send(connection, _END)


class _CallerLeftError(Exception):
    """Nobody listens to this call any more."""


def _send(connection: Connection, what: str, value: Any = None) -> None:
    try:
        connection.send((what, value))
    except OSError as error:
        raise _CallerLeftError from error
