"""Prompts that nothing is trained on, as people outside the project would type them: text files, read here.

Every other line of a file tunes settings, the rest only reports. The files never change: a figure names what it read.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from ragdemo.vocabulary import plural

Split = Literal["tune", "report"]
SETS = ("names", "phrasings", "outside", "languages", "symbols")


@lru_cache(maxsize=16)
def lines(name: str, split: Split | None = None) -> tuple[str, ...]:
    """The prompts of one of `SETS` in their order, or those of a split; in two columns if the file has two."""
    text = (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8")
    # by the newline alone: a line of symbols may hold other separators
    found = [line for line in text.split("\n") if line and not line.startswith("# ")]
    return tuple(found if split is None else found[("tune", "report").index(split) :: 2])


def unheard(split: Split | None = None) -> tuple[tuple[str, str], ...]:
    """Names with their kinds, each with a prompt for it."""
    rows = (line.split("\t") for line in lines("names", split))
    return tuple((name, prompt) for name, prompt in rows)


def phrased(name: str, scene: str, split: Split | None = None) -> tuple[str, ...]:
    """Every phrasing about a thing's full name that means a scene, or none."""
    article = "an" if name[0] in "aeio" else "a"
    words = {
        "it": name,
        "a": f"{article} {name}",
        "them": plural(name),
        "It": name.title(),
        "IT": name.upper(),
        "A": f"{article.title()} {name}",
    }
    rows = (line.split("\t") for line in lines("phrasings", split))
    return tuple(form.format(**words) for meant, form in rows if meant in (scene, "-"))


def is_reserved(word: str) -> bool:
    """Whether a word is one of the unheard names' words, or within one edit of one: no training may say it."""
    return any(_within_one_edit(word.casefold(), other) for other in _reserved())


@lru_cache(maxsize=1)
def _reserved() -> frozenset[str]:
    return frozenset(word for name, _ in unheard() for word in name.split()[:-1])


def _within_one_edit(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    if len(long) - len(short) > 1:
        return False
    same = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    return short[same + (len(short) == len(long)) :] == long[same + 1 :]
