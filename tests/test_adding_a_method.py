"""The guide docs/adding-a-method.md, followed: a toy in a folder of its own runs through everything but the page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ragdemo.cli import main
from ragdemo.errors import ModelError, UserError
from ragdemo.events import Event, Progress, Result
from ragdemo.methods import get_method
from ragdemo.profiles import PROFILES, Profile, Spec, get_profile
from ragdemo.request import Request
from ragdemo.run.base import missing_roles, offered_methods
from ragdemo.run.child import ChildProcess
from ragdemo.run.inchild import InChild
from ragdemo.run.inprocess import InProcess
from ragdemo.run.recorder import read_run
from ragdemo.ui.api import event_json
from tests.toy import registered, toy_runner
from tests.toy.method import Painted

REQUEST = Request(prompt="a square", method="toy", profile="toy", seed=7, settings={"shade": 200})


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    with registered():
        yield


def kinds(events: list[Event]) -> list[type]:
    return [type(event) for event in events]


def test_it_runs_in_this_process_and_its_setting_has_the_profiles_default() -> None:
    runner = InProcess("cpu")
    events = list(runner.run(REQUEST))
    assert kinds(events) == [Progress, Painted, Result]
    assert events[-1].image.getpixel((0, 0)) == (200, 7, 0)
    plain = list(runner.run(REQUEST.changed(settings={})))
    assert plain[-1].image.getpixel((0, 0)) == (40, 7, 0)
    with pytest.raises(
        UserError, match="The setting shade is 300; choose a whole number from 0 to 255 or null"
    ):
        list(runner.run(REQUEST.changed(settings={"shade": 300})))


def test_it_runs_in_a_child() -> None:
    child = ChildProcess(runner=toy_runner)
    try:
        events = list(InChild(child).run(REQUEST))
    finally:
        child.stop()
    assert kinds(events) == [Progress, Painted, Result]
    assert np.array_equal(events[1].where, np.arange(6).reshape(2, 3))


def test_the_command_line_runs_records_and_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    line = ["run", "a square", "--method", "toy", "--profile", "toy", "--set", "shade=3", "--out", str(out)]
    assert main(line) == 0
    assert "painted on 6 places" in capsys.readouterr().err
    painted, result = read_run(out)
    assert isinstance(painted, Painted)
    assert painted.image.getpixel((0, 0)) == (3, 0, 0)
    assert painted.where.dtype == np.float32
    assert painted.image == result.image


def test_a_role_whose_package_is_not_installed_loads_once_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = {"painter": Spec("no_such_library:load_painter", "none", defaults={"shade": 40})}
    monkeypatch.setitem(PROFILES, "toy", Profile("toy", lacking))
    monkeypatch.syspath_prepend(tmp_path)
    runner = InProcess("cpu")
    with pytest.raises(ModelError, match=r"'no_such_library'.* not installed"):
        list(runner.run(REQUEST))
    (tmp_path / "no_such_library.py").write_text("from tests.toy.painter import load_painter")
    assert isinstance(list(runner.run(REQUEST))[-1], Result)
    runner.start()
    deadline = time.monotonic() + 10
    while runner.status("toy").state != "ready" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert runner.status("toy").state == "ready"


def test_the_endpoint_sends_it() -> None:
    painted = json.loads(json.dumps(event_json(list(InProcess("cpu").run(REQUEST))[1])))
    assert painted["event"] == "Painted"
    assert painted["image"]["png"].startswith("data:image/png;base64,")
    assert painted["where"]["shape"] == [2, 3]


def test_a_profile_offers_the_methods_whose_roles_it_has() -> None:
    toy, pocket = get_profile("toy"), get_profile("pocket")
    assert [method.name for method in offered_methods(toy)] == ["toy"]
    assert "toy" not in [method.name for method in offered_methods(pocket)]
    assert missing_roles(get_method("imagerag"), toy) == ("generator", "critic", "encoder")
    with pytest.raises(UserError, match="The profile 'toy' has no generator; it has painter"):
        list(InProcess("cpu").run(REQUEST.changed(method="imagerag", settings={})))
