"""What the page adds to a run: time to the first event, the whole run against the engine alone, memory.

    python -m scripts.bench_page_run [--runs 5] [--many 50]

Serves the page with the pocket models and drives it in Chromium. In turn with the page's, the same requests run as on
the command line: by a process of their own that serves no page. Both begin after the same pause, since a processor that
has rested is slower at first; which goes first alternates.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from playwright.sync_api import Page

from ragdemo.backend import EngineProcess, LocalBackend
from ragdemo.evaluation.prompts import cases
from ragdemo.types import Request
from tests.browser import open_page, serve

_PAUSE = 300  # milliseconds before each run

# Clicks Run and says, in milliseconds by the browser's clock, when the engine's first event and when the end
# were on the page.
_MEASURE = """() => new Promise((resolve) => {
  const started = performance.now();
  let first = null;
  const look = () => {
    const said = document.querySelector("#announcement .announce")?.textContent ?? "";  // asks for no layout
    const meter = document.querySelector(".chapter.draft.is-active [role=progressbar]");
    if (first === null && meter !== null) first = performance.now() - started;
    if (first !== null && said.startsWith("Done.")) {
      watching.disconnect();
      resolve([first, performance.now() - started]);
    }
  };
  // an observer, because asking at every frame would cost more than what is measured
  const watching = new MutationObserver(look);
  watching.observe(document.body, {subtree: true, childList: true, characterData: true});
  document.querySelector("#run").click();
})"""


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="prompts to time")
    parser.add_argument("--many", type=int, default=50, help="runs before memory is read again")
    arguments = parser.parse_args()
    import app  # only here: it builds the page

    app.backend.warm_up()
    alone = EngineProcess(backend=LocalBackend)
    prompts = [case.prompt for case in cases("rare", arguments.many + 2, 1, "tune")]
    measured = prompts[2 : 2 + arguments.runs]
    firsts, pages, alones = [], [], []
    with serve(app.demo) as url, open_page(url) as page:
        for prompt in prompts[:2]:  # both load what they need
            _run(page, prompt)
            _run_alone(page, alone, prompt)
        after_one = _resident_megabytes(app.engine)
        for index, prompt in enumerate(measured):
            if index % 2:
                alones.append(_run_alone(page, alone, prompt))
            first, whole = _run(page, prompt)
            if index % 2 == 0:
                alones.append(_run_alone(page, alone, prompt))
            firsts.append(first)
            pages.append(whole)
        for prompt in prompts[2 + arguments.runs :]:
            _run(page, prompt)
        after_many = _resident_megabytes(app.engine)
    ratio = statistics.median(page / alone for page, alone in zip(pages, alones, strict=True))
    print(f"first event after the click   {statistics.median(firsts):6.2f} s")
    print(f"a run on the page             {statistics.median(pages):6.2f} s")
    print(f"the same run without it       {statistics.median(alones):6.2f} s")
    total = sum(pages) / sum(alones)
    print(f"ratio                         {ratio:6.3f}  (of the sums {total:.3f})")
    print(f"memory after the first runs   {after_one:6.0f} MB")
    print(f"memory after {len(prompts):3} runs         {after_many:6.0f} MB")


def _run(page: Page, prompt: str) -> tuple[float, float]:
    """Seconds until the first event and until the end."""
    page.locator("#prompt textarea").fill(prompt)
    page.wait_for_timeout(_PAUSE)  # the hint below the prompt has been asked for and shown
    first, whole = page.evaluate(_MEASURE)
    return first / 1000, whole / 1000


def _run_alone(page: Page, alone: EngineProcess, prompt: str) -> float:
    """Seconds of the run without the page."""
    page.wait_for_timeout(_PAUSE)
    started = time.perf_counter()
    list(alone.iterate("backend", "run", Request(prompt, seed=7)))
    return time.perf_counter() - started


def _resident_megabytes(engine: EngineProcess) -> float:
    """Of the page's process and the models' together."""
    pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in ("self", engine.pid))
    return sum(pages) * 4096 / 1e6


if __name__ == "__main__":
    main()
