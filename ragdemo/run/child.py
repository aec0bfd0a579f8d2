"""Call methods of objects that live in a child process, and start that process again if it breaks.

Python lets one thread of a process run at a time. Beside a web server, whose threads wake a thousand times a second, a
run took a fifth longer than alone, and importing the models holds up every page.

A control connection carries the child's heartbeats; it ends with either process. Every call has a connection of its
own, to the child's socket. `child_server` is the other side.
"""

from __future__ import annotations

import pickle
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError, Pipe
from multiprocessing.connection import Client, Connection, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any

from ragdemo.errors import ModelError
from ragdemo.files import without_folders
from ragdemo.run.child_server import END, IMPORTING, READY, UNUSABLE, VALUE, limit_reading

ENDED = "The models' process ended, perhaps for want of memory; run it again, which starts a new one."
NOT_ANSWERING = "The models' process did not answer and was ended; run it again, which starts a new one."
_UNREACHABLE = "The models' process could not be reached; run it again, which starts a new one."
_BROKE_OFF = "The models' process broke off this call; run it again."
_LOOK = 1.0  # seconds between two looks whether the process has been given up
_CODE = "import sys; sys.path[:] = {path!r}; from ragdemo.run.child_server import serve; serve()"


@dataclass(frozen=True)
class Limits:
    """Seconds between two heartbeats; of silence before the child is ended; for one who connects to say who it is."""

    heartbeat: float = 1.0
    silence: float = 10.0
    silence_while_importing: float = 120.0  # loading a native library may stop all threads for long
    greeting: float = 5.0


class ChildProcess:
    """Calls methods of objects in a child process, which starts with the first call and again if it broke.

    The child ends if it is silent for too long, and with this process, however this one ends. A run may take as long
    as it likes.
    """

    def __init__(self, limits: Limits = Limits(), /, **factories: Callable[[], Any]) -> None:
        """`factories` make the objects, each at the first call of one of its methods; they must be picklable."""
        self._limits = limits
        self._factories = {name: pickle.dumps(factory) for name, factory in factories.items()}
        self._starting = threading.Lock()
        self._process: _Process | None = None
        self._failed_start: str | None = None

    @property
    def pid(self) -> int | None:
        """The number of the latest process, None before the first."""
        return self._process.pid if self._process else None

    @property
    def failure(self) -> str | None:
        """One sentence if the child broke or could not start, until the next call starts it again."""
        return self._failed_start or (self._process.failure if self._process else None)

    @property
    def is_listening(self) -> bool:
        """Whether the child is there and accepts calls."""
        return self._process is not None and self._process.listening.done() and self.failure is None

    @property
    def is_importing(self) -> bool:
        """Whether the child is starting or importing modules, which may delay its answers."""
        return self._process is not None and self._process.is_importing

    def call(self, name: str, method: str, *arguments: Any, limit: float | None = None) -> Any:
        """Return what a method of the object `name` returns.

        Raises what the method raises: `UserError` and `ModelError` as they are, anything else as a `RuntimeError`; and
        `ModelError` if the child breaks. A call with a `limit` (seconds) raises `TimeoutError` after it and starts no
        process.
        """
        with closing(self._answers(limit, name, method, arguments)) as values:
            return next(values)

    def iterate(self, name: str, method: str, *arguments: Any) -> Iterator[Any]:
        """Yield what a generator method of the object `name` yields, as it comes; raises as `call` does.

        Closing this iterator closes that generator at its next value.
        """
        return self._answers(None, name, method, arguments)

    def stop(self) -> None:
        """End the child, if there is one."""
        with self._starting:
            if self._process is not None:
                self._process.end()

    def _started(self) -> _Process:
        with self._starting:
            if self._process is None or self._process.failure is not None:
                try:
                    self._process = _Process(self._factories, self._limits)
                except OSError as error:
                    self._failed_start = _cannot_start(error)
                    raise ModelError(self._failed_start) from error
                self._failed_start = None
            return self._process

    def _answers(self, limit: float | None, *call: Any) -> Generator[Any, None, None]:
        process, connection = self._connect(limit)
        with connection, process.breakdowns(limit):
            connection.send(call)
            receive = process.receiver(connection, limit)
            while (message := receive())[0] == VALUE:
                yield message[1]
        kind, error = message
        if kind == UNUSABLE:
            process.retire(str(error))
        if kind != END:
            raise error

    def _connect(self, limit: float | None) -> tuple[_Process, Connection]:
        """A process and a connection to it; to a fresh process if the one at hand has gone."""
        process = self._process if limit is not None and self._process else self._started()
        connection = process.connect(limit)
        if connection is None and limit is None:
            process = self._started()
            connection = process.connect(limit)
        if connection is None:
            raise ModelError(process.failure or _UNREACHABLE)
        return process, connection


