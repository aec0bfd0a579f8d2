"""What a critic is asked, and how its plain-line replies are read (ImageRAG, section 3.1).

The questions are pure functions of words, so that a critic can be trained on exactly the strings that it will be asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

MAX_LINES = 3
MAX_LINE_CHARACTERS = 120

_REFUSALS = ("unable", "can't", "cannot", "can’t")
_BULLET = re.compile(r"^(?:[-*•–—]+|\(?\d{1,2}[.):]\)?)\s*")
_NO_NAMES = frozenset("a an the and or of in on at by with to from".split())
_QUOTES = "\"'`“”‘’«»"


class UnparseableReply(ValueError):  # noqa: N818 (it names what came, not a fault of ours)
    """The critic's reply does not answer the question in the form asked for; the message says why."""


def match_question(prompt: str) -> str:
    """Whether the image shows the prompt; read the reply with `parse_verdict`."""
    return f'Does this image match the prompt "{prompt}"? Answer yes or no.'


def missing_question(prompt: str) -> str:
    """Which concepts of the prompt the image lacks; read the reply with `parse_lines`."""
    return f'What is missing from this image of "{prompt}"? One concept per line.'


def needed_question(prompt: str) -> str:
    """Which concepts a painter would want to see before drawing the prompt (no image is shown)."""
    return f'Which concepts must be seen to draw "{prompt}"? One concept per line.'


def captions_question(concepts: Sequence[str]) -> str:
    """A standalone retrieval caption for each concept; read the reply with `parse_captions`."""
    return f"Write one caption per concept, one per line: {'; '.join(concepts)}"


def rephrase_question(prompt: str) -> str:
    """The prompt with its rare words replaced by common ones: the control that retrieves nothing."""
    return f'Rewrite the prompt "{prompt}" without rare words, on one line.'


def parse_verdict(reply: str) -> bool:
    """True for a reply whose first word is yes, False for no; raises `UnparseableReply` for any other."""
    words = re.findall(r"\w+", _answered(reply).lower())
    if not words or words[0] not in ("yes", "no"):
        raise UnparseableReply(f"no yes or no at the start of {reply!r}")
    return words[0] == "yes"


def parse_lines(reply: str, limit: int = MAX_LINES) -> tuple[str, ...]:
    """The distinct lines of a reply, in order, at most `limit`, without bullets, numbers or quotes."""
    lines = _clean_lines(reply)
    distinct = {line.casefold(): line for line in reversed(lines)}
    return tuple(line for line in lines if distinct.pop(line.casefold(), None) is not None)[:limit]


def as_written(concept: str, prompt: str) -> str:
    """A concept with a name spelled as in the prompt: what stands there before the same noun, if the prompt lacks it.

    A critic is asked for concepts of the prompt; a small one garbles names that it has never seen ("zoror fish").
    """
    asked = re.findall(r"[^\s,.;:!?]+", prompt)
    places = {word.casefold(): place for place, word in enumerate(asked)}
    words = concept.split()
    for place, (word, noun) in enumerate(pairwise(words)):
        before = asked[places[noun.casefold()] - 1] if places.get(noun.casefold()) else ""
        if before and word.casefold() not in places and before.casefold() not in _NO_NAMES:
            words[place] = before
    return " ".join(words)


def parse_captions(reply: str, count: int) -> tuple[str, ...]:
    """Exactly `count` captions, the first for the first concept; raises `UnparseableReply` otherwise."""
    lines = _clean_lines(reply)
    if len(lines) != count:
        raise UnparseableReply(f"{len(lines)} captions for {count} concepts in {reply!r}")
    return tuple(lines)


def _clean_lines(reply: str) -> list[str]:
    """The lines that hold words; raises `UnparseableReply` if there is none or one is far too long."""
    lines = [_clean(line) for line in _answered(reply).splitlines()]
    lines = [line for line in lines if any(character.isalnum() for character in line)]
    if not lines:
        raise UnparseableReply(f"no line with words in {reply!r}")
    if max(map(len, lines)) > MAX_LINE_CHARACTERS:
        raise UnparseableReply(f"a line longer than {MAX_LINE_CHARACTERS} characters in {reply!r}")
    return lines


def _clean(line: str) -> str:
    line = "".join(filter(str.isprintable, line))  # a model may write anything, terminal commands too
    return _BULLET.sub("", line.strip()).strip().strip(_QUOTES).strip(" ,;").rstrip(".").strip(_QUOTES)


def _answered(reply: str) -> str:
    """The reply, unless it is empty or a refusal, which the published method also retries."""
    if not reply.strip():
        raise UnparseableReply("an empty reply")
    refusal = next((word for word in _REFUSALS if word in reply.lower()), None)
    if refusal is not None:
        raise UnparseableReply(f"the reply says {refusal!r}: {reply!r}")
    return reply
