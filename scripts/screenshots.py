"""Take the pictures of the page that the documentation shows.

    python -m scripts.screenshots [--prompt TEXT] [--out docs/screenshots] [--url ADDRESS]

Without an address it serves the page with the pocket models itself. Each view is taken in light and dark, 1440,
1024 and 390 pixels wide.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page

from scripts.browser import chromium, serve, visit

WIDTHS = (1440, 1024, 390)
_RUN_MILLISECONDS = 600_000


def main() -> None:
    """Take every picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prompt", default="a quixel butterfly in the snow")
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--url")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with _address(arguments.url) as url, chromium() as browser:
        for width in WIDTHS:
            for dark in (False, True):
                name = f"{width}-{'dark' if dark else 'light'}"
                with visit(browser, url, width, 900, dark) as page:
                    _take(page, arguments.prompt, arguments.out, name)


def _take(page: Page, prompt: str, out: Path, name: str) -> None:
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#seed input").fill("7")
    page.locator("#run").click()
    page.locator("#announcement", has_text="Done.").wait_for(timeout=_RUN_MILLISECONDS)
    page.locator(".chapter.result .checklist").wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=out / f"explore-{name}.png", full_page=True)
    page.get_by_role("tab", name="Library").click()
    page.locator("#library-cards .card").first.wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=out / f"library-{name}.png")


@contextmanager
def _address(given: str | None) -> Iterator[str]:
    if given is not None:
        yield given
        return
    import app  # only here: it builds the page

    app.runner.start()
    with serve(app.demo) as url:
        yield url


if __name__ == "__main__":
    main()
