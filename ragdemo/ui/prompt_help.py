"""Help around the prompt: words the models never saw, and what they do know."""

from __future__ import annotations

from ragdemo.types import MAX_PROMPT_CHARACTERS
from ragdemo.ui.markup import escape, marked
from ragdemo.ui.vocabulary import Vocabulary

_MOST_WORDS = 8


def unknown_words(vocabulary: Vocabulary, text: str) -> str:
    """The prompt's words outside the vocabulary, as one line; empty where all are known."""
    unknown = vocabulary.unknown_words(text[:MAX_PROMPT_CHARACTERS])[:_MOST_WORDS]
    if not unknown:
        return ""
    words = ", ".join(f"<bdi>{marked(word, [word])}</bdi>" for word in unknown)
    return f'<p class="hint">These models have never seen {words}.</p>'


def world_note(vocabulary: Vocabulary) -> str:
    """The plain statement that the pocket models know one small drawn world, with what is in it."""
    if not vocabulary.kinds:
        return ""
    kinds = ", ".join(vocabulary.kinds)
    scenes = ", ".join(vocabulary.scenes)
    return (
        "<p><strong>A little world.</strong> These pocket models know only a drawn world of "
        f"{len(vocabulary.kinds)} kinds of thing in {len(vocabulary.scenes)} scenes, and nothing outside it.</p>"
        f"<details><summary>What is in it</summary><p>{escape(kinds)}</p><p>{escape(scenes)}</p>"
        f"<p>The generator was trained on {len(vocabulary.common)} species by name; {len(vocabulary.rare)} rare ones "
        "are only in the reference library.</p></details>"
    )
