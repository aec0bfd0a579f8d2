"""How long a whole ImageRAG run takes, and how that compares with two plain generations measured in the same run.

    python -m scripts.bench_run [--runs 20]

Only runs that draw twice count; prompts are those of the tuning split.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

from ragdemo.evaluation.prompts import cases
from ragdemo.events import References
from ragdemo.models.base import GENERATOR, Drawing
from ragdemo.request import Request
from ragdemo.run.inprocess import InProcess


def main() -> None:
    """Print seconds of a run and of two plain generations, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="prompts to time")
    runs = parser.parse_args().runs
    runner = InProcess()
    generator = runner.tools().models.get(GENERATOR)
    pairs: list[tuple[float, float]] = []
    for index, case in enumerate(cases("rare", runs + 2, 1, "tune")):
        started = time.perf_counter()
        events = list(runner.run(Request(prompt=case.prompt, seed=index)))
        whole = time.perf_counter() - started
        started = time.perf_counter()
        for seed in (index, index + 1):
            list(generator.draw(Drawing(case.prompt, seed)))
        plain = time.perf_counter() - started
        drawn_twice = any(isinstance(event, References) for event in events)
        if index >= 2 and drawn_twice:  # the first two warm up
            pairs.append((whole, plain))
    whole, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{platform.machine()}, {len(pairs)} runs, medians")
    print(f"a whole run            {whole:6.2f} s (longest {max(a for a, _ in pairs):.2f} s)")
    print(f"two plain generations  {plain:6.2f} s")
    print(f"ratio                  {ratio:6.2f}")


if __name__ == "__main__":
    main()
