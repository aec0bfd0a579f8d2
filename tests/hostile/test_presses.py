"""One visitor who presses whatever there is, in any order and at any time: a run works all the same."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from playwright.sync_api import Error, Page

from tests.scripted_page import ScriptedPage, ask, finished

pytestmark = [pytest.mark.slow, pytest.mark.hostile]
CLICK = "selector => document.querySelector(selector)?.click()"
PRESSES = ["#run", "#stop", ".candidates .acts button", ".card.used .acts button", "#check button", "#dice"]
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
        elif step < 0.9:
            page.evaluate(CLICK, rng.choice(PRESSES))
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


def _leave(page: Page, address: str, rng: random.Random) -> None:
    """Go, and come back."""
    with suppress(Error):  # it was on its way already
        page.goto("about:blank") if rng.random() < 0.5 else page.reload(wait_until="commit")
    page.goto(address)
    page.locator("#run").wait_for()
