"""What the page adds to a run: time to the first event, the whole run against the engine alone, memory.

    python -m scripts.bench_page_run [--runs 50] [--many 50]

Serves the page in a process of its own and drives it in Chromium. In turn with the page's, the same requests run
without it, in the same process of the models, since two such processes differ by up to three percent. Both begin after
the same pause, as a processor that has rested is slower at first; which goes first alternates. What the page takes at
rest it takes beside both; it is printed as a share of a core. A run ends with "Done."; the oracle looks at the pictures
after that, and the next run waits for it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

import psutil
from playwright.sync_api import Page

from ragdemo.evaluation.prompts import cases
from ragdemo.request import Request
from ragdemo.ui.style import launch_options
from scripts.browser import chromium, visit
from scripts.serving import Served, served

_PAUSE = 300  # milliseconds before each run
_REST_SECONDS = 10.0
_SERVE = "--serve"
_SEED = 7

# Clicks Run and says, in milliseconds by the browser's clock, when the engine's first event and when the end
# were on the page.
_MEASURE = """() => new Promise((resolve) => {
  const started = performance.now();
  let first = null;
  const look = () => {
    const said = document.querySelector("#announcement").textContent;  // asks for no layout
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
    parser.add_argument("--runs", type=int, default=50, help="prompts to time")
    parser.add_argument("--many", type=int, default=50, help="runs before memory is read again")
    arguments = parser.parse_args()
    if arguments.runs < 2:
        parser.error(f"--runs {arguments.runs} has no spread; time 2 or more.")
    prompts = [case.prompt for case in cases("rare", max(arguments.runs, arguments.many) + 2, 1, "tune")]
    measured = prompts[2 : 2 + arguments.runs]
    firsts, pages, alones = [], [], []
    with (
        served("-m", "scripts.bench_page_run", _SERVE) as app,
        chromium() as browser,
        visit(browser, app.url, height=1000) as page,
    ):
        page.locator("#seed input").fill(str(_SEED))
        for prompt in prompts[:2]:  # both load what they need
            _run(page, prompt)
            _run_alone(page, app, prompt)
        after_one = _megabytes(app.processes())
        for index, prompt in enumerate(measured):
            if index % 2:
                alones.append(_run_alone(page, app, prompt))
            first, whole = _run(page, prompt)
            if index % 2 == 0:
                alones.append(_run_alone(page, app, prompt))
            firsts.append(first)
            pages.append(whole)
        for prompt in prompts[2 + arguments.runs :]:
            _run(page, prompt)
        after_many = _megabytes(app.processes())
        children = [child for child in psutil.Process().children(True) if "chrom" in child.name()]
        at_rest = _share_at_rest(app.processes(), children)
    ratio = sum(pages) / sum(alones)
    # each pair's part in the ratio of the sums, so that their spread is the ratio's
    parts = [
        (page - ratio * alone) / statistics.mean(alones) for page, alone in zip(pages, alones, strict=True)
    ]
    error = statistics.stdev(parts) / len(parts) ** 0.5
    print(f"first event after the click   {statistics.median(firsts):6.2f} s")
    print(f"a run on the page             {statistics.median(pages):6.2f} s")
    print(f"the same run without it       {statistics.median(alones):6.2f} s")
    print(f"ratio                         {ratio:6.3f}  (standard error {error:.3f})")
    print(f"memory after the first runs   {after_one:6.0f} MB")
    print(f"memory after {len(prompts):3} runs         {after_many:6.0f} MB")
    print("at rest, of a core            server {:.1%}, Chromium {:.1%}".format(*at_rest))


def _run(page: Page, prompt: str) -> tuple[float, float]:
    """Seconds until the first event and until the end."""
    page.locator("#prompt textarea").fill(prompt)
    page.wait_for_timeout(_PAUSE)  # the hint below the prompt has been asked for and shown
    first, whole = page.evaluate(_MEASURE)
    page.locator("#stop").wait_for(state="hidden")
    return first / 1000, whole / 1000


def _run_alone(page: Page, app: Served, prompt: str) -> float:
    """Seconds of the run without the page."""
    page.wait_for_timeout(_PAUSE)
    print(prompt, file=app.process.stdin, flush=True)
    assert app.process.stdout is not None
    return float(app.process.stdout.readline())


def _megabytes(processes: Sequence[psutil.Process]) -> float:
    return sum(process.memory_info().rss for process in processes) / 1e6


def _share_at_rest(*groups: Sequence[psutil.Process]) -> list[float]:
    """How much of a core each group of processes takes while nothing happens."""

    def seconds() -> list[float]:
        return [sum(map(_busy_seconds, group)) for group in groups]

    time.sleep(2)  # what the last run left to do is done
    before = seconds()
    time.sleep(_REST_SECONDS)
    return [(after - start) / _REST_SECONDS for start, after in zip(before, seconds(), strict=True)]


def _busy_seconds(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:2])
    except psutil.NoSuchProcess:
        return 0.0  # Chromium ends helpers as it likes


def _serve() -> None:
    """The page; and the run of each prompt that comes by the standard input, without the page, and its seconds."""
    import app  # only here: it builds the page

    app.demo.launch(prevent_thread_lock=True, quiet=True, **launch_options())
    app.runner.start()
    for prompt in sys.stdin:
        started = time.perf_counter()
        list(app.runner.run(Request(prompt=prompt.strip(), seed=_SEED)))
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    _serve() if _SERVE in sys.argv else main()
