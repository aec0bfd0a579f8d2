"""The models' own process: calls across it, what breaks, and what is left behind when somebody ends."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path

import numpy as np
import pytest

from ragdemo.backend import BackendError, EngineProcess, LocalBackend, ProcessBackend
from ragdemo.events import Draft, Event, Progress, Result
from ragdemo.types import Request, UserError

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "a quixel butterfly in the snow"


class Counter:
    """Lives in the engine; its file tells from outside how far it came."""

    def __init__(self) -> None:
        self._left = 0

    def pid(self) -> int:
        return os.getpid()

    def count(self, seconds: float) -> Iterator[int]:
        try:
            for number in range(1000):
                yield number
                time.sleep(seconds)
        finally:
            self._left += 1

    def left(self) -> int:
        return self._left

    def refuse(self, value: str) -> None:
        raise UserError(f"{value!r} is refused; choose another.")

    def fall(self) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    def chatter(self) -> str:
        print("models print what they like")
        return "said"


class _BreaksWhereItArrives:
    def __reduce__(self) -> tuple:
        return (exec, ("raise ZeroDivisionError('on arrival')",))


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    made = EngineProcess(counter=Counter)
    yield made
    made.stop()


def test_calls_reach_one_object_in_another_process(engine: EngineProcess) -> None:
    assert engine.pid is None
    assert not engine.is_listening
    assert engine.call("counter", "pid") == engine.pid != os.getpid()
    assert engine.call("counter", "chatter") == "said"
    assert engine.call("counter", "left") == 0


def test_values_come_as_they_are_made_and_leaving_ends_them(engine: EngineProcess) -> None:
    values = engine.iterate("counter", "count", 0.02)
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    assert engine.call("counter", "left") == 0  # a call beside it
    values.close()
    deadline = time.monotonic() + 10
    while engine.call("counter", "left") == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert engine.call("counter", "left") == 1


def test_errors_cross_as_what_they_are(engine: EngineProcess, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"^'x' is refused; choose another\.$"):
        engine.call("counter", "refuse", "x")
    with pytest.raises(RuntimeError, match=r"^ZeroDivisionError: nobody foresaw this$"):
        engine.call("counter", "fall")
    assert "in fall" in capfd.readouterr().err  # whose log it is sees where


def test_a_process_that_dies_is_said_and_started_anew(engine: EngineProcess) -> None:
    values = engine.iterate("counter", "count", 0.02)
    next(values)
    first = engine.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    with pytest.raises(BackendError, match="process ended"):
        list(values)
    assert engine.has_ended
    assert engine.call("counter", "pid") == engine.pid != first


def test_a_process_that_cannot_begin_keeps_nobody_waiting() -> None:
    engine = EngineProcess(counter=_BreaksWhereItArrives())
    for _ in range(2):
        with pytest.raises(BackendError, match="process ended"):
            engine.call("counter", "pid")
    with pytest.raises((AttributeError, pickle.PicklingError)):
        EngineProcess(counter=lambda: None).start()


def test_a_stranger_at_the_door_ends_nobodys_run(engine: EngineProcess) -> None:
    values = engine.iterate("counter", "count", 0.02)
    next(values)
    address = engine._address.result()
    with pytest.raises(AuthenticationError):
        Client(address, authkey=b"guessed")
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(address)
    assert [next(values) for _ in range(3)] == [1, 2, 3]
    assert engine.call("counter", "left") == 0
    values.close()


def test_the_engine_ends_with_its_parent_however_that_ends() -> None:
    code = (
        f"import os, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from ragdemo.backend import EngineProcess\n"
        "from tests.test_engine import Counter\n"
        "engine = EngineProcess(counter=Counter)\n"
        "print(engine.call('counter', 'pid'), flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    pid = int(told.stdout)
    deadline = time.monotonic() + 10
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


@pytest.mark.slow
def test_the_pocket_models_draw_the_same_in_a_process_of_their_own() -> None:
    here = LocalBackend()
    engine = EngineProcess(backend=LocalBackend)
    there = ProcessBackend(engine, front=LocalBackend())
    try:
        assert there.status().state == "loading"
        there.warm_up()
        request = Request(PROMPT, seed=3)
        ours, theirs = list(here.run(request)), list(there.run(request))
        assert there.status().state == "ready"
        assert [type(event) for event in _stages(ours)] == [type(event) for event in _stages(theirs)]
        for kind in (Draft, Result):
            np.testing.assert_array_equal(*(np.asarray(_only(kind, run).image) for run in (ours, theirs)))
        # a choice of references goes on from the same draft
        rejected = _only(Result, theirs).recipe.references
        again = list(there.run(Request(PROMPT, seed=3, rejected=rejected), _stages(theirs)))
        assert _only(Draft, again).image == _only(Draft, theirs).image
        assert _only(Result, again).recipe.references != rejected
        assert there.search("a quixel butterfly", 3)[0].id == here.search("a quixel butterfly", 3)[0].id
        assert there.browse("butterfly", 0, 4) == here.browse("butterfly", 0, 4)
        with pytest.raises(UserError, match="not loaded here"):
            list(there.run(Request(PROMPT, library="another")))
    finally:
        engine.stop()
    assert there.status().state == "failed"


@pytest.mark.slow
def test_leaving_a_run_lets_the_next_begin() -> None:
    engine = EngineProcess(backend=LocalBackend)
    backend = ProcessBackend(engine, front=LocalBackend())
    try:
        left = backend.draw(PROMPT, 1, {"steps": 2000})
        assert isinstance(next(left), Progress)
        left.close()
        started = time.monotonic()
        drawn = list(backend.draw(PROMPT, 1, {"steps": 2}))
        assert isinstance(drawn[-1], Draft)
        assert time.monotonic() - started < 30  # 2,000 steps take twice as long on a fast machine
    finally:
        engine.stop()


def _stages(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Progress)]


def _only(kind: type, events: list[Event]):
    [event] = [event for event in events if isinstance(event, kind)]
    return event


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
