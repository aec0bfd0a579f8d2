"""A disk that is full or cannot be written: runs go on, and what needs the disk is one sentence."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from strange_images import corner

from tests.hostile.conftest import free_port
from tests.hostile.server import Server, serving
from tests.hostile.values import CHOICE
from tests.hostile.visitor import Visitor

pytestmark = [pytest.mark.slow, pytest.mark.hostile]
PROMPT = "a quixel butterfly in the snow"


@contextmanager
def full(server: Server) -> Iterator[None]:
    """Neither the page's process nor the models' can write more than a few bytes into a file, logs included."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    both = (server.process.pid, server.models())
    for process in both:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        for process in both:
            resource.prlimit(process, resource.RLIMIT_FSIZE, before)


def drawn(visitor: Visitor) -> str:
    """The picture of a run on the page, fetched as the browser fetches it."""
    assert visitor.press(prompt=PROMPT)[-2]["success"]
    return fetched(visitor)


def fetched(visitor: Visitor) -> str:
    event = visitor.event("_download")
    answer = visitor.call(event, visitor.values(event), trigger_id=event.target).json()
    assert "data:image/png;base64," in answer["data"][0]
    return answer["data"][0]


def test_a_full_disk_costs_no_run(server: Server) -> None:
    visitor, invent = server.visitor(), server.visitor().event("invent")
    before = drawn(visitor)
    with full(server):
        assert drawn(visitor) == before
        assert "no room for files" in visitor.upload([("a.png", corner() * 2)]).text
        said = {"event_data": {"choice": CHOICE | {"name": "zorby"}}, "trigger_id": invent.target}
        answer = visitor.call(invent, visitor.values(invent), **said)
        assert "cannot be written (File too large)" in json.dumps(answer.json())
    assert fetched(visitor) == before
    assert visitor.add_own([("a.png", corner())]).text.count("<img") == 1
    visitor.http.close()


def test_places_that_cannot_be_written_are_replaced(whole: bool, tmp_path: Path) -> None:
    if not whole:
        pytest.skip("it starts another server: only with --whole")
    nowhere = {"RAGDEMO_CACHE": "/proc/nowhere", "TMPDIR": "/proc/nowhere"}
    with serving(tmp_path / "served", free_port(), **nowhere) as server:
        visitor = server.visitor()
        assert visitor.add_own([("a.png", corner())]).text.count("<img") == 1
        drawn(visitor)
        visitor.http.close()
