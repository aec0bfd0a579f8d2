"""The real server among strangers: whatever they send, everybody else's runs go on as if nothing had been sent."""

from __future__ import annotations

import json
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from strange_images import bombs, corner, damaged, modes

from ragdemo.profiles import get_profile
from ragdemo.run.base import offered_methods
from ragdemo.run.offers import find_offers
from tests.hostile.server import ROOT, Server
from tests.hostile.values import archives, event_data, prompts, recipes, value
from tests.hostile.visitor import API, Event, Visitor, file

pytestmark = [pytest.mark.slow, pytest.mark.hostile]
METHODS = [method.name for method in find_offers().here[0].methods]
ENDPOINTS = [
    "queue/join",
    "run/x",
    "call/run",
    "call/search",
    "call/v2/run",
    "cancel",
    "reset",
    "upload",
    "nothing",
]
JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def unharmed(server: Server) -> Any:
    """After each test: no traceback through this program's code, nothing written outside, and runs are made."""
    before, stranger, said = _tree(), server.home.parent / "climbed.png", server.said()
    yield
    assert server.process.poll() is None
    ours, _ = server.tracebacks(said)
    assert not ours, ours[-1][-3000:]
    assert _tree() == before
    assert not stranger.exists()
    assert picture(server.visitor(), METHODS[0])


