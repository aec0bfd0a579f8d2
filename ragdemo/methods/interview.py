"""Asking the critic until its reply can be read (ImageRAG: up to three retries, here with rising temperature)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from PIL import Image

from ragdemo.events import MissingConcepts, Rephrased, RetrievalCaptions, Verdict
from ragdemo.methods import dialogue
from ragdemo.models.base import VisionCritic

TEMPERATURES = (0.0, 0.4, 0.8, 1.0)  # the first try and three retries

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What was understood (`value` is None if nothing was) and the last reply in the critic's words."""

    value: T | None
    reply: str
    seconds: float
    tries: int

    @property
    def understood(self) -> bool:
        """Whether one of the tries could be read."""
        return self.value is not None


class Interviewer:
    """Puts the questions of `dialogue` to a critic; the same seed gives the same replies."""

    def __init__(self, critic: VisionCritic, seed: int, max_concepts: int) -> None:
        self._critic = critic
        self._seed = seed
        self._max_concepts = max_concepts

    def verdict(self, prompt: str, image: Image.Image, of: str) -> Verdict:
        """Does the image show the prompt? A reply that cannot be read counts as no."""
        answer = self._ask(dialogue.match_question(prompt), image, dialogue.parse_verdict)
        return Verdict(bool(answer.value), answer.reply, answer.seconds, of, answer.understood, answer.tries)

    def missing(self, prompt: str, image: Image.Image | None) -> MissingConcepts:
        """The concepts that the image lacks, or, without an image, that are needed to draw the prompt.

        If no reply can be read the prompt itself is the one concept.
        """
        question = dialogue.needed_question(prompt) if image is None else dialogue.missing_question(prompt)
        answer = self._ask(question, image, lambda reply: self._concepts(reply, prompt))
        concepts = answer.value or (prompt,)
        return MissingConcepts(concepts, answer.reply, answer.seconds, answer.understood, answer.tries)

    def _concepts(self, reply: str, prompt: str) -> tuple[str, ...]:
        """The concepts of a reply as the prompt spells them, each once."""
        lines = dialogue.parse_lines(reply, self._max_concepts)
        return tuple(dict.fromkeys(dialogue.as_written(line, prompt) for line in lines))

    def captions(self, prompt: str, missing: MissingConcepts) -> RetrievalCaptions:
        """One query per concept; if a reply cannot be read, the prompt itself is the one query."""
        if not missing.understood:
            return RetrievalCaptions((prompt,), (prompt,), "", 0.0, understood=False, tries=0)
        concepts = missing.concepts
        answer = self._ask(
            dialogue.captions_question(concepts),
            None,
            lambda reply: dialogue.parse_captions(reply, len(concepts)),
        )
        if answer.value is None:
            return RetrievalCaptions((prompt,), (prompt,), answer.reply, answer.seconds, False, answer.tries)
        written = tuple(dialogue.as_written(caption, prompt) for caption in answer.value)
        return RetrievalCaptions(concepts, written, answer.reply, answer.seconds, True, answer.tries)

    def rephrase(self, prompt: str) -> Rephrased:
        """The prompt without rare words; the prompt as it is if no reply can be read."""
        answer = self._ask(dialogue.rephrase_question(prompt), None, _single_line)
        return Rephrased(
            answer.value or prompt, answer.reply, answer.seconds, answer.understood, answer.tries
        )

    def _ask(self, question: str, image: Image.Image | None, parse: Callable[[str], T]) -> Answer[T]:
        start = time.perf_counter()
        reply = ""
        for tries, temperature in enumerate(TEMPERATURES, start=1):
            reply = self._critic.ask(question, image, temperature=temperature, seed=self._seed + tries - 1)
            try:
                value = parse(reply)
            except dialogue.UnparseableReply:
                continue
            return Answer(value, reply, time.perf_counter() - start, tries)
        return Answer(None, reply, time.perf_counter() - start, len(TEMPERATURES))


def _single_line(reply: str) -> str:
    lines: Sequence[str] = dialogue.parse_lines(reply)
    if len(lines) != 1:
        raise dialogue.UnparseableReply(f"{len(lines)} lines instead of one in {reply!r}")
    return lines[0]
