"""A backend that tells real events with pictures of the drawn world, for tests of the page alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Literal

from PIL import Image

from ragdemo import events
from ragdemo.backend.base import BackendError, LibraryItem, LibraryPage, Status, check_request
from ragdemo.methods import METHODS as REGISTRY
from ragdemo.pocket.sampling import compose, species_sample
from ragdemo.pocket.species import by_name, of_tier
from ragdemo.pocket.vocabulary import vocabulary
from ragdemo.recipe import Recipe
from ragdemo.types import Ranking, Reference, Request, UserError
from ragdemo.ui.vocabulary import Vocabulary

LIBRARY_SIZE = 3120
RECORDED = "a quixel butterfly in the meadow"
STEPS = 4
FOREVER = 600  # some minutes: a test that forgets to stop it still ends
SLOW_STEP = 0.5  # seconds: a busy machine must not fall behind with showing them


METHODS = tuple(REGISTRY.values())


@dataclass
class ScriptedBackend:
    """Tells the flow of ImageRAG in a second; `running` counts the runs that hold the engine now.

    The words of a prompt steer it: "robot" is approved by the critic, "forever" draws until it is stopped, "crash"
    breaks with an error that nobody foresaw, "memory" with one that the engine explains.
    """

    pause: float = 0.05
    running: int = 0
    requests: list[Request] = field(default_factory=list)
    state: Literal["loading", "ready", "failed"] = "ready"

    def status(self) -> Status:
        """As the test sets it."""
        return Status(
            self.state, "pocket models" if self.state == "ready" else f"pocket models: {self.state}"
        )

    def warm_up(self) -> None:
        """Nothing to load."""

    def check(self, request: Request) -> None:
        """As every backend does."""
        check_request(request)

    def run(self, request: Request, replay: Sequence[events.Event] = ()) -> Iterator[events.Event]:
        """The events of one run."""
        self.requests.append(request)
        self.running += 1
        try:
            yield from self._tell(request, tuple(replay))
        finally:
            self.running -= 1

    def draw(self, prompt: str, seed: int, settings: Mapping[str, Any]) -> Iterator[events.Event]:
        """A neighbour of what the prompt names."""
        yield from self._steps("draft", STEPS)
        yield events.Draft(_scene(_neighbour(_named(prompt)), Request(prompt, seed=seed)), 1.2)

    def alike(self, image_id: str, seed: int) -> str:
        """The next rare species of the kind."""
        name = image_id.split("/")[1]
        rare = [s.name for s in of_tier("rare") if s.look.kind == by_name()[name].look.kind]
        return f"lib/{rare[(rare.index(name) + 1) % len(rare)]}/0"

    def recorded(self, prompt: str) -> Sequence[events.Event]:
        """One recording: that of `RECORDED`."""
        if prompt != RECORDED:
            return ()
        pause, self.pause = self.pause, 0
        told = [e for e in self._tell(Request(prompt, seed=7), ()) if not isinstance(e, events.Progress)]
        self.pause = pause
        return told

    def search(self, query: str | Image.Image, k: int, hybrid: bool | None = None) -> list[Reference]:
        """Pictures of the rare species, with falling scores."""
        if query == "damaged":
            raise UserError("The library's index is damaged; build it again with `python -m ragdemo train`.")
        return _references(query if isinstance(query, str) else "picture", k)

    def browse(self, kind: str | None, offset: int, limit: int) -> LibraryPage:
        """All rare species twice, in order."""
        names = [s.name for s in of_tier("rare") if kind in (None, s.look.kind)] * 2
        shown = names[offset : offset + limit]
        items = [
            LibraryItem(f"lib/{name}/{i}", f"a {name}", _render(name, i)) for i, name in enumerate(shown)
        ]
        return LibraryPage(tuple(items), len(names))

    def _tell(self, request: Request, replay: tuple[events.Event, ...]) -> Iterator[events.Event]:
        if "crash" in request.prompt:
            raise RuntimeError("the engine is scripted to break")
        if "memory" in request.prompt:
            raise BackendError("The models stopped (out of memory); run it again.")
        name = _named(request.prompt)
        draft = None
        for event in replay:
            draft = event.image if isinstance(event, events.Draft) else draft
            yield event
        if draft is None:
            yield from self._steps("draft", FOREVER if "forever" in request.prompt else STEPS)
            draft = _scene(_neighbour(name), request)
            yield events.Draft(draft, 1.2)
        time.sleep(self.pause)
        if "robot" in request.prompt:
            yield events.Verdict(True, "Yes, the image matches the prompt.", 0.2)
            yield events.Result(draft, _recipe(request, ()), 0.0)
            return
        if request.method == "realrag":
            yield from self._reflect(request, name, replay)
            return
        if not any(isinstance(event, events.Verdict) for event in replay):
            yield events.Verdict(False, "No, the image does not match the prompt.", 0.2)
        if request.settings.get("mode") == "rephrase":
            yield events.Rephrased("a plain butterfly in the snow", "a plain butterfly in the snow", 0.1)
            yield from self._steps("generation", STEPS)
            yield events.Result(_scene(_neighbour(name), request), _recipe(request, ()), 1.3)
            return
        if not any(isinstance(event, events.RetrievalCaptions) for event in replay):
            yield events.MissingConcepts((name,), f"Missing: {name} <b>{{{{1}}}}</b>", 0.1)
            time.sleep(self.pause)
            yield events.RetrievalCaptions((name,), (f"a photo of a {name}",), f"a photo of a {name}", 0.1)
            time.sleep(self.pause)
        found = [reference for reference in _references(name, 6) if reference.id not in request.rejected]
        chosen = [_own(path, name) for path in request.own_images] + [
            _pinned(i, name) for i in request.pinned
        ]
        used = (chosen or found)[:1]
        rest = [reference for reference in found if reference.id != used[0].id]
        yield events.References(tuple(used), tuple(rest[:3]), LIBRARY_SIZE, 0.009)
        yield from self._steps("generation", FOREVER if "endless" in request.prompt else STEPS)
        shown = used[0].id.split("/")[1] if used[0].id.startswith("lib/") else name
        yield events.Result(_scene(shown, request), _recipe(request, (used[0].id,)), 1.3)

    def _reflect(
        self, request: Request, name: str, replay: tuple[events.Event, ...]
    ) -> Iterator[events.Event]:
        """RealRAG's events after its draft."""
        found = _references(name, 6)
        if not any(isinstance(event, events.Rankings) for event in replay):
            yield events.ReflectiveNegative(found[2], 0.01)
            rankings = [("zero", found[2:6]), ("normal", found[1:5]), ("real", found[:4])]
            yield events.Rankings(
                request.prompt, tuple(Ranking(retriever, tuple(refs)) for retriever, refs in rankings), 0.02
            )
        wanted = [reference for reference in found if reference.id not in request.rejected]
        yield events.References(tuple(wanted[:1]), tuple(wanted[1:4]), LIBRARY_SIZE, 0.009)
        yield from self._steps("generation", STEPS)
        yield events.Result(_scene(name, request), _recipe(request, (wanted[0].id,)), 1.3)

    def _steps(self, stage: str, total: int) -> Iterator[events.Event]:
        for step in range(1, total + 1):
            time.sleep(SLOW_STEP if total == FOREVER else self.pause)
            yield events.Progress(stage, step, total)