class _Process:
    """One child from its start to its end."""

    def __init__(self, factories: dict[str, bytes], limits: Limits) -> None:
        """Raises `OSError` if there is no room for a socket or a process."""
        self._limits = limits
        self._key = secrets.token_bytes(32)
        self._folder = tempfile.mkdtemp(prefix="ragdemo-")
        self._address = str(Path(self._folder, "socket"))
        self._ended = threading.Event()
        self.listening: Future[None] = Future()
        self.is_importing = True
        self.failure: str | None = None
        self._control, theirs = Pipe()
        try:
            code = _CODE.format(path=sys.path)
            self._popen = subprocess.Popen([sys.executable, "-c", code], stdin=theirs.fileno())
        except OSError:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            theirs.close()
        introduction = (self._address, self._key, factories, limits.heartbeat, limits.greeting)
        self._watcher = threading.Thread(target=self._watch, args=(introduction,), name="child", daemon=True)
        self._watcher.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def connect(self, limit: float | None) -> Connection | None:
        """A connection that both sides trust; None, and no further calls, if the process or its socket is gone."""
        self.listening.result(limit)
        with self.breakdowns(limit):
            try:
                connection = Client(self._address)  # without the key, whose exchange would have no limit
                try:
                    limit_reading(connection, limit or self._limits.silence_while_importing)
                    answer_challenge(connection, self._key)
                    deliver_challenge(connection, self._key)
                except BaseException:
                    connection.close()
                    raise
            except (EOFError, FileNotFoundError, ConnectionError):
                self.retire(_UNREACHABLE)
                return None
            return connection

    def receiver(self, connection: Connection, limit: float | None) -> Callable[[], Any]:
        """A function that waits for the next message; raises `EOFError` if the process ends meanwhile."""
        poll = select.poll()  # once a call: `connection.poll` makes one for every message
        poll.register(connection.fileno(), select.POLLIN)

        def receive() -> Any:
            while not poll.poll(1000 * (limit or _LOOK)):
                if limit is not None:
                    raise TimeoutError
                if self._ended.is_set():  # and cannot even be killed, or its connection would have ended
                    raise EOFError
            return connection.recv()

        return receive

    @contextmanager
    def breakdowns(self, limit: float | None) -> Iterator[None]:
        """Raise `ModelError` for a connection that broke, and `TimeoutError` as it is for a call with a limit."""
        try:
            yield
        except (EOFError, OSError, AuthenticationError) as error:
            if limit is not None and isinstance(error, TimeoutError | BlockingIOError):
                raise TimeoutError from error
            self._ended.wait(1)  # the watcher knows more
            raise ModelError(self.failure or _BROKE_OFF) from error

    def retire(self, failure: str) -> None:
        """Take no further calls; the process ends when it has answered those that it has."""
        self.failure = self.failure or failure
        with suppress(OSError):
            self._control.send_bytes(b"retire")

    def end(self) -> None:
        """End the process now."""
        self._popen.kill()
        self._watcher.join(5)

    def _watch(self, introduction: tuple[Any, ...]) -> None:
        """Hear the heartbeats until there are none; then end what is left of the process."""
        failure = ENDED
        with suppress(EOFError, OSError):
            self._control.send(introduction)
            failure = self._hear()
        self.failure = self.failure or failure
        self._ended.set()
        self._popen.kill()
        if not self.listening.done():
            self.listening.set_exception(ModelError(failure))
        self._popen.wait()
        self._control.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _hear(self) -> str:
        """Returns why the process is of no use; raises `EOFError` or `OSError` if it ended by itself."""
        limits = self._limits
        silence = 0.0  # not by the clock: if both processes were suspended, the child was not silent
        while silence < (limits.silence_while_importing if self.is_importing else limits.silence):
            if not self._control.poll(limits.heartbeat):
                silence += limits.heartbeat
                continue
            silence = 0.0
            heard = self._control.recv_bytes()
            if heard not in (IMPORTING, READY):
                return _cannot_start(heard.decode())
            self.is_importing = heard == IMPORTING
            if not self.listening.done():
                self.listening.set_result(None)
        return NOT_ANSWERING


def _cannot_start(cause: object) -> str:
    why = without_folders(str(cause))
    return (
        f"The models' process cannot start ({why}); make room in the folder for temporary files, or name another in "
        "TMPDIR and restart the program."
    )
