"""The server's doors, by raw HTTP: what no browser sends is one sentence, and the page goes on for everybody else."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect
from strange_images import corner

from ragdemo import log
from ragdemo.ui import doors, line
from tests.hostile.values import png_with
from tests.hostile.visitor import API, Visitor, file
from tests.scripted_page import ScriptedPage, ask, finished

RUN = {"prompt": "a robot in the city", "method": "scripted"}


@pytest.fixture
def visitor(scripted: ScriptedPage) -> Iterator[Visitor]:
    scripted.reset()
    visitor = Visitor(scripted.address)
    yield visitor
    visitor.http.close()


def runs(visitor: Visitor) -> bool:
    """Whether another visitor's run goes to its end."""
    (end,) = (one for one in Visitor(visitor.address).run(**RUN) if one["msg"] == "process_completed")
    return end["success"]


def outside(folder: Path) -> Path:
    """A picture that nobody uploaded."""
    Image.new("RGB", (40, 30), "red").save(folder / "secret.png")
    return folder / "secret.png"


@pytest.mark.parametrize(
    "place", ["{secret}", "{link}", "/proc/self/fd/0", "http://example.org/x.png", "a\0b"]
)
def test_no_event_of_the_page_takes_a_file_that_was_not_uploaded(
    visitor: Visitor, tmp_path: Path, place: str
) -> None:
    uploaded = Path(visitor.upload([("mine.png", corner())]).json()[0])
    link = uploaded.with_name("link.png")
    link.unlink(missing_ok=True)
    link.symlink_to(outside(tmp_path))
    path = place.format(secret=tmp_path / "secret.png", link=link)
    for event in visitor.events:
        for forged in (file(path), {"path": path}, [{"deep": file(path)}]):
            values = [forged for _ in event.inputs]
            answer = visitor.call(event, values or [], event_data={"id": forged})
            assert answer.status_code == 422, event
            assert "not uploaded to this page" in answer.text
            assert str(tmp_path) not in answer.text
    assert visitor.add_own([("mine.png", corner())]).status_code == 200


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"session_hash": ""}, "session_hash is empty"),
        ({"session_hash": "../x"}, "session_hash is none"),
        ({"session_hash": ["x"]}, "session_hash is none"),
        ({"session_hash": "x" * 100_000}, "session_hash is none"),
        ({"fn_index": 99_999}, "no such event"),
        ({"fn_index": "first"}, "no such event"),
        ({"fn_index": 1e300}, "no such event"),
        ({"data": []}, "takes 7 values"),
        ({"data": list(range(8))}, "takes 7 values"),
        ({"data": "values"}, "valid list"),
        ({"data": [[0] * 20_000] * 7}, "over 10,000 values"),
        ({"trigger_id": {}}, "trigger_id is no number"),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize("place", ["queue/join", "run/run", "call/run"])
def test_a_malformed_call_is_one_sentence(visitor: Visitor, place: str, fields: dict, sentence: str) -> None:
    event = visitor.event("run")
    body = {"data": [None] * 7, "fn_index": event.number, "session_hash": visitor.session}
    answer = visitor.post(place, body | fields)
    assert answer.status_code == 422
    assert sentence in answer.text


