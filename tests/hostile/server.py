"""The real server in a process of its own, what it writes into its log, and how much memory it takes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.hostile import tiny
from tests.hostile.visitor import Visitor

ROOT = Path(__file__).resolve().parents[2]
_OURS = re.compile(rf'File "{re.escape(str(ROOT))}/(?:ragdemo|app)')
UP_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """`app.py` while it runs; `home` is all that it may write to."""

    address: str
    process: subprocess.Popen[bytes]
    home: Path
    log: Path

    def visitor(self) -> Visitor:
        """A fresh session."""
        return Visitor(self.address)

    def said(self) -> int:
        """How many bytes the log has."""
        return self.log.stat().st_size

    def tracebacks(self, since: int) -> tuple[list[str], int]:
        """Those in the log after `since` bytes that went through this program's code, and how many there are in all."""
        text = self.log.read_bytes()[since:].decode(errors="replace")
        blocks = re.findall(r"Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*.*", text)
        return [block for block in blocks if _OURS.search(block)], len(blocks)

    def megabytes(self, process: int = 0) -> float:
        """The memory of a process, by default of the page's; the models have one of their own."""
        status = Path(f"/proc/{process or self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1000

    def peak_megabytes(self) -> float:
        """The most memory that the page's process ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1000

    def handles(self) -> int:
        """The open files and the threads of the page's process."""
        return sum(len(os.listdir(f"/proc/{self.process.pid}/{kind}")) for kind in ("fd", "task"))

    def models(self) -> int:
        """The number of the models' process."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return max(int(one) for thread in threads for one in thread.read_text().split())


@contextmanager
def serving(home: Path, port: int, **environment: str) -> Iterator[Server]:
    """The real page with a home of its own, its models loading."""
    home.mkdir(parents=True, exist_ok=True)
    log = home / "log"
    names = {"HOME": home, "RAGDEMO_CACHE": home / "cache", "RAGDEMO_LIBRARIES": home / "libraries"}
    places = {name: str(path) for name, path in names.items()}
    places[tiny.VARIABLE] = str(tiny.write(home / "tiny", home / "libraries"))
    settings = {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GRADIO_TEMP")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.attacked"],
            cwd=ROOT,
            env=inherited | places | settings | environment,
            stdout=output,
            stderr=output,
        )
    try:
        address = f"http://127.0.0.1:{port}/"
        _wait_until_up(address, process, log)
        yield Server(address, process, home, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            httpx.get(f"{address}config", timeout=10).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError(f"no answer from {address} in {UP_SECONDS} s")
