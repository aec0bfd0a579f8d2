"""One run as the page tells it: a value that grows by one event at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

from ragdemo.events import (
    Draft,
    Event,
    MissingConcepts,
    Progress,
    References,
    Result,
    RetrievalCaptions,
    Verdict,
)
from ragdemo.types import Request

Chapter = Literal["draft", "missing", "evidence", "after"]
ChapterState = Literal["waiting", "active", "done", "skipped", "halted"]
CHAPTERS: tuple[Chapter, ...] = ("draft", "missing", "evidence", "after")


class Phase(Enum):
    """Where a run stands as a whole."""

    IDLE = "idle"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Story:
    """What has been told so far; `message` is the sentence of a failed run, or why a run has to wait.

    Where a method goes round more than once, the latest event of each class counts; `verdict` is on the draft,
    `result_verdict` on a picture made with references.
    """

    phase: Phase = Phase.IDLE
    request: Request | None = None
    progress: Progress | None = None
    draft: Draft | None = None
    verdict: Verdict | None = None
    missing: MissingConcepts | None = None
    captions: RetrievalCaptions | None = None
    references: References | None = None
    result: Result | None = None
    result_verdict: Verdict | None = None
    message: str = ""

    @property
    def approved(self) -> bool:
        """Whether the critic found nothing missing in the draft."""
        return self.verdict is not None and self.verdict.matches


def begin(request: Request, message: str = "") -> Story:
    """A run that has just been asked for; `message` says what it waits for."""
    return Story(phase=Phase.RUNNING, request=request, message=message)


def reduce(story: Story, event: Event) -> Story:
    """The story after one more event; events it does not know leave it as it is."""
    story = replace(story, message="")
    match event:
        case Progress():
            return replace(story, progress=event)
        case Draft():
            return replace(story, draft=event, progress=None)
        case Verdict(of="draft"):
            return replace(story, verdict=event)
        case Verdict():
            return replace(story, result_verdict=event)
        case MissingConcepts():
            return replace(story, missing=event)
        case RetrievalCaptions():
            return replace(story, captions=event)
        case References():
            return replace(story, references=event, progress=None)
        case Result():
            return replace(story, result=event, progress=None)
        case _:
            return story


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
    if chapter == "evidence" and story.approved:
        return "skipped"
    open_chapters = [name for name in CHAPTERS if not _is_told(story, name)]
    if story.approved and "evidence" in open_chapters:
        open_chapters.remove("evidence")
    if chapter != open_chapters[0]:
        return "waiting"
    return {Phase.IDLE: "waiting", Phase.RUNNING: "active", Phase.DONE: "skipped"}.get(story.phase, "halted")


def _is_told(story: Story, chapter: Chapter) -> bool:
    if chapter == "draft":
        return story.draft is not None
    if chapter == "missing":
        return story.approved or story.captions is not None or story.references is not None
    if chapter == "evidence":
        return story.references is not None
    return story.result is not None
