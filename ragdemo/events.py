"""What a method tells while it runs: one frozen dataclass per kind of event.

A method is a generator of these (`Method.run(request) -> Iterator[Event]`); page, command line, bench and tests read
the same stream. Errors are exceptions; cancelling is closing the generator.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from PIL import Image

from ragdemo.recipe import Recipe
from ragdemo.types import Ranking, Reference


@dataclass(frozen=True)
class Event:
    """Base of all events."""

    def to_json(self) -> dict[str, Any]:
        """The event as JSON-ready values: `event` is the class name, images are left to the reader to save."""
        return {"event": type(self).__name__} | {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True)
class Progress(Event):
    """Step `step` of `total` of `stage` ("draft", "critic", "retrieval" or "generation") is done."""

    stage: str
    step: int
    total: int


@dataclass(frozen=True)
class Draft(Event):
    """What the generator draws from the prompt alone."""

    image: Image.Image
    seconds: float


@dataclass(frozen=True)
class Verdict(Event):
    """Whether the critic finds that the image shows the prompt, with its own words; `of` is "draft" or "result".

    `understood` is False where no reply could be parsed in `tries` tries; `matches` is False then.
    """

    matches: bool
    reply: str
    seconds: float
    of: str = "draft"
    understood: bool = True
    tries: int = 1


@dataclass(frozen=True)
class MissingConcepts(Event):
    """The concepts that the critic misses; `understood` is False where no reply could be parsed in `tries` tries."""

    concepts: tuple[str, ...]
    reply: str
    seconds: float
    understood: bool = True
    tries: int = 1


@dataclass(frozen=True)
class RetrievalCaptions(Event):
    """One standalone caption per missing concept, in the same order; they are the queries."""

    concepts: tuple[str, ...]
    captions: tuple[str, ...]
    reply: str
    seconds: float
    understood: bool = True
    tries: int = 1


@dataclass(frozen=True)
class Rephrased(Event):
    """The prompt with its rare words replaced: what the control without retrieval draws."""

    prompt: str
    reply: str
    seconds: float
    understood: bool = True
    tries: int = 1


@dataclass(frozen=True)
class ReflectiveNegative(Event):
    """The real picture nearest to the draft: what the generator draws by itself (RealRAG, section 3.2)."""

    reference: Reference
    seconds: float


@dataclass(frozen=True)
class Rankings(Event):
    """What the retrievers find for the same query, side by side."""

    query: str
    rankings: tuple[Ranking, ...]
    seconds: float


@dataclass(frozen=True)
class References(Event):
    """What was found: `used` go into the generation, `others` are next; `library_size` images were searched."""

    used: tuple[Reference, ...]
    others: tuple[Reference, ...]
    library_size: int
    seconds: float


@dataclass(frozen=True)
class Result(Event):
    """The final image (the draft itself where nothing was missing) and the recipe that makes it again."""

    image: Image.Image
    recipe: Recipe
    seconds: float


def _plain(value: Any) -> Any:
    if isinstance(value, Reference | Ranking):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.name != "image"}
    if isinstance(value, Recipe):
        return value.to_json()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Image.Image):
        return {"width": value.width, "height": value.height}
    if isinstance(value, float):
        return round(value, 6)
    return value
