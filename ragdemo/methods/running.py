"""What every method's run does alike: telling a drawing as it is made, and repeating events of an earlier run."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from typing import TypeVar

from PIL import Image

from ragdemo.events import Event, Progress
from ragdemo.models.interfaces import Drawing, ImageGenerator, Step

E = TypeVar("E", bound=Event)


def told_drawing(
    generator: ImageGenerator, drawing: Drawing, stage: str
) -> Generator[Progress, None, Image.Image]:
    """Yield the progress of a drawing under the name of its stage and return the image."""
    with closing(generator.draw(drawing)) as items:  # a consumer that goes away stops the model at once
        for item in items:
            if isinstance(item, Step):
                yield Progress(stage, item.index, item.total)
            else:
                image = item
    return image


class Replay:
    """Events of an earlier run, given back in their order until one is asked for that does not come next."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = list(events)

    def next(self, kind: type[E]) -> E | None:
        """The next event where it is of this kind; at the first other one the replay ends."""
        if self._events and isinstance(self._events[0], kind):
            return self._events.pop(0)
        self._events.clear()
        return None