@pytest.mark.parametrize(
    ("place", "content", "code"),
    [
        ("queue/join", b"", 422),
        ("queue/join", b"{", 422),
        ("queue/join", b"[]", 422),
        ("queue/join", b"\xff\xfe", 422),
        ("queue/join", b"[" * 100_000, 400),
        ("queue/join", b'{"data": ' + b"[" * 500 + b"]" * 500 + b"}", 422),
        ("queue/join", b'{"data": ["' + b"x" * 2_000_000 + b'"], "fn_index": 1}', 422),
        ("queue/join", b'"' + b"x" * 33_000_000 + b'"', 413),
        ("run/nothing", b'{"data": []}', 422),
        ("call/nothing", b'{"data": []}', 422),
        ("call/v2/nothing", b"{}", 422),
        ("call/v2/run", b'{"fox": 1}', 422),
        ("cancel", b'{"session_hash": "", "fn_index": 1, "event_id": "x"}', 422),
        ("cancel", b'{"session_hash": {}, "fn_index": [], "event_id": 0}', 422),
        ("upload", b"x", 400),
        ("component_server", b"{}", 404),
        ("process_recording", b"{}", 404),
        ("vibe-edit/", b"{}", 404),
        ("undo-vibe-edit/", b"{}", 404),
    ],
)
def test_a_malformed_body_ends_nothing(visitor: Visitor, place: str, content: bytes, code: int) -> None:
    answer = visitor.http.post(
        f"{API}/{place}", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == code, answer.text
    assert answer.json()["detail"]
    assert runs(visitor)


@pytest.mark.parametrize(
    "place",
    [
        "deep_link?session_hash=x",
        "file=http://example.org/",
        "file/http://example.org/",
        "proxy=http://x.hf.space/",
        "stream/a/b/1/x",
    ],
)
def test_what_the_page_does_not_use_is_closed(visitor: Visitor, place: str) -> None:
    assert visitor.http.get(f"{API}/{place}").json() == {"detail": "This page has no such endpoint."}


def test_a_content_type_in_any_letters_is_checked(visitor: Visitor) -> None:
    calls = [
        {"data": [], "fn_index": visitor.event("stop").number, "session_hash": ""},
        {"data": [file("/etc/hostname")], "fn_index": visitor.event("roll").number, "session_hash": "x"},
    ]
    for kind in ("APPLICATION/JSON", "application/JSON; charset=utf-8", "application/problem+Json"):
        for call in calls:
            content, headers = json.dumps(call), {"content-type": kind}
            answer = visitor.http.post(f"{API}/queue/join", content=content, headers=headers)
            assert (answer.status_code, "valid dictionary" in answer.text) == (422, False), kind
    assert visitor.http.get("monitoring").status_code == 403
    assert runs(visitor)


def test_an_upload_is_bounded_in_number_and_bytes(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [(f"{number}.png", b"x") for number in range(doors.MOST_PARTS + 1)]
    assert len(visitor.upload(many[1:]).json()) == doors.MOST_PARTS
    answer = visitor.upload(many)
    assert (answer.status_code, "over 32 files" in answer.text) == (413, True)
    monkeypatch.setattr(doors, "MOST_UPLOADED", 1_000_000)
    answer = visitor.upload([("large.png", bytes(1_100_000))])
    assert (answer.status_code, "over 1 MB" in answer.text) == (413, True)

    def pieces() -> Iterator[bytes]:  # without a length
        yield b"--x\r\n" + b'Content-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(20):
            yield bytes(100_000)

    form = {"content-type": "multipart/form-data; boundary=x"}
    assert visitor.http.post(f"{API}/upload", content=pieces(), headers=form).status_code == 413
    monkeypatch.setattr(doors, "LEAST_FREE", 2**63)
    answer = visitor.upload([("small.png", b"x")])
    assert (answer.status_code, "no room" in answer.text) == (507, True)


@pytest.mark.parametrize("place", ["", "config", f"{API}/info", f"{API}/nothing", f"{API}/stream/x"])
def test_every_answer_carries_the_headers(visitor: Visitor, place: str) -> None:
    headers = visitor.http.get(place).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'self' https://huggingface.co" in headers["Content-Security-Policy"]


def test_an_address_that_no_file_can_have_is_its_senders_fault(visitor: Visitor) -> None:
    for place in ("static", "assets", f"{API}/file={'x' * 300}"):
        answer = visitor.http.get(f"{place}/{'x' * 300}")
        assert answer.status_code in (403, 404, 422)
        assert answer.json()["detail"]


def test_nothing_runs_past_the_queue(visitor: Visitor, scripted: ScriptedPage) -> None:
    event = visitor.event("run")
    answer = visitor.post("run/run", {"data": ["a robot", "scripted", 0, "{}", "pocket", "pocket", "{}"]})
    assert answer.status_code == 404
    assert (
        visitor.post(f"api/{event.name}", {"data": [None] * 7, "fn_index": event.number}).status_code == 404
    )
    assert not scripted.method.requests


def test_a_run_that_nobody_listens_to_is_not_made(
    visitor: Visitor, scripted: ScriptedPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "UNHEARD_SECONDS", 2.0)
    event, press = visitor.event("run"), visitor.event("act")
    data = [*RUN.values(), 0, "{}", "pocket", "pocket", "{}"]
    assert visitor.call(event, data).status_code == 200
    said = {"event_data": {"act": "run"}, "trigger_id": press.target}
    assert visitor.call(press, visitor.values(press), **said).status_code == 200
    assert runs(visitor)  # it waits until the two are given up, and not longer
    assert len(scripted.method.requests) == 1


def test_a_run_whose_listener_leaves_is_dropped(
    visitor: Visitor, scripted: ScriptedPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "UNHEARD_SECONDS", 2.0)
    first, second = Visitor(visitor.address), Visitor(visitor.address)
    endless = [{**RUN, "prompt": f"draw a fish forever {number}"} for number in range(2)]
    for who, asked in zip((first, second), endless, strict=True):
        who.call(who.event("run"), [*asked.values(), 0, "{}", "pocket", "pocket", "{}"]).raise_for_status()
        messages = who.messages()
        next(one for one in messages if one["msg"] == "process_starts")
        if who is first:
            next(one for one in messages if one["msg"] == "process_generating")
        messages.close()
    assert runs(visitor)
    scripted.wait_until_free()
    assert [one.prompt for one in scripted.method.requests] == ["draw a fish forever 0", RUN["prompt"]]


def test_an_address_takes_half_of_the_line_and_leaves_the_rest(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "MOST_OF_AN_ADDRESS", 2)
    monkeypatch.setattr(line, "UNHEARD_SECONDS", 2.0)
    data = [RUN["prompt"], "scripted", 0, "{}", "pocket", "pocket", "{}"]
    here, there = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2, 192.0.2.9"}
    for _ in range(2):  # nobody listens to these
        other = Visitor(visitor.address)
        other.http.headers.update(here)
        other.call(other.event("run"), data).raise_for_status()
    visitor.http.headers.update(here)
    refused = visitor.run(**RUN)[-2]
    assert "Too many runs from your address" in refused["output"]["error"]
    visitor.http.headers.update(there)
    assert visitor.run(**RUN)[-2]["success"]


def test_a_program_calls_nothing_of_the_page_by_its_name(visitor: Visitor) -> None:
    for event in visitor.events:
        answer = visitor.post(f"call/{event.name}", {"data": visitor.values(event)})
        assert (answer.status_code == 200) == (event.name in ("run", "search", "settings")), event.name


def test_a_press_that_carries_nothing_of_its_own_is_answered(
    visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    press, remove = visitor.event("act"), visitor.event("_change_own")
    for said in (None, "act", 5, ["act"], {}):
        visitor.call(press, visitor.values(press), event_data=said).raise_for_status()
        assert visitor.ends()[-1]["success"]
    visitor.call(remove, visitor.values(remove)).raise_for_status()
    assert not caplog.messages


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"settings": {"steps": 10**400}}, "The setting steps is 1000"),
        ({"settings": {"steps": 120}}, "The setting steps is 120; on a shared page choose 50 or fewer"),
        ({"settings": {"mode": ["draft"]}}, "The setting mode is"),
        ({"settings": {"x" * 500: 1}}, "has no setting"),
        ({"method": "nothing"}, "There is no method 'nothing'"),
        ({"profile": "nothing"}, "There is no profile 'nothing'"),
        ({"seed": -1}, "The seed -1 is out of range"),
    ],
    ids=str,
)
def test_a_recipe_is_checked_before_it_reaches_the_form(
    visitor: Visitor, change: dict, sentence: str
) -> None:
    request = {"prompt": "a robot", "method": "imagerag", "seed": 1} | change
    recipe = {"request": request, "references": [], "library_fingerprint": "f", "versions": {}}
    path = visitor.upload([("saved.png", png_with(json.dumps(recipe)))]).json()[0]
    event = visitor.event("_open")
    answer = visitor.call(event, visitor.values(event, saved=file(path)))
    assert answer.status_code == 200
    assert sentence in html.unescape(answer.text)
    assert "Starting" not in answer.text
    assert len(answer.text) < 5000


