"""How long until the page answers, against an empty Gradio page in the same environment.

    python scripts/bench_page_start.py [--runs 5] [--app app.py]

Starts both in turn, each in a fresh process on a free port, and prints each time, both medians and their ratio.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EMPTY = "import gradio as gr\nwith gr.Blocks() as demo:\n    pass\ndemo.launch()\n"
_PATIENCE = 120.0


def seconds_to_answer(script: Path) -> float:
    """From the start of `python script` to the first 200 of its page."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SSR_MODE": "false",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONPATH": str(ROOT),
    }
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(script)], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        while time.perf_counter() - start < _PATIENCE:
            if process.poll() is not None:
                raise SystemExit(f"{script} ended with exit code {process.returncode} before it answered.")
            if _answers(f"http://127.0.0.1:{port}/"):
                return time.perf_counter() - start
            time.sleep(0.01)
        raise SystemExit(f"{script} did not answer within {_PATIENCE:.0f} s.")
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Alternate empty page and app, then compare the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--app", type=Path, default=ROOT / "app.py")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY, encoding="utf-8")
        times: dict[str, list[float]] = {"empty": [], "app": []}
        for run in range(arguments.runs):
            for name, script in (("empty", empty), ("app", arguments.app)):
                times[name].append(seconds_to_answer(script))
                print(f"run {run + 1}  {name:5}  {times[name][-1]:.2f} s", flush=True)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"median  empty {medians['empty']:.2f} s  app {medians['app']:.2f} s")
    print(f"ratio   {medians['app'] / medians['empty']:.2f}")


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
