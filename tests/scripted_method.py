"""A method that draws nothing: real references for flat colours, steered by the words of a prompt."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence

from PIL import Image

from ragdemo.errors import ModelError
from ragdemo.events import (
    Draft,
    Event,
    MissingConcepts,
    Progress,
    Reference,
    References,
    Rephrased,
    Result,
    RetrievalCaptions,
    Verdict,
)
from ragdemo.methods.base import Tools
from ragdemo.methods.evidence import Evidence
from ragdemo.methods.imagerag.method import ImageRAG
from ragdemo.methods.running import Known
from ragdemo.models.base import ENCODER
from ragdemo.request import OWN_LIBRARY, Request

STEPS = 4
FOREVER = 600  # some minutes: a test that forgets to stop it still ends
NAME = "quixel butterfly"


class Scripted(ImageRAG):
    """ImageRAG's events in half a second; `running` counts the runs that go on now, `requests` are all so far.

    "robot" in a prompt is approved, "forever" draws until it is stopped, "endless" does so after the references,
    "crash" breaks with an error that nobody foresaw, "memory" with a sentence.
    """

    name = "scripted"
    title = "Scripted"
    sentence = "Flat colours instead of drawings."
    needs = (ENCODER,)

    def __init__(self) -> None:
        self.running = 0
        self.requests: list[Request] = []

    def run(self, request: Request, tools: Tools, known: Sequence[Event] = ()) -> Iterator[Event]:
        """See `Method.run`."""
        self.requests.append(request)
        self.running += 1
        try:
            yield from self._events(request, tools, Known(known))
        finally:
            self.running -= 1

    def _events(self, request: Request, tools: Tools, known: Known) -> Iterator[Event]:
        if "crash" in request.prompt:
            raise KeyError("the method is scripted to break")
        if "memory" in request.prompt:
            raise ModelError("The models stopped (out of memory); run it again.")
        mode = request.settings.get("mode", "draft")
        draft = known.take(Draft)
        if draft is None and mode != "generation":
            yield from _steps("draft", FOREVER if "forever" in request.prompt else STEPS)
            draft = Draft(_colour(request.prompt, request.seed), 1.2)
            yield draft
        is_right = "robot" in request.prompt
        if mode != "generation" and known.take(Verdict) is None:
            yield Verdict(is_right, "Yes, it does." if is_right else "No, the image does not match.", 0.2)
        if draft is not None and is_right:
            yield from self._approved(request, tools, draft)
            return
        if mode == "rephrase":
            yield Rephrased("a plain butterfly", "a plain butterfly", 0.1)
            yield Result(_colour("a plain butterfly"), tools.recipe(request, (), tools.searcher), 1.0)
            return
        yield from self._corrected(request, tools, known)

    def _approved(self, request: Request, tools: Tools, draft: Draft) -> Iterator[Event]:
        image, own = draft.image, ()
        if request.choices.own:
            found = Evidence(tools, tools.searcher, request).own_alone(request.prompt)
            yield found
            own = found.used
            image = _colour(request.prompt, request.seed, *(reference.id for reference in own))
        yield Result(image, tools.recipe(request, own, tools.searcher), 0.0)

    def _corrected(self, request: Request, tools: Tools, known: Known) -> Iterator[Event]:
        if known.take(MissingConcepts) is None:
            yield MissingConcepts((NAME,), f"Missing: {NAME} <b>{{{{1}}}}</b>", 0.1)
        captions = known.take(RetrievalCaptions)
        if captions is None:
            # a visitor's own library answers its own names alone
            wanted = request.prompt if request.library == OWN_LIBRARY else f"a photo of a {NAME}"
            captions = RetrievalCaptions((NAME,), (wanted,), wanted, 0.1)
            yield captions
        evidence = Evidence(tools, tools.searcher, request)
        found = evidence.gather(captions, own=evidence.own((NAME,), captions.captions))
        yield References(found.used, found.others[:3], found.library_size, 0.009)
        yield from _steps("generation", FOREVER if "endless" in request.prompt else STEPS)
        image = _colour(request.prompt, request.seed, *(reference.id for reference in found.used))
        yield Result(image, tools.recipe(request, found.used, tools.searcher), 1.3)


def reference(number: int, caption: str = f"a {NAME}", score: float = 0.41) -> Reference:
    """A reference that no library holds."""
    return Reference(f"lib/{number}", caption, score, NAME, _colour(number))


def _steps(stage: str, total: int) -> Iterator[Event]:
    for step in range(1, total + 1):
        time.sleep(0.5 if total == FOREVER else 0.03)
        yield Progress(stage, step, total)


def _colour(*what: object) -> Image.Image:
    red, green, blue = hashlib.sha256(repr(what).encode()).digest()[:3]
    return Image.new("RGB", (128, 128), (red, green, blue))
