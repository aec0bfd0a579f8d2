"""What a method is and what it is given; no model library is imported here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any, ClassVar, Protocol, TypeVar

from PIL import Image

from ragdemo.errors import UserError
from ragdemo.events import Event, Reference, References
from ragdemo.methods.chapters import Chapter
from ragdemo.methods.settings import DrawingSettings, Settings
from ragdemo.models.base import GENERATOR, Drawing, ImageGenerator, Role
from ragdemo.profiles import Profile
from ragdemo.recipe import Recipe
from ragdemo.request import Request

T = TypeVar("T")


class Hit(Protocol):
    """A library image that a search found; `score` is a cosine, `keyword_score` BM25 if hybrid search looked."""

    @property
    def id(self) -> str: ...

    @property
    def caption(self) -> str: ...

    @property
    def score(self) -> float: ...

    @property
    def keyword_score(self) -> float | None: ...


class Searcher(Protocol):
    """Finds library images for a caption."""

    @property
    def fingerprint(self) -> str:
        """Hash of the library's content and of what embedded it: the encoder, and a trained head if there is one."""
        ...

    def search_text(
        self,
        query: str,
        k: int,
        split: str | None = None,
        exclude_ids: Iterable[str] = (),
        hybrid: bool | None = None,
    ) -> Sequence[Hit]:
        """At most `k` hits, best first; `hybrid` None leaves the choice to the searcher."""
        ...

    def search_image(
        self, image: Image.Image, k: int, split: str | None = None, exclude_ids: Iterable[str] = ()
    ) -> Sequence[Hit]:
        """At most `k` images that look most like a picture, best first."""
        ...

    def score(self, query: str, image_ids: Iterable[str]) -> list[float]:
        """The cosine of words with given images, in their order; an unknown id raises `UserError`."""
        ...

    def similarity(self, query: str, images: Sequence[Image.Image]) -> list[float]:
        """The cosine of words with pictures that the library need not hold, in their order."""
        ...


class ReferenceLibrary(Protocol):
    """The images that a searcher's hits name."""

    @property
    def fingerprint(self) -> str:
        """Hash of its content."""
        ...

    @property
    def splits(self) -> Sequence[str]:
        """The names of its parts; none if it has no parts."""
        ...

    def rows_of(self, split: str | None = None) -> Sequence[object]:
        """What is known of each image of a split, or of all."""
        ...

    def caption(self, image_id: str) -> str:
        """The caption of an image; raises `UserError` on an unknown id."""
        ...

    def image(self, image_id: str) -> Image.Image:
        """The RGB image; raises `UserError` on an unknown id."""
        ...


class Retrievers(Protocol):
    """Trained retrievers that belong to a profile."""

    def searchers(self, frozen: Searcher) -> Mapping[str, Searcher | UserError]:
        """A searcher for each of them beside the frozen one, or why it cannot be had."""
        ...


RETRIEVERS: Role[Retrievers] = Role("retrievers", "moves the encoder's vectors, as RealRAG trains it")


@dataclass(frozen=True)
class Tools:
    """What a run of a method works with: models by role, one library and its search, the person's own pictures.

    `split` is the part of the library that is searched (None = all of it). `pictures` are the request's own images by
    their sha256. `versions` and `weights` are what the recipe names. `answers` says whether a picture can answer some
    words: any may, unless the profile has a closed vocabulary.
    """

    models: Models
    open_searcher: Callable[[], Searcher]
    library: ReferenceLibrary
    profile: Profile
    versions: Mapping[str, str]
    weights: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    pictures: Mapping[str, Image.Image] = field(default_factory=dict)
    answers: Callable[[str], bool] = lambda _: True

    @cached_property
    def searcher(self) -> Searcher:
        """Searches the library with the frozen encoder; raises `UserError` if the profile has no encoder."""
        return self.open_searcher()

    @cached_property
    def retrievers(self) -> Mapping[str, Searcher | UserError]:
        """The trained retrievers for this library by name; none if the profile has none."""
        if not self.models.has(RETRIEVERS):
            return {}
        return self.models.get(RETRIEVERS).searchers(self.searcher)

    def retriever(self, name: str) -> Searcher:
        """The searcher of a retriever's name, "zero" being the frozen one; raises `UserError` if there is none."""
        if name == "zero":
            return self.searcher
        if name not in self.retrievers:
            raise UserError(
                f"The profile {self.profile.name!r} has no retriever {name!r}; train it with "
                f"`python -m ragdemo train realrag --profile {self.profile.name}`, or choose zero."
            )
        found = self.retrievers[name]
        if isinstance(found, UserError):
            raise found
        return found

    def recipe(
        self, request: Request, references: Iterable[Reference] = (), searcher: Searcher | None = None
    ) -> Recipe:
        """The recipe of a picture drawn from `request` with `references` that `searcher` found."""
        ids = tuple(reference.id for reference in references)
        found_in = self.library if searcher is None else searcher
        return Recipe(request, ids, found_in.fingerprint, self.versions, self.weights)


class Models(Protocol):
    """Models by role, loaded when first asked for."""

    def get(self, role: Role[T]) -> T:
        """The model; raises `UserError` if the profile has none or its weights are missing or damaged."""
        ...

    def has(self, role: Role[Any]) -> bool:
        """Whether the profile fills a role."""
        ...


class Method(ABC):
    """One paper's flow; an instance has no state. A class attribute each: what the page and the registry show.

    `sentence` says in one sentence what the method does. `needs` are the roles without which it cannot run, `generator`
    the one of them that draws. `follows_typing` says that a run is so quick that the page makes one whenever the person
    rests while typing; it yields to all other runs.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    sentence: ClassVar[str]
    Settings: ClassVar[type[Settings]]
    needs: ClassVar[tuple[Role[Any], ...]]
    generator: ClassVar[Role[ImageGenerator]] = GENERATOR
    follows_typing: ClassVar[bool] = False
    chapters: ClassVar[tuple[Chapter, ...]]

    def check(self, request: Request) -> None:
        """Raise `UserError` if the request does not suit the method; needs no model and answers at once."""
        self.Settings.parse(request.settings)

    @abstractmethod
    def run(
        self, request: Request, tools: Tools, known: Sequence[Event] = ()
    ) -> Generator[Event, None, None]:
        """The events of one run as they become known; the last one is the `Result`.

        `known` events of an earlier run still hold (see `still_known`): the run goes on from them and yields only what
        is new. Closing the iterator stops the models.
        """

    def drawing(
        self, request: Request, tools: Tools, references: Sequence[Reference], events: Sequence[Event]
    ) -> Drawing[Any]:
        """What the method's `generator` draws of a request with exactly these references, for the counterfactuals.

        `events` are those of the run in question. Raises `NotImplementedError` if the settings are no
        `DrawingSettings`: such a method has its own way to draw and says it here.
        """
        settings = self.Settings.parse(request.settings)
        if not isinstance(settings, DrawingSettings):
            raise NotImplementedError(f"{self.title} does not say how it draws with given references")
        return settings.drawing(request.prompt, request.seed, references)

    def still_known(self, request: Request, before: Request, events: Sequence[Event]) -> tuple[Event, ...]:
        """What of the events of a run of `before` holds for `request` too: all until its references.

        Nothing, if anything but the choices has changed.
        """
        if request.changed(choices=before.choices) != before:
            return ()
        return tuple(takewhile(lambda event: not isinstance(event, References), events))
