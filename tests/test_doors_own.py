"""What a visitor brings to the page, by raw HTTP: it is bounded, nobody else's, and gone when the visitor is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from library_world import picture
from strange_images import corner

from ragdemo import sessions
from ragdemo.images import encode_png
from ragdemo.library.session import UNNAMED
from ragdemo.ui import calls, line
from tests.hostile.values import CHOICE, archives
from tests.hostile.visitor import API, Visitor
from tests.scripted_page import ScriptedPage


@pytest.fixture
def visitor(scripted: ScriptedPage) -> Iterator[Visitor]:
    scripted.reset()
    visitor = Visitor(scripted.address)
    yield visitor
    visitor.http.close()


def bring(visitor: Visitor, name: str = "cup.png", data: bytes = b"") -> str:
    """Upload to one's own library; what the page says of it."""
    event = visitor.event("_add")
    given = visitor.files(name, data or encode_png(picture(1)))
    visitor.call(event, visitor.values(event, **given)).raise_for_status()
    messages = list(visitor.messages())
    assert messages[-2]["success"]
    return json.dumps(messages)


def said(visitor: Visitor, name: str, carried: Any) -> list[Any]:
    """What an event that carries something answers."""
    event = visitor.event(name)
    answer = visitor.call(event, visitor.values(event), event_data=carried, trigger_id=event.target)
    assert answer.status_code == 200, (name, carried, answer.text)
    return answer.json()["data"]


def folders() -> set[Path]:
    """Those of all sessions of this process."""
    return set(Path(sessions._root().name).glob("*"))


def until(is_so: Callable[[], bool]) -> None:
    """Fail if something is not so within ten seconds."""
    deadline = time.monotonic() + 10
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_so()


@pytest.mark.parametrize("name", ["_change", "_change_own", "look", "invent", "roll"])
@pytest.mark.parametrize(
    "carried",
    [
        None,
        5,
        "act choice",
        ["act"],
        {},
        {"act": None, "choice": None},
        {"act": "rename"},
        {"act": "rename", "id": UNNAMED, "name": [[[["deep"]]]]},
        {"act": "remove", "id": {"a": [1]}},
        {"choice": {"kind": {"a": [1]}, "name": None}},
        {"choice": CHOICE | {"name": "\ud800"}},
    ],
    ids=str,
)
def test_whatever_an_event_carries_is_answered(
    visitor: Visitor, caplog: pytest.LogCaptureFixture, name: str, carried: Any
) -> None:
    said(visitor, name, carried)  # of somebody who has brought nothing yet
    bring(visitor)
    said(visitor, name, carried)
    assert not caplog.messages


def test_values_that_are_missing_are_answered(visitor: Visitor, capfd: pytest.CaptureFixture[str]) -> None:
    for event in visitor.events:
        answer = visitor.call(event, [None] * len(event.inputs))
        assert answer.status_code in (200, 500), event.name  # Gradio's answer to what a dropdown cannot be
        if event.queued:
            assert visitor.ends()
    assert "/ragdemo/" not in capfd.readouterr().err


def test_a_library_is_packed_once_and_goes_with_the_next_change(visitor: Visitor) -> None:
    assert "library is empty" in json.dumps(said(visitor, "_pack", None))
    bring(visitor)
    packed = [said(visitor, "_pack", None)[0]["value"] for _ in range(2)]
    cache = Path(visitor.upload([("a.png", corner())]).json()[0]).parents[1]
    assert visitor.http.get(f"{API}/file={packed[0]['path']}").status_code == 403
    assert visitor.http.get(f"{API}/file={packed[1]['path']}").content.startswith(b"PK")
    mine = [path for path in cache.rglob("*.zip") if b"cup" in path.read_bytes()]
    assert [str(path) for path in mine] == [packed[1]["path"]]  # no copy of Gradio's
    said(visitor, "_change", {"act": "rename", "id": UNNAMED, "name": "our new cup"})
    assert visitor.http.get(f"{API}/file={packed[1]['path']}").status_code == 403


def test_what_a_session_left_is_deleted(scripted: ScriptedPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_IS_E2E_TEST", "1")  # a second instead of an hour
    scripted.reset()
    before = folders()
    with present(scripted) as visitor:
        assert visitor.add_own([("mine.png", corner())]).status_code == 200
        bring(visitor)
        packed = Path(said(visitor, "_pack", None)[0]["value"]["path"])
        assert len(folders() - before) == 2
        assert packed.is_file()
    until(lambda: folders() <= before and not packed.exists())
    with present(scripted) as visitor:
        said(visitor, "invent", {"choice": CHOICE | {"name": "zorby"}})
        assert len(folders() - before) == 1
    until(lambda: folders() <= before)


@contextmanager
def present(scripted: ScriptedPage) -> Iterator[Visitor]:
    """A visitor who has the page open for so long."""
    visitor = Visitor(scripted.address)
    with visitor.http.stream("GET", f"{API}/heartbeat/{visitor.session}") as beats:
        lines = beats.iter_lines()  # it ends with its iterator
        assert "ALIVE" in next(lines)
        yield visitor
    visitor.http.close()


def test_an_address_that_invents_leaves_others_their_turn(
    visitor: Visitor, scripted: ScriptedPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "MOST_OF_AN_ADDRESS", 0)
    for name in ("invent", "_change", "_pack"):
        carried = {"choice": CHOICE | {"name": "zorby"}, "act": "remove", "id": "x"}
        assert "server is busy" in json.dumps(said(visitor, name, carried))
    assert "server is busy" in bring(visitor)


def test_many_sessions_of_an_address_cost_nobody_else_theirs(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "MOST_SESSIONS_OF_AN_ADDRESS", 3)
    visitor.http.headers["X-Forwarded-For"] = "192.0.2.1"
    assert visitor.add_own([("mine.png", corner())]).status_code == 200
    before = folders()
    for number in range(8):
        stranger = Visitor(visitor.address)
        stranger.http.headers["X-Forwarded-For"] = "192.0.2.9"
        assert stranger.add_own([(f"{number}.png", corner())]).status_code == 200
        stranger.http.close()
    until(lambda: len(folders() - before) == 3)
    assert before <= folders()
    assert said(visitor, "_change_own", {})[1].count("<img") == 1


def test_programs_take_no_visitors_session(visitor: Visitor, scripted: ScriptedPage) -> None:
    kept = scripted.demo.state_holder.session_data
    for name, data in (("search", ["a robot", 1, "pocket", "{}", True]), ("settings", ["imagerag"])):
        visitor.session = f"program-{name}"
        assert visitor.call(visitor.event(name), data).status_code == 200
        assert not visitor.event(name).queued or visitor.ends()
        assert visitor.session not in kept


@pytest.mark.parametrize("name", ["rows.zip", "deep.zip", "bomb.zip", "climbing.zip", "many.zip", "half.zip"])
def test_a_hostile_archive_is_one_sentence(visitor: Visitor, name: str) -> None:
    sentences = {
        "rows.zip": "has over 4 MB; shorten it",
        "deep.zip": "is not a JSON object",
        "bomb.zip": "unpacks to more than 200 times its size",
        "climbing.zip": "leads out of the archive",
        "many.zip": "has 6,000 members; pack 5,000 or fewer",
        "half.zip": "cannot be read; pack it again",
    }
    assert sentences[name] in bring(visitor, name, archives(0)[name])
