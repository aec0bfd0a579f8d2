"""What retrieval costs a model of one step: the teacher, the step alone, and with a pair, in turn, in one process.

    python -m scripts.bench_one_step --runs 30

Prints the median milliseconds of each and their ratios turn by turn, with standard errors. "With the pair" is search
for one pair, its kept features, and the blend; "search" is the first of these alone. A teacher is timed if the profile
has a generator of many steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from ragdemo.events import Reference
from ragdemo.library.recent import Recent
from ragdemo.methods.base import Tools
from ragdemo.methods.turbo.flow import Run
from ragdemo.models.base import GENERATOR, ONE_STEP, Drawing
from ragdemo.request import Request
from ragdemo.run.inprocess import InProcess

_READ: Recent[str, Image.Image] = Recent(64)
PROMPT = "a quixel butterfly in the snow, seen {turn} times"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--profile", default="pocket")
    parser.add_argument("--library", default="pocket")
    options = parser.parse_args()
    runner = InProcess(profile=options.profile, library=options.library, allow_paths=True)
    report(measure(runner.tools(options.profile, options.library), options.runs))


def measure(tools: Tools, runs: int) -> dict[str, np.ndarray]:
    """Seconds by way, one a turn; every turn is another prompt, which is read anew each time."""
    ways: dict[str, Callable[[int], object]] = {
        "alone": lambda turn: _alone(tools, turn),
        "with the pair": lambda turn: _with_pair(tools, turn),
        "search": lambda turn: _found(tools, 0),
    }
    if tools.models.has(GENERATOR):
        ways["teacher"] = lambda turn: tools.models.get(GENERATOR).draw_many([Drawing(_prompt(turn), turn)])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for place, (name, way) in enumerate(ways.items()):
            start = time.perf_counter()
            way(len(ways) * turn + place)
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(measured[1:]) for name, measured in seconds.items()}  # the first turn warms up


def report(seconds: dict[str, np.ndarray]) -> None:
    """Print medians and ratios."""
    alone = seconds["alone"]
    print(f"on {torch.get_num_threads()} threads")
    for name, measured in seconds.items():
        ratios = measured / alone
        error = ratios.std(ddof=1) / np.sqrt(len(ratios))
        print(f"{name}: {1000 * np.median(measured):.1f} ms, {np.median(ratios):.3f} ± {error:.3f} × alone")


def _prompt(turn: int) -> str:
    return PROMPT.format(turn=turn)


def _request(tools: Tools, turn: int) -> Request:
    return Request(prompt=_prompt(turn), seed=turn, method="turbo", profile=tools.profile.name)


def _alone(tools: Tools, turn: int) -> object:
    return tools.models.get(ONE_STEP).draw_many([Drawing(_prompt(turn), turn)])


def _with_pair(tools: Tools, turn: int) -> object:
    run, reference = _found(tools, turn)
    drawing = Drawing(_prompt(turn), turn, condition=run.blend(reference))
    return tools.models.get(ONE_STEP).draw_many([drawing])


def _found(tools: Tools, turn: int) -> tuple[Run, Reference]:
    """The pair that is nearest to a turn's prompt; its picture, which is only shown, is read once."""
    run = Run(_request(tools, turn), tools)
    hit = run.searcher.search_text(_prompt(turn), 1, tools.split)[0]
    image = _READ.get(hit.id, lambda: tools.library.image(hit.id))
    return run, Reference(hit.id, hit.caption, hit.score, "", image)


if __name__ == "__main__":
    main()
