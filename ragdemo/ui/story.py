"""One run as the page tells it: a value that grows by one event at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

from PIL import Image

from ragdemo.events import (
    Draft,
    Event,
    MissingConcepts,
    Progress,
    Rankings,
    References,
    ReflectiveNegative,
    Rephrased,
    Result,
    RetrievalCaptions,
    Verdict,
)
from ragdemo.types import Check, Request

Chapter = Literal["draft", "missing", "evidence", "after"]
ChapterState = Literal["waiting", "active", "done", "skipped", "halted"]
CHAPTERS: tuple[Chapter, ...] = ("draft", "missing", "evidence", "after")


_FIELDS: dict[type[Event], str] = {
    Draft: "draft",
    MissingConcepts: "missing",
    ReflectiveNegative: "negative",
    Rankings: "rankings",
    RetrievalCaptions: "captions",
    Rephrased: "rephrased",
    References: "references",
    Result: "result",
}


class Phase(Enum):
    """Where a run stands as a whole."""

    IDLE = "idle"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Control:
    """A picture that answers "is it the retrieval?": what was changed, in words, and what the picture shows."""

    title: str
    text: str
    image: Image.Image
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Story:
    """What has been told so far; `message` is the sentence of a failed run, or why a run has to wait.

    Where a method goes round more than once, the latest event of each class counts; `verdict` is on the draft,
    `result_verdict` on a picture made with references. `events` are what a change of references starts from again.
    `recorded` tells that no model was asked.
    """

    phase: Phase = Phase.IDLE
    request: Request | None = None
    progress: Progress | None = None
    draft: Draft | None = None
    verdict: Verdict | None = None
    missing: MissingConcepts | None = None
    captions: RetrievalCaptions | None = None
    rephrased: Rephrased | None = None
    negative: ReflectiveNegative | None = None
    rankings: Rankings | None = None
    references: References | None = None
    result: Result | None = None
    result_verdict: Verdict | None = None
    draft_checks: tuple[Check, ...] = ()
    result_checks: tuple[Check, ...] = ()
    controls: tuple[Control, ...] = ()
    events: tuple[Event, ...] = ()
    recorded: bool = False
    message: str = ""

    @property
    def prompt(self) -> str:
        """What was asked for; empty where nothing was."""
        return self.request.prompt if self.request is not None else ""

    @property
    def mode(self) -> str:
        """ImageRAG's mode; "draft" where the request says nothing."""
        return str(self.request.settings.get("mode", "draft")) if self.request is not None else "draft"

    @property
    def reflects(self) -> bool:
        """Whether its method looks at what the generator draws anyway instead of asking a critic."""
        return self.request is not None and self.request.method == "realrag"

    @property
    def skipped(self) -> frozenset[Chapter]:
        """The chapters that this run has no use for."""
        names: set[Chapter] = {"draft"} if self.mode == "generation" else set()
        if self.approved or self.mode == "rephrase":
            names.add("evidence")
        return frozenset(names)

    @property
    def can_change_references(self) -> bool:
        """Whether a run has ended that could be told again with other references."""
        return self.phase in (Phase.DONE, Phase.STOPPED) and self.references is not None

    @property
    def approved(self) -> bool:
        """Whether the critic found nothing missing in the draft."""
        return self.verdict is not None and self.verdict.matches


def begin(request: Request, message: str = "") -> Story:
    """A run that has just been asked for; `message` says what it waits for."""
    return Story(phase=Phase.RUNNING, request=request, message=message)


def reduce(story: Story, event: Event) -> Story:
    """The story after one more event; events it does not know leave it as it is."""
    if isinstance(event, Progress):
        return replace(story, message="", progress=event)
    story = replace(story, message="", progress=None, events=(*story.events, event))
    if isinstance(event, Verdict):
        return replace(story, **{"verdict" if event.of == "draft" else "result_verdict": event})
    field = _FIELDS.get(type(event))
    return story if field is None else replace(story, **{field: event})


def finish(story: Story) -> Story:
    """The story once its events have ended."""
    return replace(story, phase=Phase.DONE, progress=None)


def stop(story: Story) -> Story:
    """The story after the person stopped it; one that had ended stays as it is."""
    return replace(story, phase=Phase.STOPPED, progress=None) if story.phase is Phase.RUNNING else story


def fail(story: Story, message: str) -> Story:
    """The story after an error, told by one sentence."""
    return replace(story, phase=Phase.FAILED, progress=None, message=message)


def chapter_state(story: Story, chapter: Chapter) -> ChapterState:
    """How a chapter stands: the first open one of a running story is the active one."""
    if _is_told(story, chapter):
        return "done"
    if chapter in story.skipped:
        return "skipped"
    open_chapters = [name for name in CHAPTERS if not _is_told(story, name) and name not in story.skipped]
    if chapter != open_chapters[0]:
        return "waiting"
    return {Phase.IDLE: "waiting", Phase.RUNNING: "active", Phase.DONE: "skipped"}.get(story.phase, "halted")


def _is_told(story: Story, chapter: Chapter) -> bool:
    if chapter == "draft":
        return story.draft is not None
    if chapter == "missing":
        answers = (story.captions, story.references, story.rephrased, story.rankings)
        return story.approved or any(answer is not None for answer in answers)
    if chapter == "evidence":
        return story.references is not None
    return story.result is not None


def regenerate(story: Story, request: Request) -> Story:
    """A story that begins again at its references: what came before is told already."""
    before = begin(request)
    for event in story.events:
        if isinstance(event, References):
            break
        before = reduce(before, event)
    return replace(before, draft_checks=story.draft_checks)
