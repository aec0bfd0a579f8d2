"""Events in words, for people who watch a terminal."""

from __future__ import annotations

from typing import TextIO

from ragdemo.events import (
    Draft,
    Event,
    MissingConcepts,
    Progress,
    References,
    Rephrased,
    Result,
    RetrievalCaptions,
    Verdict,
)


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
    match event:
        case Progress(stage, step, total):
            return f"{stage} {step}/{total}"
        case Draft(seconds=seconds):
            return f"draft drawn in {seconds:.1f} s"
        case Verdict(of=of, reply=reply, matches=matches):
            return f"critic on the {of}: {'yes' if matches else 'no'} ({_quote(reply)})"
        case MissingConcepts(concepts=concepts, understood=understood):
            return f"missing: {'; '.join(concepts)}{_doubt(understood)}"
        case RetrievalCaptions(captions=captions, understood=understood):
            return f"searching for: {'; '.join(captions)}{_doubt(understood)}"
        case Rephrased(prompt=prompt, understood=understood):
            return f"rephrased: {prompt}{_doubt(understood)}"
        case References(used=used):
            return "references: " + ("; ".join(f"{ref.id} ({ref.score:.2f})" for ref in used) or "none")
        case Result(seconds=seconds):
            return f"done in {seconds:.1f} s"
        case _:
            return type(event).__name__


def _doubt(understood: bool) -> str:
    return "" if understood else " (the critic was not understood)"


def _quote(reply: str) -> str:
    words = "".join(filter(str.isprintable, " ".join(reply.split())))
    return words if len(words) <= 80 else f"{words[:79]}…"
