"""Many runs of a method at once, through models that serve them together: the method's own code, only faster.

Each run is a thread that mostly waits. One worker thread owns the models: it answers questions and searches as they
come, and where every run waits for a drawing it makes those of one shape together. A drawing asked for twice is made
once: retrievers that find the same reference ask for the same pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

from PIL import Image

from ragdemo.methods.base import Toolbox
from ragdemo.models.interfaces import Drawing, ImageGenerator, Step
from ragdemo.types import UserError

BATCH = 8
GATHER_SECONDS = 0.02

Item, Outcome = TypeVar("Item"), TypeVar("Outcome")


class Together:
    """A context in which `map` runs a function over items at once, on `toolbox`'s models."""

    def __init__(self, toolbox: Toolbox, batch: int = BATCH) -> None:
        self._generator, self._batch = toolbox.generator, batch
        self._calls: SimpleQueue[tuple[Callable[[], Any] | Drawing, Future] | None] = SimpleQueue()
        self._drawings: list[tuple[Drawing, Future]] = []
        self._asked: dict[tuple[object, ...], Future] = {}
        self._asking = Lock()
        self._worker = Thread(target=self._serve, name="models", daemon=True)
        self.toolbox = replace(
            toolbox,
            generator=_Generator(toolbox.generator, self._drawing, self._submit),
            critic=_Forwarding(toolbox.critic, self._submit),
            searcher=_Forwarding(toolbox.searcher, self._submit),
            retrievers={
                name: _Forwarding(searcher, self._submit)
                for name, searcher in toolbox.retrievers.items()
                if not isinstance(searcher, UserError)
            },
        )

    def __enter__(self) -> Together:
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.put(None)
        self._worker.join()

    def map(self, function: Callable[[Item], Outcome], items: Sequence[Item]) -> Iterator[Outcome]:
        """The outcomes in the order of the items, as they become known; the first error ends it."""
        with ThreadPoolExecutor(2 * self._batch, thread_name_prefix="run") as runs:
            futures = [runs.submit(function, item) for item in items]
            try:
                for future in futures:
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()

    def _submit(self, call: Callable[[], Any]) -> Any:
        future: Future = Future()
        self._calls.put((call, future))
        return future.result()

    def _drawing(self, drawing: Drawing) -> Image.Image:
        """The picture, which is kept; a failed one is tried again by whoever asks next."""
        key = _identity(drawing)
        with self._asking:
            future = self._asked.get(key)
            if future is None or (future.done() and future.exception() is not None):
                future = self._asked[key] = Future()
                self._calls.put((drawing, future))
        return future.result()

    def _serve(self) -> None:
        while True:
            try:
                got = self._calls.get(timeout=GATHER_SECONDS if self._drawings else None)
            except Empty:
                self._draw()
                continue
            if got is None:
                return
            call, future = got
            if isinstance(call, Drawing):
                self._drawings.append((call, future))
                if sum(drawing.shape == call.shape for drawing, _ in self._drawings) == self._batch:
                    self._draw(call.shape)
            else:
                _settle([future], lambda call=call: [call()])

    def _draw(self, shape: tuple[object, ...] | None = None) -> None:
        """Make the drawings of one shape together, of the first one's where none is named."""
        shape = self._drawings[0][0].shape if shape is None else shape
        alike = [waiting for waiting in self._drawings if waiting[0].shape == shape]
        others = [waiting for waiting in self._drawings if waiting[0].shape != shape]
        chosen, self._drawings = alike[: self._batch], others + alike[self._batch :]
        drawings = [drawing for drawing, _ in chosen]
        _settle([future for _, future in chosen], lambda: self._generator.draw_many(drawings))


class _Generator:
    """`ImageGenerator` whose drawings wait for others; it tells no steps."""

    def __init__(
        self,
        generator: ImageGenerator,
        drawn: Callable[[Drawing], Image.Image],
        submit: Callable[[Callable[[], Any]], Any],
    ) -> None:
        self._generator, self._drawn, self._submit = generator, drawn, submit

    def draw(self, drawing: Drawing) -> Iterator[Step | Image.Image]:
        """The image alone."""
        yield self._drawn(drawing)

    def draw_many(self, drawings: Sequence[Drawing]) -> list[Image.Image]:
        """One after the other."""
        return [self._drawn(drawing) for drawing in drawings]

    def restore(self, image: Image.Image) -> Image.Image:
        """At once."""
        return self._submit(lambda: self._generator.restore(image))


class _Forwarding:
    """Any object, its methods called in the worker thread."""

    def __init__(self, target: Any, submit: Callable[[Callable[[], Any]], Any]) -> None:
        self._target, self._submit = target, submit

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if not callable(method):
            return method
        return lambda *args, **kwargs: self._submit(lambda: method(*args, **kwargs))


def _identity(drawing: Drawing) -> tuple[object, ...]:
    """What decides a drawing's pixels."""
    shown = [(i.size, hashlib.sha256(i.convert("RGB").tobytes()).digest()) for i in drawing.references]
    return (drawing.prompt, drawing.seed, *drawing.shape, *shown)


def _settle(futures: Sequence[Future], work: Callable[[], Sequence[Any]]) -> None:
    """Give each future its result, or all of them the error."""
    try:
        results = work()
    except Exception as error:  # noqa: BLE001 (it belongs to whoever waits)
        for future in futures:
            future.set_exception(error)
        return
    for future, result in zip(futures, results, strict=True):
        future.set_result(result)
