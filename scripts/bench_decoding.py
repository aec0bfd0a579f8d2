"""What AR-RAG costs: a picture of the plain model, and with each augmentation, in turn, in one process.

    python -m scripts.bench_decoding --runs 20

Prints the median seconds of a picture and each augmentation's ratio to the plain one made right before it, with its
standard error; also what the previews of a plain picture cost.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ragdemo.errors import UserError
from ragdemo.methods.ar_rag.flow import Run
from ragdemo.methods.base import Tools
from ragdemo.models.base import AUTOREGRESSIVE, Drawing
from ragdemo.request import Request
from ragdemo.run.inprocess import InProcess

PROMPT = "a quixel butterfly in the snow"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--profile", default="pocket")
    parser.add_argument("--library", default="pocket")
    options = parser.parse_args()
    tools = InProcess(profile=options.profile, library=options.library, allow_paths=True).tools(
        options.profile, options.library
    )
    generator, ways = tools.models.get(AUTOREGRESSIVE), ways_to_draw(tools)
    seconds: dict[str, list[float]] = {name: [] for name in ("plain", "plain with previews", *ways)}
    for turn in range(options.runs + 1):
        drawings = {name: drawing(turn) for name, drawing in ways.items()}
        plain_drawing = Drawing(PROMPT, turn)
        seconds["plain"].append(_timed(lambda drawing=plain_drawing: generator.draw_many([drawing])))
        seconds["plain with previews"].append(
            _timed(lambda drawing=plain_drawing: list(generator.draw(drawing)))
        )
        for name, one in drawings.items():
            seconds[name].append(_timed(lambda drawing=one: generator.draw_many([drawing])))
    plain = np.array(seconds.pop("plain")[1:])  # the first turn warms up
    print(f"plain: {np.median(plain):.2f} s a picture on {torch.get_num_threads()} threads")
    for name, measured in seconds.items():
        ratios = np.array(measured[1:]) / plain
        error = ratios.std(ddof=1) / np.sqrt(len(ratios))
        print(f"{name}: {np.median(measured[1:]):.2f} s, {ratios.mean():.3f} ± {error:.3f} × plain")


def ways_to_draw(tools: Tools) -> dict[str, Callable[[int], Drawing]]:
    """By name what is drawn with a seed; ways whose checkpoints or codes are not there are named and left out."""
    ways: dict[str, Callable[[int], Drawing]] = {}
    for augmentation in ("daid", "faid", "both"):
        for scope in ("prompt", "library"):
            drawing = partial(_drawing, tools, {"augmentation": augmentation, "scope": scope})
            try:
                drawing(0)
            except UserError as error:
                print(f"{augmentation}, {scope}: {error}")
            else:
                ways[f"{augmentation}, {scope}"] = drawing
    return ways


def _drawing(tools: Tools, settings: dict[str, str], seed: int) -> Drawing:
    request = Request(
        prompt=PROMPT, seed=seed, method="ar_rag", profile=tools.profile.name, settings=dict(settings)
    )
    run = Run(request, tools)
    return Drawing(PROMPT, seed, condition=run.condition(run.sources()[1]))


def _timed(draw: Callable[[], object]) -> float:
    start = time.perf_counter()
    draw()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
