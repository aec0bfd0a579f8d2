"""The models in a child process: what a backend says of it, and real runs across it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ragdemo.errors import ModelError, UserError
from ragdemo.events import Counterfactual, Draft, Event, Progress, References, Result
from ragdemo.request import Choices, Request
from ragdemo.run.child import ChildProcess, Limits
from ragdemo.run.inchild import RUNNER, InChild
from ragdemo.run.inprocess import InProcess

PROMPT = "a quixel butterfly in the snow"
QUICK = Limits(heartbeat=0.1, silence=1.5)
LONG = Request(prompt=PROMPT, seed=1, settings={"steps": 200})
SHORT = Request(prompt=PROMPT, seed=1, settings={"steps": 2})


class Modules:
    """Tells from inside the child what has been imported there."""

    def imported(self) -> set[str]:
        return set(sys.modules)


@pytest.fixture
def child() -> Iterator[ChildProcess]:
    made = ChildProcess(QUICK, runner=InProcess, modules=Modules)
    yield made
    made.stop()


@pytest.fixture
def runner(child: ChildProcess) -> InChild:
    return InChild(child)


def test_the_child_imports_neither_page_nor_models_before_they_are_needed(child: ChildProcess) -> None:
    assert child.call(RUNNER, "status").state == "loading"
    assert not {"gradio", "torch", "app"} & child.call("modules", "imported")


def test_status_waits_for_nobody(child: ChildProcess, runner: InChild) -> None:
    assert runner.status().state == "loading"
    assert child.pid is None  # it starts no process
    child.call("modules", "imported")
    assert _soon(lambda: not child.is_importing)
    os.kill(child.pid, signal.SIGSTOP)
    asked = time.monotonic()
    status = runner.status()
    assert time.monotonic() - asked < 1.4
    assert (status.state, "not answering" in status.message) == ("failed", True)
    assert _soon(lambda: "did not answer" in runner.status().message)


def test_a_warm_up_without_room_for_temporary_files_is_told_by_status(
    runner: InChild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    runner.start()
    assert _soon(lambda: runner.status().state == "failed")
    assert "TMPDIR" in runner.status().message


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_run_that_breaks_off_is_one_sentence_and_the_next_one_works(
    child: ChildProcess, runner: InChild, sent: signal.Signals
) -> None:
    run = runner.run(LONG)
    next(run)
    assert _soon(lambda: next(run) and not child.is_importing)
    os.kill(child.pid, sent)
    with pytest.raises(ModelError, match="run it again"):
        list(run)
    assert runner.status().state == "failed"
    assert isinstance(list(runner.run(SHORT))[-1], Result)
    assert runner.status().state == "ready"


@pytest.mark.slow
def test_the_pocket_models_draw_the_same_in_a_child(child: ChildProcess, runner: InChild) -> None:
    here, there = InProcess(), runner
    assert there.status().state == "loading"
    there.start()
    request = Request(prompt=PROMPT, seed=3)
    ours, theirs = list(here.run(request)), list(there.run(request))
    assert there.status().state == "ready"
    assert [type(event) for event in _stages(ours)] == [type(event) for event in _stages(theirs)]
    for kind in (Draft, Result):
        np.testing.assert_array_equal(*(np.asarray(_only(kind, run).image) for run in (ours, theirs)))
    # a choice of references goes on from the same draft
    rejected = _only(Result, theirs).recipe.references
    known = _stages(theirs)[:4]
    again = list(there.run(request.changed(choices=Choices(rejected=rejected)), known))
    assert [type(event) for event in _stages(again)] == [References, Result]
    assert _only(Result, again).recipe.references != rejected
    assert there.search("a quixel butterfly", 3)[0].id == here.search("a quixel butterfly", 3)[0].id
    changed = list(there.counterfactuals(request, _stages(theirs)))
    assert {event.name for event in changed if isinstance(event, Counterfactual)} >= {"another seed"}
    with pytest.raises(UserError, match="There is no library 'another'"):
        list(there.run(request.changed(library="another")))
    child.stop()
    assert there.status().state == "failed"


@pytest.mark.slow
def test_leaving_a_run_lets_the_next_begin(runner: InChild) -> None:
    left = runner.run(LONG)
    assert isinstance(next(left), Progress)
    left.close()
    started = time.monotonic()
    next(runner.run(SHORT))
    assert time.monotonic() - started < 5  # 200 steps take longer on a fast machine


def _stages(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Progress)]


def _only(kind: type, events: list[Event]):
    [event] = [event for event in events if isinstance(event, kind)]
    return event


def _soon(condition: Callable[[], object], seconds: float = 10) -> object:
    """The condition's value as soon as it holds, or its last one."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value
