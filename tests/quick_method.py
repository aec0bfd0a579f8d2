"""Two methods that draw flat colours: one that follows typing, and one whose runs last until they are stopped."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence

from PIL import Image

from ragdemo.events import Draft, Event, Progress, Result
from ragdemo.methods.base import Method, Tools
from ragdemo.methods.chapters import DRAFT, RESULT
from ragdemo.methods.settings import Settings
from ragdemo.request import Request

SECONDS = 0.25


class Quick(Method):
    """Follows typing: two pictures, each in a moment; "many" in a prompt draws eight before the last."""

    name = "quick"
    title = "Quick"
    sentence = "Flat colours while you type."
    Settings = Settings
    needs = ()
    follows_typing = True
    chapters = (DRAFT, RESULT)

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.drawn: list[str] = []

    def run(self, request: Request, tools: Tools, known: Sequence[Event] = ()) -> Iterator[Event]:
        """See `Method.run`; drafts that are known are not drawn again."""
        self.requests.append(request)
        count = 8 if "many" in request.prompt else 1
        for turn in range(len(known), count):
            yield Progress("draft", 0, 1)
            time.sleep(SECONDS / 2)
            self.drawn.append(f"{request.prompt}/{turn}")
            yield Draft(colour(request.prompt, turn), SECONDS)
        time.sleep(SECONDS / 2)
        if "memory" in request.prompt:
            raise MemoryError("out of memory")
        yield Result(colour(request.prompt), tools.recipe(request), SECONDS)

    def still_known(self, request: Request, before: Request, events: Sequence[Event]) -> tuple[Event, ...]:
        """See `Method.still_known`."""
        return tuple(event for event in events if isinstance(event, Draft)) if request == before else ()


class Endless(Quick):
    """Does not follow typing; draws for a minute."""

    name = "endless"
    title = "Endless"
    sentence = "Flat colours after a minute."
    follows_typing = False

    def run(self, request: Request, tools: Tools, known: Sequence[Event] = ()) -> Iterator[Event]:
        """See `Method.run`."""
        self.requests.append(request)
        for step in range(1, 601):
            time.sleep(0.1)
            yield Progress("draft", step, 600)
        yield Result(colour(request.prompt), tools.recipe(request), 60.0)


def colour(*what: object) -> Image.Image:
    """A flat picture whose colour is that of its making."""
    red, green, blue = hashlib.sha256(repr(what).encode()).digest()[:3]
    return Image.new("RGB", (64, 64), (red, green, blue))
