"""What the oracle says of a picture that should show a case, and how far pictures are from each other.

The oracle knows pictures of one thing. A picture with two things is judged by its halves, each in both roles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from PIL import Image

from ragdemo.evaluation.prompts import Case
from ragdemo.world.oracle import Judgement, Oracle
from ragdemo.world.render import SIZE
from ragdemo.world.species import Species

METRICS = ("right species", "right kind", "all attributes", "right scene")
ATTRIBUTES = ("kind", "shape", "pattern", "main", "second", "third")
HALF = (0, SIZE // 4, SIZE // 2, SIZE * 3 // 4)
"""Box of the left half's middle, a square in which the world's left thing of two lies."""


def judge(oracle: Oracle, case: Case, image: Image.Image) -> dict[str, float]:
    """`METRICS` in [0, 1]; of two things the shares that were found, in the assignment that finds most.

    "all attributes" is kind, outline, pattern and all three colours.
    """
    if case.second is not None:
        return _judge_halves(oracle, case, image)
    seen = oracle.judge([image])[0]
    return dict(zip(METRICS, [*_scores(seen, case.species), float(seen.scene == case.scene)], strict=True))


def distances(oracle: Oracle, image: Image.Image, reference: Image.Image) -> dict[str, float]:
    """Root mean square over pixels in [0, 1], and the Euclidean distance of oracle features."""
    pixels = [np.asarray(i.convert("RGB").resize((SIZE, SIZE)), np.float32) / 255 for i in (image, reference)]
    features = oracle.features([image, reference])
    return {
        "pixel distance": float(np.sqrt(np.mean((pixels[0] - pixels[1]) ** 2))),
        "feature distance": float(np.linalg.norm(features[0] - features[1])),
    }


def halves(image: Image.Image) -> list[Image.Image]:
    """The middles of the left and of the right half, each as large as a whole picture."""
    whole = image.convert("RGB").resize((SIZE, SIZE))
    boxes = (HALF, (HALF[2], HALF[1], SIZE, HALF[3]))
    return [whole.crop(box).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for box in boxes]


def is_right(found: Mapping[str, Any]) -> bool:
    """Whether a judged picture shows the species in the scene."""
    return found["right species"] == 1 and found["right scene"] == 1


def _judge_halves(oracle: Oracle, case: Case, image: Image.Image) -> dict[str, float]:
    seen = oracle.judge(halves(image))
    scores = [
        np.mean([_scores(seen[half], thing) for half, thing in zip(order, case.things, strict=True)], axis=0)
        for order in permutations(range(2))
    ]
    best: Sequence[float] = max(scores, key=lambda score: tuple(score)).tolist()
    whole = float(oracle.judge([image])[0].scene == case.scene)
    return dict(zip(METRICS, [*best, whole], strict=True))


def _scores(seen: Judgement, wanted: Species) -> tuple[float, float, float]:
    look = wanted.look
    return (
        float(seen.species == wanted.name),
        float(seen.kind == look.kind),
        float(all(getattr(seen, name) == getattr(look, name) for name in ATTRIBUTES)),
    )