def pocket_vocabulary() -> Vocabulary:
    """The real world's names."""
    return Vocabulary.from_lists(vocabulary())


def _recipe(request: Request, references: tuple[str, ...]) -> Recipe:
    return Recipe(request, references, "0" * 16, {"ragdemo": "test"})


def _named(prompt: str) -> str:
    return next((name for name in by_name() if name in prompt), "quixel butterfly")


def _own(path: str, concept: str) -> Reference:
    return Reference(f"own:{Path(path).name}", Path(path).stem, 1.0, concept, Image.open(path).convert("RGB"))


def _pinned(image_id: str, concept: str) -> Reference:
    name, index = image_id.split("/")[1:]
    return Reference(image_id, f"a {name}", 0.3, concept, _render(name, int(index)))


def _references(text: str, k: int) -> list[Reference]:
    rare = [species.name for species in of_tier("rare")]
    names = [name for name in rare if name in text] * 2
    names += [name for name in rare if name.split()[-1] in text and name not in names]
    names = (names + rare)[:k]
    return [
        Reference(f"lib/{name}/{i}", f"a {name}", 0.41 - 0.03 * i, text, _render(name, i))
        for i, name in enumerate(names)
    ]


def _neighbour(name: str) -> str:
    return next(s.name for s in of_tier("common") if s.look.kind == by_name()[name].look.kind)


def _scene(name: str, request: Request) -> Image.Image:
    scene = next((scene for scene in vocabulary()["scenes"] if scene in request.prompt), "meadow")
    return compose([by_name()[name].look], scene, Random(request.seed)).render()


@cache
def _render(name: str, index: int) -> Image.Image:
    return species_sample(by_name()[name], "scripted", index).image()
