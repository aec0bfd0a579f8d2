"""How long until the page answers, against an empty Gradio page in the same environment.

    python -m scripts.bench_page_start [--runs 5] [--app app.py]

Starts both in turn, each in a fresh process on a free port, and prints each time, both medians and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from scripts.serving import ROOT, served

EMPTY = "import gradio as gr\nwith gr.Blocks() as demo:\n    pass\ndemo.launch()\n"


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
                with served(str(script)) as page:
                    times[name].append(page.seconds)
                print(f"run {run + 1}  {name:5}  {times[name][-1]:.2f} s", flush=True)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"median  empty {medians['empty']:.2f} s  app {medians['app']:.2f} s")
    print(f"ratio   {medians['app'] / medians['empty']:.2f}")


if __name__ == "__main__":
    main()
