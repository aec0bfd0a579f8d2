"""Calls to a child process, what breaks it, and what is left behind when somebody ends; all with real processes."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path

import pytest

from ragdemo.errors import ModelError, UserError
from ragdemo.log import MOST_A_MINUTE
from ragdemo.run.child import ChildProcess, Limits
from ragdemo.run.child_server import cancelled
from tests.child_objects import BreaksOnArrival, Counter, make_from

ROOT = Path(__file__).resolve().parent.parent
QUICK = Limits(heartbeat=0.1, silence=1.5, silence_while_importing=20, greeting=0.5)


@pytest.fixture
def start() -> Iterator[Callable[..., ChildProcess]]:
    started: list[ChildProcess] = []

    def make(**factories: Callable[[], object]) -> ChildProcess:
        started.append(ChildProcess(QUICK, **{"counter": Counter, **factories}))
        return started[-1]

    yield make
    for child in started:
        if child.pid is not None and _runs(child.pid):
            os.kill(child.pid, signal.SIGCONT)
        child.stop()


@pytest.fixture
def child(start: Callable[..., ChildProcess]) -> ChildProcess:
    return start()


def test_calls_reach_one_object_in_another_process(child: ChildProcess) -> None:
    assert child.pid is None
    assert not child.is_listening
    assert child.call("counter", "pid") == child.pid != os.getpid()
    assert child.call("counter", "print_and_read") == ""
    assert child.call("counter", "closed") == []


def test_values_come_one_by_one_and_calls_are_answered_beside_them(child: ChildProcess) -> None:
    values = child.iterate("counter", "count", 0.02)
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    assert child.call("counter", "closed") == []
    values.close()


def test_errors_arrive_as_what_they_are(child: ChildProcess, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"^'x' is refused; choose another\.$"):
        child.call("counter", "refuse", "x")
    with pytest.raises(RuntimeError, match=r"^ZeroDivisionError: nobody foresaw this$"):
        child.call("counter", "fail")
    assert "in fail" in capfd.readouterr().err  # the log says where


def test_what_it_says_cannot_fill_a_disk(child: ChildProcess, capfd: pytest.CaptureFixture[str]) -> None:
    child.call("counter", "say", 500)
    assert MOST_A_MINUTE - 2000 < len(capfd.readouterr().err) <= MOST_A_MINUTE


def test_leaving_ends_a_generator_within_a_step(child: ChildProcess) -> None:
    values = child.iterate("counter", "count", 0.3)
    assert [next(values), next(values)] == [0, 1]
    values.close()
    assert _soon(lambda: child.call("counter", "closed")) == [2]


def test_a_long_computation_can_ask_whether_anybody_waits(child: ChildProcess) -> None:
    assert not cancelled()
    assert list(child.iterate("counter", "think", 0.1)) == ["thinking", "thought"]
    values = child.iterate("counter", "think", 60)
    next(values)
    values.close()
    assert _soon(lambda: len(child.call("counter", "closed")) == 2)
    assert child.call("counter", "closed") == [-2, -1]


def test_a_thread_that_dies_leaves_its_run(child: ChildProcess) -> None:
    def listen() -> None:
        for number in child.iterate("counter", "count", 0.05):
            if number == 2:
                break

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert _soon(lambda: child.call("counter", "closed")) == [3]


def test_a_killed_child_is_one_sentence_at_once_and_started_again(child: ChildProcess) -> None:
    values = child.iterate("counter", "count", 0.02)
    next(values)
    first = child.pid
    os.kill(first, signal.SIGKILL)
    killed = time.monotonic()
    with pytest.raises(ModelError, match="process ended"):
        list(values)
    assert time.monotonic() - killed < 1
    assert "process ended" in child.failure
    assert child.call("counter", "pid") == child.pid != first
    assert child.failure is None
    os.kill(child.pid, signal.SIGKILL)  # while nothing runs: the next call notices nothing
    assert child.call("counter", "closed") == []


def test_a_child_that_does_not_answer_is_ended_and_started_again(child: ChildProcess) -> None:
    values = child.iterate("counter", "count", 0.02)
    next(values)
    assert _soon(lambda: not child.is_importing)
    first = child.pid
    os.kill(first, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        child.call("counter", "closed", limit=0.3)
    stopped = time.monotonic()
    with pytest.raises(ModelError, match="did not answer"):
        list(values)
    assert time.monotonic() - stopped < 4
    assert "did not answer" in child.failure
    assert _soon(lambda: not _runs(first))
    assert child.call("counter", "pid") != first


def test_a_short_stop_and_a_long_run_end_nothing(child: ChildProcess) -> None:
    values = child.iterate("counter", "count", 0.02)
    next(values)
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(0.7)
    os.kill(child.pid, signal.SIGCONT)
    deadline = time.monotonic() + 2 * QUICK.silence
    while time.monotonic() < deadline:
        next(values)
    assert child.failure is None
    think = child.iterate("counter", "think", 2 * QUICK.silence)
    assert list(think) == ["thinking", "thought"]


def test_silence_is_long_only_while_modules_are_imported(
    start: Callable[..., ChildProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = "import ctypes; ctypes.PyDLL(None).usleep(3_000_000)"
    (tmp_path / "slow_to_import.py").write_text(frozen)
    monkeypatch.syspath_prepend(tmp_path)
    child = start()
    child.call("counter", "pid")
    assert _soon(lambda: not child.is_importing)
    assert child.call("counter", "load", "slow_to_import") == "slow_to_import"
    assert _soon(lambda: not child.is_importing)
    with pytest.raises(ModelError, match="did not answer"):
        child.call("counter", "freeze", 30.0)


@pytest.mark.parametrize("while_running", [False, True])
def test_a_removed_folder_costs_nobody_a_call(child: ChildProcess, while_running: bool) -> None:
    first = child.call("counter", "pid")
    values = child.iterate("counter", "count", 0.02)
    if while_running:
        next(values)
    shutil.rmtree(_folder(child))
    second = child.call("counter", "pid")
    assert second != first
    if while_running:
        assert [next(values) for _ in range(20)][-1] == 20  # goes on where it began
        values.close()
    assert _soon(lambda: not _runs(first))
    assert child.call("counter", "pid") == second


def test_a_child_that_cannot_begin_keeps_nobody_waiting(
    child: ChildProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", shutil.which("false"))
        for _ in range(2):
            with pytest.raises(ModelError, match="process ended"):
                child.call("counter", "pid")
        patch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(ModelError, match=r"cannot start \(.*'python'\)"):
            child.call("counter", "pid")
    assert child.call("counter", "pid") == child.pid
    with pytest.raises((AttributeError, pickle.PicklingError)):
        ChildProcess(counter=lambda: None)


def test_without_room_for_temporary_files_it_says_so(
    child: ChildProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        with pytest.raises(ModelError, match=r"cannot start \(.*'ragdemo-\w+'\); .*TMPDIR"):
            child.call("counter", "pid")
        assert "TMPDIR" in child.failure
        long = tmp_path / (
            "long" * 30
        )  # a socket's path has a hundred characters at most: the child finds out
        long.mkdir()
        patch.setattr(tempfile, "tempdir", str(long))
        with pytest.raises(ModelError, match=r"cannot start \(AF_UNIX path too long"):
            child.call("counter", "pid")
        assert _soon(lambda: not list(long.iterdir()))
    assert child.call("counter", "pid") == child.pid
    assert child.failure is None


def test_a_failed_import_is_one_sentence_and_can_be_tried_again(
    start: Callable[..., ChildProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    child = start(made=partial(make_from, "broken_module"), breaks=BreaksOnArrival())
    module = tmp_path / "broken_module" / "__init__.py"
    module.parent.mkdir()
    (module.parent / "native.py").touch()
    module.write_text("import broken_module.native, no_such_library")  # half of it is loaded then
    first = child.call("counter", "pid")
    values = child.iterate("counter", "count", 0.02)
    next(values)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"package 'no_such_library', which .* run it again\.$"):
            child.call("made", "__len__")
    assert "no_such_library" in child.failure
    module.write_text("class Made(list): pass")
    assert child.call("made", "__len__") == 0
    assert child.call("counter", "pid") != first
    assert next(values) == 1  # others' runs go on in the process where they began
    values.close()
    assert _soon(lambda: not _runs(first))
    with pytest.raises(ModelError, match=r"could not be loaded \(ZeroDivisionError: on arrival\)"):
        child.call("breaks", "__len__")


def test_a_package_that_is_not_installed_is_named_and_the_child_goes_on(
    child: ChildProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "needs_it.py").write_text("import no_such_library")
    first = child.call("counter", "pid")
    for module in ("no_such_library", "needs_it"):
        with pytest.raises(
            ModelError, match=r"'no_such_library'.* not installed; .*pip install no_such_library"
        ):
            child.call("counter", "load", module)
    assert child.failure is None
    (tmp_path / "no_such_library.py").touch()
    assert child.call("counter", "load", "needs_it") == "needs_it"
    assert child.call("counter", "pid") == first


def test_a_value_that_cannot_be_sent_is_named_by_its_class(child: ChildProcess) -> None:
    values = child.iterate("counter", "unsendable")
    assert next(values) == 0
    with pytest.raises(ModelError, match=r"^StaysHere cannot be sent .*\(OSError: the file is closed\)"):
        next(values)
    assert child.call("counter", "closed") == [-3]


def test_strangers_hold_up_nobody(child: ChildProcess) -> None:
    values = child.iterate("counter", "count", 0.02)
    next(values)
    address = str(_folder(child) / "socket")
    with pytest.raises(AuthenticationError):
        Client(address, authkey=b"guessed")
    silent = [socket.socket(socket.AF_UNIX) for _ in range(80)]  # more than wait to be accepted
    for number, caller in enumerate(silent):
        caller.connect(address)
        if number % 2:
            caller.sendall(b"\x7f\xff\xff\xff rubbish")
    assert [next(values) for _ in range(3)] == [1, 2, 3]
    asked = time.monotonic()
    assert child.call("counter", "closed", limit=5.0) == []
    assert time.monotonic() - asked < 2
    values.close()
    for caller in silent:
        caller.settimeout(5)  # each is hung up on
        assert _hung_up(caller)
        caller.close()


def test_two_copies_of_the_program_are_apart(start: Callable[..., ChildProcess]) -> None:
    one, two = start(), start()
    assert one.call("counter", "pid") != two.call("counter", "pid")
    folder = _folder(one)
    one.stop()
    assert not folder.exists()
    assert two.call("counter", "pid") == two.pid
    assert _folder(two).is_dir()


@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), 9)", "sys.exit()", "os.fork() or time.sleep(30); os._exit(0)"]
)
def test_the_child_ends_with_its_parent_however_that_ends(end: str, tmp_path: Path) -> None:
    code = (
        f"import os, sys, time; sys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.child_objects import Counter\n"
        "from tests.test_child import QUICK\n"
        "from ragdemo.run.child import ChildProcess\n"
        "child = ChildProcess(QUICK, counter=Counter)\n"
        "values = child.iterate('counter', 'think', 60); next(values)\n"
        f"print(child.call('counter', 'pid'), flush=True)\n{end}"
    )
    output = tmp_path / "pid"
    with output.open("w") as file:
        subprocess.run(
            [sys.executable, "-c", code],
            stdout=file,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            check=False,
        )
    pid = int(output.read_text())
    assert _soon(lambda: not _runs(pid))
    assert _soon(lambda: not list(tmp_path.glob("ragdemo-*")))


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while it is read
        return False
    return state != "Z"


def _soon(condition: Callable[[], object], seconds: float = 10) -> object:
    """The condition's value as soon as it holds, or its last one."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


def _folder(child: ChildProcess) -> Path:
    return Path(child._process._folder)


def _hung_up(caller: socket.socket) -> bool:
    try:
        while caller.recv(1000):
            pass
    except ConnectionResetError:
        pass
    return True
