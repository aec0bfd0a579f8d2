"""What a method is and what it is given; no model library is imported here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image

from ragdemo.events import Event
from ragdemo.models.interfaces import ImageGenerator, VisionCritic
from ragdemo.profiles import Profile
from ragdemo.types import Request, UserError


class Hit(Protocol):
    """A library image that a search found; `score` is a cosine, `keyword_score` BM25 where hybrid search looked."""

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
        """Hash of the library's content and of what embedded it: the encoder, and a trained head where there is one."""
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


class ReferenceLibrary(Protocol):
    """The images that a searcher's hits name."""

    @property
    def splits(self) -> Sequence[str]:
        """The names of its parts; none where it has no parts."""
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


@dataclass(frozen=True)
class Toolbox:
    """What the backend hands to a method.

    `searcher` searches with the frozen encoder, `retrievers` are trained ones of the same library ("normal", "real"),
    or why one of them cannot be had.
    `split` is the part of the library that is searched (None = all of it); `versions` maps package to version.
    """

    generator: ImageGenerator
    critic: VisionCritic
    searcher: Searcher
    library: ReferenceLibrary
    profile: Profile
    versions: Mapping[str, str]
    split: str | None = None
    retrievers: Mapping[str, Searcher | UserError] = field(default_factory=dict)

    def retriever(self, name: str) -> Searcher:
        """The searcher of a retriever's name; raises `UserError` where the profile has none of it."""
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


class Method(Protocol):
    """One paper's flow. Its class is built from a `Toolbox`."""

    def __init__(self, toolbox: Toolbox) -> None: ...

    @staticmethod
    def check(request: Request) -> None:
        """Raise `UserError` where the request does not suit the method; needs no model and answers at once."""
        ...

    def run(self, request: Request, replay: Sequence[Event] = ()) -> Iterator[Event]:
        """The events of one run as they become known; the last one is the `Result`.

        `replay` are events of an earlier run of the same request up to its references: they are repeated instead of
        computed, so that a changed choice of references starts from there. Closing the iterator stops the models.
        """
        ...
