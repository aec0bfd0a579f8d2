"""A page in a process of its own, as whoever starts it has it: the one who measures takes none of its time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
_PATIENCE = 120.0


@dataclass(frozen=True)
class Served:
    """A page that answers, its process (text to and from it goes through pipes), and the seconds until it answered."""

    url: str
    process: subprocess.Popen[str]
    seconds: float

    def processes(self) -> list[psutil.Process]:
        """The page's process and all that it has started."""
        page = psutil.Process(self.process.pid)
        return [page, *page.children(recursive=True)]


@contextmanager
def served(*arguments: str) -> Iterator[Served]:
    """`python arguments` on a free port, from its first 200 on; raises `SystemExit` if it gives none."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    environment = os.environ | {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SSR_MODE": "false",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONPATH": str(ROOT),
    }
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        while not _answers(url):
            if process.poll() is not None:
                raise SystemExit(f"{arguments} ended with exit code {process.returncode} before it answered.")
            if time.perf_counter() - start > _PATIENCE:
                raise SystemExit(f"{arguments} did not answer within {_PATIENCE:.0f} s.")
            time.sleep(0.01)
        yield Served(url, process, time.perf_counter() - start)
    finally:
        process.kill()
        process.communicate()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False
