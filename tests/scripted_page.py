"""A served page whose first method is scripted, for tests of the page itself, and what visitors do on it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr
from PIL import Image
from playwright.sync_api import Page, expect

from ragdemo.errors import UserError
from ragdemo.events import Check, Counterfactual, Event, Progress, Reference
from ragdemo.invention import Inventor
from ragdemo.methods import METHODS
from ragdemo.profiles import POCKET
from ragdemo.request import Request
from ragdemo.run.base import Status, check_visit
from ragdemo.run.inprocess import InProcess
from ragdemo.run.offers import Offer, Offers
from ragdemo.ui.blocks import Services
from ragdemo.ui.page import build_page
from ragdemo.ui.vocabulary import Vocabulary
from ragdemo.world.vocabulary import vocabulary
from scripts.browser import serve
from tests.scripted_method import Scripted

RUN = 60_000  # milliseconds
RECORDED = "a quixel butterfly in the meadow"


class Runner(InProcess):
    """The real runner, but for faults that tests ask for."""

    said: Status | None = None
    broken: Exception | None = None

    def status(self, profile: str = POCKET.name) -> Status:
        """The real one, or what a test makes it say."""
        return self.said or super().status(profile)

    def counterfactuals(
        self, request: Request, events: Sequence[Event], own: Path | None = None
    ) -> Iterator[Event]:
        """The real ones, broken after the second if a test says so."""
        for event in super().counterfactuals(request, events, own):
            yield event
            if self.broken is not None and isinstance(event, Counterfactual):
                raise self.broken

    def search(self, query: str | Image.Image, *arguments: object, **options: object) -> list[Reference]:
        """The real one; "damaged" is a query that fails."""
        if query == "damaged":
            raise UserError("The library's index is damaged; rebuild it.")
        return super().search(query, *arguments, **options)  # type: ignore[arg-type]


@dataclass
class ScriptedPage:
    """The page's address, and what stands behind it."""

    address: str
    method: Scripted
    runner: Runner
    services: Services
    recording: list[Event] = field(default_factory=list)
    demo: gr.Blocks | None = None

    def reset(self) -> None:
        """As if nothing had happened yet."""
        self.runner.said = self.runner.broken = None
        self.method.requests.clear()

    def wait_until_free(self) -> None:
        """Fail if a run goes on for another half a minute."""
        deadline = time.monotonic() + 30
        while self.method.running and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.method.running == 0


def checks(prompt: str, image: Image.Image) -> tuple[Check, ...]:
    """A checklist that finds what it is asked for, and takes its time if the prompt says so."""
    time.sleep(0.5 if "slowly" in prompt else 0)
    return (Check("kind", True), Check("colours", False))


@contextmanager
def scripted_page() -> Iterator[ScriptedPage]:
    """The page while it is served; the models are loaded."""
    method, runner = Scripted(), Runner()
    METHODS[method.name] = method
    try:
        runner.tools("pocket", "pocket")
        services = Services(
            runner=runner,
            catalogue=runner.catalogue,
            offers=Offers((Offer(POCKET, (method, METHODS["imagerag"], METHODS["realrag"])),)),
            vocabulary=Vocabulary.from_lists(vocabulary()),
            check=check_visit,
            recorded=lambda prompt: (
                page.recording if prompt.lower() == RECORDED else ()
            ),  # as recordings are found
            checklist=checks,
            inventor=Inventor(),
        )
        page = ScriptedPage("", method, runner, services)
        asked = Request(prompt=RECORDED, method=method.name, seed=5)
        # a scripted run needs the encoder alone, and the rest follows
        deadline = time.monotonic() + 120
        while runner.status().state == "loading" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert runner.status().state == "ready", runner.status()
        page.recording = [event for event in runner.run(asked) if not isinstance(event, Progress)]
        page.demo = build_page(services)
        with serve(page.demo) as address:
            page.address = address
            yield page
    finally:
        del METHODS[method.name]


def ask(page: Page, prompt: str) -> None:
    """Type a prompt and run it from the keyboard."""
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#prompt textarea").press("Control+Enter")


def finished(page: Page) -> None:
    """Wait for the end of a run that draws twice, and until its pictures have been looked at."""
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    expect(page.locator(".pair img")).to_have_count(2)
    expect(page.locator(".candidates .acts button").first).to_be_enabled()


def drawing(page: Page) -> None:
    """Wait until a draft is being drawn."""
    expect(page.locator(".chapter.draft .progress")).to_contain_text(" of ", timeout=RUN)
