"""One run as the page shows it: a value that grows by one event at a time."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from PIL import Image

from ragdemo.codec import decode_event, encode_event
from ragdemo.events import Check, Event, OutsideVocabulary, Progress, Reference, References, Result, Verdict
from ragdemo.images import encode_png, image_sha256
from ragdemo.recipe import Recipe
from ragdemo.request import Choices, Request
from ragdemo.ui.link import link_to

if TYPE_CHECKING:
    from ragdemo.methods.chapters import Chapter

State = Literal["waiting", "active", "done", "skipped", "halted"]
E = TypeVar("E", bound=Event)


class Phase(Enum):
    """Where a run stands as a whole."""

    IDLE = "idle"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Story:
    """A run so far.

    `message` is the sentence of a failed run, or what a running one is waiting for; `progress` is the newest event if
    it is one of progress. `found` are the oracle's checks of a picture by the place of its event. `recorded` says that
    no model was asked; `opened` is the recipe of the saved picture that the run makes again, `note` how it differs.
    `is_settled` says that the oracle has looked and nothing more will come by itself.
    """

    phase: Phase = Phase.IDLE
    request: Request | None = None
    events: tuple[Event, ...] = ()
    progress: Progress | None = None
    found: Mapping[int, tuple[Check, ...]] = field(default_factory=dict)
    message: str = ""
    recorded: bool = False
    opened: Recipe | None = None
    note: str = ""
    is_settled: bool = False

    # What templates ask

    def all(self, kind: type[E] | str) -> list[E]:
        """The events of a class, given as such or by its name, in their order."""
        name = kind if isinstance(kind, str) else kind.__name__
        return [event for event in self.events if type(event).__name__ == name]  # type: ignore[misc]

    def last(self, kind: type[E] | str) -> E | None:
        """The newest event of a class; None if there is none."""
        return next(iter(reversed(self.all(kind))), None)

    def verdict(self, of: str) -> Verdict | None:
        """The newest verdict on the "draft" or the "result"."""
        return next((event for event in reversed(self.all(Verdict)) if event.of == of), None)

    def checks(self, event: Event) -> tuple[Check, ...]:
        """What the oracle finds in the picture of an event; nothing if it has not looked."""
        place = next((place for place, one in enumerate(self.events) if one is event), -1)
        return self.found.get(place, ())

    @property
    def prompt(self) -> str:
        """What was asked for; empty if nothing was."""
        return self.request.prompt if self.request else ""

    @property
    def approved(self) -> bool:
        """Whether the critic found nothing missing in the draft, and no picture of the person's was to be used."""
        verdict = self.verdict("draft")
        return verdict is not None and verdict.matches and self.last(References) is None

    @property
    def stays(self) -> bool:
        """Whether the draft is the result: nothing was missing, or nothing of the prompt is known."""
        outside, found = self.last(OutsideVocabulary), self.last(References)
        is_alone = outside is not None and not outside.is_answered and not (found and found.used)
        return self.approved or is_alone

    @property
    def has_ended(self) -> bool:
        """Whether the run was done or stopped."""
        return self.phase in (Phase.DONE, Phase.STOPPED)

    @property
    def can_choose(self) -> bool:
        """Whether other references can be chosen."""
        return self.has_ended and self.is_settled and self.last(References) is not None

    @property
    def link(self) -> str:
        """The end of an address that asks the same."""
        return link_to(self.request) if self.request else ""

    # How it grows

    def after(self, events: Iterable[Event]) -> Story:
        """The run after more events."""
        kept, progress = list(self.events), self.progress
        for event in events:
            if isinstance(event, Progress):
                progress = _with_preview(event, progress)
            else:
                kept.append(event)
                progress = None
        return replace(self, events=tuple(kept), progress=progress, message="")

    def finished(self) -> Story:
        """The run once its events have ended; it says how the result differs from the picture that was opened."""
        return replace(
            self, phase=Phase.DONE, progress=None, message="", note=self._difference() or self.note
        )

    def stopped(self) -> Story:
        """The run after the person stopped it."""
        return replace(self, phase=Phase.STOPPED, progress=None, message="")

    def failed(self, sentence: str) -> Story:
        """The run after an error; a result that it has already is kept."""
        phase = Phase.FAILED if self.last(Result) is None else Phase.DONE
        return replace(self, phase=phase, progress=None, message=sentence)

    def _difference(self) -> str:
        result = self.last(Result)
        if self.opened is None or result is None:
            return ""
        then, now = self.opened, result.recipe
        changed = ["the library"] if then.library_fingerprint != now.library_fingerprint else []
        if then.weights and then.weights != now.weights:
            changed.append("the models")
        if not changed:
            return ""
        verb = "has" if changed == ["the library"] else "have"
        names = " and ".join(changed)
        return f"{names.capitalize()} {verb} changed since the picture was saved; this one may differ."


_KEPT_SIDE = 256  # pixels of a reference that nobody draws with any more, as a card shows it


