"""What the oracle sees of a prompt in a picture, for people who compare pictures; no method uses it."""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ragdemo.events import Check
from ragdemo.vocabulary import plural
from ragdemo.weights import check_files
from ragdemo.world.captions import stated
from ragdemo.world.kinds import KINDS

if TYPE_CHECKING:
    from ragdemo.world.oracle import Judgement, Oracle

_SINGULAR = {plural(kind): kind for kind in KINDS}
_COLOURS = ("main", "second", "third")


class Checklist:
    """Checks pictures against prompts; the oracle of `folder` is loaded with the first picture."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, prompt: str, image: Image.Image) -> tuple[Check, ...]:
        """A check each for thing, kind, colours, pattern, outline and scene, as far as the prompt states them.

        Of a prompt with two things only the species' names and the scene are checked.
        """
        things, scene = stated(plainly(prompt))
        if not 1 <= len(things) <= 2:
            return ()
        from ragdemo.evaluation.judging import halves

        seen = self._oracle.judge([image])[0]
        checks = []
        if len(things) == 1:
            checks = _check_thing(things[0], seen)
        else:
            found = self._oracle.judge(halves(image))
            checks = [
                Check(thing["species"], any(_is_species(thing, half) for half in found))
                for thing in things
                if "species" in thing
            ]
        return (*checks, *([Check(scene, seen.scene == scene)] if scene else []))

    @cached_property
    def _oracle(self) -> Oracle:
        from ragdemo.world.oracle import load_oracle

        check_files(self._folder, "rebuild it with `python -m ragdemo train oracle`")

        return load_oracle(self._folder)


def plainly(prompt: str) -> str:
    """A prompt as the world's grammar reads it: case and width folded, without punctuation, kinds in the singular."""
    text = re.sub(r"[^\w\s]|_", " ", unicodedata.normalize("NFKC", prompt).casefold())
    return re.sub(r"\w+", lambda word: _SINGULAR.get(word[0], word[0]), text)


def _is_species(thing: dict[str, str], seen: Judgement) -> bool:
    """Whether it is the species and has its colours: the classifier may know it by its shape alone."""
    return seen.species == thing["species"] and all(getattr(seen, name) == thing[name] for name in _COLOURS)


def _check_thing(thing: dict[str, str], seen: Judgement) -> list[Check]:
    colours = [name for name in _COLOURS if name in thing]
    checks = [Check(thing["species"], _is_species(thing, seen))] if "species" in thing else []
    checks.append(Check("kind", seen.kind == thing["kind"]))
    if colours:
        checks.append(Check("colours", all(getattr(seen, name) == thing[name] for name in colours)))
    checks += [
        Check(label, getattr(seen, name) == thing[name])
        for name, label in (("pattern", "pattern"), ("shape", "outline"))
        if name in thing
    ]
    return checks
