"""The real server among strangers: whatever they send, everybody else's runs go on as if nothing had been sent."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image
from strange_images import bombs, corner, damaged, encoded, modes

from ragdemo.methods import get_method
from ragdemo.run.offers import find_offers
from tests.hostile import tiny
from tests.hostile.server import ROOT, Server
from tests.hostile.values import archives, event_data, prompts, recipes, value, zipped
from tests.hostile.visitor import API, JSON, Event, Visitor, file

pytestmark = [pytest.mark.slow, pytest.mark.hostile]
# each method under a profile that has it, and a library that suits its models
METHODS = {method.name: ("pocket", "pocket") for method in find_offers().here[0].methods}
METHODS = {name: (profile, tiny.LIBRARY) for profile, name in tiny.METHODS.items()} | METHODS
FIRST = find_offers().here[0].methods[0].name
ENDPOINTS = "queue/join run/x call/run call/search call/v2/run cancel reset upload nothing".split()
PLACES = [
    "config",
    "monitoring",
    "monitoring/summary",
    f"{API}/call/run",
    f"{API}/file=",
    f"{API}/file",
    f"{API}/heartbeat",
    f"{API}/info",
    f"{API}/queue/data",
    f"{API}/runs",
    f"{API}/upload_progress",
    "static",
    "assets",
    "svelte",
    "pwa_icon",
]
KINDS = [JSON, JSON, {"content-type": "APPLICATION/JSON"}, {"content-type": "text/plain; a=json"}, {}]


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
    assert picture(server.visitor(), FIRST)


def _tree() -> str:
    """What lies in the program's own folder and is not in its history."""
    command = ["git", "status", "--porcelain", "--untracked-files=all"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def picture(visitor: Visitor, method: str, seed: int = 3) -> str:
    """The result of a run by the endpoint for programs, as a PNG's address."""
    profile, library = METHODS[method]
    asked = {"method": method, "seed": seed, "profile": profile, "library": library}
    end = visitor.run(**asked, settings=json.dumps(_quick(method)))[-2]
    visitor.http.close()
    assert end["success"], end
    return end["output"]["data"][0]["image"]["png"]


def _quick(method: str) -> dict[str, Any]:
    """Few steps, if the method has some."""
    return (
        {"steps": 4}
        if METHODS[method][0] == "pocket" and "steps" in get_method(method).Settings.model_fields
        else {}
    )


def send(visitor: Visitor, event: Event, rng: random.Random) -> httpx.Response:
    """A call of an event with files of its own, some of its values replaced, or with another number of them."""
    data = visitor.values(event, **(brought(visitor, rng) if rng.random() < 0.4 else {}))
    for place in range(len(data)):
        if rng.random() < 0.3:
            data[place] = value(rng)
    data = data[1:] if rng.random() < 0.05 else data
    body = {"data": data, "fn_index": event.number, "session_hash": visitor.session}
    body |= {"event_data": event_data(rng), "trigger_id": rng.choice([event.target, None, 99_999])}
    return visitor.post("queue/join" if event.queued else f"run/{event.name}", body)


def brought(visitor: Visitor, rng: random.Random) -> dict[str, Any]:
    """A file for every component that takes one."""
    name, data = rng.choice([("a.png", corner()), ("b.zip", zipped({"x/c.png": corner("WEBP")}))])
    return visitor.files(name, data) | {"prompt": rng.choice(["a robot", "a quixel butterfly"])}


def test_any_values_for_every_event(server: Server, whole: bool) -> None:
    rng, visitor, said = random.Random(0), server.visitor(), server.said()
    codes: Counter[int] = Counter()
    for event in visitor.events:
        for _ in range(1000 if whole else 3):
            answer = send(visitor, event, rng)
            codes[answer.status_code] += 1
            if event.queued and answer.status_code == 200:
                with suppress(
                    httpx.RemoteProtocolError
                ):  # Gradio cannot repeat half of a letter to its sender
                    assert visitor.ends()
    assert set(codes) <= {200, 422, 500}, codes  # Gradio answers every sentence of a quick event with 500
    print(f"{codes} of {len(visitor.events)} events; {server.tracebacks(said)[1]} tracebacks of Gradio's own")


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
        place = f"{API}/{ENDPOINTS[number % len(ENDPOINTS)]}"
        answer = visitor.http.post(place, content=content, headers=rng.choice(KINDS))
        assert answer.status_code < 500, (content[:300], answer.text[:300])


def test_any_address(server: Server, whole: bool) -> None:
    rng, visitor = random.Random(3), server.visitor()
    secret = server.home / "secret"
    secret.write_text("a secret of the server")
    ends = [
        str(secret),
        f"/..{secret}",
        "/http://127.0.0.1:9/x",
        "/x/y",
        "?page=x&deep_link=../x",
        "?session_hash=x",
    ]
    for number in range(1000 if whole else 45):
        end = rng.choice([*ends, f"/{quote(str(value(rng))[:300], errors='replace')}"])
        with visitor.http.stream("GET", f"{PLACES[number % len(PLACES)]}{end}") as answer:
            assert answer.status_code < 500, (end, answer.status_code)
            if "event-stream" not in answer.headers.get("content-type", ""):  # those go on
                assert b"a secret" not in answer.read()


@pytest.mark.parametrize("name", ["run", "search", "settings"])
def test_any_arguments_for_the_endpoints_of_programs(server: Server, whole: bool, name: str) -> None:
    rng, first = random.Random(2), server.visitor()
    usual = {"run": ["a robot", FIRST, 1, '{"steps": 1}', "pocket", "pocket", "{}"]}
    usual |= {"search": ["a robot", 1, "pocket"], "settings": [FIRST]}
    event = first.event(name)
    for _ in range(1000 if whole else 10):
        data = list(usual[name])
        for _ in range(rng.choice([1, 1, 2])):
            data[rng.randrange(len(data))] = value(rng)
        visitor = Visitor(first.address) if event.queued else first
        body = {"data": data, "fn_index": event.number, "session_hash": visitor.session}
        answer = visitor.post("queue/join" if event.queued else f"run/{name}", body)
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
    count = 300 if whole else 10
    files = {
        **archives(count),
        **bombs(),
        **dict(damaged(count)),
        **dict(list(modes())[: None if whole else 8]),
    }
    files |= {f"recipe-{number}.png": data for number, data in enumerate(recipes(count))}
    visitor, doors = server.visitor(), ("_add_own", "_open", "_search_picture", "_add")
    for name, data in files.items():
        for event in map(visitor.event, doors):
            given = visitor.files(name if event.name == "_add" else f"{name.rpartition('.')[0]}.png", data)
            begun = time.monotonic()
            answer = visitor.call(event, visitor.values(event, **given))
            assert answer.status_code == 200, (name, event.name, answer.text[:300])
            if event.queued:
                assert visitor.ends()[-1]["success"], (name, event.name)
            assert time.monotonic() - begun < 20, name
    assert server.peak_megabytes() < 2500


def test_live_typing(server: Server, whole: bool) -> None:
    visitor = server.visitor()
    hint = next(one for one in visitor.events if one.target == visitor.number("prompt"))
    follow, live = (
        visitor.event("follow"),
        {"method": "turbo", "profile": "tiny-turbo", "library": tiny.LIBRARY},
    )
    for prompt in prompts(1000 if whole else 20):
        for event, values in ((hint, [prompt]), (follow, visitor.values(follow, prompt=prompt, **live))):
            answer = visitor.call(event, values)
            assert answer.status_code == 200, (prompt, answer.text[:300])
        assert visitor.ends()[-1]["success"], prompt


@pytest.mark.parametrize("method", METHODS)
def test_twenty_clients_get_what_each_would_get_alone(server: Server, whole: bool, method: str) -> None:
    clients = 20 if whole else 4
    with ThreadPoolExecutor(clients) as pool:
        together = list(pool.map(lambda seed: picture(server.visitor(), method, seed), range(clients)))
    assert len(set(together)) == clients
    for seed in range(0, clients, 1 if whole else 4):
        assert picture(server.visitor(), method, seed) == together[seed]


def test_nothing_grows(server: Server, whole: bool) -> None:
    if not whole:
        pytest.skip("a few sessions say nothing: only with --whole")
    own = [(f"{n}.png", encoded(Image.new("RGB", (2000, 1500), (30 * n, 99, 9)))) for n in range(8)]
    one, sizes = server.visitor(), [("begun", *_sizes(server))]

    def session() -> None:
        visitor = server.visitor()
        answer = visitor.add_own(own)
        assert (answer.status_code, answer.text.count("data:image/webp")) == (200, len(own))
        run(visitor)
        visitor.http.close()

    def run(visitor: Visitor = one) -> None:
        assert visitor.press(prompt="a quixel butterfly in the snow")[-2]["success"]

    def upload() -> None:
        assert one.upload(own).status_code == 200

    for work, count in ((session, 5), (session, 100), (run, 50), (upload, 50)):
        for _ in range(count):
            work()
        sizes.append((f"{count} × {work.__name__}", *_sizes(server)))
    one.http.close()
    print("MB of the page, of the models, handles:", *sizes, sep="\n")
    page, models, handles = zip(*(row[1:] for row in sizes[1:]), strict=True)
    grown = [after - before for before, after in pairwise(page)]
    assert grown[0] <= 200, sizes
    assert max(grown[1:]) <= 20, sizes
    assert models[-1] - models[0] <= 50, sizes
    assert handles[-1] - handles[0] <= 8, sizes


def _sizes(server: Server) -> tuple[float, float, int]:
    """The memory of both processes, and the open files and threads of the page's."""
    return server.megabytes(), server.megabytes(server.models()), server.handles()