@dataclass(frozen=True)
class Kept:
    """A run that waits for the visitor's next press, in a small part of its memory.

    `events` are as the codec writes them, `pictures` are PNG files by the sha256 of their pixels.
    """

    story: Story
    events: tuple[Mapping[str, Any], ...]
    pictures: Mapping[str, bytes]

    @classmethod
    def of(cls, story: Story) -> Kept:
        """The run without its decoded pictures; `opened` is the inverse."""
        pictures: dict[str, bytes] = {}

        def keep(image: Image.Image) -> dict[str, Any]:
            sha256 = image_sha256(image)
            if sha256 not in pictures:
                pictures[sha256] = encode_png(image)
            return {"sha256": sha256}

        events = tuple(encode_event(_lighter(event), keep) for event in story.events)
        return cls(replace(story, events=()), events, pictures)

    def opened(self) -> Story:
        """The run as it was; one picture is decoded once."""
        images = {sha256: _decoded(png) for sha256, png in self.pictures.items()}
        events = (decode_event(data, lambda kept: images[kept["sha256"]]) for data in self.events)
        return replace(self.story, events=tuple(events))


def _lighter(event: Event) -> Event:
    """References only to look at: what is drawn with them anew is read from where they came from."""
    if not isinstance(event, References):
        return event
    used, others = (tuple(map(_thumbnail, row)) for row in (event.used, event.others))
    return replace(event, used=used, others=others)


def _thumbnail(reference: Reference) -> Reference:
    if max(reference.image.size) <= _KEPT_SIDE:
        return reference
    image = reference.image.copy()
    image.thumbnail((_KEPT_SIDE, _KEPT_SIDE))
    return replace(reference, image=image)


def _decoded(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return image


def begin(request: Request, known: Iterable[Event] = (), opened: Recipe | None = None) -> Story:
    """A run that has just been asked for; it holds the `known` events already."""
    return Story(Phase.RUNNING, request, tuple(known), opened=opened)


def recorded(events: Sequence[Event]) -> Story:
    """A run that was recorded; its last event is the `Result`."""
    result = events[-1]
    assert isinstance(result, Result)
    return replace(begin(result.recipe.request).after(events).finished(), recorded=True, is_settled=True)


def chapter_states(story: Story, chapters: Sequence[Chapter]) -> dict[str, State]:
    """How each chapter stands, by its name."""
    done = {chapter.name for chapter in chapters if any(isinstance(e, chapter.ends) for e in story.events)}
    passed = {chapter.name for chapter in chapters if _is_passed(chapter, chapters, done)}
    now = _current(story, chapters, done | passed)
    order = [chapter.name for chapter in chapters]

    def state(name: str) -> State:
        if name == now:
            return "active" if story.phase is Phase.RUNNING else "halted"
        if name in done:
            return "done"
        if story.phase is Phase.DONE or name in passed or (now and order.index(name) < order.index(now)):
            return "skipped"
        return "waiting"

    return {name: state(name) for name in order}


def _is_passed(chapter: Chapter, chapters: Sequence[Chapter], done: set[str]) -> bool:
    """Whether a later chapter of the same place is done already."""
    later = chapters[chapters.index(chapter) + 1 :]
    return chapter.name not in done and any(c.name in done and c.place == chapter.place for c in later)


def _with_preview(progress: Progress, before: Progress | None) -> Progress:
    """With what was drawn before, if nothing newer is shown."""
    if progress.preview is None and before is not None and before.stage == progress.stage:
        return replace(progress, preview=before.preview)
    return progress


def _current(story: Story, chapters: Sequence[Chapter], closed: set[str]) -> str | None:
    """The chapter that the run is at, or was at when it was broken off."""
    if story.phase in (Phase.IDLE, Phase.DONE):
        return None
    if story.progress is not None:
        for chapter in chapters:
            if story.progress.stage in chapter.stages:
                return chapter.name
    return next((chapter.name for chapter in chapters if chapter.name not in closed), None)


def with_choice(story: Story, act: str, image_id: str) -> Request | None:
    """The request after a click on a card; None if the click fits no card of the run.

    "use" pins an image in the place of what answered its concept; "reject" turns it down; "pin" and "unpin" say whether
    it stays if others change; "restore" takes every refusal back.
    """
    request, found = story.request, story.last(References)
    if request is None or found is None or not story.can_choose:
        return None
    chosen = request.choices
    if act == "restore":
        return request.changed(choices=chosen.changed(rejected=()))
    concepts = {reference.id: reference.concept for reference in (*found.used, *found.others)}
    if image_id not in concepts:
        return None
    return request.changed(choices=_chosen(chosen, act, image_id, concepts))


def _chosen(chosen: Choices, act: str, image_id: str, concepts: Mapping[str, str]) -> Choices:
    others = tuple(pinned for pinned in chosen.pinned if pinned != image_id)
    if act == "reject":
        return chosen.changed(rejected=(*chosen.rejected, image_id), pinned=others)
    if act == "use":
        elsewhere = tuple(i for i in others if concepts.get(i) != concepts[image_id])
        return chosen.changed(pinned=(*elsewhere, image_id))
    return chosen.changed(pinned=(*others, image_id) if act == "pin" else others)
