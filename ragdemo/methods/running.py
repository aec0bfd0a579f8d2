"""What every method's run shares: the progress of a drawing, its draft, and the events that are known already."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from contextlib import closing
from typing import Any, TypeVar, cast

from PIL import Image

from ragdemo.events import Draft, Event, Progress
from ragdemo.models.base import Drawing, Drawn, ImageGenerator, Step

E = TypeVar("E", bound=Event)


def draw(
    generator: ImageGenerator, drawing: Drawing[Any], stage: str
) -> Generator[Progress, None, Image.Image]:
    """Yield the progress of a drawing under the name of its stage and return the image."""
    drawn = yield from draw_with_extras(generator, drawing, stage)
    return drawn.image


def draw_with_extras(
    generator: ImageGenerator, drawing: Drawing[Any], stage: str
) -> Generator[Progress, None, Drawn]:
    """`draw`, with what the generator returns beside the image."""
    with closing(generator.draw(drawing)) as items:  # a consumer that goes away stops the model at once
        for item in items:
            if isinstance(item, Step):
                yield Progress(stage, item.index, item.total, item.preview)
            else:
                drawn = item
    return drawn


class Known:
    """Events of an earlier run, taken in their order until one is asked for that does not come next."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = list(events)

    def take(self, kind: type[E]) -> E | None:
        """The next event if it is of this kind; at the first other one nothing more is known."""
        if self._events and isinstance(self._events[0], kind):
            return cast(E, self._events.pop(0))
        self._events.clear()
        return None


def draft_of(
    known: Known, generator: ImageGenerator, drawing: Drawing[Any]
) -> Generator[Event, None, Image.Image]:
    """The draft that is known already, or yield one."""
    draft = known.take(Draft)
    if draft is None:
        start = time.perf_counter()
        image = yield from draw(generator, drawing, "draft")
        draft = Draft(image, time.perf_counter() - start)
        yield draft
    return draft.image