def _tree() -> str:
    """What lies in the program's own folder and is not in its history."""
    command = ["git", "status", "--porcelain", "--untracked-files=all"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def picture(
    visitor: Visitor, method: str, prompt: str = "a quixel butterfly in the snow", seed: int = 3
) -> str:
    """The result of a run by the endpoint for programs, as a PNG's address."""
    end = visitor.run(prompt=prompt, method=method, seed=seed, settings=json.dumps(_quick(method)))[-2]
    visitor.http.close()
    assert end["success"], end
    return end["output"]["data"][0]["image"]["png"]


def _quick(method: str) -> dict[str, Any]:
    """Few steps, if the method has some."""
    found = next(one for one in offered_methods(get_profile("pocket")) if one.name == method)
    return {"steps": 4} if "steps" in found.Settings.model_fields else {}


def send(visitor: Visitor, event: Event, rng: random.Random) -> httpx.Response:
    """A call of an event with some of its values replaced, or with another number of them."""
    data = visitor.values(event)
    for place in range(len(data)):
        if rng.random() < 0.3:
            data[place] = value(rng)
    data = data[1:] if rng.random() < 0.05 else data
    body = {"data": data, "fn_index": event.number, "session_hash": visitor.session}
    body |= {"event_data": event_data(rng), "trigger_id": rng.choice([event.target, None, 99_999])}
    place = "queue/join" if event.queued else f"run/{event.name}"
    return visitor.http.post(f"{API}/{place}", content=json.dumps(body), headers=JSON)


def test_any_values_for_every_event(server: Server, whole: bool) -> None:
    rng, first, said = random.Random(0), server.visitor(), server.said()
    codes: list[int] = []
    for number in range(1000 if whole else 100):
        event = first.events[number % len(first.events)]
        visitor = server.visitor() if event.queued else first
        visitor.__dict__.setdefault("config", first.config)
        answer = send(visitor, event, rng)
        codes.append(answer.status_code)
        if event.queued and answer.status_code == 200:
            assert visitor.ends()
            visitor.http.close()
    assert set(codes) <= {200, 422, 500}, codes  # Gradio answers every sentence of a quick event with 500
    print(
        f"{len(codes)} calls, {codes.count(200)} taken; {server.tracebacks(said)[1]} tracebacks of Gradio's own"
    )


def test_any_body_for_every_endpoint(server: Server, whole: bool) -> None:
    rng, visitor = random.Random(1), server.visitor()
    for number in range(1000 * len(ENDPOINTS) if whole else 100):
        body = {
            name: value(rng)
            for name in ("data", "fn_index", "session_hash", "event_id", "event_data", "trigger_id")
            if rng.random() < 0.7
        }
        content = json.dumps(body if rng.random() < 0.9 else value(rng))
        if rng.random() < 0.1:
            content = content[: rng.randrange(1 + len(content))]
        answer = visitor.http.post(
            f"{API}/{ENDPOINTS[number % len(ENDPOINTS)]}", content=content, headers=JSON
        )
        assert answer.status_code < 500, (content[:300], answer.text[:300])


@pytest.mark.parametrize("name", ["run", "search", "settings"])
def test_any_arguments_for_the_endpoints_of_programs(server: Server, whole: bool, name: str) -> None:
    rng, first = random.Random(2), server.visitor()
    usual = {"run": ["a robot", METHODS[0], 1, '{"steps": 1}', "pocket", "pocket", "{}"]}
    usual |= {"search": ["a robot", 1, "pocket"], "settings": [METHODS[0]]}
    event = first.event(name)
    for _ in range(1000 if whole else 10):
        data = list(usual[name])
        for _ in range(rng.choice([1, 1, 2])):
            data[rng.randrange(len(data))] = value(rng)
        visitor = Visitor(first.address) if event.queued else first
        body = {"data": data, "fn_index": event.number, "session_hash": visitor.session}
        place = "queue/join" if event.queued else f"run/{name}"
        answer = visitor.http.post(f"{API}/{place}", content=json.dumps(body), headers=JSON)
        if event.queued and answer.status_code == 200:
            (end,) = visitor.ends()
            assert end["success"] or end["output"]["error"], data  # a sentence, and not an error without one
            visitor.http.close()
        else:
            assert answer.status_code in (200, 422) or answer.json()["error"], data


def test_files_that_were_not_uploaded(server: Server) -> None:
    visitor = server.visitor()
    for event in visitor.events:
        forged = [file("/proc/self/fd/0") for _ in event.inputs]
        assert visitor.call(event, forged, event_data={"f": file("/etc/passwd")}).status_code == 422


def test_pictures_recipes_and_archives(server: Server, whole: bool) -> None:
    count = 300 if whole else 15
    pictures = {
        **archives(),
        **bombs(),
        **dict(damaged(count)),
        **dict(list(modes())[: None if whole else 10]),
    }
    pictures |= {f"recipe-{number}.png": data for number, data in enumerate(recipes(count))}
    visitor = server.visitor()
    events = [visitor.event(name) for name in ("_add_own", "_open", "_search_picture")]
    for name, data in pictures.items():
        path = visitor.upload([(f"{name.rpartition('.')[0]}.png", data)]).json()[0]
        for event in events:
            sent: Any = [file(path)] if event.name == "_add_own" else file(path)
            given = {"own": sent, "saved": sent, "library-picture": sent}
            begun = time.monotonic()
            answer = visitor.call(event, visitor.values(event, **given))
            assert answer.status_code == 200, (name, event.name, answer.text[:300])
            if event.queued:
                assert visitor.ends()[-1]["success"], (name, event.name)
            assert time.monotonic() - begun < 20, name


def test_live_typing(server: Server, whole: bool) -> None:
    visitor = server.visitor()
    typed = next(one for one in visitor.events if one.target == _prompt(visitor))
    for prompt in prompts(1000 if whole else 60):
        body = {"data": [prompt], "fn_index": typed.number, "session_hash": visitor.session}
        answer = visitor.http.post(f"{API}/run/{typed.name}", content=json.dumps(body), headers=JSON)
        assert answer.status_code == 200, (prompt, answer.text[:300])


def _prompt(visitor: Visitor) -> int:
    return next(n for n, one in visitor.components.items() if one["props"].get("elem_id") == "prompt")


@pytest.mark.parametrize("method", METHODS)
def test_twenty_clients_get_what_each_would_get_alone(server: Server, whole: bool, method: str) -> None:
    clients = 20 if whole else 4
    with ThreadPoolExecutor(clients) as pool:
        asked = [
            (server.visitor(), method, "a quixel butterfly in the snow", seed) for seed in range(clients)
        ]
        together = list(pool.map(lambda one: picture(*one), asked))
    assert len(set(together)) == clients
    for seed in range(0, clients, 4):
        assert picture(server.visitor(), method, seed=seed) == together[seed]


def test_nothing_grows(server: Server, whole: bool) -> None:
    count = 50 if whole else 4
    own = [(f"{number}.png", data) for number, data in enumerate([corner(), corner("JPEG")] * 4)]

    def session() -> None:
        visitor = server.visitor()
        assert visitor.add_own(own).status_code == 200
        messages = visitor.press(prompt="a quixel butterfly in the snow")
        assert messages[-2]["success"]
        visitor.http.close()

    for _ in range(3):
        session()
    before = server.megabytes()
    for _ in range(count):
        session()
    runs = server.megabytes() - before
    visitor = server.visitor()
    for _ in range(50):
        assert visitor.upload(own).status_code == 200
    grown = server.megabytes() - before
    print(
        f"{count} sessions with own pictures: {runs:+.0f} MB, 50 uploads after them: {grown - runs:+.0f} MB"
    )
    assert runs <= 2 * count + 20
    assert grown - runs <= 20