def test_the_log_of_a_fault_is_one_line(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    visitor.session = "nobody" + "x" * 5000
    with pytest.raises(httpx.RemoteProtocolError):
        list(visitor.messages())
    (message,) = (one for one in caplog.messages if "queue/data" in one)
    assert len(message) < 500
    assert "\n" not in message


def test_the_content_policy_stops_nothing_of_the_page(browser: Browser, scripted: ScriptedPage) -> None:
    scripted.reset()
    context = browser.new_context()
    try:
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(scripted.address)
        page.locator("#run").wait_for()
        page.locator("#own-pictures button").first.click()
        page.locator("#own input[type=file]").set_input_files(
            {"name": "mine.png", "mimeType": "image/png", "buffer": corner()}
        )
        expect(page.locator("#own-list img")).to_have_count(1)
        page.get_by_role("radio", name="Scripted").check()
        ask(page, "a quixel butterfly in the snow")
        finished(page)
        with page.expect_download():
            page.get_by_role("button", name="Download with recipe").click()
        page.get_by_role("tab", name="Library").click()
        expect(page.locator("#library-cards .card").first).to_be_visible()
        assert not [text for text in said if "Content Security Policy" in text or "Content-Security" in text]
    finally:
        context.close()


def test_a_log_is_bounded_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MOST_A_MINUTE", 100)
    monkeypatch.setattr(log, "LONGEST", 60)
    now = [0.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    kept = io.StringIO()
    bounded = log.BoundedLog(kept)
    assert bounded.write("x" * 1000) == 1000
    assert kept.getvalue() == "x" * 60 + " … and 940 more\n"
    bounded.write("y" * 30)
    assert "y" not in kept.getvalue()
    now[0] = 61
    print("z", file=bounded)
    assert kept.getvalue().endswith("ragdemo: 30 characters of log were left out.\nz\n")
