"""One visitor who presses whatever there is, in any order and at any time: a run works all the same."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from library_world import picture
from playwright.sync_api import Error, Page

from ragdemo.images import encode_png
from tests.scripted_page import ScriptedPage, ask, finished

pytestmark = [pytest.mark.slow, pytest.mark.hostile]
CLICK = "selector => document.querySelector(selector)?.click()"
PRESSES = [
    "#run",
    "#stop",
    ".candidates .acts button",
    ".card.used .acts button",
    "#check button",
    "#dice",
    "#chips button",
    "#invent-form [data-roll]",
    "#invent-form [type=submit]",
    "#own-list button",
    "#own-library-groups button",
]
PROMPTS = [
    "a quixel butterfly in the snow",
    "a robot in the city",
    "draw a fish forever",
    "endless butterfly",
    "a fish crash",
]


def test_presses_in_any_order_leave_a_page_that_works(
    page: Page, scripted: ScriptedPage, whole: bool
) -> None:
    rng, errors = random.Random(5), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    for _ in range(220 if whole else 15):
        step = rng.random()
        if step < 0.25:
            ask(page, rng.choice(PROMPTS))
        elif step < 0.8:
            page.evaluate(CLICK, rng.choice(PRESSES))
        elif step < 0.9:
            _bring(page, rng)
        else:
            _leave(page, scripted.address, rng)
        page.wait_for_timeout(rng.choice([0, 0, 30, 300, 900]))
    page.goto(scripted.address)
    page.locator("#run").wait_for()
    page.get_by_role("radio", name="Scripted").check()
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    scripted.wait_until_free()
    assert not errors


def _bring(page: Page, rng: random.Random) -> None:
    """Bring a picture of one's own, or one for one's library."""
    place = page.locator(f"{rng.choice(['#own', '#own-library-files'])} input[type=file]")
    data = encode_png(picture(rng.randrange(9)))
    if place.count():
        place.set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": data})


def _leave(page: Page, address: str, rng: random.Random) -> None:
    """Go, and come back."""
    with suppress(Error):  # it was on its way already
        page.goto("about:blank") if rng.random() < 0.5 else page.reload(wait_until="commit")
    page.goto(address)
    page.locator("#run").wait_for()
