"""Runs of models with a closed vocabulary: what lies outside of it is said, and nothing is corrected that cannot be.

A small world's critic approves of what it has never heard of, and its encoder finds something for every word. So a
prompt none of whose things is known is drawn once, as a draft, and no method is asked; a person's own pictures, and
what they pinned, are an answer. Models without a closed vocabulary run as they are.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from ragdemo.events import Event, OutsideVocabulary, Progress, References, Result
from ragdemo.library.store import Library, Row
from ragdemo.methods.base import Hit, Method, Tools
from ragdemo.methods.evidence import OTHERS_PER_CONCEPT, reference_of
from ragdemo.methods.running import Known, draft_of
from ragdemo.request import Request
from ragdemo.vocabulary import ClosedVocabulary, Reading, Thing, read_vocabulary

PROMPTS = 3
_LOOKED_AT = 240  # hits among which the nearest names are sought


def run_within_vocabulary(
    method: Method, request: Request, tools: Tools, known: Sequence[Event] = ()
) -> Generator[Event, None, None]:
    """The method's run, or a draft alone if the vocabulary answers nothing of the prompt."""
    file = tools.profile.vocabulary
    if file is None:
        yield from method.run(request, tools, known)
        return
    asked = _Asked(method, request, tools, read_vocabulary(file))
    tools = replace(tools, answers=lambda words: asked.read(words).is_answered)
    passed = [event for event in known if not isinstance(event, OutsideVocabulary)]
    outside = None if request.choices.own or request.choices.pinned else asked.outside()
    if outside is not None and outside not in known:
        yield outside
    if outside is None or outside.is_answered:
        yield from method.run(request, tools, passed)
    else:
        yield from asked.drafted(passed, outside)


@dataclass(frozen=True)
class _Asked:
    """A prompt beside the vocabulary that it is read with."""

    method: Method
    request: Request
    tools: Tools
    vocabulary: ClosedVocabulary

    def read(self, words: str) -> Reading:
        """What of some words the vocabulary and the captions of the library know."""
        return self.vocabulary.read(words, (row.caption for row in self._rows))

    def outside(self) -> OutsideVocabulary | None:
        """What of the prompt is outside the vocabulary; None if nothing is."""
        reading = self.read(self.request.prompt)
        if reading.is_answered and not reading.unheard:
            return None
        thing = reading.unheard[0] if reading.unheard else Thing("", reading.subject)
        names = map(self._name_of, self._nearest(thing)[:PROMPTS])
        prompts = tuple(_renamed(self.request.prompt, thing, name) for name in names)
        return OutsideVocabulary(thing.name, thing.kind, reading.is_answered, self.vocabulary.kinds, prompts)

    def drafted(self, known: Sequence[Event], outside: OutsideVocabulary) -> Generator[Event, None, None]:
        """The draft as the result; beside an unheard name the nearest pictures of its kind, none of them used."""
        start = time.perf_counter()
        drawing = self.method.drawing(self.request, self.tools, (), ())
        draft = yield from draft_of(Known(known), self.tools.models.get(self.method.generator), drawing)
        if outside.kind:
            yield Progress("retrieval", 0, 1)
            begun = time.perf_counter()
            thing = Thing(outside.kind, outside.name)
            hits = self._nearest(thing)[:OTHERS_PER_CONCEPT]
            others = tuple(reference_of(hit, thing.words, self.tools.library) for hit in hits)
            yield References((), others, len(self._rows), time.perf_counter() - begun)
        yield Result(draft, self.tools.recipe(self.request), time.perf_counter() - start)

    def _nearest(self, thing: Thing) -> list[Hit]:
        """A picture for each of the names nearest to the prompt: of the thing's kind, or one a kind if it has none."""
        rejected = self.request.choices.rejected
        hits = self.tools.searcher.search_text(
            self.request.prompt, _LOOKED_AT, self.tools.split, rejected, hybrid=False
        )
        first = {self._name_of(hit): hit for hit in reversed(hits)}
        names = dict.fromkeys(map(self._name_of, hits))
        nearest: dict[str, str] = {}
        for name in self.vocabulary.nearest(thing, names):
            nearest.setdefault(name if thing.kind else name.split()[-1], name)
        return [first[name] for name in nearest.values()]

    def _name_of(self, hit: Hit) -> str:
        """What a picture of the library shows, in as few words as it says."""
        row = self._library.row(hit.id)
        return str(row.extra.get("species", row.caption))

    @property
    def _rows(self) -> Sequence[Row]:
        return self._library.rows_of(self.tools.split)

    @property
    def _library(self) -> Library:
        assert isinstance(self.tools.library, Library)
        return self.tools.library


def _renamed(prompt: str, thing: Thing, name: str) -> str:
    """The prompt with a full name in the place of an unknown thing; the name alone if that cannot be found in it."""
    article = "an" if name[0] in "aeio" else "a"
    words = r"[\W_]+".join(map(re.escape, thing.words.split()))
    pattern = re.compile(rf"(\ban?\s+)?(?<!\w){words}\w*", re.IGNORECASE)
    if not words or not pattern.search(prompt):
        return f"{article} {name}"
    return pattern.sub(lambda found: f"{article} {name}" if found[1] else name, prompt, count=1)
