"""The words that the models behind the page know: suggestions, and marks for everything else."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")

# What captions are glued together with; a visitor who writes "two robots near a car" means no unknown thing by "near".
GLUE_WORDS = frozenset(
    "a an the of in on at by with and or its it is are over under near above below beside behind inside from to for "
    "one two three photo picture image drawing scene very small large big little".split()
)


@dataclass(frozen=True)
class Vocabulary:
    """Names the models were made for; a species name includes its kind ("quixel butterfly").

    `rare` and `novel` names are in the library but were never drawn by the generator in training. `words` are further
    known words (colours, patterns, other names of scenes). An empty vocabulary knows every word.
    """

    kinds: tuple[str, ...] = ()
    scenes: tuple[str, ...] = ()
    common: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    novel: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @classmethod
    def from_lists(cls, lists: Mapping[str, Sequence[str]]) -> Vocabulary:
        """A vocabulary from lists by name; lists of other names count as further known words."""
        known = ("kinds", "scenes", "common", "rare", "novel")
        rest = [name for key, names in lists.items() if key not in known for name in names]
        return cls(**{key: tuple(lists.get(key, ())) for key in known}, words=tuple(rest))

    def unknown_words(self, text: str) -> tuple[str, ...]:
        """The words of `text` that the models never saw, in order, each once; plurals of known words are known."""
        known = self._known()
        if not known:
            return ()
        words = dict.fromkeys(_WORD.findall(text))
        return tuple(word for word in words if not _singulars(word.lower()) & known)

    def examples(self, count: int = 3) -> tuple[str, ...]:
        """Up to `count` valid prompts on rare species, each of another kind and in another scene, always the same."""
        by_kind = {name.split()[-1]: name for name in reversed(self.rare)}
        names = [by_kind[kind] for kind in self.kinds if kind in by_kind][:count]
        if not self.scenes:
            return ()
        return tuple(
            f"a {name} in the {self.scenes[index % len(self.scenes)]}" for index, name in enumerate(names)
        )

    def surprise(self, chooser: random.Random) -> str:
        """A random valid prompt that is worth a run: on a rare species, if there is one."""
        names = self.rare or self.common
        if not self.scenes or not names:
            return ""
        return f"a {chooser.choice(names)} in the {chooser.choice(self.scenes)}"

    def _known(self) -> frozenset[str]:
        names = (*self.kinds, *self.scenes, *self.common, *self.rare, *self.novel, *self.words)
        words = _split(names)
        return words | GLUE_WORDS if words else frozenset()


def _split(names: Iterable[str]) -> frozenset[str]:
    return frozenset(word.lower() for name in names for word in _WORD.findall(name))


def _singulars(word: str) -> set[str]:
    forms = {word}
    if word.endswith("s"):
        forms.add(word[:-1])
    if word.endswith("es"):
        forms.add(word[:-2])
    if word.endswith("ies"):
        forms.add(word[:-3] + "y")
    return forms
