"""What a method reports while it runs: one frozen dataclass per kind of event.

A method is a generator of these; page, command line, endpoints, recorder and tests read the same stream. Errors are
exceptions; cancelling is closing the generator. `ragdemo.codec` turns any event, also one that a single method
defines, into JSON and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from PIL import Image

from ragdemo.recipe import Recipe


@dataclass(frozen=True)
class Reference:
    """One reference image for one missing concept.

    `score` is the cosine of query and image in [-1, 1]; `keyword_score` is the BM25 score, set only if hybrid search
    looked at captions.
    """

    id: str
    caption: str
    score: float
    concept: str
    image: Image.Image
    keyword_score: float | None = None


@dataclass(frozen=True)
class Check:
    """Whether a picture shows one thing that its prompt asks for; measured, never passed to a method."""

    name: str
    shown: bool


@dataclass(frozen=True)
class Event:
    """Base of all events; every subclass is known to the codec by its name."""

    kinds: ClassVar[dict[str, type[Event]]] = {}

    def __init_subclass__(cls) -> None:
        known = Event.kinds.setdefault(cls.__name__, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"{known.__module__} has an event {cls.__name__} already; name it differently")
        Event.kinds[cls.__name__] = cls

    @property
    def summary(self) -> str:
        """One line for people who watch a terminal."""
        return type(self).__name__


@dataclass(frozen=True)
class Progress(Event):
    """Step `step` of `total` of `stage` (such as "draft", "critic", "retrieval" or "generation") is done.

    `preview` is what is drawn so far, now and then.
    """

    stage: str
    step: int
    total: int
    preview: Image.Image | None = None

    @property
    def summary(self) -> str:
        return f"{self.stage} {self.step}/{self.total}"


@dataclass(frozen=True)
class OutsideVocabulary(Event):
    """What of a prompt lies outside the closed vocabulary of some models, said before anything is drawn.

    `name` stands in the place of a thing; with a known `kind` it is a name that no picture of the library carries. If
    something else of the prompt `is_answered` the run goes on, else it ends with a draft. `knows` are the known kinds;
    `prompts` are the nearest that can be answered.
    """

    name: str
    kind: str
    is_answered: bool
    knows: tuple[str, ...]
    prompts: tuple[str, ...]

    @property
    def summary(self) -> str:
        if self.kind:
            return f"no picture carries the name: {self.name} {self.kind}"
        return f"nothing that these models know: {self.name or 'no thing is named'}"


@dataclass(frozen=True)
class Draft(Event):
    """What the generator draws from the prompt alone."""

    image: Image.Image
    seconds: float

    @property
    def summary(self) -> str:
        return f"draft drawn in {self.seconds:.1f} s"


@dataclass(frozen=True)
class Verdict(Event):
    """Whether the critic finds that the image shows the prompt, with its own words; `of` is "draft" or "result".

    `understood` is False if no reply could be parsed in `tries` tries; `matches` is False then.
    """

    matches: bool
    reply: str
    seconds: float
    of: str = "draft"
    understood: bool = True
    tries: int = 1

    @property
    def summary(self) -> str:
        return f"critic on the {self.of}: {'yes' if self.matches else 'no'} ({_quote(self.reply)})"


@dataclass(frozen=True)
class MissingConcepts(Event):
    """The concepts that the critic misses; `understood` is False if no reply could be parsed in `tries` tries."""

    concepts: tuple[str, ...]
    reply: str
    seconds: float
    understood: bool = True
    tries: int = 1

    @property
    def summary(self) -> str:
        return f"missing: {'; '.join(self.concepts)}{_doubt(self.understood)}"


@dataclass(frozen=True)
class RetrievalCaptions(Event):
    """One standalone caption per missing concept, in the same order; they are the queries."""

    concepts: tuple[str, ...]
    captions: tuple[str, ...]
    reply: str
    seconds: float
    understood: bool = True
    tries: int = 1

    @property
    def summary(self) -> str:
        return f"searching for: {'; '.join(self.captions)}{_doubt(self.understood)}"


@dataclass(frozen=True)
class Rephrased(Event):
    """The prompt with its rare words replaced: what the counterfactual without retrieval draws."""

    prompt: str
    reply: str
    seconds: float
    understood: bool = True
    tries: int = 1

    @property
    def summary(self) -> str:
        return f"rephrased: {self.prompt}{_doubt(self.understood)}"


@dataclass(frozen=True)
class References(Event):
    """What was found: `used` go into the generation, `others` are next; `library_size` images were searched."""

    used: tuple[Reference, ...]
    others: tuple[Reference, ...]
    library_size: int
    seconds: float

    @property
    def summary(self) -> str:
        return f"references: {'; '.join(map(scored, self.used)) or 'none'}"


@dataclass(frozen=True)
class Counterfactual(Event):
    """A picture that answers "is it the retrieval?": the run's own drawing with one thing changed.

    `name` tells the kinds apart ("another reference", "words alone", "another seed"); `references` are exactly the
    images that the drawing was given.
    """

    name: str
    title: str
    text: str
    prompt: str
    seed: int
    references: tuple[Reference, ...]
    image: Image.Image
    seconds: float

    @property
    def summary(self) -> str:
        return f"{self.title}: drawn in {self.seconds:.1f} s"


@dataclass(frozen=True)
class Result(Event):
    """The final image (the draft itself if nothing was missing) and the recipe that makes it again."""

    image: Image.Image
    recipe: Recipe
    seconds: float

    @property
    def summary(self) -> str:
        return f"done in {self.seconds:.1f} s"


def scored(reference: Reference) -> str:
    """A reference's id and score in words."""
    return f"{reference.id} ({reference.score:.2f})"


def _doubt(understood: bool) -> str:
    return "" if understood else " (the critic was not understood)"


def _quote(reply: str) -> str:
    words = "".join(filter(str.isprintable, " ".join(reply.split())))
    return words if len(words) <= 80 else f"{words[:79]}…"
