"""A closed vocabulary: all that some models know, and what of a prompt lies outside of it.

Models that were trained on a small world draw something for every prompt, and find that it is right. A profile may
therefore name a file of the words that its models know. One without it, as every published model is, may know anything,
and nothing here is asked about it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path

from ragdemo.errors import UserError

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_BREAK = re.compile(r"[^\s\w\"'“”‘’«»*_-]")  # ends a phrase; quotes, hyphens and stars stand inside one
_ENDINGS = ("ful", "ous", "less", "able", "ible", "ive", "ing", "ed")
_BEFORE = frozenset("a an the of and or with in on at by to from for is are as like than".split())
"""Words before which a name does not reach."""
_NAMED = ("called", "named")
_SPELLED = 0.86
"""Least similarity of a misspelled word ("buterfly")."""
_MOST_WORDS = 3


@dataclass(frozen=True)
class Thing:
    """A thing that a prompt asks for: its kind, and the name that stands with it; lower case."""

    kind: str
    name: str = ""

    @property
    def words(self) -> str:
        """Name and kind."""
        return f"{self.name} {self.kind}".strip()


@dataclass(frozen=True)
class Reading:
    """What of a prompt is known.

    `unheard` things are of a known kind and have a name that nothing carries. `is_answered` says that the prompt names
    a thing that is known; if it names none at all, `subject` are the words in the place of one.
    """

    unheard: tuple[Thing, ...] = ()
    subject: str = ""
    is_answered: bool = True


@dataclass(frozen=True)
class ClosedVocabulary:
    """Kinds, full names of common things, and other words that are known.

    `nouns` are further names of kinds, `fillers` words that stand for no thing, `compounds` none before a kind ("garden
    bird"). A caption answers a name if it has at least the share `least` of its words.
    """

    kinds: tuple[str, ...]
    common: frozenset[str]
    words: frozenset[str]
    fillers: frozenset[str]
    compounds: frozenset[str]
    nouns: Mapping[str, str]
    least: float

    def read(self, prompt: str, captions: Iterable[str]) -> Reading:
        """What a prompt asks for, and whether kinds, common names or the captions of a library answer it."""
        words = _split(prompt)
        said = _Captions(captions)
        things = tuple(self._things(words))
        if things:
            unheard = tuple(thing for thing in things if not self._is_known(thing, said))
            return Reading(unheard, is_answered=len(unheard) < len(things))
        subject = self._subject(words)
        if not subject:  # a scene alone is a picture, too
            return Reading(is_answered=any(word in self.words for word, _ in words))
        is_answered = said.share(subject) >= self.least
        return Reading((), "" if is_answered else " ".join(subject), is_answered)

    def is_named(self, prompt: str, caption: str) -> bool | None:
        """Whether a caption has one of the prompt's names with its kind; None if the prompt has no name."""
        things = [thing for thing in self._things(_split(prompt)) if thing.name]
        said = _Captions([caption])
        if not things:
            return None
        return any(said.share(thing.name.split(), thing.kind, self.kinds) >= self.least for thing in things)

    def nearest(self, thing: Thing, names: Iterable[str]) -> list[str]:
        """Those of some names that are of the thing's kind, any if it has none; what is spelled like it goes first."""
        same = [name for name in names if not thing.kind or name.split()[-1] == thing.kind]
        alike = get_close_matches(thing.words, same, 1, _SPELLED)
        return [*alike, *(name for name in same if name not in alike)]

    def _things(self, words: Sequence[tuple[str, bool]]) -> Iterator[Thing]:
        """Every word for a kind that is no first part of a longer one ("flower car"), with the name beside it."""
        for place, (word, _) in enumerate(words):
            kind = self._kind(word)
            follows = place + 1 < len(words) and not words[place + 1][1]
            if kind is None or (follows and self._kind(words[place + 1][0])):
                continue
            after = words[place + 1 :]
            if follows and after[0][0] in _NAMED:
                yield Thing(kind, " ".join(self._run(after[1:])))
            else:
                yield Thing(kind, " ".join(self._name_before(words[: place + 1])))

    def _name_before(self, words: Sequence[tuple[str, bool]]) -> list[str]:
        """Of words that end in a kind those before it that say nothing else."""
        name: list[str] = []
        for (word, _), (_, is_cut) in zip(words[-2::-1], words[:0:-1], strict=True):
            if is_cut or word in _BEFORE:
                break
            if word in self._common_words or not self._is_plain(word, self.compounds):
                name.insert(0, word)
        return name

    def _subject(self, words: Sequence[tuple[str, bool]]) -> list[str]:
        """The first words in a row that are neither known nor fillers."""
        start = next((i for i, (word, _) in enumerate(words) if not self._is_plain(word)), len(words))
        return self._run(words[start:])

    def _run(self, words: Sequence[tuple[str, bool]]) -> list[str]:
        found: list[str] = []
        for word, is_cut in words[:_MOST_WORDS]:
            if self._is_plain(word) or (found and is_cut):
                break
            found.append(word)
        return found

    def _is_plain(self, word: str, also: frozenset[str] = frozenset()) -> bool:
        """Whether a word stands for no thing and no name."""
        if word in self.words or word in self.fillers or word in also or self._kind(word):
            return True
        return len(word) > 5 and word.endswith(_ENDINGS)

    def _is_known(self, thing: Thing, said: _Captions) -> bool:
        name = thing.name.split()
        if not name or f"{name[-1]} {thing.kind}" in self.common:
            return True
        return said.share(name, thing.kind, self.kinds) >= self.least

    def _kind(self, word: str) -> str | None:
        """The kind that a word stands for, also in the plural, also a little misspelled."""
        if word in self._forms:
            return self._forms[word]
        if len(word) < 5 or word in self.words or word in self.fillers or word in self.compounds:
            return None
        close = get_close_matches(word, self.kinds, 1, _SPELLED)
        return close[0] if close else None

    @cached_property
    def _forms(self) -> dict[str, str]:
        singular = {**{kind: kind for kind in self.kinds}, **self.nouns}
        plural = {form: kind for word, kind in singular.items() for form in _plurals(word)}
        return plural | singular

    @cached_property
    def _common_words(self) -> frozenset[str]:
        """Names of common things: before another kind they are names like any other."""
        return frozenset(name.split()[0] for name in self.common) - self.fillers - self.words


class _Captions:
    """What the captions of a library say."""

    def __init__(self, captions: Iterable[str]) -> None:
        self._captions = [caption.casefold() for caption in captions]

    def share(self, name: Sequence[str], kind: str = "", kinds: Iterable[str] = ()) -> float:
        """The largest share of a name's words that one caption has, among those that name the kind, or none at all."""
        best = 0.0
        for caption in self._captions:
            if sum(word in caption for word in name) > best * len(
                name
            ):  # seldom: the words are looked at only then
                words = {word for word, _ in _split(caption)}
                if not kind or kind in words or words.isdisjoint(kinds):
                    best = max(best, sum(word in words for word in name) / len(name))
        return best


@lru_cache(maxsize=8)
def read_vocabulary(file: Path) -> ClosedVocabulary:
    """The closed vocabulary that a JSON file holds; raises `UserError` if it cannot be read."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        sets = {key: frozenset(said[key]) for key in ("common", "words", "fillers", "compounds")}
        return ClosedVocabulary(tuple(said["kinds"]), nouns=said["nouns"], least=said["least"], **sets)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"The vocabulary {file.name} of the models is missing or damaged; restore it."
        ) from error


def plural(noun: str) -> str:
    """A kind, or a name that ends in one, in the plural: "butterflies", "fish"."""
    if noun.endswith("fish"):
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def _split(text: str) -> list[tuple[str, bool]]:
    """The words of a text, case and width folded, and whether a phrase ends before each."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    found, end = [], 0
    for match in _WORD.finditer(folded):
        word = re.sub(r"['’]s$", "", match[0])
        found.append((word, bool(_BREAK.search(folded[end : match.start()]))))
        end = match.end()
    return found


def _plurals(word: str) -> tuple[str, ...]:
    return (f"{word}s", f"{word}es", f"{word[:-1]}ies") if word.endswith("y") else (f"{word}s", f"{word}es")
