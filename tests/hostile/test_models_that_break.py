"""Models that die or hang while others wait: everybody gets a result or a sentence, and nobody waits for ever."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.hostile.server import Server
from tests.hostile.visitor import Visitor

pytestmark = [pytest.mark.slow, pytest.mark.hostile]
SENTENCES = (
    "The models' process ended",
    "The models' process did not answer",
    "The models' process could not",
)


def end_of(visitor: Visitor) -> dict[str, Any]:
    """How a run ends."""
    end = next(one for one in visitor.run(settings='{"steps": 4}') if one["msg"] == "process_completed")
    visitor.http.close()
    return end


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_everybody_who_waits_gets_a_result_or_a_sentence(server: Server, whole: bool, blow: int) -> None:
    if not whole:
        pytest.skip("a new process takes its time: only with --whole")
    clients = 20
    assert end_of(server.visitor())["success"]  # the models are there
    time.sleep(3)  # and long done importing
    broken = server.models()
    with ThreadPoolExecutor(clients) as pool:
        waiting = [pool.submit(end_of, server.visitor()) for _ in range(clients)]
        time.sleep(0.8)
        os.kill(broken, blow)
        begun = time.monotonic()
        ends = [one.result() for one in waiting]
    failed = [end["output"]["error"] for end in ends if not end["success"]]
    assert all(sentence.startswith(SENTENCES) for sentence in failed), failed
    assert len(failed) <= 2  # whose run it was, and perhaps who began before it was known
    assert time.monotonic() - begun < 30 + 5 * clients
    assert server.models() != broken
    assert end_of(server.visitor())["success"]
