"""Events in words, for people who watch a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TextIO

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
from ragdemo.types import Ranking, Reference


def tell(event: Event, stream: TextIO) -> Event:
    """Write a line about the event and hand it on; progress rewrites its line where the stream is a terminal."""
    if not isinstance(event, Progress):
        clear = "\r\033[K" if stream.isatty() else ""
        stream.write(f"{clear}{in_words(event)}\n")
    elif stream.isatty():
        stream.write(f"\r\033[K{in_words(event)}")
    elif event.step == event.total:
        stream.write(f"{in_words(event)}\n")
    stream.flush()
    return event


def in_words(event: Event) -> str:
    """One line about an event."""
    tell_of = _LINES.get(type(event))
    return type(event).__name__ if tell_of is None else tell_of(event)


_LINES: dict[type[Event], Callable[[Any], str]] = {
    Progress: lambda e: f"{e.stage} {e.step}/{e.total}",
    Draft: lambda e: f"draft drawn in {e.seconds:.1f} s",
    Verdict: lambda e: f"critic on the {e.of}: {'yes' if e.matches else 'no'} ({_quote(e.reply)})",
    MissingConcepts: lambda e: f"missing: {'; '.join(e.concepts)}{_doubt(e.understood)}",
    RetrievalCaptions: lambda e: f"searching for: {'; '.join(e.captions)}{_doubt(e.understood)}",
    Rephrased: lambda e: f"rephrased: {e.prompt}{_doubt(e.understood)}",
    ReflectiveNegative: lambda e: f"drawn anyway: {_scored(e.reference)}",
    Rankings: lambda e: f"first found: {'; '.join(map(_first, e.rankings))}",
    References: lambda e: f"references: {'; '.join(map(_scored, e.used)) or 'none'}",
    Result: lambda e: f"done in {e.seconds:.1f} s",
}


def _scored(reference: Reference) -> str:
    return f"{reference.id} ({reference.score:.2f})"


def _first(ranking: Ranking) -> str:
    return f"{ranking.retriever} {ranking.references[0].id if ranking.references else 'nothing'}"


def _doubt(understood: bool) -> str:
    return "" if understood else " (the critic was not understood)"


def _quote(reply: str) -> str:
    words = "".join(filter(str.isprintable, " ".join(reply.split())))
    return words if len(words) <= 80 else f"{words[:79]}…"
