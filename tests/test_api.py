"""The endpoints for programs, called as any client would: streamed events, search, sentences, and their listing."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from ragdemo.images import data_url, image_sha256
from ragdemo.recipe import read_png
from ragdemo.ui.page import build_page
from scripts.browser import serve
from tests.scripted_page import ScriptedPage

GOLDEN = Path(__file__).with_name("api.json")


@pytest.fixture(scope="module")
def client(scripted: ScriptedPage) -> Client:
    return Client(scripted.address, verbose=False)


def pixels(url: str) -> bytes:
    assert url.startswith("data:image/png;base64,")
    return base64.b64decode(url.partition(",")[2])


def test_the_listing_is_the_committed_one(client: Client) -> None:
    found = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    # after a wanted change: write `found` to the file, and read the difference
    assert found == json.loads(GOLDEN.read_text())


def test_a_run_streams_its_events(client: Client, tmp_path: Path) -> None:
    job = client.submit(
        "a quixel butterfly in the snow",
        "scripted",
        seed=3,
        settings='{"max_rounds": 2}',
        choices=json.dumps({"rejected": ["quixel-butterfly-eval-0"]}),
        api_name="/run",
    )
    last = job.result(timeout=60)
    events = job.outputs()
    kinds = [event["event"] for event in events if event["event"] != "Progress"]
    assert kinds == ["Draft", "Verdict", "MissingConcepts", "RetrievalCaptions", "References", "Result"]
    assert events[-1] == last
    (tmp_path / "result.png").write_bytes(pixels(last["image"]["png"]))
    request = read_png(tmp_path / "result.png").request
    assert (request.prompt, request.seed, request.settings) == (
        "a quixel butterfly in the snow",
        3,
        {"max_rounds": 2},
    )
    used = next(event for event in events if event["event"] == "References")["used"]
    assert used[0]["concept"] == "quixel butterfly"
    assert used[0]["id"] != "quixel-butterfly-eval-0"
    assert Image.open(io.BytesIO(pixels(used[0]["png"]))).size == (128, 128)


def test_a_search_answers_with_pictures(client: Client) -> None:
    found = client.predict("QUIXEL butterflies!!", 3, api_name="/search")
    assert len(found) == 3
    assert all("quixel butterfly" in row["caption"] and row["keyword_score"] > 0 for row in found)
    assert Image.open(io.BytesIO(pixels(found[0]["png"]))).size == (128, 128)
    looks = client.predict("a quixel butterfly", 3, hybrid=False, api_name="/search")
    assert [row["score"] for row in looks] == sorted((row["score"] for row in looks), reverse=True)
    assert all(row["keyword_score"] is None for row in looks)
    wanted = '{"kind": "fish", "tier": "rare"}'
    fish = client.predict("a quixel butterfly", 3, where=wanted, api_name="/search")
    assert all("fish" in row["caption"] for row in fish)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"prompt": " "}, "The prompt is empty"),
        ({"prompt": "a fox", "seed": -1}, "The seed -1 is out of range"),
        ({"prompt": "a fox", "settings": "{"}, "no JSON object"),
        ({"prompt": "a fox", "settings": '{"tempo": 3}'}, "ImageRAG has no setting 'tempo'"),
        ({"prompt": "a fox", "settings": "[" * 100_000}, "no JSON object"),
        ({"prompt": "a fox", "settings": {"tempo": 3}}, "ImageRAG has no setting 'tempo'"),
        ({"prompt": "a fox", "settings": ["steps"]}, "no JSON object"),
        ({"prompt": "a fox", "library": "/etc"}, "There is no library '/etc'; choose one of pocket"),
        ({"prompt": "a fox", "profile": "nope"}, "There is no profile 'nope'"),
        ({"prompt": "a fox", "choices": '{"own": [{"name": "a.png"}]}'}, "a PNG data URL"),
        (
            {"prompt": "a fox", "choices": '{"own": [{"name": "a", "png": "data:image/png;base64,AA"}]}'},
            "is damaged",
        ),
        ({"prompt": "a fish from memory", "method": "scripted"}, "out of memory"),
    ],
)
def test_bad_input_is_a_sentence(client: Client, arguments: dict, sentence: str) -> None:
    with pytest.raises(AppError, match=sentence):
        client.predict(**arguments, api_name="/run")


def test_a_cancelled_job_frees_the_engine(client: Client) -> None:
    job = client.submit("draw a fish forever", "scripted", api_name="/run")
    next(iter(job))
    job.cancel()
    result = client.submit("a robot in the city", "scripted", api_name="/run").result(timeout=60)
    assert result["event"] == "Result"


def test_a_search_does_not_wait_for_a_run(client: Client) -> None:
    job = client.submit("draw a fish forever", "scripted", api_name="/run")
    next(iter(job))
    found = client.submit("a quixel butterfly", 1, api_name="/search").result(timeout=30)
    assert len(found) == 1
    assert not job.done()
    job.cancel()


@pytest.mark.parametrize("path", ["queue/join", "call/run"])
def test_a_call_with_an_empty_session_is_refused_and_the_queue_lives_on(client: Client, path: str) -> None:
    job = client.submit("draw a fish forever", "scripted", api_name="/run")
    next(iter(job))
    number = next(index for index, one in client.endpoints.items() if one.api_name == "/run")
    data = ["a robot in the city", "scripted", 0, "{}", "pocket", "pocket", "{}"]
    body = {"data": data, "fn_index": number, "session_hash": ""}
    answers = [httpx.post(f"{client.src}gradio_api/{path}", json=body, timeout=30) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert "session_hash is empty" in answers[0].text
    job.cancel()
    result = client.submit("a robot in the city", "scripted", api_name="/run").result(timeout=30)
    assert result["event"] == "Result"


def test_a_program_brings_a_picture_of_its_own(client: Client) -> None:
    picture = Image.new("RGB", (40, 30), "red")
    own = [{"name": name, "png": data_url(picture)} for name in ("mine.png", "mine too.png")]
    choices = json.dumps({"own": own[:1]})
    job = client.submit("a quixel butterfly in the snow", "scripted", choices=choices, api_name="/run")
    last = job.result(timeout=60)
    assert last["recipe"]["request"]["choices"]["own"] == [
        {"sha256": image_sha256(picture), "name": "mine.png"}
    ]
    used = next(event for event in job.outputs() if event["event"] == "References")["used"]
    assert used[0]["caption"] == "mine"
    assert -1 < used[0]["score"] < 0.5  # a red rectangle is no butterfly
    assert Image.open(io.BytesIO(pixels(used[0]["png"]))).getpixel((0, 0)) == (255, 0, 0)


def test_settings_describe_themselves(client: Client) -> None:
    schema = client.predict("imagerag", api_name="/settings")
    assert schema["properties"]["max_rounds"]["maximum"] == 5
    assert "draft" in schema["properties"]["mode"]["enum"]
    with pytest.raises(AppError, match="There is no method 'nope'"):
        client.predict("nope", api_name="/settings")


def test_mcp_is_a_switch(scripted: ScriptedPage, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert httpx.get(f"{client.src}gradio_api/mcp/", timeout=30).status_code == 404

    async def used(address: str) -> tuple[set[str], str]:
        """The names of the tools, and what the search finds."""
        async with (
            streamable_http_client(f"{address}gradio_api/mcp/") as (reading, writing, _),
            ClientSession(reading, writing) as session,
        ):
            await session.initialize()
            tools = {tool.name for tool in (await session.list_tools()).tools}
            found = await session.call_tool("search", {"query": "a quixel butterfly", "k": 1})
            return tools, found.content[0].text

    monkeypatch.setenv("GRADIO_MCP_SERVER", "True")
    # a thread of its own: the browser has an event loop in this one
    with serve(build_page(scripted.services)) as address, ThreadPoolExecutor(1) as apart:
        tools, found = apart.submit(asyncio.run, used(address)).result()
    assert tools == {"run", "search", "settings"}
    assert "quixel-butterfly-" in found
