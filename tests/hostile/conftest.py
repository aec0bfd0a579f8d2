"""One real server for all of these tests, and how much of each is done."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.hostile.server import Server, serving


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server, which must be there to the end."""
    with serving(tmp_path_factory.mktemp("served"), free_port()) as running:
        yield running
        assert running.process.poll() is None
