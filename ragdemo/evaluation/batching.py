"""Many runs of a method at once on models that draw in batches: the method's own code, only faster.

Each run is a thread that mostly waits. One worker thread owns the models: it answers questions and searches in the
order of their arrival, and as soon as every run waits for a drawing, it draws those of one shape as a batch. Each
drawing is made once, however often it is requested: retrievers that find the same reference request the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

from PIL import Image

from ragdemo.errors import UserError
from ragdemo.methods.base import RETRIEVERS, Models, Searcher, Tools
from ragdemo.models.base import CRITIC, GENERATOR, Drawing, Drawn, ImageGenerator, Role, Step

BATCH = 8
GATHER_SECONDS = 0.02

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class BatchedRuns:
    """A context in which `map` runs a function over items concurrently; the function uses `tools`."""

    def __init__(self, tools: Tools, batch: int = BATCH, role: Role[Any] = GENERATOR) -> None:
        """`role` is that of the generator whose drawings are made together."""
        self._generator, self._batch = tools.models.get(role), batch
        self._calls: SimpleQueue[tuple[Callable[[], Any] | Drawing, Future] | None] = SimpleQueue()
        self._drawings: list[tuple[Drawing, Future]] = []
        self._requested: dict[tuple[object, ...], Future] = {}
        self._requesting = Lock()
        self._worker = Thread(target=self._serve, name="models", daemon=True)
        roles: dict[str, Any] = {
            role.name: _Generator(self._generator, self._drawing, self._submit),
            RETRIEVERS.name: _Retrievers(tools, self._submit),
        }
        if tools.models.has(CRITIC):
            roles[CRITIC.name] = _Forwarding(tools.models.get(CRITIC), self._submit)
        searcher: Any = _Forwarding(tools.searcher, self._submit)
        self.tools = replace(tools, models=_Models(tools.models, roles), open_searcher=lambda: searcher)

    def __enter__(self) -> BatchedRuns:
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.put(None)
        self._worker.join()

    def map(self, function: Callable[[Item], Outcome], items: Sequence[Item]) -> Iterator[Outcome]:
        """The outcomes in the order of the items, as they become known; the first error ends the iteration."""
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

    def _drawing(self, drawing: Drawing) -> Drawn:
        """The picture, which is kept; a failed one is drawn again when it is next requested."""
        key = drawing.identity
        with self._requesting:
            future = self._requested.get(key)
            if future is None or (future.done() and future.exception() is not None):
                future = self._requested[key] = Future()
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
                _settle([future], partial(_only, call))

    def _draw(self, shape: tuple[object, ...] | None = None) -> None:
        """Draw a batch of one shape; by default that of the drawing that has waited longest."""
        shape = self._drawings[0][0].shape if shape is None else shape
        same = [waiting for waiting in self._drawings if waiting[0].shape == shape]
        others = [waiting for waiting in self._drawings if waiting[0].shape != shape]
        chosen, self._drawings = same[: self._batch], others + same[self._batch :]
        drawings = [drawing for drawing, _ in chosen]
        _settle([future for _, future in chosen], lambda: self._generator.draw_many(drawings))


class _Generator:
    """An `ImageGenerator` whose drawings wait for a batch; it yields no steps."""

    def __init__(
        self,
        generator: ImageGenerator,
        drawn: Callable[[Drawing], Drawn],
        submit: Callable[[Callable[[], Any]], Any],
    ) -> None:
        self._generator, self._drawn, self._submit = generator, drawn, submit

    def draw(self, drawing: Drawing) -> Iterator[Step | Drawn]:
        """The finished drawing alone."""
        yield self._drawn(drawing)

    def draw_many(self, drawings: Sequence[Drawing]) -> list[Drawn]:
        """One after the other."""
        return [self._drawn(drawing) for drawing in drawings]

    def restore(self, image: Image.Image) -> Image.Image:
        """In the worker thread."""
        return self._submit(lambda: self._generator.restore(image))

    @cached_property
    def tokenizer(self) -> Any:
        """That of an autoregressive generator, also in the worker thread."""
        return _Forwarding(self._generator.tokenizer, self._submit)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        """What else a kind of generator can do, in the worker thread."""
        return getattr(_Forwarding(self._generator, self._submit), name)


class _Models:
    """`Models` of which some roles are replaced."""

    def __init__(self, models: Models, replaced: dict[str, Any]) -> None:
        self._models, self._replaced = models, replaced

    def get(self, role: Role[Any]) -> Any:
        """The replacement, if there is one."""
        return self._replaced[role.name] if role.name in self._replaced else self._models.get(role)

    def has(self, role: Role[Any]) -> bool:
        """As the models say."""
        return self._models.has(role)


class _Retrievers:
    """The trained retrievers of some tools, called in the worker thread; those that cannot be had are left out."""

    def __init__(self, tools: Tools, submit: Callable[[Callable[[], Any]], Any]) -> None:
        self._named = {
            name: _Forwarding(searcher, submit)
            for name, searcher in tools.retrievers.items()
            if not isinstance(searcher, UserError)
        }

    def searchers(self, _frozen: Searcher) -> dict[str, Any]:
        """By name."""
        return self._named


class _Forwarding:
    """A proxy of any object whose methods are called in the worker thread."""

    def __init__(self, target: Any, submit: Callable[[Callable[[], Any]], Any]) -> None:
        self._target, self._submit = target, submit

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if not callable(method):
            return method
        return lambda *args, **kwargs: self._submit(lambda: method(*args, **kwargs))


def _only(call: Callable[[], Any]) -> list[Any]:
    return [call()]


def _settle(futures: Sequence[Future], work: Callable[[], Sequence[Any]]) -> None:
    """Give each future its result, or all of them the error."""
    try:
        results = work()
    except Exception as error:  # noqa: BLE001 (it is raised in the thread that waits)
        for future in futures:
            future.set_exception(error)
        return
    for future, result in zip(futures, results, strict=True):
        future.set_result(result)
