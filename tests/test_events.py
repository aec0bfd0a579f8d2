"""One codec for every event: through JSON and back, with images kept by whoever calls it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ragdemo import events
from ragdemo.codec import decode_event, encode_event
from ragdemo.events import Event, Reference
from ragdemo.images import image_sha256
from ragdemo.methods.ar_rag.events import Provenance, Trace
from ragdemo.methods.realrag.events import Ranking, Rankings, ReflectiveNegative
from ragdemo.methods.turbo.events import Blended, Strip
from ragdemo.recipe import Recipe
from ragdemo.request import Choices, ImageRef, Request

IMAGE, OTHER = Image.effect_noise((6, 4), 50).convert("RGB"), Image.new("RGB", (6, 4), "red")
REFERENCE = Reference("quixel-1", "a quixel butterfly", 1 / 3, "quixel butterfly", OTHER, 2.5)
OWN = ImageRef(sha256=image_sha256(IMAGE), name="mine.png")
REQUEST = Request(prompt="a fox", settings={"steps": 3}, choices=Choices(pinned=("quixel-1",), own=(OWN,)))
RECIPE = Recipe(REQUEST, ("quixel-1",), "abc", {"ragdemo": "1"}, {"critic": "0f"})
CODES, CHANCES, ORIGINS = (
    np.ones((2, 2), np.uint16),
    np.ones((2, 2, 3), np.float32),
    np.ones((2, 2, 3), np.int32),
)
TRACE = Trace(
    CODES,
    CHANCES[..., 0],
    ORIGINS,
    CODES[..., None],
    CHANCES,
    CODES[..., None],
    CHANCES,
    ORIGINS[..., None, :],
)
ALL = [
    events.Progress("draft", 1, 2),
    events.Draft(IMAGE, 0.5),
    events.Verdict(False, "no", 0.1),
    events.MissingConcepts(("a",), "a", 0.1),
    events.RetrievalCaptions(("a",), ("an a",), "an a", 0.1),
    events.Rephrased("an orange butterfly", "an orange butterfly", 0.1),
    events.References((REFERENCE,), (), 3, 0.1),
    events.Counterfactual("another seed", "Seed 8", "alone", "a fox", 8, (REFERENCE,), IMAGE, 0.1),
    events.Result(IMAGE, RECIPE, 1.0),
    events.OutsideVocabulary("zorby", "fish", False, ("fish",), ("a koi fish",)),
    ReflectiveNegative(REFERENCE, 0.1),
    Rankings("a fox", (Ranking("zero", (REFERENCE,)),), 0.1),
    Provenance((REFERENCE,), TRACE, 0.3),
    Blended(IMAGE, 0.8, 0.5, "slerp", ("mid_block",), {"encode": 0.1}, {"encode": 0.1, "search": 0.2}),
    Strip((0.0, 1.0), (IMAGE, IMAGE)),
]


class Kept:
    """Images by content."""

    def __init__(self) -> None:
        self.images: dict[str, Image.Image] = {}

    def keep(self, image: Image.Image) -> dict[str, Any]:
        self.images[image_sha256(image)] = image
        return {"sha256": image_sha256(image)}

    def load(self, data: Mapping[str, Any]) -> Image.Image:
        return self.images[data["sha256"]]


def plain(value: Any) -> Any:
    """A value whose arrays can be compared as a whole."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tolist()
    if is_dataclass(value):
        return [plain(getattr(value, field.name)) for field in fields(value)]
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def through_json(event: Event) -> Event:
    kept = Kept()
    return decode_event(json.loads(json.dumps(encode_event(event, kept.keep))), kept.load)


def test_every_event_class_of_the_project_is_listed_here() -> None:
    known = {kind for kind in Event.kinds.values() if kind.__module__.startswith("ragdemo.")}
    assert {type(event) for event in ALL} == known


@pytest.mark.parametrize("event", ALL, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    again = through_json(event)
    assert plain(again) == plain(event)
    assert again.summary == event.summary


@dataclass(frozen=True)
class Patch:
    """A value that no event of the project has."""

    origin: Reference | None
    weights: npt.NDArray[np.float32]
    source: Literal["library", "generator"] = "library"


@dataclass(frozen=True)
class PatchMap(Event):
    """An event that no method of the project has."""

    image: Image.Image
    patches: tuple[Patch, ...]
    shares: Mapping[str, float]


def test_an_event_that_only_one_method_has_needs_no_line_elsewhere() -> None:
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    event = PatchMap(IMAGE, (Patch(REFERENCE, weights), Patch(None, weights * 2)), {"a": 0.5})
    again = through_json(event)
    assert isinstance(again, PatchMap)
    assert (again.image, again.shares) == (IMAGE, {"a": 0.5})
    assert [patch.origin for patch in again.patches] == [REFERENCE, None]
    assert np.array_equal(again.patches[1].weights, weights * 2)
    assert again.patches[1].weights.dtype == np.float32


def test_a_mask_is_not_the_picture_that_it_covers() -> None:
    overlay = OTHER.copy()
    overlay.putalpha(90)
    assert image_sha256(overlay) != image_sha256(OTHER)


def test_two_events_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match=r"ragdemo\.events has an event Draft already"):

        class Draft(Event):
            pass


def test_an_array_of_objects_is_refused_when_it_is_written() -> None:
    event = PatchMap(IMAGE, (Patch(None, np.array([object()])),), {})
    with pytest.raises(TypeError, match="give it numbers"):
        encode_event(event, Kept().keep)


def test_a_picture_is_kept_once() -> None:
    kept = Kept()
    encode_event(events.References((REFERENCE, REFERENCE), (REFERENCE,), 3, 0.1), kept.keep)
    assert len(kept.images) == 1


@pytest.mark.parametrize(
    "data", [{}, {"event": "Nothing"}, {"event": "Draft"}, {"event": "Draft", "image": 3, "seconds": 1}]
)
def test_what_is_no_event_raises_what_a_reader_can_catch(data: dict) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_event(data, Kept().load)
