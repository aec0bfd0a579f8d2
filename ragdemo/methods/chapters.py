"""How a method's run reads on the page: chapters that the method declares, each a template in its own folder.

A template is Jinja with autoescaping. It gets `run`, the run so far (`ragdemo.ui.story.Story`): `run.last("Draft")` is
the newest event of a class, `run.all(...)` all of them, `run.checks(event)` what the oracle finds in the event's
picture; `state` is the chapter's own. What it writes is the chapter's content; if that is nothing, the page shows the
words of the chapter's state. It may set `aside`, a note beside the title. `ui` has the macros that templates share
(`ragdemo/ui/templates/macros.html`), and the filters are those of `ragdemo.ui.markup`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ragdemo.events import Draft, Event, References, Result

Place = Literal["row", "below"]
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Chapter:
    """One part of a run's page.

    The chapter is done once an event of one of `ends` has come; it is active while progress of one of its `stages` is
    reported, or if it is the next one. `waiting` stands there before its turn, `doing` while it is active, `skipped` if
    the run did without it. Chapters of the "row" stand side by side from left to right; those "below" follow it and
    are shown once their template has something to show. `script` is JavaScript that is run once in the block of its
    place, with Gradio's `element` and `watch`: it listens there, as the template's output comes and goes.
    """

    name: str
    title: str
    ends: tuple[type[Event], ...]
    template: Path
    waiting: str = ""
    doing: str = ""
    place: Place = "row"
    stages: tuple[str, ...] = ()
    skipped: str = "Not needed in this run."
    script: Path | None = None


# What methods share that correct a draft with references.
DRAFT = Chapter(
    name="draft",
    title="The draft",
    waiting="The generator draws the prompt from memory, with no help.",
    doing="Drawing the draft",
    ends=(Draft,),
    template=_TEMPLATES / "draft.html",
    stages=("draft",),
    skipped="No draft in this mode: the critic says at once what must be seen.",
)
REFERENCE = Chapter(
    name="reference",
    title="The reference",
    waiting="Pictures of the missing thing are looked up in a library of references.",
    doing="Searching the library",
    ends=(References,),
    template=_TEMPLATES / "reference.html",
    stages=("retrieval",),
    skipped="Not needed, so nothing was searched.",
)
RESULT = Chapter(
    name="result",
    title="The result",
    waiting="The same prompt and seed once more, now with those pictures to look at.",
    doing="Drawing again with the references",
    ends=(Result,),
    template=_TEMPLATES / "result.html",
    stages=("generation",),
)
CANDIDATES = Chapter(
    name="candidates",
    title="The candidates",
    ends=(References,),
    template=_TEMPLATES / "candidates.html",
    place="below",
)
COMPARISON = Chapter(
    name="comparison",
    title="Before and after",
    ends=(Result,),
    template=_TEMPLATES / "comparison.html",
    place="below",
)
